package broker

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

// provenanceOf returns that of a credential; t is the refresh token that it
// gave, nil for one that buys a PRT by itself.
func provenanceOf(cred Credential, t *prt.Reply, now time.Time) signon.Provenance {
	switch c := cred.(type) {
	case AuthCode:
		p := signon.Provenance{Origin: account.Page, Seen: seen(t, c.MFA, now)}
		if c.again && p.Seen.AuthTime.IsZero() {
			p.Seen.AuthTime = now
		}
		return p
	case DeviceCodeFlow:
		return signon.Provenance{Origin: account.DeviceCode, Seen: seen(t, c.MFA, now)}
	case RefreshToken:
		return signon.Provenance{}
	}
	return signon.Provenance{Origin: account.Direct}
}

// seen returns the evidence of a sign-in that just gave t. Where MFA was asked
// for (amr_values=ngcmfa) and done without a word about the time, it is now:
// the service takes no MFA for fresh that is older than ten minutes.
func seen(t *prt.Reply, fresh bool, now time.Time) claims.Evidence {
	if t == nil || t.ID == nil {
		return claims.Evidence{}
	}
	e := t.ID.Evidence(claims.SourceIDToken)
	if fresh && e.MFA == claims.Yes && e.At.IsZero() {
		e.At = now
		if e.AuthTime.IsZero() {
			e.AuthTime = now
		}
	}
	return e
}
