package broker

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

// provenance is what this broker saw of the sign-in that a PRT is born of. The
// PRT's own id_token says whether MFA was done; when, only the sign-in tells.
type provenance struct {
	origin account.Origin
	seen   claims.Evidence // zero when the sign-in was not made here
}

// provenanceOf returns that of a credential; t is the refresh token that it
// gave, nil for one that buys a PRT by itself.
func provenanceOf(cred Credential, t *brokerToken, now time.Time) provenance {
	switch c := cred.(type) {
	case AuthCode:
		p := provenance{account.Page, seen(t, c.MFA, now)}
		if c.again && p.seen.AuthTime.IsZero() {
			p.seen.AuthTime = now
		}
		return p
	case DeviceCodeFlow:
		return provenance{account.DeviceCode, seen(t, c.MFA, now)}
	case RefreshToken:
		return provenance{}
	}
	return provenance{origin: account.Direct}
}

// seen returns the evidence of a sign-in that just gave t. Where MFA was asked
// for (amr_values=ngcmfa) and done without a word about the time, it is now:
// the service takes no MFA for fresh that is older than ten minutes.
func seen(t *brokerToken, fresh bool, now time.Time) claims.Evidence {
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

// complete adds to the evidence of a new PRT what its sign-in tells beyond it.
// Whether MFA was done stays the PRT's own word, if it has one.
func (p provenance) complete(t *prt.Token) {
	switch {
	case t.Evidence.MFA == claims.Unknown && p.seen.MFA != claims.Unknown:
		t.Evidence = p.seen
		t.Evidence.Source = claims.SourceRefresh
	case t.Evidence.MFA == claims.Yes && p.seen.MFA == claims.Yes && t.Evidence.At.IsZero():
		t.Evidence.At = p.seen.At
	}
	if t.Evidence.AuthTime.IsZero() {
		t.Evidence.AuthTime = p.seen.AuthTime
	}
}
