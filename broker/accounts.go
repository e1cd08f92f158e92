package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
)

// holds reports whether a is still one of the broker's accounts.
func (b *Broker) holds(a *account) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accounts[a.owner] == a
}

// hold returns the account of an owner, making the object when it is new.
func (b *Broker) hold(owner string) (*account, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.accounts == nil { // closed; until then what is under way comes to its end
		return nil, ErrClosed
	}
	a := b.accounts[owner]
	if a == nil {
		a = b.newAccount(owner)
		b.accounts[owner] = a
	}
	return a, nil
}

// putAccount is account.put under the lease of the account. A store that lends
// none leaves it to compare-and-swap, and then whoever comes second tries again.
func (b *Broker) putAccount(ctx context.Context, acct Account, change func(*accountRecord) error) (*account, error) {
	owner := b.cfg.accountOwner(acct.Key())
	release, err := vault.Lease(ctx, b.cfg.Store, owner)
	if err != nil {
		return nil, err
	}
	defer release()
	for range vault.MaxConflicts {
		a, err := b.hold(owner) // under the lease: the one of before may have been removed
		if err != nil {
			return nil, err
		}
		err = a.put(ctx, acct, change)
		if errors.Is(err, store.ErrConflict) || errors.Is(err, ErrClosed) && !b.holds(a) {
			continue
		}
		return a, err
	}
	return nil, fmt.Errorf("broker: saving %s: %w", owner, store.ErrConflict)
}

// loadAccounts reads all accounts of the user that are readable, and forgets
// those that another process removed.
func (b *Broker) loadAccounts(ctx context.Context) ([]*account, error) {
	all, _, err := b.readAccounts(ctx)
	return all, err
}

// readAccounts is loadAccounts that also says what is wrong with the accounts
// that are not readable. They are there, and the others are served.
func (b *Broker) readAccounts(ctx context.Context) (all []*account, unreadable, err error) {
	known := b.knownAccounts() // before the list: who signs in meanwhile is not in it
	names, err := b.cfg.Store.List(ctx, b.cfg.userPrefix())
	if err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		owner, ok := strings.CutSuffix(n, vault.KeySuffix)
		if !ok {
			continue
		}
		delete(known, owner)
		a, err := b.hold(owner)
		if err != nil {
			return nil, nil, err
		}
		_, err = a.load(ctx)
		switch {
		case err == nil:
			all = append(all, a)
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case errors.Is(err, store.ErrNotFound): // a sign-in that did not come to its end
		default:
			unreadable = errors.Join(unreadable, err)
		}
	}
	b.forgetRemoved(ctx, known)
	if unreadable == nil { // else what is in memory is served on
		b.noteOnly(all)
	}
	return all, unreadable, nil
}

// knownAccounts returns the accounts that this process has read, by owner.
func (b *Broker) knownAccounts() map[string]*account {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := map[string]*account{}
	for owner, a := range b.accounts {
		if a.snapshot() != nil {
			known[owner] = a
		}
	}
	return known
}

// forgetRemoved drops the tokens and keys of accounts that another process
// removed.
func (b *Broker) forgetRemoved(ctx context.Context, gone map[string]*account) {
	for owner, a := range gone {
		rec := a.snapshot()
		b.mu.Lock()
		mine := b.accounts[owner] == a
		if mine {
			delete(b.accounts, owner)
		}
		b.mu.Unlock()
		if !mine || rec == nil {
			continue
		}
		b.tokens.DropAccount(rec.Account.HomeAccountID, rec.Account.Environment)
		if err := a.close(); err != nil {
			b.cfg.Logger.InfoContext(ctx, "closing a removed account failed", "account", rec.Account.HomeAccountID, "error", err)
		}
	}
}

func (b *Broker) noteOnly(all []*account) {
	if len(all) != 1 {
		b.only.Store(nil)
		return
	}
	if rec := all[0].snapshot(); rec != nil {
		acct := rec.Account
		b.only.Store(&acct)
	}
}

// Accounts returns who is signed in, by name. An account whose record is not
// readable is left out, as long as another one is; [Broker.Status] says so, and
// calls for it say why.
func (b *Broker) Accounts(ctx context.Context) (_ []Account, err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	all, unreadable, err := b.readAccounts(ctx)
	if err == nil && len(all) == 0 {
		err = unreadable // to say nobody would be wrong
	}
	if err != nil {
		return nil, opError("accounts", err)
	}
	var out []Account
	for _, a := range all {
		if rec := a.snapshot(); rec != nil {
			out = append(out, rec.Account)
		}
	}
	slices.SortFunc(out, func(x, y Account) int {
		if c := strings.Compare(x.PreferredUsername, y.PreferredUsername); c != 0 {
			return c
		}
		return strings.Compare(x.Key(), y.Key())
	})
	return out, nil
}

// find returns the account that is meant: want, or the only one when want is
// zero.
func (b *Broker) find(ctx context.Context, want Account) (*account, *accountRecord, error) {
	if want.IsZero() {
		all, unreadable, err := b.readAccounts(ctx)
		switch {
		case err != nil:
			return nil, nil, err
		case unreadable != nil: // it may be the one that is meant
			return nil, nil, unreadable
		case len(all) == 0:
			return nil, nil, &Error{kind: ErrNoAccount, detail: "nobody is signed in"}
		case len(all) > 1:
			return nil, nil, &Error{detail: "several accounts are signed in: say which by WithAccount"}
		}
		return all[0], all[0].snapshot(), nil
	}
	a, rec, err := b.lookUp(ctx, b.cfg.accountOwner(want.Key()))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, &Error{kind: ErrNoAccount, Account: want}
	}
	return a, rec, err
}

// lookUp reads the account of an owner. It makes no object for one that is not
// there: a caller may ask for any number of those.
func (b *Broker) lookUp(ctx context.Context, owner string) (*account, *accountRecord, error) {
	b.mu.Lock()
	a := b.accounts[owner]
	b.mu.Unlock()
	if a == nil {
		if _, _, err := b.cfg.Store.Get(ctx, owner+vault.KeySuffix); err != nil {
			return nil, nil, err
		}
		var err error
		if a, err = b.hold(owner); err != nil {
			return nil, nil, err
		}
	}
	rec, err := a.load(ctx)
	if err != nil {
		return nil, nil, err
	}
	return a, rec, nil
}

// RemoveAccount erases the account's PRTs, Hello key, tokens and log here. It
// revokes nothing at the service, where the Hello key stays unless RemoveHello
// came before. An account that is not there is no error, and neither is one
// whose record is damaged, or is not opened by the key store any more.
func (b *Broker) RemoveAccount(ctx context.Context, acct Account) (err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	if acct.IsZero() {
		return &Error{Op: "remove account", detail: "the zero Account is nobody"}
	}
	owner := b.cfg.accountOwner(acct.Key())
	release, err := vault.Lease(ctx, b.cfg.Store, owner)
	if err != nil {
		return opError("remove account", err)
	}
	defer release()
	a, err := b.hold(owner)
	if err != nil {
		return err
	}
	b.tokens.DropAccount(acct.HomeAccountID, acct.Environment)
	if err := a.vault.Destroy(ctx); err != nil {
		return opError("remove account", err)
	}
	b.mu.Lock()
	delete(b.accounts, owner)
	b.mu.Unlock()
	// Again: a request that was under way may have brought a token meanwhile.
	// From now on one is not kept (obtain).
	b.tokens.DropAccount(acct.HomeAccountID, acct.Environment)
	b.only.Store(nil)
	b.cfg.Logger.InfoContext(ctx, "account removed", "account", acct.HomeAccountID)
	return a.close()
}
