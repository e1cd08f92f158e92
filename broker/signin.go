package broker

import (
	"context"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

// SignIn gets a PRT for a user on the registered device and keeps it beside
// those that other credentials gave the same user. It returns the account and
// the PRT's expiry, and no token; AcquireTokenSilent is next. It takes
// WithAccount, which then must be the user who signs in, and WithLoginHint.
//
// It returns ErrDeviceNotRegistered on a device that is not, ErrBadCredential,
// ErrUserNotFound, ErrAccountLocked or ErrUserDisabled when the service refuses
// the credential, and ErrInteractionRequired when it wants more than it.
func (b *Broker) SignIn(ctx context.Context, cred Credential, opts ...CallOption) (_ AuthResult, err error) {
	const op = "sign in"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return AuthResult{}, err
	}
	defer leave(&err)
	cred = asPage(cred)
	c, err := b.cfg.options("SignIn", optAccount|optLoginHint, opts)
	if err != nil {
		return AuthResult{}, err
	}
	if b.unregistered(ctx) {
		res, err := b.signInApp(ctx, op, cred, c)
		return res, opError(op, err)
	}
	if _, err := b.devices.Current(ctx); err != nil { // before the user is asked
		return AuthResult{}, opError(op, err)
	}
	if h, ok := cred.(HelloPIN); ok {
		res, err := b.signInHello(ctx, op, c.meant(), h.PIN, 0)
		return res, opError(op, err)
	}
	grant, from, err := b.signIns.grantFor(ctx, op, cred, c.loginHint)
	if err != nil {
		return AuthResult{}, opError(op, err)
	}
	res, err := b.issue(ctx, op, grant, from, c.account)
	return res, opError(op, err)
}

// issue buys a PRT and keeps it. want, if not zero, is who must have signed in.
func (b *Broker) issue(ctx context.Context, op string, grant prt.Grant, from signon.Provenance, want Account) (res AuthResult, err error) {
	ctx, end := b.cfg.span(ctx, "sign in")
	defer func() { end(err) }()
	in, err := b.engine.Issue(ctx, grant, from, account.Identity(want))
	if err != nil {
		return AuthResult{}, withAccount(opError(op, err), want)
	}
	// A new sign-in may be wanted in the tokens' claims; after an unlock the
	// tokens of the apps stay useful.
	if in.Token.Credential != prt.ByHello {
		b.tokens.drop(in.Account)
	}
	return AuthResult{
		Account:   Account(in.Account),
		ExpiresOn: in.Token.ExpiresAt,
		Metadata:  ResultMetadata{Source: SourceInteractive, DeviceID: in.Token.DeviceID, CorrelationID: in.CorrelationID, MFA: in.Token.Evidence},
	}, nil
}

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
