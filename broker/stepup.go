package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// AcquireTokenInteractive returns a token for scopes of one resource, with the
// user where that is needed. It takes what AcquireTokenSilent takes, and
// WithLoginHint and WithNewSignIn.
//
// Without WithClaims and WithNewSignIn it asks silently first, so that no one
// is prompted needlessly. What the service then wants decides:
//
//   - MFA, or a new sign-in: a step-up of the PRT. Where the account has a
//     Hello key and that can be enough, Prompter.PIN asks for its PIN. Else,
//     or where PIN returns errors.ErrUnsupported, the user signs in for the
//     broker client by Prompter.Authorize or, where that returns
//     errors.ErrUnsupported, by Prompter.DeviceCode. A new PRT carries the
//     claim and serves all apps silently. MFA that is done for the app's own
//     client would not reach the PRT.
//   - Consent or another step on the page of the app: the authorize page for
//     the app's own client, whose redirect URI Prompter.Authorize must be able
//     to bring back.
//
// An error that no user can change, such as a policy that blocks, is returned
// without a prompt.
func (b *Broker) AcquireTokenInteractive(ctx context.Context, scopes []string, opts ...CallOption) (_ AuthResult, err error) {
	const op = "acquire token"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return AuthResult{}, err
	}
	defer leave(&err)
	c, err := b.cfg.options("AcquireTokenInteractive", silentOptions|optLoginHint|optNewSignIn, opts)
	if err != nil {
		return AuthResult{}, err
	}
	why := &Error{action: aadsts.StepUp, Claims: c.claims}
	if c.claims == "" && c.newSignIn {
		why = &Error{Op: op, kind: ErrInteractionRequired, action: aadsts.SignInAgain, Scopes: scopes, Account: c.account, detail: "a new sign-in was requested"}
	} else if c.claims == "" {
		c.anew = true // one more request is better than a needless prompt
		res, err := b.acquire(ctx, c, scopes)
		if !errors.Is(err, ErrInteractionRequired) {
			return res, err
		}
		errors.As(err, &why)
	}
	if b.cfg.Prompter == nil {
		if c.claims != "" {
			why = &Error{Op: op, kind: ErrInteractionRequired, Claims: c.claims, Scopes: scopes, Account: c.account, detail: "user interaction is required, and Config.Prompter is nil"}
		}
		return AuthResult{}, why
	}
	if b.unregistered(ctx) {
		res, err := b.interactiveUnbound(ctx, op, c, scopes)
		return res, about(namingRedirect(opError(op, err), c.app.redirect(b.cloud())), scopes, c.account)
	}
	if isConsent(why) {
		res, err := b.interactiveApp(ctx, op, c, scopes, why.Claims)
		return res, about(namingRedirect(opError(op, err), c.app.redirect(b.cloud())), scopes, c.account)
	}
	steps := []func(context.Context, string, callOptions, *Error) (Account, error){b.stepUpByHello, b.stepUp}
	if c.newSignIn {
		steps = steps[1:] // any user may sign in
	}
	for _, step := range steps {
		acct, err := step(ctx, op, c, why)
		if errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if err != nil {
			return AuthResult{}, about(opError(op, err), scopes, c.account)
		}
		c.account, c.forceRefresh = acct, true
		res, err := b.acquire(ctx, c, scopes)
		if !errors.Is(err, ErrInteractionRequired) {
			return interactive(res, err)
		}
		errors.As(err, &why)
		if isConsent(why) {
			res, err = b.interactiveApp(ctx, op, c, scopes, why.Claims)
			return res, about(namingRedirect(opError(op, err), c.app.redirect(b.cloud())), scopes, acct)
		}
		// the Hello key was not enough
	}
	return AuthResult{}, why
}

// isConsent reports whether the app's own page is needed, rather than a
// stronger PRT.
func isConsent(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == 65001 || e.SubError == "consent_required" || e.OAuth == "consent_required")
}

// errNoPIN: there is no Hello key, or it does not help.
var errNoPIN = fmt.Errorf("broker: no step-up with a PIN: %w", errors.ErrUnsupported)

// stepUpByHello gets a new PRT with the PIN of the Hello key. Such a sign-in is
// MFA, but not MFA that the user was prompted for just now (ngcmfa), and it
// does not help where a PRT from that key was not enough.
func (b *Broker) stepUpByHello(ctx context.Context, op string, c callOptions, why *Error) (Account, error) {
	want := c.meant()
	if want.IsZero() {
		want = why.Account
	}
	_, rec, err := b.accountFor(ctx, want)
	if err != nil || rec.Hello == nil || rec.Hello.Refused != nil {
		return Account{}, errNoPIN // the user signs in on the page
	}
	if asked, err := claims.ParseRequest(c.claims); err != nil || slices.Contains(asked.AMR(), "ngcmfa") {
		return Account{}, errNoPIN
	}
	tried := slices.ContainsFunc(b.engine.Choices(rec), func(p account.PRT) bool {
		return p.Token.Credential == prt.ByHello && p.Token.State(b.cfg.Now()) != prt.Expired
	})
	if tried && why.action == aadsts.StepUp && c.claims == "" {
		return Account{}, errNoPIN
	}
	pin, err := b.signIns.promptPIN(ctx, Account(rec.Account))
	if err != nil {
		return Account{}, err
	}
	defer clear(pin)
	res, err := b.signInHello(ctx, op, Account(rec.Account), pin, 0)
	return res.Account, err
}

// stepUp gets a new PRT with what the service asked for: by the authorize page
// for the broker client, or by a device code.
func (b *Broker) stepUp(ctx context.Context, op string, c callOptions, why *Error) (Account, error) {
	hint := c.loginHint
	want := c.account
	if want.IsZero() && !account.Identity(why.Account).ByName() { // a hint is not binding: it may be another name of the user
		want = why.Account
	}
	a, rec, err := b.accountFor(ctx, want)
	if hint == "" && !want.IsZero() {
		hint = newestName(want, rec)
	}
	page := AuthCode{LoginHint: hint, MFA: needsMFA(why), again: why.Code == 70043}
	var was aadsts.Verdict
	if why.action == aadsts.Interact {
		was, page.only = blockedAs(why.Code) // another device code would be refused as well
	}
	signIn := func(ctx context.Context) (Account, error) { return b.stepUpByPage(ctx, op, page, want) }
	var acct Account
	if err != nil || c.newSignIn { // the user who signs in may be new here
		acct, err = signIn(ctx)
	} else {
		acct, err = do(ctx, &b.flights, c.stepUpKey(a, page), signIn)
	}
	if page.only && errors.Is(err, errors.ErrUnsupported) {
		refused := *why
		refused.kind, refused.action, refused.Verdict = sentinels[was], was, Verdict(was.String())
		return Account{}, &refused
	}
	return acct, err
}

// newestName is the user name to fill in for an account, which the caller may
// have kept from before the user was renamed. The record is the account's; nil if
// it has none.
func newestName(acct Account, rec *account.Record) string {
	if rec != nil {
		return rec.Account.PreferredUsername
	}
	return acct.PreferredUsername
}

// stepUpKey identifies a step-up: calls that want the same of the same user at
// the same time share one prompt, since it serves them all. A call that ends
// leaves the prompt to the others.
func (c *callOptions) stepUpKey(a *account.Account, page AuthCode) string {
	return fmt.Sprintf("step up %q %q %q %q %x %q %v", a.Name(), c.app.ClientID, c.app.RedirectURI, c.claims, generation(a),
		page.LoginHint, []bool{page.MFA, page.again, page.only})
}

// blockedAs reports whether a code says that a policy or an administrator
// refuses, and with which verdict.
func blockedAs(code int) (aadsts.Verdict, bool) {
	row, _ := aadsts.Lookup(code)
	return row.Verdict, row.Verdict == aadsts.Blocked || row.Verdict == aadsts.DeviceNotCompliant
}

// stepUpByPage gets a new PRT by a sign-in on the page or, where no page can be
// shown, by a device code.
func (b *Broker) stepUpByPage(ctx context.Context, op string, page AuthCode, want Account) (Account, error) {
	cred := Credential(page)
	t, err := b.signIns.byAuthCode(ctx, op, wire.ResourceUpdatePRT, page)
	if errors.Is(err, errors.ErrUnsupported) && !page.only {
		cred = DeviceCodeFlow{MFA: page.MFA}
		t, err = b.signIns.byDeviceCode(ctx, op, wire.ResourceRegistrationApp, page.MFA)
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
// has ended needs the user, but MFA only where the page asks for it.
func needsMFA(e *Error) bool {
	switch e.action {
	case aadsts.StepUp, aadsts.StaleMFA:
		return true
	case aadsts.Interact:
		return e.Code != 0
	}
	return false
}

// interactiveApp signs in at the authorize page for the app's own client; asked are the
// claims that the service asked for, unless the caller asks for others. The token does
// not come from the PRT, and the refresh token is dropped.
func (b *Broker) interactiveApp(ctx context.Context, op string, c callOptions, scopes []string, asked string) (AuthResult, error) {
	a, q, err := b.resolve(ctx, c, scopes)
	if err != nil {
		return AuthResult{}, err
	}
	if q.claims == "" {
		q.claims = asked
	}
	wanted, err := q.claimsRequest()
	if err != nil {
		return AuthResult{}, err
	}
	r, err := b.signIns.visit(ctx, op, nil, q.visit(b.cloud(), q.account.PreferredUsername, wanted))
	if err != nil {
		return AuthResult{}, err
	}
	if !isOf(r, q.account) {
		return AuthResult{}, &Error{Op: op, kind: ErrInteractionRequired, detail: "another user signed in than the one who was asked for"}
	}
	if r.AccessToken.IsZero() {
		return AuthResult{}, &Error{Op: op, detail: "the reply has no access token"}
	}
	if err := q.checkBound(op, r); err != nil {
		return AuthResult{}, err
	}
	res := b.cfg.result(q, &prt.Token{}, r, &sts.Reply{})
	res.Metadata.Source = SourceInteractive
	if err := b.tokens.keep(op, a, q, res); err != nil {
		return AuthResult{}, err
	}
	return q.present(ctx, b.sts.Now, res)
}

// isOf reports whether a reply names the account.
func isOf(r *prt.Reply, acct Account) bool {
	home := r.HomeAccountID()
	return home != "" && strings.EqualFold(home, acct.HomeAccountID)
}

// interactiveUnbound signs in for the app's own client on a machine without a
// registration.
func (b *Broker) interactiveUnbound(ctx context.Context, op string, c callOptions, scopes []string) (AuthResult, error) {
	q, err := b.resolveApp(ctx, c, scopes)
	if err != nil {
		return AuthResult{}, err
	}
	hint := c.loginHint
	if hint == "" && !c.account.IsZero() {
		_, rec, _ := b.accountFor(ctx, c.account) // without a record, the name that the caller has
		hint = newestName(c.account, rec)
	}
	res, err := b.signInUnbound(ctx, op, AuthCode{LoginHint: hint}, q)
	if errors.Is(err, errors.ErrUnsupported) {
		return b.signInUnbound(ctx, op, DeviceCodeFlow{}, q)
	}
	return res, err
}
