package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

// What a sign-in proves: what the id_token says and, where it does not say when, that
// it was now if the service was asked for it now.
func TestProvenance(t *testing.T) {
	t.Parallel()
	now, before := time.Unix(2000, 0), time.Unix(1000, 0)
	mfa := claims.Password | claims.MarkMFA
	id := func(at time.Time, m claims.Methods) *prt.Reply {
		return &prt.Reply{ID: &claims.Token{AuthTime: at, HasAMR: true, Methods: m}}
	}
	evidence := func(answer claims.Answer, m claims.Methods, at, auth time.Time) claims.Evidence {
		return claims.Evidence{MFA: answer, Methods: m, At: at, AuthTime: auth, Source: claims.SourceIDToken}
	}
	never := time.Time{}
	for name, tt := range map[string]struct {
		cred Credential
		got  *prt.Reply
		want signon.Provenance
	}{
		"a password":                    {Password{}, nil, signon.Provenance{Origin: account.Direct}},
		"a refresh token":               {RefreshToken{}, id(before, mfa), signon.Provenance{}},
		"a page, nothing is said":       {AuthCode{MFA: true}, &prt.Reply{}, signon.Provenance{Origin: account.Page}},
		"no reply":                      {AuthCode{MFA: true}, nil, signon.Provenance{Origin: account.Page}},
		"a page, with the time":         {AuthCode{MFA: true}, id(before, mfa), signon.Provenance{Origin: account.Page, Seen: evidence(claims.Yes, mfa, before, before)}},
		"a page, MFA at no time":        {AuthCode{MFA: true}, id(never, mfa), signon.Provenance{Origin: account.Page, Seen: evidence(claims.Yes, mfa, now, now)}},
		"a page, MFA not asked for":     {AuthCode{}, id(never, mfa), signon.Provenance{Origin: account.Page, Seen: evidence(claims.Yes, mfa, never, never)}},
		"a page, MFA not done":          {AuthCode{MFA: true}, id(never, claims.Password), signon.Provenance{Origin: account.Page, Seen: evidence(claims.No, claims.Password, never, never)}},
		"again, at no time":             {AuthCode{again: true}, id(never, claims.Password), signon.Provenance{Origin: account.Page, Seen: evidence(claims.No, claims.Password, never, now)}},
		"again, with the time":          {AuthCode{again: true}, id(before, claims.Password), signon.Provenance{Origin: account.Page, Seen: evidence(claims.No, claims.Password, never, before)}},
		"a device code, MFA at no time": {DeviceCodeFlow{MFA: true}, id(never, mfa), signon.Provenance{Origin: account.DeviceCode, Seen: evidence(claims.Yes, mfa, now, now)}},
	} {
		require.Equal(t, tt.want, provenanceOf(tt.cred, tt.got, now), name)
	}
}

// Whether a PRT has a session key shows in its status.
func TestStatusOfTheSessionKey(t *testing.T) {
	t.Parallel()
	for _, key := range [][]byte{nil, []byte("blob")} {
		s := prtStatusOf(account.PRT{Token: &prt.Token{SessionKey: key}}, Account{}, time.Unix(0, 0))
		require.Equal(t, key != nil, s.SessionKey)
	}
}
