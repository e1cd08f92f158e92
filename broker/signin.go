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
// those that other credentials of the same user gave. It returns the account
// and the PRT's expiry, and no token; call AcquireTokenSilent next. It takes
// WithAccount, which then must be the user who signs in, and WithLoginHint.
//
// It returns ErrDeviceNotRegistered if the device is not registered,
// ErrBadCredential, ErrUserNotFound, ErrAccountLocked or ErrUserDisabled if the
// service refuses the credential, and ErrInteractionRequired if the service
// asks for more than the credential.
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

// issue obtains a PRT and keeps it. want, if not zero, is the user who must
// have signed in.
func (b *Broker) issue(ctx context.Context, op string, grant prt.Grant, from signon.Provenance, want Account) (res AuthResult, err error) {
	ctx, end := b.cfg.span(ctx, "sign in")
	defer func() { end(err) }()
	in, err := b.engine.Issue(ctx, grant, from, account.Identity(want))
	if err != nil {
		return AuthResult{}, withAccount(opError(op, err), want)
	}
	// A new sign-in may be meant to change the tokens' claims; after an unlock
	// the tokens of the apps stay useful.
	if in.Token.Credential != prt.ByHello {
		b.tokens.drop(in.Account)
	}
	return AuthResult{
		Account:   Account(in.Account),
		ExpiresOn: in.Token.ExpiresAt,
		Metadata:  ResultMetadata{Source: SourceInteractive, DeviceID: in.Token.DeviceID, CorrelationID: in.CorrelationID, MFA: in.Token.Evidence},
	}, nil
}

// provenanceOf returns the provenance of a credential; t is the refresh token
// that it gave, nil for a credential that gets a PRT by itself.
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

// seen returns the evidence of a sign-in that just gave t. If MFA was asked for
// (amr_values=ngcmfa) and done, and nothing says when, the time is now: the
// service does not accept MFA older than ten minutes as fresh.
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
