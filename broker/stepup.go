package broker

import (
	"context"
	"errors"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// AcquireTokenInteractive returns a token for scopes of one resource, with the
// user where that is needed. It takes what AcquireTokenSilent takes, and
// WithLoginHint.
//
// Without WithClaims it asks silently first, so that nobody is prompted who
// need not be. What the service then wants decides:
//
//   - MFA, or a new sign-in: a step-up of the PRT. The user signs in for the
//     broker client by Prompter.Authorize or, where that returns
//     errors.ErrUnsupported, by Prompter.DeviceCode. A new PRT carries the
//     claim and serves all apps silently. MFA that is done for the app's own
//     client would not reach the PRT.
//   - Consent or another step on the page of the app: the authorize page for
//     the app's own client, whose redirect URI Prompter.Authorize must be able
//     to bring back.
//
// Whatever no user can change, such as a policy that blocks, is returned
// without a prompt.
func (b *Broker) AcquireTokenInteractive(ctx context.Context, scopes []string, opts ...CallOption) (AuthResult, error) {
	const op = "acquire token"
	c, err := b.call("AcquireTokenInteractive", silentOptions|optLoginHint, opts)
	if err != nil {
		return AuthResult{}, err
	}
	var why error = &Error{action: aadsts.StepUp, Claims: c.claims}
	if c.claims == "" {
		res, err := b.acquire(ctx, c, scopes)
		if !errors.Is(err, ErrInteractionRequired) {
			return res, err
		}
		why = err
	}
	if b.cfg.Prompter == nil {
		if c.claims != "" {
			why = &Error{Op: op, kind: ErrInteractionRequired, Claims: c.claims, Scopes: scopes, Account: c.account, detail: "the user is needed, and Config.Prompter is nil"}
		}
		return AuthResult{}, why
	}
	if b.unregistered(ctx) {
		res, err := b.interactiveUnbound(ctx, op, c, scopes)
		return res, b.about(opError(op, err), scopes, c.account)
	}
	if isConsent(why) {
		res, err := b.interactiveApp(ctx, op, c, scopes, why)
		return res, b.about(opError(op, err), scopes, c.account)
	}
	acct, err := b.stepUp(ctx, op, c, why)
	if err != nil {
		return AuthResult{}, b.about(opError(op, err), scopes, c.account)
	}
	c.account, c.forceRefresh = acct, true
	res, err := b.acquire(ctx, c, scopes)
	if errors.Is(err, ErrInteractionRequired) && isConsent(err) {
		res, err = b.interactiveApp(ctx, op, c, scopes, err)
		return res, b.about(opError(op, err), scopes, acct)
	}
	return interactive(res, err)
}

// isConsent reports whether the page of the app is needed, and not a stronger
// PRT.
func isConsent(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == 65001 || e.SubError == "consent_required" || e.OAuth == "consent_required")
}

// stepUp gets a new PRT with what the service asked for: by the Hello key if
// there is one, by the authorize page for the broker client, by a device code.
func (b *Broker) stepUp(ctx context.Context, op string, c call, why error) (Account, error) {
	var e *Error
	errors.As(why, &e)
	hint := c.loginHint
	want := c.account
	if want.IsZero() && e != nil {
		want = e.Account
	}
	if hint == "" {
		hint = want.PreferredUsername
	}
	mfa := needsMFA(e)
	cred := Credential(AuthCode{MFA: mfa})
	t, err := b.byAuthCode(ctx, op, wire.ResourceUpdatePRT, hint, "", mfa)
	if errors.Is(err, errors.ErrUnsupported) {
		cred = DeviceCodeFlow{MFA: mfa}
		t, err = b.byDeviceCode(ctx, op, b.registrationResource(), mfa)
	}
	if err != nil {
		return Account{}, err
	}
	from := provenanceOf(cred, t, b.cfg.Now())
	res, err := b.issue(ctx, op, prt.RefreshTokenGrant{Token: t.RefreshToken}, from, want)
	if err != nil {
		return Account{}, err
	}
	return res.Account, nil
}

// needsMFA reports whether the sign-in must show MFA that is fresh. A PRT that
// is over needs the user, and MFA only where the page asks for it.
func needsMFA(e *Error) bool {
	if e == nil {
		return false
	}
	switch e.action {
	case aadsts.StepUp, aadsts.StaleMFA:
		return true
	case aadsts.Interact:
		return e.Code != 0
	}
	return false
}

// interactiveApp signs in at the authorize page for the app's own client. The
// token does not come of the PRT, and the refresh token is dropped.
func (b *Broker) interactiveApp(ctx context.Context, op string, c call, scopes []string, why error) (AuthResult, error) {
	_, q, err := b.resolve(ctx, c, scopes)
	if err != nil {
		return AuthResult{}, err
	}
	var e *Error
	if errors.As(why, &e) && q.claims == "" {
		q.claims = e.Claims
	}
	wanted, err := q.claimsRequest()
	if err != nil {
		return AuthResult{}, err
	}
	r, err := b.authorize(ctx, b.appAuthorization(op, q, q.account.PreferredUsername, wanted))
	if err != nil {
		return AuthResult{}, err
	}
	if got := r.ClientInfo.HomeAccountID(); got != "" && got != q.account.HomeAccountID {
		return AuthResult{}, &Error{Op: op, kind: ErrInteractionRequired, detail: "another user signed in than the one who was asked for"}
	}
	if r.AccessToken.IsZero() {
		return AuthResult{}, &Error{Op: op, detail: "the reply has no access token"}
	}
	if q.pop != nil {
		// The page gives bearer tokens, and now the PRT gives a bound one.
		c.forceRefresh = true
		return interactive(b.acquire(ctx, c, scopes))
	}
	res := b.result(q, &prt.Token{}, r, &reply{})
	res.Metadata.Source = SourceInteractive
	b.remember(q, res)
	return res, nil
}

// interactiveUnbound signs in for the app's own client on a machine without a
// registration.
func (b *Broker) interactiveUnbound(ctx context.Context, op string, c call, scopes []string) (AuthResult, error) {
	q, err := b.resolveApp(ctx, c, scopes)
	if err != nil {
		return AuthResult{}, err
	}
	hint := c.loginHint
	if hint == "" {
		hint = c.account.PreferredUsername
	}
	res, err := b.signInUnbound(ctx, op, AuthCode{LoginHint: hint}, q)
	if errors.Is(err, errors.ErrUnsupported) {
		return b.signInUnbound(ctx, op, DeviceCodeFlow{}, q)
	}
	return res, err
}
