package signon

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// A token that was to be bound to a key is not taken as a bearer token, which
// whoever reads it could use.
func TestBearerInPlaceOfPoP(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: Config{Now: time.Now}}
	for _, tt := range []struct {
		name, confirmation, reply, says string
	}{
		{"bearer asked and given", "", `"token_type":"Bearer"`, ""},
		{"bound asked and given", "key", `"token_type":"pop"`, ""},
		{"bound in another case", "key", `"token_type":"PoP"`, ""},
		{"bound asked, bearer given", "key", `"token_type":"Bearer"`, "not bound to the key"},
		{"bound asked, nothing said", "key", `"scope":"x"`, "not bound to the key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := prt.ParseTokens([]byte(`{"access_token":"at","expires_in":3600,` + tt.reply + `}`))
			require.NoError(t, err)
			err = e.checkToken(Request{Confirmation: tt.confirmation}, r, &sts.Reply{})
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.says)
		})
	}
}

// A reply without a token, or with one that nobody knows the end of, is none.
func TestReplyWithoutAToken(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: Config{Now: time.Now}}
	for reply, good := range map[string]bool{
		`{"access_token":"at","expires_in":3600}`:   true,
		`{"access_token":"at"}`:                     false,
		`{"access_token":"at","expires_in":0}`:      false,
		`{"refresh_token":"rt","expires_in":3600}`:  false,
		`{"id_token":"e30.e30.","expires_in":3600}`: false,
	} {
		r, err := prt.ParseTokens([]byte(reply))
		if err == nil {
			err = e.checkToken(Request{}, r, &sts.Reply{})
		}
		if good {
			require.NoError(t, err, reply)
		} else {
			require.ErrorIs(t, err, prt.ErrReply, reply)
		}
	}
}

// A token for another resource is refused and dropped.
func TestTokenForAnotherResource(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: Config{Now: time.Now}}
	r, err := prt.ParseTokens([]byte(`{"access_token":"at","refresh_token":"rt","expires_in":3600,"resource":"https://vault.azure.net"}`))
	require.NoError(t, err)
	require.NoError(t, e.checkToken(Request{Resource: "https://vault.azure.net"}, r, &sts.Reply{}))
	require.False(t, r.AccessToken.IsZero())
	require.ErrorContains(t, e.checkToken(Request{Resource: "https://graph.microsoft.com"}, r, &sts.Reply{}), "for another resource")
	require.True(t, r.AccessToken.IsZero())
	require.True(t, r.RefreshToken.IsZero())
}

// What the PRT's own id_token says of MFA stands; what it leaves open, and when it
// was, only the sign-in tells.
func TestComplete(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	before, auth := now.Add(-time.Hour), now.Add(-time.Minute)
	seen := claims.Evidence{MFA: claims.Yes, At: now, AuthTime: auth, Source: claims.SourceIDToken}
	for name, tt := range map[string]struct {
		said, seen, want claims.Evidence
	}{
		"nothing is known": {claims.Evidence{}, claims.Evidence{}, claims.Evidence{}},
		"not said":         {claims.Evidence{}, seen, claims.Evidence{MFA: claims.Yes, At: now, AuthTime: auth, Source: claims.SourceRefresh}},
		"said, not when":   {claims.Evidence{MFA: claims.Yes}, seen, claims.Evidence{MFA: claims.Yes, At: now, AuthTime: auth}},
		"said, and when":   {claims.Evidence{MFA: claims.Yes, At: before, AuthTime: before}, seen, claims.Evidence{MFA: claims.Yes, At: before, AuthTime: before}},
		"said, not seen":   {claims.Evidence{MFA: claims.Yes}, claims.Evidence{MFA: claims.No, At: now}, claims.Evidence{MFA: claims.Yes}},
		"contradicted":     {claims.Evidence{MFA: claims.No}, seen, claims.Evidence{MFA: claims.No, AuthTime: auth}},
	} {
		p := &prt.Token{Evidence: tt.said}
		Provenance{Seen: tt.seen}.complete(p)
		require.Equal(t, tt.want, p.Evidence, name)
	}
}

// A device is young for ten minutes, by whichever clock.
func TestIsYoung(t *testing.T) {
	t.Parallel()
	for after, young := range map[time.Duration]bool{0: true, 10 * time.Minute: true, 10*time.Minute + 1: false, -10 * time.Minute: true, -10*time.Minute - 1: false} {
		e := &Engine{cfg: Config{Now: func() time.Time { return noon.Add(after) }}}
		require.Equal(t, young, e.isYoung(&device.Device{Record: &device.Record{Registered: noon}}), after)
	}
}

// Without a registration in memory, a PRT may be of any.
func TestChoicesWithoutDevice(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: Config{Now: func() time.Time { return noon }, Devices: &device.Keeper{}}}
	require.Len(t, e.Choices(&account.Record{PRTs: []account.PRT{{Token: &prt.Token{DeviceID: "one"}}}}), 1)
}

// What this side concludes is not the service's word, and is noted against nobody.
func TestOnlyTheServicesWordIsNoted(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: Config{Now: time.Now, Devices: &device.Keeper{}}}
	for v := range certain {
		require.NotNil(t, e.judged(&sts.Error{Verdict: v, Said: true}), "%v", v)
		require.Nil(t, e.judged(&sts.Error{Verdict: v}), "%v", v)
	}
	require.Nil(t, e.judged(&sts.Error{Verdict: aadsts.Retry, Said: true}))
	require.Nil(t, e.judged(errors.New("the network is down")))
	require.Nil(t, e.judged(&sts.Error{Verdict: aadsts.DeviceAuth, Said: true, Code: 700003}), "of the refusals of a device only one code does")
	require.NotNil(t, e.judged(&sts.Error{Verdict: aadsts.DeviceAuth, Said: true, Code: deviceRefused}))
}
