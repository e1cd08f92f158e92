package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/tokencache"
	"github.com/prtbroker/prtbroker/internal/clock"
	"github.com/prtbroker/prtbroker/prt"
)

const silentOptions = optAccount | optApp | optTenant | optClaims | optForceRefresh | optCorrelationID | optCAE | optPoP | optLoginHint

// AcquireTokenSilent returns a token for scopes of one resource without the
// user: from memory, or by an exchange of the PRT. It takes WithAccount,
// WithLoginHint, WithApp, WithTenantID, WithClaims, WithForceRefresh, WithCAE, WithPoP and
// WithCorrelationID.
//
// A token in memory is returned if it was asked for with the same scopes, in
// any order and case, by the same app for the same account and tenant. For a
// set that was not asked for before, it is also returned if the service granted
// all of that set; .default is answered only by a token that was asked for with
// .default. A resource that ends in a slash (https://x.example//.default) is
// different from the one without. The scopes of OpenID Connect (openid,
// profile, email, offline_access) change nothing beside others; alone they ask
// for a token for Microsoft Graph. WithClaims and WithForceRefresh go to the
// service, and the new token replaces the one in memory.
//
// A token that the service wants refreshed (RefreshOn) is returned and
// refreshed in the background. A valid token is never withheld because a new
// one could not be had.
//
// When the service wants the user, the error is an ErrInteractionRequired, and
// Error.Claims is to be passed to AcquireTokenInteractive. No other failure is:
// a network failure is an ErrTransient, a policy that no user can meet an
// ErrBlocked.
func (b *Broker) AcquireTokenSilent(ctx context.Context, scopes []string, opts ...CallOption) (AuthResult, error) {
	c := callOptions{app: b.cfg.App}
	if err := c.apply("AcquireTokenSilent", silentOptions, opts); err != nil {
		return AuthResult{}, err
	}
	if c.claims == "" && !c.forceRefresh && c.pop == nil {
		if t := b.cached(&c, scopes); t != nil {
			return t.result, nil
		}
	}
	return b.acquire(ctx, c, slices.Clone(scopes))
}

// refreshPause is how long to wait after a failed background refresh.
const refreshPause = time.Minute

// cached looks only into memory.
func (b *Broker) cached(c *callOptions, scopes []string) *cachedToken {
	acct := &c.account
	if acct.HomeAccountID == "" {
		meant := acct.PreferredUsername
		if meant == "" {
			meant = c.loginHint
		}
		if acct = (*Account)(b.book.Only()); acct == nil || meant != "" && !strings.EqualFold(meant, acct.PreferredUsername) {
			return nil
		}
	}
	k := c.key(acct)
	now := b.cfg.Now()
	e, state := b.tokens.Get(&k, scopes, now)
	switch state {
	case tokencache.Fresh:
		return e.Value
	case tokencache.Stale:
		b.refreshSoon(e.Value, *c, scopes, now)
		return e.Value
	}
	return nil
}

// key is what a token is kept under, apart from its scopes.
func (c *callOptions) key(acct *Account) tokencache.Key {
	k := tokencache.Key{
		Account:     acct.HomeAccountID,
		Environment: acct.Environment,
		Tenant:      c.tenant,
		Client:      c.app.ClientID,
		CAE:         c.cae,
	}
	if k.Tenant == "" {
		k.Tenant = acct.Realm
	}
	return k
}

// refreshSoon gets a new token in the background, one at a time and not
// immediately after a failure. Meanwhile the one in memory is served.
func (b *Broker) refreshSoon(t *cachedToken, c callOptions, scopes []string, now time.Time) {
	last := t.notBefore.Load()
	if now.UnixNano() < last || !t.notBefore.CompareAndSwap(last, now.Add(refreshPause).UnixNano()) {
		return
	}
	b.goBackground(c, slices.Clone(scopes), t)
}

func (b *Broker) goBackground(c callOptions, scopes []string, t *cachedToken) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.background.Go(func() {
		c.forceRefresh = true
		_, err := b.acquire(b.ctx, c, scopes)
		if err == nil || b.ctx.Err() != nil {
			return
		}
		wait := refreshPause
		var e *Error
		if errors.As(err, &e) {
			wait = max(wait, e.RetryAfter)
		}
		t.notBefore.Store(b.cfg.Now().Add(wait).UnixNano())
		b.cfg.Logger.InfoContext(b.ctx, "refresh of a valid token failed", "client", c.app.ClientID, "error", err)
	})
}

// A tokenRequest is a call for a token, resolved.
type tokenRequest struct {
	callOptions
	key      tokencache.Key
	set      tokencache.Set
	scopes   []string // as the caller wrote them
	resource string   // as the caller wrote it
	tenant   string
	pop      *proofKey // nil: a bearer token
}

// resolveApp determines the app and scopes that a token is asked for.
func (b *Broker) resolveApp(ctx context.Context, c callOptions, scopes []string) (tokenRequest, error) {
	q := tokenRequest{callOptions: c, scopes: scopes, tenant: c.tenant}
	if c.app.ClientID == "" {
		return q, errNoApp
	}
	if q.tenant == "" {
		q.tenant = b.cfg.Tenant
	}
	var err error
	if q.set, q.resource, err = b.scopeSet(scopes); err != nil {
		return q, err
	}
	if err := c.checkClaims(); err != nil {
		return q, err
	}
	if c.pop != nil {
		if q.pop, err = b.keyFor(ctx, *c.pop); err != nil {
			return q, err
		}
	}
	return q, nil
}

// resolve determines whose token is asked for, and for what.
func (b *Broker) resolve(ctx context.Context, c callOptions, scopes []string) (*account.Account, tokenRequest, error) {
	q, err := b.resolveApp(ctx, c, scopes)
	if err != nil {
		return nil, q, err
	}
	a, rec, err := b.accountFor(ctx, c.meant())
	if err != nil {
		return nil, q, err
	}
	q.belongsTo(Account(rec.Account))
	return a, q, nil
}

// meant is the account whose token is asked for: the one that the caller names,
// or that of the login hint.
func (c *callOptions) meant() Account {
	if c.account.IsZero() {
		return Account{PreferredUsername: c.loginHint}
	}
	return c.account
}

// belongsTo names the account of a request.
func (q *tokenRequest) belongsTo(acct Account) {
	q.account = acct
	q.key = q.callOptions.key(&acct)
	q.tenant = q.key.Tenant
	if q.pop != nil {
		q.key.Scheme, q.key.PoPKey = tokencache.PoP, q.pop.thumbprint
	}
}

// scopeSet returns the scopes in one spelling and their resource as written.
func (b *Broker) scopeSet(scopes []string) (tokencache.Set, string, error) {
	set, err := tokencache.Normalize(scopes, b.cfg.Cloud.graph())
	if err != nil {
		return nil, "", &Error{kind: ErrAppConfig, detail: err.Error(), Scopes: scopes}
	}
	for _, s := range scopes {
		if r := tokencache.ResourceOf(s); strings.EqualFold(r, set.Resource()) {
			return set, r, nil
		}
	}
	return set, b.cloud().Graph(), nil
}

// resource returns the one resource that the scopes belong to.
func (b *Broker) resource(scopes []string) (string, error) {
	_, r, err := b.scopeSet(scopes)
	return r, err
}

// acquire serves a silent call that memory did not answer.
func (b *Broker) acquire(ctx context.Context, c callOptions, scopes []string) (res AuthResult, err error) {
	const op = "acquire token"
	ctx, end := b.cfg.span(ctx, op)
	defer func() { end(err) }()
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return AuthResult{}, err
	}
	defer leave(&err)
	a, q, err := b.resolve(ctx, c, scopes)
	if errors.Is(err, ErrNoAccount) && !b.cfg.AllowUnbound {
		// On a machine without a registration, that is the first thing missing.
		if _, derr := b.devices.Load(ctx); derr != nil {
			err = derr
		}
	}
	if err != nil {
		return AuthResult{}, about(opError(op, err), scopes, c.account)
	}
	res, err = b.serve(ctx, op, a, q)
	if err != nil {
		return AuthResult{}, about(namingRedirect(opError(op, err), q.app.redirect(b.cloud())), scopes, q.account)
	}
	res, err = q.present(ctx, b.sts.Now, res)
	return res, opError(op, err)
}

// serve answers from memory if it can, and otherwise from the service, with one
// request for all callers that ask for the same token at the same time.
func (b *Broker) serve(ctx context.Context, op string, a *account.Account, q tokenRequest) (AuthResult, error) {
	var have *tokencache.Entry[*cachedToken]
	if q.claims == "" && !q.forceRefresh {
		now := b.cfg.Now()
		e, state := b.tokens.Serve(&q.key, q.set, now)
		switch state {
		case tokencache.Fresh:
			return e.Value.result, nil
		case tokencache.Stale:
			b.refreshSoon(e.Value, q.callOptions, q.scopes, now)
			return e.Value.result, nil
		case tokencache.Closing:
			have = e
		}
	}
	res, err := do(ctx, &b.flights, q.flight(a), func(ctx context.Context) (AuthResult, error) {
		return b.obtain(ctx, op, a, q)
	})
	if err != nil && have != nil && clock.Left(have.ExpiresOn, b.cfg.Now()) > 0 {
		return have.Value.result, nil
	}
	return res, err
}

// flight is the key by which equal requests are recognized.
func (q *tokenRequest) flight(a *account.Account) string {
	flags := "token"
	if q.forceRefresh {
		flags += "!"
	}
	if q.cae {
		flags += "c"
	}
	if q.anew {
		flags += "a"
	}
	return strings.Join([]string{flags, a.Name(), q.tenant, q.app.ClientID, q.app.RedirectURI, q.key.PoPKey, strings.Join(q.set, " "), q.claims}, "\x00")
}

// obtain gets a token that memory does not have: one that another process kept,
// or one from the service, with the PRT or, on a machine without a
// registration, with a plain refresh token.
func (b *Broker) obtain(ctx context.Context, op string, a *account.Account, q tokenRequest) (AuthResult, error) {
	kept, release := b.tokens.ofOthers(ctx, a, &q)
	defer release()
	if kept != nil {
		return *kept, nil
	}
	heard, said := b.refusals.before(a, &q, b.cfg.Now)
	if said != nil {
		return AuthResult{}, said
	}
	var res AuthResult
	_, err := b.devices.Current(ctx)
	switch {
	case b.cfg.AllowUnbound && errors.Is(err, device.ErrNone):
		res, err = b.redeem(ctx, op, a, q)
	case err == nil:
		err = opError(op, b.engine.Use(ctx, a, func(t *prt.Token, s prt.Session) error {
			x, err := b.exchangeRequest(q)
			if err != nil {
				return err
			}
			tokens, rep, err := b.engine.Exchange(ctx, a, t, s, x)
			b.note(a, b.cfg.observation(q, t, rep, opError(op, err)))
			if err != nil {
				return err
			}
			b.engine.Learn(ctx, a, t, tokens)
			if rec := a.Record(); rec != nil {
				q.account = Account(rec.Account) // under its current name
			}
			res = b.cfg.result(q, t, tokens, rep)
			return q.checkGranted(op, b.cfg.Cloud.graph(), &res)
		}))
	}
	heard(err)
	if err == nil {
		err = b.tokens.keep(op, a, q, res)
	}
	if err != nil {
		b.tokens.dropRefused(ctx, a, &q, err)
		return AuthResult{}, err
	}
	b.tokens.keepInStore(ctx, a, &q, res)
	return res, nil
}

// about adds the scopes and account of the request to an error, for the
// interactive call that follows.
func about(err error, scopes []string, acct Account) error {
	var e *Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	c := *e
	c.Scopes = scopes
	if c.Account.IsZero() {
		c.Account = acct
	}
	return &c
}

// redirectMismatch is the code of a redirect that the app did not register.
const redirectMismatch = 50011

// namingRedirect adds the redirect of the request to the error that the app has
// not registered it.
func namingRedirect(err error, uri string) error {
	var e *Error
	if !errors.As(err, &e) || e.Code != redirectMismatch {
		return err
	}
	if uri == NativeClientRedirect {
		uri += " (NativeClientRedirect)"
	}
	c := *e
	c.detail = "the app's registration lacks the redirect URI " + uri + " under mobile and desktop applications"
	return &c
}
