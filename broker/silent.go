package broker

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

const silentOptions = optAccount | optApp | optTenant | optClaims | optForceRefresh | optCorrelationID

// AcquireTokenSilent returns a token for scopes of one resource without the
// user: from memory, or by an exchange of the PRT. It takes WithAccount,
// WithApp, WithTenantID, WithClaims, WithForceRefresh and WithCorrelationID.
//
// A token in memory answers when it was asked for with the same scopes,
// whatever their order and case. WithClaims and WithForceRefresh go to the
// service, and the new token replaces the one in memory.
//
// When the service wants the user, the error is an ErrInteractionRequired, and
// Error.Claims is to be passed to AcquireTokenInteractive. Nothing else is: a
// network failure is an ErrTransient, a policy that no user can meet an
// ErrBlocked.
func (b *Broker) AcquireTokenSilent(ctx context.Context, scopes []string, opts ...CallOption) (AuthResult, error) {
	c, err := b.call("AcquireTokenSilent", silentOptions, opts)
	if err != nil {
		return AuthResult{}, err
	}
	if c.claims == "" && !c.forceRefresh {
		if r := b.cached(&c, scopes); r != nil {
			return *r, nil
		}
	}
	return b.acquire(ctx, c, slices.Clone(scopes))
}

// cached looks into memory and nowhere else.
func (b *Broker) cached(c *call, scopes []string) *AuthResult {
	acct := &c.account
	if acct.IsZero() {
		if acct = b.only.Load(); acct == nil {
			return nil
		}
	}
	key := cacheKey{acct.HomeAccountID, acct.Environment, c.tenant, c.app.ClientID}
	slot, r, hit := b.tokens.get(&key, scopes, b.cfg.Now())
	switch hit {
	case cacheFresh:
		return r
	case cacheDue:
		b.refreshSoon(slot, *c, slices.Clone(scopes))
		return r
	}
	return nil
}

// refreshSoon gets a new token in the background, once at a time. When that
// fails the one in memory stays, and the next call tries again.
func (b *Broker) refreshSoon(slot *cacheSlot, c call, scopes []string) {
	if !slot.refreshing.CompareAndSwap(false, true) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.background.Add(1)
	go func() {
		defer b.background.Done()
		defer slot.refreshing.Store(false)
		c.forceRefresh = true
		if _, err := b.acquire(b.ctx, c, scopes); err != nil {
			b.cfg.Logger.InfoContext(b.ctx, "refresh of a valid token failed", "client", c.app.ClientID, "error", err)
		}
	}()
}

// acquire is a silent call that memory did not answer.
func (b *Broker) acquire(ctx context.Context, c call, scopes []string) (AuthResult, error) {
	const op = "acquire token"
	if err := b.check(); err != nil {
		return AuthResult{}, err
	}
	if c.app.ClientID == "" {
		return AuthResult{}, errNoApp
	}
	resource, err := b.resource(scopes)
	if err != nil {
		return AuthResult{}, opError(op, err)
	}
	if _, err := b.loadDevice(ctx); err != nil {
		return AuthResult{}, b.about(opError(op, err), scopes, c.account)
	}
	a, rec, err := b.find(ctx, c.account)
	if err != nil {
		return AuthResult{}, b.about(opError(op, err), scopes, c.account)
	}
	q := exchangeQuery{call: c, resource: resource, asked: scopes, scopes: normalise(scopes)}
	q.key = cacheKey{rec.Account.HomeAccountID, rec.Account.Environment, c.tenant, c.app.ClientID}
	if q.tenant == "" {
		q.tenant = rec.Account.Realm
	}
	slot, have, hit := b.tokens.get(&q.key, q.scopes, b.cfg.Now())
	if hit >= cacheFresh && hit != cacheLate && c.claims == "" && !c.forceRefresh {
		b.tokens.alias(slot, scopes)
		return *have, nil
	}
	res, err := do(ctx, &b.flights, q.flight(a), func(ctx context.Context) (AuthResult, error) {
		return b.exchange(ctx, op, a, q)
	})
	if err != nil && hit == cacheLate && c.claims == "" && errors.Is(err, ErrTransient) {
		return *have, nil // a valid token is not withheld because a new one could not be had
	}
	return res, b.about(opError(op, err), scopes, rec.Account)
}

// exchangeQuery is a token request, resolved.
type exchangeQuery struct {
	call
	resource string
	asked    []string // scopes as the caller spelled them
	scopes   []string // normalised
	key      cacheKey
}

func (q *exchangeQuery) flight(a *account) string {
	return strings.Join([]string{"token", a.owner, q.tenant, q.app.ClientID, q.app.RedirectURI, strings.Join(q.scopes, " "), q.claims}, "\x00")
}

// exchange gets a token by the strongest PRT and keeps it in memory.
func (b *Broker) exchange(ctx context.Context, op string, a *account, q exchangeQuery) (AuthResult, error) {
	var res AuthResult
	err := b.withPRT(ctx, op, a, func(t *prt.Token, s prt.Session) error {
		tokens, rep, err := b.exchangeOnce(ctx, op, t, s, q)
		b.note(ctx, a, b.decision(q, t, rep, err))
		if err != nil {
			return err
		}
		res = b.result(a, t, tokens, rep)
		b.learn(ctx, a, t, tokens)
		return nil
	})
	if err != nil {
		return AuthResult{}, err
	}
	cached := res
	cached.Metadata.Source = SourceCache
	b.tokens.put(q.key, &cached, q.scopes, q.asked)
	return res, nil
}

func (b *Broker) exchangeOnce(ctx context.Context, op string, t *prt.Token, s prt.Session, q exchangeQuery) (tokens *prt.Reply, rep *reply, err error) {
	err = b.withNonce(ctx, func(nonce string) error {
		f, err := prt.ExchangeRequest{
			PRT:         t.PRT,
			Nonce:       nonce,
			ClientID:    q.app.ClientID,
			RedirectURI: b.redirectURI(q.app),
			Resource:    q.resource,
			Claims:      q.claims,
			OSVersion:   b.cfg.Device.OSVersion,
			Now:         b.cfg.Now(),
		}.Sign(ctx, s)
		if err != nil {
			return signError(op, err)
		}
		if rep, err = b.post(ctx, op, q.tenant, f, grantPRT, q.correlationID); err != nil {
			return err
		}
		if tokens, err = prt.ParseReply(ctx, rep.body, s); err != nil {
			return b.readError(op, rep, err, grantPRT)
		}
		if tokens.AccessToken.IsZero() {
			return malformed(op, rep, prt.ErrReply)
		}
		return nil
	})
	return tokens, rep, err
}

func (b *Broker) redirectURI(app App) string {
	if app.RedirectURI != "" {
		return app.RedirectURI
	}
	return "https://" + b.login.LoginHost + "/common/oauth2/nativeclient"
}

// result makes what the caller gets. A refresh token that came with the token
// is dropped: the PRT replaces it.
func (b *Broker) result(a *account, t *prt.Token, r *prt.Reply, rep *reply) AuthResult {
	r.RefreshToken.Clear()
	now := b.cfg.Now()
	res := AuthResult{
		AccessToken:   r.AccessToken.Reveal(),
		IDToken:       r.IDToken.Reveal(),
		TokenType:     "Bearer",
		ExpiresOn:     r.Expiry(now),
		GrantedScopes: slices.Clip(r.Scopes),
		Metadata:      ResultMetadata{Source: SourcePRT, DeviceID: t.DeviceID, CorrelationID: rep.correlationID, MFA: t.Evidence},
	}
	if r.RefreshIn > 0 {
		res.Metadata.RefreshOn = now.Add(r.RefreshIn)
	}
	if rec := a.snapshot(); rec != nil {
		res.Account = rec.Account
	}
	return res
}

// learn keeps what the token says about MFA where the PRT's own reply said
// nothing.
func (b *Broker) learn(ctx context.Context, a *account, t *prt.Token, r *prt.Reply) {
	if t.Evidence.MFA != claims.Unknown {
		return
	}
	tok, err := claims.Parse(r.AccessToken.Reveal())
	if err != nil || !tok.HasAMR {
		return
	}
	_, err = a.update(ctx, func(rec *accountRecord) error {
		e := rec.find(t.Credential)
		if e == nil || !e.token.PRT.Equal(t.PRT) {
			return nil
		}
		n := *e.token
		n.Evidence = n.Evidence.Merge(tok.Evidence(claims.SourceAccessToken))
		e.token = &n
		return nil
	})
	if err != nil {
		b.cfg.Logger.InfoContext(ctx, "saving what a token says about MFA failed", "error", err)
	}
}

// about adds to an error whose request it was, for the interactive one that
// follows.
func (b *Broker) about(err error, scopes []string, acct Account) error {
	var e *Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	c := *e
	c.Scopes = scopes
	if c.Account.IsZero() {
		c.Account = acct
	}
	if e.action == aadsts.StaleMFA && c.detail == "" {
		c.detail = "the MFA is stale"
	}
	return &c
}
