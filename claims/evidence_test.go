package claims_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
)

var now = time.Date(2025, 3, 4, 10, 11, 12, 0, time.UTC)

func TestFresh(t *testing.T) {
	yes := func(at time.Time) claims.Evidence { return claims.Evidence{MFA: claims.Yes, At: at} }
	for _, tt := range []struct {
		name   string
		e      claims.Evidence
		maxAge time.Duration
		want   claims.Answer
	}{
		{"nothing known", claims.Evidence{}, time.Hour, claims.Unknown},
		{"no MFA", claims.Evidence{MFA: claims.No}, time.Hour, claims.No},
		{"time unknown", yes(time.Time{}), time.Hour, claims.Unknown},
		{"just now", yes(now), 0, claims.Yes},
		{"at the limit", yes(now.Add(-time.Hour)), time.Hour, claims.Yes},
		{"past it", yes(now.Add(-time.Hour - 1)), time.Hour, claims.No},
		{"in a little future", yes(now.Add(5 * time.Minute)), time.Hour, claims.Yes},
		{"in the future", yes(now.Add(6 * time.Minute)), time.Hour, claims.Unknown},
	} {
		require.Equal(t, tt.want, tt.e.Fresh(tt.maxAge, now), tt.name)
	}
}

func TestMerge(t *testing.T) {
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	hello := claims.Evidence{MFA: claims.Yes, Methods: claims.WindowsHello | claims.MarkMFA, At: hour(0), AuthTime: hour(0), Source: claims.SourceHello}
	password := claims.Evidence{MFA: claims.No, Methods: claims.Password, AuthTime: hour(0), Source: claims.SourcePRT}
	tests := []struct {
		name       string
		old, newer claims.Evidence
		want       claims.Evidence
	}{
		{"nothing and nothing", claims.Evidence{}, claims.Evidence{}, claims.Evidence{}},
		{"an absent amr keeps what was known", hello, claims.Evidence{}, hello},
		{"a token without amr tells the device", hello, claims.Evidence{DeviceID: "d"},
			func() claims.Evidence { e := hello; e.DeviceID = "d"; return e }()},
		{"a renewal moves no time", hello, claims.Evidence{MFA: claims.Yes, Methods: claims.MarkMFA, At: hour(4), AuthTime: hour(4), Source: claims.SourceRenewal}, hello},
		{"a renewal may say that it is gone", hello, claims.Evidence{MFA: claims.No, Methods: claims.Password, AuthTime: hour(4), Source: claims.SourceRenewal},
			claims.Evidence{MFA: claims.No, Methods: claims.Password, AuthTime: hour(0), Source: claims.SourceRenewal}},
		{"a renewal may be the first to say it, without a time", claims.Evidence{AuthTime: hour(0)},
			claims.Evidence{MFA: claims.Yes, Methods: claims.MarkMFA, At: hour(4), Source: claims.SourceRenewal},
			claims.Evidence{MFA: claims.Yes, Methods: claims.MarkMFA, AuthTime: hour(0), Source: claims.SourceRenewal}},
		{"a Hello unlock moves the time", hello, claims.Evidence{MFA: claims.Yes, Methods: claims.WindowsHello, At: hour(5), AuthTime: hour(5), Source: claims.SourceHello},
			claims.Evidence{MFA: claims.Yes, Methods: claims.WindowsHello, At: hour(5), AuthTime: hour(5), Source: claims.SourceHello}},
		{"a coarser token changes nothing", hello, claims.Evidence{MFA: claims.Yes, Methods: claims.MarkMFA | claims.MarkRSA, Source: claims.SourceAccessToken}, hello},
		{"a step-up", password, claims.Evidence{MFA: claims.Yes, Methods: claims.Password | claims.SMS, At: hour(1), AuthTime: hour(1), Source: claims.SourceIDToken, TokenID: "u"},
			claims.Evidence{MFA: claims.Yes, Methods: claims.Password | claims.SMS, At: hour(1), AuthTime: hour(1), Source: claims.SourceIDToken, TokenID: "u"}},
		{"another method without a time keeps the time", hello, claims.Evidence{MFA: claims.Yes, Methods: claims.FIDO2, Source: claims.SourceAccessToken},
			claims.Evidence{MFA: claims.Yes, Methods: claims.FIDO2, At: hour(0), AuthTime: hour(0), Source: claims.SourceAccessToken}},
		{"a token says no", hello, claims.Evidence{MFA: claims.No, Methods: claims.Password, AuthTime: hour(1), Source: claims.SourceIDToken},
			claims.Evidence{MFA: claims.No, Methods: claims.Password, AuthTime: hour(1), Source: claims.SourceIDToken}},
		{"an older token says no", hello, claims.Evidence{MFA: claims.No, AuthTime: hour(-1), Source: claims.SourceIDToken}, hello},
		{"an older token says yes", password, claims.Evidence{MFA: claims.Yes, At: hour(-1), AuthTime: hour(-1), Source: claims.SourceIDToken}, password},
		{"older MFA where only a sign-in was known", claims.Evidence{AuthTime: hour(0)}, claims.Evidence{MFA: claims.Yes, Methods: claims.SMS, At: hour(-1), AuthTime: hour(-1), Source: claims.SourceIDToken},
			claims.Evidence{MFA: claims.Yes, Methods: claims.SMS, At: hour(-1), AuthTime: hour(0), Source: claims.SourceIDToken}},
		{"times do not go back", hello, claims.Evidence{MFA: claims.Yes, Methods: claims.FIDO2, At: hour(-1), Source: claims.SourceIDToken},
			claims.Evidence{MFA: claims.Yes, Methods: claims.FIDO2, At: hour(0), AuthTime: hour(0), Source: claims.SourceIDToken}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, tt.old.Merge(tt.newer))
		})
	}
}

// Whatever is merged: nothing unknown makes a known answer unknown, and no
// time moves back or, by a renewal, at all.
func TestMergeLaws(t *testing.T) {
	var all []claims.Evidence
	for _, mfa := range []claims.Answer{claims.Unknown, claims.No, claims.Yes} {
		for _, at := range []time.Time{{}, now, now.Add(time.Hour)} {
			for _, source := range []claims.Source{claims.SourceNone, claims.SourceRenewal, claims.SourceHello, claims.SourceIDToken} {
				for _, m := range []claims.Methods{0, claims.MarkMFA, claims.WindowsHello} {
					e := claims.Evidence{MFA: mfa, AuthTime: at, Source: source, Methods: m}
					if mfa == claims.Yes {
						e.At = at
					}
					all = append(all, e)
				}
			}
		}
	}
	for _, a := range all {
		require.Equal(t, a, a.Merge(a), "merging twice is merging once")
		for _, b := range all {
			m := a.Merge(b)
			require.False(t, a.MFA != claims.Unknown && m.MFA == claims.Unknown)
			require.False(t, m.AuthTime.Before(a.AuthTime))
			if m.MFA == claims.Yes && a.MFA == claims.Yes {
				require.False(t, m.At.Before(a.At))
			}
			if m.MFA != claims.Yes {
				require.True(t, m.At.IsZero())
			}
			if b.Source == claims.SourceRenewal {
				require.Equal(t, a.AuthTime, m.AuthTime)
				require.True(t, m.At.Equal(a.At) || m.At.IsZero())
			}
			require.Equal(t, m, m.Merge(b), "the same news twice is no news")
		}
	}
}

func TestEvidenceJSON(t *testing.T) {
	e := claims.Evidence{MFA: claims.Yes, Methods: claims.WindowsHello | claims.MarkMFA, At: now, AuthTime: now, Source: claims.SourceHello, TokenID: "u", DeviceID: "d"}
	b, err := json.Marshal(e)
	require.NoError(t, err)
	require.JSONEq(t, `{"mfa":"yes","methods":"windowsHelloForBusiness,mfa","at":"2025-03-04T10:11:12Z","auth_time":"2025-03-04T10:11:12Z","source":"hello","token_id":"u","device_id":"d"}`, string(b))
	var back claims.Evidence
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, e, back)
	b, err = json.Marshal(claims.Evidence{})
	require.NoError(t, err)
	require.JSONEq(t, `{"mfa":"unknown"}`, string(b))
	require.NoError(t, json.Unmarshal([]byte(`{"mfa":"perhaps"}`), &back))
	require.Equal(t, claims.Unknown, back.MFA, "what is not understood is unknown")
	require.Equal(t, "Answer(3)", claims.Answer(3).String())
	require.Equal(t, "MFA yes by windowsHelloForBusiness,mfa at 2025-03-04T10:11:12Z from hello", e.String())
}

// amr says otp for several kinds of codes, and mfa without saying how.
func TestOtherMethods(t *testing.T) {
	codes := claims.SoftwareOATH | claims.HardwareOATH | claims.SMS | claims.TemporaryAccessPassOneTime | claims.TemporaryAccessPassMultiUse
	any := claims.WindowsHello | claims.FIDO2 | claims.CertificateMultiFactor | claims.DeviceBasedPush | claims.FederatedMultiFactor |
		claims.AuthenticatorPush | claims.Voice | codes
	for name, tt := range map[string]struct {
		e    claims.Evidence
		want claims.Methods
	}{
		"nothing is known": {claims.Evidence{}, any | claims.MarkMFA},
		"one factor":       {claims.Evidence{MFA: claims.No, Methods: claims.Password}, 0},
		"MFA, no method":   {claims.Evidence{MFA: claims.Yes, Methods: claims.MarkMFA}, any},
		"a password, MFA":  {claims.Evidence{MFA: claims.Yes, Methods: claims.Password | claims.MarkMFA}, any},
		"a code":           {claims.Evidence{MFA: claims.Yes, Methods: claims.Password | claims.SoftwareOATH}, codes},
		"Hello":            {claims.Evidence{MFA: claims.Yes, Methods: claims.WindowsHello | claims.MarkMFA}, 0},
	} {
		require.Equal(t, tt.want, tt.e.OtherMethods(), name)
	}
}

// A session is worth a try only if it may have what a refused one lacked.
func TestMayAdd(t *testing.T) {
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	password := func(at time.Time) claims.Evidence {
		return claims.Evidence{MFA: claims.No, Methods: claims.Password, AuthTime: at}
	}
	hello := func(at time.Time) claims.Evidence {
		return claims.Evidence{MFA: claims.Yes, Methods: claims.WindowsHello | claims.MarkMFA, At: at, AuthTime: at}
	}
	for _, tt := range []struct {
		name       string
		e, refused claims.Evidence
		stale      bool
		want       bool
	}{
		{"the same", password(hour(0)), password(hour(0)), false, false},
		{"the same, refused for its age", password(hour(0)), password(hour(0)), true, false},
		{"a later sign-in that nobody asked for", password(hour(1)), password(hour(0)), false, false},
		{"a later sign-in", password(hour(1)), password(hour(0)), true, true},
		{"an earlier sign-in", password(hour(-1)), password(hour(0)), true, false},
		{"a sign-in of unknown age", password(time.Time{}), password(hour(0)), true, true},
		{"MFA", hello(hour(-1)), password(hour(0)), false, true},
		{"the same MFA", hello(hour(0)), hello(hour(0)), false, false},
		{"an earlier MFA", hello(hour(-1)), hello(hour(0)), false, false},
		{"a later MFA", hello(hour(1)), hello(hour(0)), false, true},
		{"MFA of unknown age", claims.Evidence{MFA: claims.Yes, Methods: claims.WindowsHello}, hello(hour(0)), false, true},
		{"MFA by a method that amr does not name", claims.Evidence{MFA: claims.Yes, Methods: claims.MarkMFA, At: hour(-1)}, hello(hour(0)), false, true},
		{"another method that is one factor", claims.Evidence{MFA: claims.No, Methods: claims.SMS}, password(hour(0)), false, false},
		{"nothing is known", claims.Evidence{}, hello(hour(0)), false, true},
	} {
		require.Equal(t, tt.want, tt.e.MayAdd(tt.refused, tt.stale), tt.name)
		s := claims.Session{Evidence: tt.e, DeviceCode: claims.Yes}
		require.Equal(t, tt.want, s.MayAdd(claims.Session{Evidence: tt.refused}, tt.stale), tt.name)
	}
	began := func(deviceCode claims.Answer) claims.Session {
		return claims.Session{Evidence: password(now), DeviceCode: deviceCode}
	}
	for _, tt := range []struct {
		s, refused claims.Answer
		want       bool
	}{
		{claims.No, claims.Yes, true}, {claims.No, claims.Unknown, true}, {claims.No, claims.No, false},
		{claims.Unknown, claims.Yes, true}, {claims.Unknown, claims.Unknown, true}, {claims.Unknown, claims.No, false},
		{claims.Yes, claims.Yes, false}, {claims.Yes, claims.Unknown, false}, {claims.Yes, claims.No, false},
	} {
		require.Equal(t, tt.want, began(tt.s).BeganOtherwise(began(tt.refused)), "device code: %s, refused %s", tt.s, tt.refused)
		require.Equal(t, tt.want, began(tt.s).MayAdd(began(tt.refused), false), "device code: %s, refused %s", tt.s, tt.refused)
	}
}
