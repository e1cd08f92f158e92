// Package account knows who is signed in on this machine: the accounts of a
// user in the store, each with its PRTs, its Hello key, its log and what only
// the PIN opens, and the session keys that this process has open for them.
package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

// Errors of Find for an account that it does not find.
var (
	ErrNobody  = errors.New("nobody is signed in")
	ErrSeveral = errors.New("several accounts are signed in")
	ErrUnknown = errors.New("no such account is signed in")
)

// A Config says whose accounts a book has and what they are kept with. No
// field is optional.
type Config struct {
	Keys   tpm.KeyStore
	Ring   *vault.Keyring // of the store
	Store  store.Store
	Rand   io.Reader
	Logger *slog.Logger
	UserID string // the user of the machine whose accounts these are; empty: the only one
	Now    func() time.Time
	// Finish runs work that must be written even if the caller's context ends,
	// and returns within that context.
	Finish func(ctx context.Context, work func(context.Context) error) error
	// Gone is told of an account that was removed, and Renamed of one whose user
	// has a new name, whether this or another process noticed it.
	Gone, Renamed func(Identity)
}

// A Book holds the accounts of one user of the machine: those that are in the
// store, and those that this process has open.
type Book struct {
	cfg  Config
	only atomic.Pointer[Identity] // the account, when exactly one is known

	mu       sync.Mutex          // guards all below; not held over I/O
	accounts map[string]*Account // by owner; nil: closed
}

// NewBook returns the book of a user.
func NewBook(cfg Config) *Book { return &Book{cfg: cfg, accounts: map[string]*Account{}} }

// Only returns the account when exactly one is known; nil otherwise. It reads
// only memory.
func (b *Book) Only() *Identity { return b.only.Load() }

// Len is how many accounts are open in this process.
func (b *Book) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.accounts)
}

// Close gives the open accounts to the caller, who closes them. From then on
// the book opens none.
func (b *Book) Close() (open []*Account) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.accounts {
		open = append(open, a)
	}
	b.accounts = nil
	b.only.Store(nil)
	return open
}

const accountPrefix = "account-"

// userPrefix begins the names of all records of one user of the machine, and of
// no other user. It has the whole hash: some users would share a part of it.
func (b *Book) userPrefix() string {
	return accountPrefix + vault.HashedID("user", b.cfg.UserID) + "-"
}

// Owner names the records of an account.
func (b *Book) Owner(id Identity) string { return b.userPrefix() + vault.HashedID("account", id.Key()) }

// Find returns the account that want refers to: that account, the one of its
// user name when want says no more, or the only one when want is zero.
func (b *Book) Find(ctx context.Context, want Identity) (*Account, *Record, error) {
	if want.IsZero() || want.ByName() {
		all, unreadable, err := b.All(ctx)
		if err != nil {
			return nil, nil, err
		}
		all = slices.DeleteFunc(all, func(a *Account) bool {
			rec := a.Record()
			return rec == nil || !want.Means(rec.Account)
		})
		switch {
		case len(all) == 1 && want.ByName():
		case unreadable != nil: // it may be the one asked for
			return nil, nil, unreadable
		case len(all) == 0 && want.ByName():
			return nil, nil, ErrUnknown
		case len(all) == 0:
			return nil, nil, ErrNobody
		case len(all) > 1:
			return nil, nil, ErrSeveral
		}
		if rec := all[0].Record(); rec != nil {
			return all[0], rec, nil
		}
		return nil, nil, ErrUnknown // removed meanwhile
	}
	a, rec, err := b.lookUp(ctx, b.Owner(want))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, ErrUnknown
	}
	return a, rec, err
}

// All reads all accounts of the user that are readable, reports what is wrong
// with the others, and forgets those that another process removed.
func (b *Book) All(ctx context.Context) (all []*Account, unreadable, err error) {
	read := b.Known() // before the list, which lacks accounts that sign in meanwhile
	names, err := b.cfg.Store.List(ctx, b.userPrefix())
	if err != nil {
		return nil, nil, err
	}
	for _, owner := range vault.Owners(names) {
		delete(read, owner)
		a, err := b.hold(owner)
		if err != nil {
			return nil, nil, err
		}
		if err = nil; !slices.Contains(names, owner+vault.KeySuffix) {
			err = a.vault.Check(ctx) // memory would hide it
		}
		if err == nil {
			_, err = a.Load(ctx)
		}
		switch {
		case err == nil:
			all = append(all, a)
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case errors.Is(err, store.ErrNotFound): // a sign-in that did not finish
		default:
			unreadable = errors.Join(unreadable, err)
		}
	}
	b.forgetRemoved(ctx, read)
	if unreadable == nil { // otherwise accounts in memory stay in use
		b.noteOnly(all)
	}
	return all, unreadable, nil
}

// Refresh forgets the accounts that another process removed, and notes which
// account is the only one. However many there are, it lists their names once
// and reads one record at most; unreadable is what is wrong with that record.
func (b *Book) Refresh(ctx context.Context) (unreadable, err error) {
	gone := b.Known() // before the list, which lacks accounts that sign in meanwhile
	names, err := b.cfg.Store.List(ctx, b.userPrefix())
	if err != nil {
		return nil, err
	}
	owners := vault.Owners(names)
	for _, owner := range owners {
		delete(gone, owner)
	}
	b.forgetRemoved(ctx, gone)
	var signedIn []string
	for _, name := range names {
		if owner, ok := strings.CutSuffix(name, vault.StateSuffix); ok {
			signedIn = append(signedIn, owner)
		}
	}
	switch {
	case len(signedIn) != 1:
		b.only.Store(nil)
		return nil, nil
	case len(owners) > 1: // a sign-in that did not finish, or damage
		_, unreadable, err = b.All(ctx)
		return unreadable, err
	}
	a, err := b.hold(signedIn[0])
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, a.owner+vault.KeySuffix) {
		unreadable = a.vault.Check(ctx) // memory would hide it
	}
	if unreadable == nil {
		_, unreadable = a.Load(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(unreadable, store.ErrNotFound): // removed meanwhile
		return nil, nil
	case unreadable == nil:
		b.noteOnly([]*Account{a})
	}
	return unreadable, nil
}

// Put is Account.put under the lease of the account. With a store that has no
// leases, compare-and-swap decides, and whoever comes second tries again.
func (b *Book) Put(ctx context.Context, id Identity, change func(*Record) error) (*Account, error) {
	owner := b.Owner(id)
	release, err := vault.TryLease(ctx, b.cfg.Store, owner)
	if err != nil {
		return nil, err
	}
	defer release()
	for range vault.MaxConflicts {
		a, err := b.hold(owner) // under the lease: an earlier one may have been removed
		if err != nil {
			return nil, err
		}
		err = a.put(ctx, id, change)
		if errors.Is(err, store.ErrConflict) || errors.Is(err, vault.ErrClosed) && !b.Holds(a) {
			continue
		}
		return a, err
	}
	return nil, fmt.Errorf("broker: saving %s: %w", owner, store.ErrConflict)
}

// Holds reports whether a is still one of the broker's accounts.
func (b *Book) Holds(a *Account) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accounts[a.owner] == a
}

// hold returns the account of an owner, making the object when it is new.
func (b *Book) hold(owner string) (*Account, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.accounts == nil { // closed; until then calls under way can finish
		return nil, vault.ErrClosed
	}
	a := b.accounts[owner]
	if a == nil {
		a = b.newAccount(owner)
		b.accounts[owner] = a
	}
	return a, nil
}

// lookUp reads the account of an owner. It makes no object for an account that
// does not exist: a caller may ask for any number of those.
func (b *Book) lookUp(ctx context.Context, owner string) (*Account, *Record, error) {
	b.mu.Lock()
	a := b.accounts[owner]
	b.mu.Unlock()
	if a == nil {
		v := vault.New(b.cfg.Ring, b.cfg.Store, b.cfg.Rand, owner)
		err := v.Check(ctx)
		if err != nil {
			return nil, nil, err
		}
		if a, err = b.hold(owner); err != nil {
			return nil, nil, err
		}
	}
	rec, err := a.Load(ctx)
	if err != nil {
		return nil, nil, err
	}
	return a, rec, nil
}

// Known returns the accounts that this process has read, by owner.
func (b *Book) Known() map[string]*Account {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := map[string]*Account{}
	for owner, a := range b.accounts {
		if a.Record() != nil {
			known[owner] = a
		}
	}
	return known
}

// forgetRemoved drops the tokens and keys of accounts that another process
// removed.
func (b *Book) forgetRemoved(ctx context.Context, gone map[string]*Account) {
	for owner, a := range gone {
		rec := a.Record()
		b.mu.Lock()
		mine := b.accounts[owner] == a
		if mine {
			delete(b.accounts, owner)
		}
		b.mu.Unlock()
		if !mine || rec == nil {
			continue
		}
		b.cfg.Gone(rec.Account)
		if err := a.Close(); err != nil {
			b.cfg.Logger.InfoContext(ctx, "closing a removed account failed", "account", rec.Account.HomeAccountID, "error", err)
		}
	}
}

func (b *Book) noteOnly(all []*Account) {
	if len(all) != 1 {
		b.only.Store(nil)
		return
	}
	if rec := all[0].Record(); rec != nil {
		acct := rec.Account
		b.only.Store(&acct)
	}
}

// renamed records the new names of a user.
func (b *Book) renamed(id Identity) {
	if was := b.only.Load(); was != nil && was.Key() == id.Key() {
		b.only.CompareAndSwap(was, &id)
	}
	b.cfg.Renamed(id)
}

// Remove erases an account. It succeeds when the account is not there, and also
// when its record cannot be read.
func (b *Book) Remove(ctx context.Context, id Identity) error {
	owner := b.Owner(id)
	release, err := vault.TryLease(ctx, b.cfg.Store, owner)
	if err != nil {
		return err
	}
	defer release()
	a, err := b.hold(owner)
	if err != nil {
		return err
	}
	b.cfg.Gone(id)
	if err := a.vault.Destroy(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	delete(b.accounts, owner)
	b.mu.Unlock()
	// Again: a request that was under way may have brought a token meanwhile.
	// From now on such a token is not kept (Holds).
	b.cfg.Gone(id)
	b.only.Store(nil)
	return a.Close()
}
