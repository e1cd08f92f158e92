package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/tokencache"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
)

// Config.KeepTokens: tokens in the store, for the next process.

const (
	// othersWait bounds how long a call waits for another process that asks the
	// service for the same. After it the call asks by itself.
	othersWait = 10 * time.Second
	// keepWait bounds how long a store may hold up a token that is there.
	keepWait = 2 * time.Second
)

// keeps says whether tokens of a request are kept in the store.
func (b *Broker) keeps(q *tokenRequest) bool { return b.cfg.KeepTokens && q.pop == nil }

// fromStore answers from what another process kept. A store that fails is no
// error here: the service answers then.
func (b *Broker) fromStore(ctx context.Context, a *account.Account, q *tokenRequest) (AuthResult, bool) {
	tokens, err := a.Tokens(ctx)
	if err != nil {
		b.cfg.Logger.InfoContext(ctx, "kept tokens cannot be read", "error", err)
		return AuthResult{}, false
	}
	if rec := a.Record(); rec == nil || rec.Locked() || !b.book.Holds(a) {
		return AuthResult{}, false
	}
	for _, t := range tokens {
		b.bringBackToken(q.account, t)
	}
	e, state := b.tokens.Serve(&q.key, q.set, b.cfg.Now())
	if state != tokencache.Fresh && state != tokencache.Stale {
		return AuthResult{}, false
	}
	return e.Value.result, true
}

// alone keeps other processes from asking the service for the same. What it
// returns is called when the token is in the store. It does not wait for ever:
// a process that was stopped while it asks holds up nobody.
func (c *Config) alone(ctx context.Context, a *account.Account, q *tokenRequest) (release func()) {
	release, err := vault.Lease(ctx, c.Store, a.Name()+".tokens-"+q.bucket(), othersWait)
	if err != nil {
		return func() {}
	}
	return release
}

// bucket names one of sixteen leases, so that requests for different tokens
// seldom wait for each other and the store has few names.
func (q *tokenRequest) bucket() string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{q.tenant, q.app.ClientID}, q.set...), "\x00")))
	return hex.EncodeToString(sum[:1])[:1]
}

// keepInStore keeps a token for the next process. The token is there already:
// what goes wrong is logged.
func (c *Config) keepInStore(ctx context.Context, a *account.Account, q *tokenRequest, r AuthResult) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepWait)
	defer cancel()
	now := c.Now()
	t := q.kept(r)
	t.At = now
	if err := a.KeepToken(ctx, t, now); err != nil {
		c.Logger.InfoContext(ctx, "a token cannot be kept", "client", q.app.ClientID, "error", err)
	}
}

// kept is a result as it is kept.
func (q *tokenRequest) kept(r AuthResult) account.KeptToken {
	return account.KeptToken{
		Tenant: q.key.Tenant, Client: q.key.Client, CAE: q.key.CAE, Scopes: q.set,
		AccessToken: r.AccessToken, IDToken: r.IDToken, ExpiresOn: r.ExpiresOn, RefreshOn: r.Metadata.RefreshOn, Granted: r.GrantedScopes,
		DeviceID: r.Metadata.DeviceID, CorrelationID: r.Metadata.CorrelationID, MFA: r.Metadata.MFA,
	}
}

// dropChallenged drops the kept tokens of a resource that answered one of them
// with a claims challenge.
func (c *Config) dropChallenged(ctx context.Context, a *account.Account, q *tokenRequest) {
	resource := q.set.Resource()
	err := a.DropTokens(ctx, func(t account.KeptToken) bool {
		return t.Client == q.key.Client && t.Tenant == q.key.Tenant && strings.EqualFold(tokencache.Set(t.Scopes).Resource(), resource)
	})
	if err != nil {
		c.Logger.InfoContext(ctx, "challenged tokens cannot be dropped", "client", q.app.ClientID, "error", err)
	}
}

// dropRefused erases the kept tokens when the service does not accept the user,
// the device or the PRT any more.
func (c *Config) dropRefused(ctx context.Context, a *account.Account, err error) {
	for _, over := range []error{ErrPRTRevoked, ErrUserDisabled, ErrUserNotFound, ErrDeviceDisabled, ErrDeviceGone} {
		if !errors.Is(err, over) {
			continue
		}
		if err := a.EraseTokens(context.WithoutCancel(ctx)); err != nil {
			c.Logger.InfoContext(ctx, "kept tokens cannot be erased", "error", err)
		}
		return
	}
}
