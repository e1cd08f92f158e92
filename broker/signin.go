package broker

import (
	"bytes"
	"context"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/internal/wire"
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
	grant, from, err := b.grantFor(ctx, op, cred, c.loginHint)
	if err != nil {
		return AuthResult{}, opError(op, err)
	}
	res, err := b.issue(ctx, op, grant, from, c.account)
	return res, opError(op, err)
}

// grantFor turns a credential into what buys a PRT.
func (b *Broker) grantFor(ctx context.Context, op string, cred Credential, hint string) (prt.Grant, signon.Provenance, error) {
	var t *prt.Reply
	var grant prt.Grant
	var err error
	switch c := cred.(type) {
	case Password:
		grant = prt.PasswordGrant{Username: c.Username, Password: prt.NewSecret(c.Password)}
	case RefreshToken:
		grant = prt.RefreshTokenGrant{Token: prt.NewSecret(c.Token)}
	case AuthCode:
		if c.LoginHint == "" {
			c.LoginHint = hint
		}
		t, err = b.byAuthCode(ctx, op, wire.ResourceUpdatePRT, c)
	case DeviceCodeFlow:
		t, err = b.byDeviceCode(ctx, op, wire.ResourceRegistrationApp, c.MFA)
	case SAMLAssertion:
		grant = samlGrant(c.Assertion)
	case Federated:
		var assertion []byte
		assertion, err = b.sts.Assertion(ctx, c.Username, c.Password)
		grant, err = samlGrant(assertion), opError(op, err)
	case nil:
		err = &Error{Op: op, detail: "a credential is required"}
	default:
		err = &Error{Op: op, detail: "this credential gives no PRT here"}
	}
	if err != nil {
		return nil, signon.Provenance{}, err
	}
	if t != nil {
		grant = prt.RefreshTokenGrant{Token: t.RefreshToken}
	}
	return grant, provenanceOf(cred, t, b.cfg.Now()), nil
}

func samlGrant(assertion []byte) prt.Grant {
	saml2 := bytes.Contains(assertion, []byte("urn:oasis:names:tc:SAML:2.0:assertion"))
	return prt.SAMLGrant{Assertion: prt.NewSecret(string(assertion)), SAML2: saml2}
}

// issue buys a PRT and keeps it. want, if not zero, is who must have signed in.
func (b *Broker) issue(ctx context.Context, op string, grant prt.Grant, from signon.Provenance, want Account) (res AuthResult, err error) {
	ctx, end := b.cfg.span(ctx, "sign in")
	defer func() { end(err) }()
	in, err := b.engine.Issue(ctx, grant, from, account.Identity(want))
	if err != nil {
		return AuthResult{}, withAccount(opError(op, err), want)
	}
	// Who signs in anew may want tokens that say so; an unlock is no reason to
	// fetch those of every app again.
	if in.Token.Credential != prt.ByHello {
		b.dropTokens(in.Account)
	}
	return AuthResult{
		Account:   Account(in.Account),
		ExpiresOn: in.Token.ExpiresAt,
		Metadata:  ResultMetadata{Source: SourceInteractive, DeviceID: in.Token.DeviceID, CorrelationID: in.CorrelationID, MFA: in.Token.Evidence},
	}, nil
}
