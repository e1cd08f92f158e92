package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/tokencache"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/internal/clock"
)

// heldTokens holds the tokens that apps got: in memory, in the store for the
// next process (Config.KeepTokens), and under the offline key for a start
// without a network. All of it is a cache: if it is lost, the service issues
// new ones.
type heldTokens struct {
	*tokencache.Cache[*cachedToken]
	cfg  *Config
	book *account.Book
}

// cachedToken is a token in memory.
type cachedToken struct {
	result AuthResult
	// notBefore is when the next refresh in the background may begin, in
	// nanoseconds of the Unix time.
	notBefore atomic.Int64
}

const (
	// othersWait bounds how long a call waits for another process that asks the
	// service for the same token. After that the call asks by itself.
	othersWait = 10 * time.Second
	// keepWait bounds how long a store may hold up a token that was obtained.
	keepWait = 2 * time.Second
)

// inMemory returns the token in memory that answers a silent call.
func (h *heldTokens) inMemory(c *callOptions, scopes []string, now time.Time) (AuthResult, bool) {
	set, err := tokencache.Normalize(scopes, h.cfg.Cloud.graph())
	if err != nil {
		return AuthResult{}, false
	}
	k := c.key(&c.account)
	e, state := h.Serve(&k, set, now)
	if state != tokencache.Fresh && state != tokencache.Stale {
		return AuthResult{}, false
	}
	return e.Value.result, true
}

// keep keeps a token in memory, unless the account was removed or locked
// while it was under way.
func (h *heldTokens) keep(op string, a *account.Account, q tokenRequest, res AuthResult) error {
	if rec := a.Record(); rec != nil {
		res.Account = Account(rec.Account) // the user may have been renamed meanwhile
	}
	h.remember(q, res)
	var err error // checked afterwards: Lock drops what is in memory
	if !h.book.Holds(a) {
		err = &Error{Op: op, kind: ErrNoAccount, Account: q.account}
	} else if rec := a.Record(); rec != nil && rec.Locked() {
		err = obituary(op, rec)
	}
	if err != nil {
		h.DropAccount(q.account.HomeAccountID, q.account.Environment)
	}
	return err
}

// remember keeps a token in memory, replacing the one for the same request.
func (h *heldTokens) remember(q tokenRequest, res AuthResult) {
	t := &cachedToken{result: res}
	t.result.Metadata.Source = SourceCache
	h.Put(&q.key, q.set, tokencache.Entry[*cachedToken]{
		Value:     t,
		ExpiresOn: res.ExpiresOn,
		RefreshOn: res.Metadata.RefreshOn,
		Granted:   res.GrantedScopes,
	}, h.cfg.Now())
}

// rename puts a user's new names into the tokens in memory, which name their
// account.
func (h *heldTokens) rename(id account.Identity) {
	h.Change(id.HomeAccountID, id.Environment, func(t *cachedToken) *cachedToken {
		n := &cachedToken{result: t.result}
		n.result.Account = Account(id)
		n.notBefore.Store(t.notBefore.Load())
		return n
	})
}

// drop drops the tokens in memory of an account.
func (h *heldTokens) drop(id account.Identity) {
	h.DropAccount(id.HomeAccountID, id.Environment)
}

// keeps reports whether tokens of a request are kept in the store.
func (h *heldTokens) keeps(q *tokenRequest) bool { return h.cfg.KeepTokens && q.pop == nil }

// ofOthers returns a token that another call or, through the store, another
// process has got meanwhile. If there is none, the caller asks the service, and
// until it calls release other processes do not ask for the same token.
func (h *heldTokens) ofOthers(ctx context.Context, a *account.Account, q *tokenRequest) (kept *AuthResult, release func()) {
	release = func() {}
	anew := q.claims != "" || q.forceRefresh
	if !anew {
		// A flight may have landed just before this one took off.
		if e, state := h.Serve(&q.key, q.set, h.cfg.Now()); state == tokencache.Fresh {
			return &e.Value.result, release
		}
	}
	if !h.keeps(q) {
		return nil, release
	}
	if q.claims != "" {
		h.dropChallenged(ctx, a, q)
	}
	if anew {
		return nil, release
	}
	if res, ok := h.fromStore(ctx, a, q); ok {
		return &res, release
	}
	release = h.alone(ctx, a, q)
	if res, ok := h.fromStore(ctx, a, q); ok {
		return &res, release // another process was faster
	}
	return nil, release
}

// fromStore answers with a token that another process kept. A store that fails
// is not an error here: the service answers then.
func (h *heldTokens) fromStore(ctx context.Context, a *account.Account, q *tokenRequest) (AuthResult, bool) {
	tokens, err := a.Tokens(ctx)
	if err != nil {
		h.cfg.Logger.InfoContext(ctx, "kept tokens cannot be read", "error", err)
		return AuthResult{}, false
	}
	if rec := a.Record(); rec == nil || rec.Locked() || !h.book.Holds(a) {
		return AuthResult{}, false
	}
	for _, t := range tokens {
		h.bringBackToken(q.account, t)
	}
	e, state := h.Serve(&q.key, q.set, h.cfg.Now())
	if state != tokencache.Fresh && state != tokencache.Stale {
		return AuthResult{}, false
	}
	return e.Value.result, true
}

// alone keeps other processes from asking the service for the same token until
// release is called, once the token is in the store. It does not wait forever:
// a process that was stopped while it asks must not hold up the others.
func (h *heldTokens) alone(ctx context.Context, a *account.Account, q *tokenRequest) (release func()) {
	release, err := vault.Lease(ctx, h.cfg.Store, a.Name()+".tokens-"+q.bucket(), othersWait)
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

// keepInStore keeps a token for the next process, if that is configured. The
// caller has the token already: errors are only logged.
func (h *heldTokens) keepInStore(ctx context.Context, a *account.Account, q *tokenRequest, r AuthResult) {
	if !h.keeps(q) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepWait)
	defer cancel()
	now := h.cfg.Now()
	t := q.kept(r)
	t.At = now
	if err := a.KeepToken(ctx, t, now); err != nil {
		h.cfg.Logger.InfoContext(ctx, "a token cannot be kept", "client", q.app.ClientID, "error", err)
	}
}

// kept converts a result to the form in which it is stored.
func (q *tokenRequest) kept(r AuthResult) account.KeptToken {
	return account.KeptToken{
		Tenant: q.key.Tenant, Client: q.key.Client, CAE: q.key.CAE, Scopes: q.set,
		AccessToken: r.AccessToken, IDToken: r.IDToken, ExpiresOn: r.ExpiresOn, RefreshOn: r.Metadata.RefreshOn, Granted: r.GrantedScopes,
		DeviceID: r.Metadata.DeviceID, CorrelationID: r.Metadata.CorrelationID, MFA: r.Metadata.MFA,
	}
}

// dropChallenged drops the kept tokens of a resource that answered one of them
// with a claims challenge.
func (h *heldTokens) dropChallenged(ctx context.Context, a *account.Account, q *tokenRequest) {
	resource := q.set.Resource()
	err := a.DropTokens(ctx, func(t account.KeptToken) bool {
		return t.Client == q.key.Client && t.Tenant == q.key.Tenant && strings.EqualFold(tokencache.Set(t.Scopes).Resource(), resource)
	})
	if err != nil {
		h.cfg.Logger.InfoContext(ctx, "challenged tokens cannot be dropped", "client", q.app.ClientID, "error", err)
	}
}

// dropRefused erases the kept tokens when the service no longer accepts the
// user, the device or the PRT.
func (h *heldTokens) dropRefused(ctx context.Context, a *account.Account, q *tokenRequest, err error) {
	if !h.keeps(q) {
		return
	}
	for _, over := range []error{ErrPRTRevoked, ErrUserDisabled, ErrUserNotFound, ErrDeviceDisabled, ErrDeviceGone} {
		if !errors.Is(err, over) {
			continue
		}
		if err := a.EraseTokens(context.WithoutCancel(ctx)); err != nil {
			h.cfg.Logger.InfoContext(ctx, "kept tokens cannot be erased", "error", err)
		}
		return
	}
}

// saveOffline brings the tokens kept under the offline key up to date. It does
// nothing unless this process may use the offline key, and forgets the key if
// another process locked the account or made a new one.
func (h *heldTokens) saveOffline(ctx context.Context, a *account.Account) error {
	o := a.Offline()
	if o == nil {
		return nil
	}
	rec, err := a.Load(ctx)
	if err != nil {
		return err
	}
	if !rec.SealedUnder(o) || rec.Locked() {
		a.HoldOffline(nil)
		return nil
	}
	return o.Keep(ctx, h.offlineTokens(Account(rec.Account)))
}

// offlineTokens are the bearer tokens of the account in memory.
func (h *heldTokens) offlineTokens(acct Account) (out []account.KeptToken) {
	for _, k := range h.Account(acct.HomeAccountID, acct.Environment) {
		r := &k.Entry.Value.result
		if k.Key.Scheme != tokencache.Bearer || clock.Left(k.Entry.ExpiresOn, h.cfg.Now()) <= 0 {
			continue
		}
		q := tokenRequest{key: k.Key, set: k.Set}
		out = append(out, q.kept(*r))
	}
	slices.SortFunc(out, func(x, y account.KeptToken) int { return y.ExpiresOn.Compare(x.ExpiresOn) })
	return out[:min(len(out), account.MaxKept)]
}

// bringBackTokens loads the kept tokens that are still valid into memory. It is
// not an error if there are none, or if they belong to another offline key.
func (h *heldTokens) bringBackTokens(ctx context.Context, a *account.Account) error {
	o := a.Offline()
	if o == nil {
		return nil
	}
	tokens, err := o.Kept(ctx)
	if err != nil {
		return err
	}
	rec := a.Record()
	if rec == nil {
		return ErrClosed
	}
	acct := Account(rec.Account)
	for _, t := range tokens {
		h.bringBackToken(acct, t)
	}
	if rec = a.Record(); rec == nil || rec.Locked() { // meanwhile
		h.DropAccount(acct.HomeAccountID, acct.Environment)
	}
	return nil
}

func (h *heldTokens) bringBackToken(acct Account, t account.KeptToken) {
	if clock.Left(t.ExpiresOn, h.cfg.Now()) <= 0 {
		return
	}
	q := tokenRequest{
		callOptions: callOptions{account: acct, app: App{ClientID: t.Client}, tenant: t.Tenant, cae: t.CAE},
		set:         tokencache.Set(t.Scopes),
	}
	q.belongsTo(acct)
	if _, have := h.Serve(&q.key, q.set, h.cfg.Now()); have == tokencache.Fresh || have == tokencache.Stale {
		return // what is in memory is newer
	}
	h.remember(q, AuthResult{
		Account: acct, AccessToken: t.AccessToken, IDToken: t.IDToken, TokenType: "Bearer", ExpiresOn: t.ExpiresOn, GrantedScopes: t.Granted,
		Metadata: ResultMetadata{RefreshOn: t.RefreshOn, DeviceID: t.DeviceID, CorrelationID: t.CorrelationID, MFA: t.MFA},
	})
}
