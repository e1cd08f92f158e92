package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
)

// Account is a signed-in account: its record, and the session keys that are
// open for it.
type Account struct {
	cfg     *Config
	renamed func(Identity) // told of new names of the user, also by another process
	owner   string
	vault   *vault.Vault
	log     signInLog

	mu       sync.Mutex // guards all below; not held over I/O
	record   *Record
	sealed   vault.Record
	sessions map[string]*heldSession // by blob; nil: closed
	offline  *Offline                // nil: not open here
}

func (b *Book) newAccount(owner string) *Account {
	return &Account{
		owner:    owner,
		cfg:      &b.cfg,
		renamed:  b.renamed,
		vault:    vault.New(b.cfg.Ring, b.cfg.Store, b.cfg.Rand, owner),
		sessions: map[string]*heldSession{},
		log:      signInLog{turn: make(chan struct{}, 1)},
	}
}

// Record returns the record as this process knows it. A record is never
// modified: updates replace it.
func (a *Account) Record() *Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.record
}

// Load reads the record if another process may have changed it. Reading needs
// no command of the key store, except to open the data key the first time.
func (a *Account) Load(ctx context.Context) (*Record, error) {
	if err := a.vault.Open(ctx); err != nil {
		return nil, err
	}
	r, err := a.vault.Read(ctx, vault.StateSuffix)
	if errors.Is(err, store.ErrDamaged) {
		again, rerr := a.vault.Rekeyed(ctx)
		if rerr != nil {
			err = rerr // it is being erased, or nobody can say
		} else if again {
			r, err = a.vault.Read(ctx, vault.StateSuffix)
		}
	}
	if err != nil {
		return nil, err
	}
	defer clear(r.Plain)
	if rec := a.of(r.Version); rec != nil {
		return rec, nil
	}
	rec := new(Record)
	if err := vault.Decode(a.owner, r.Plain, rec); err != nil {
		return nil, err
	}
	return a.keep(rec, r), nil
}

// of returns the record if it was read from this version, otherwise nil.
func (a *Account) of(v store.Version) *Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sealed.Version != v {
		return nil
	}
	return a.record
}

// keep makes rec the current record unless there is a newer one. Generations
// start over under another data key: the account was removed and made again.
func (a *Account) keep(rec *Record, r vault.Record) *Record {
	r.Plain = nil
	now := a.vault.KeyVersion()
	a.mu.Lock()
	was, old := a.record, a.sealed
	newer := old.Key == r.Key && old.Generation > r.Generation || old.Key == now && r.Key != now
	if was != nil && newer || a.sessions == nil { // a closed account holds nothing
		a.mu.Unlock()
		return cmp.Or(was, rec)
	}
	a.record, a.sealed = rec, r
	a.mu.Unlock()
	if was != nil && was.Account != rec.Account {
		a.renamed(rec.Account)
	}
	return rec
}

// Update applies change to the record, and again to the newer record if another
// writer came first. change may be called several times.
func (a *Account) Update(ctx context.Context, change func(*Record) error) (*Record, error) {
	for range vault.MaxConflicts {
		if _, err := a.Load(ctx); err != nil {
			return nil, err
		}
		a.mu.Lock()
		rec, old := a.record, a.sealed
		a.mu.Unlock()
		if rec == nil {
			return nil, vault.ErrClosed // closed meanwhile
		}
		rec = rec.clone()
		if err := change(rec); err != nil {
			return nil, err
		}
		kept, err := a.write(ctx, rec, old)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		return kept, err
	}
	return nil, fmt.Errorf("broker: saving %s: %w", a.owner, store.ErrConflict)
}

// put is Update for an account that signs in, and makes the record if there is
// none; a nil change leaves an existing one as it is. The caller holds the
// account's lease, so that finding no record cannot race with removing one.
func (a *Account) put(ctx context.Context, acct Identity, change func(*Record) error) error {
	if err := a.vault.Create(ctx); err != nil {
		return err
	}
	_, err := a.Load(ctx)
	if err == nil && change != nil {
		_, err = a.Update(ctx, change)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	rec := &Record{Version: vault.StateVersion, Account: acct}
	if change != nil {
		if err := change(rec); err != nil {
			return err
		}
	}
	_, err = a.write(ctx, rec, vault.Record{})
	return err
}

func (a *Account) write(ctx context.Context, rec *Record, old vault.Record) (*Record, error) {
	plain, err := vault.Encode(rec)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	r, err := a.vault.Write(ctx, vault.StateSuffix, plain, old)
	if err != nil {
		return nil, err
	}
	return a.keep(rec, r), nil
}

func (a *Account) Close() error {
	a.mu.Lock()
	sessions := a.sessions
	a.sessions, a.record = nil, nil
	a.mu.Unlock()
	a.HoldOffline(nil)
	var errs []error
	for _, h := range sessions {
		errs = append(errs, h.key.Close())
	}
	a.vault.Close()
	return errors.Join(errs...)
}

// Name returns the name of the account's records and of its lease.
func (a *Account) Name() string { return a.owner }

// Probe asks the key store whether it opens the account's data key.
func (a *Account) Probe(ctx context.Context) error { return a.vault.Probe(ctx) }
