package signon

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
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
