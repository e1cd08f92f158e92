package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// account is a signed-in account: its record, and the session keys that are
// open for it.
type account struct {
	owner string
	vault *vault.Vault
	log   signInLog

	mu       sync.Mutex // guards all below; not held over I/O
	record   *accountRecord
	sealed   vault.Record
	from     store.Version           // of the vault's key that record was sealed under
	sessions map[string]*heldSession // by blob; nil: closed
	offline  *offline                // nil: not open here
}

func (b *Broker) newAccount(owner string) *account {
	return &account{
		owner:    owner,
		vault:    vault.New(b.cfg.Keys, b.cfg.Store, b.cfg.Rand, owner),
		sessions: map[string]*heldSession{},
	}
}

// snapshot returns the record as this process knows it. It is not changed:
// updates replace it.
func (a *account) snapshot() *accountRecord {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.record
}

// load reads the record if another process may have changed it. Reading costs
// no command of the key store, but for the data key at the first time.
func (a *account) load(ctx context.Context) (*accountRecord, error) {
	if err := a.vault.Open(ctx); err != nil {
		return nil, verdict(err)
	}
	if a.isClosed() {
		a.vault.Close()
		return nil, ErrClosed
	}
	r, err := a.vault.Read(ctx, vault.StateSuffix)
	if errors.Is(err, ErrStateDamaged) {
		if again, _ := a.vault.Rekeyed(ctx); again {
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
	rec := new(accountRecord)
	if err := vault.Decode(a.owner, r.Plain, rec); err != nil {
		return nil, err
	}
	return a.keep(rec, r), nil
}

func (a *account) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions == nil
}

// of returns the record that was read from a version; nil: another one was.
func (a *account) of(v store.Version) *accountRecord {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sealed.Version != v {
		return nil
	}
	return a.record
}

// keep makes rec the current record unless a newer one is. Generations count
// anew under another data key: the account was removed and made again.
func (a *account) keep(rec *accountRecord, r vault.Record) *accountRecord {
	r.Plain = nil
	from := a.vault.KeyVersion()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.record != nil && a.from == from && a.sealed.Generation > r.Generation {
		return a.record
	}
	a.record, a.sealed, a.from = rec, r, from
	return rec
}

// update changes the record by change, again on the newer one when another
// writer came first. change may be called several times.
func (a *account) update(ctx context.Context, change func(*accountRecord) error) (*accountRecord, error) {
	for range vault.MaxConflicts {
		if _, err := a.load(ctx); err != nil {
			return nil, err
		}
		a.mu.Lock()
		rec, old := a.record, a.sealed
		a.mu.Unlock()
		if rec == nil {
			return nil, ErrClosed // closed meanwhile
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

// put is update for an account that signs in, and makes the record when there
// is none; a nil change leaves one that is there as it is. The account's lease
// is held: who finds no record and who removes one are not to meet.
func (a *account) put(ctx context.Context, acct Account, change func(*accountRecord) error) error {
	if err := a.vault.Create(ctx); err != nil {
		return verdict(err)
	}
	_, err := a.load(ctx)
	if err == nil && change != nil {
		_, err = a.update(ctx, change)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	rec := &accountRecord{Version: vault.StateVersion, Account: acct}
	if change != nil {
		if err := change(rec); err != nil {
			return err
		}
	}
	_, err = a.write(ctx, rec, vault.Record{})
	return err
}

func (a *account) write(ctx context.Context, rec *accountRecord, old vault.Record) (*accountRecord, error) {
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

// heldSession is an open session key. It is closed when no PRT has it and
// nobody uses it.
type heldSession struct {
	key    tpm.SessionKey
	users  int
	unused bool // no PRT has it
}

// session opens a session key and holds it. The caller is done with it at
// release.
func (a *account) session(ctx context.Context, keys tpm.KeyStore, t *prt.Token) (s prt.Session, release func(), err error) {
	blob := string(t.SessionKey)
	h := a.useSession(blob, nil)
	if h == nil {
		opened, err := keys.OpenSession(ctx, t.SessionKey)
		if err != nil {
			return prt.Session{}, nil, keyError("opening the session key", err)
		}
		h = a.useSession(blob, opened)
	}
	if h == nil {
		return prt.Session{}, nil, ErrClosed
	}
	return t.Session(h.key), func() { a.doneWith(h) }, nil
}

// useSession counts a user of a session key. One that was opened anew is kept
// unless one is held already, which wins.
func (a *account) useSession(blob string, opened tpm.SessionKey) *heldSession {
	a.mu.Lock()
	h := a.sessions[blob]
	if h == nil && opened != nil && a.sessions != nil {
		h = &heldSession{key: opened}
		a.sessions[blob], opened = h, nil
	}
	if h != nil {
		h.users++
	}
	a.mu.Unlock()
	if opened != nil {
		_ = opened.Close()
	}
	return h
}

func (a *account) doneWith(h *heldSession) {
	a.mu.Lock()
	h.users--
	last := h.unused && h.users == 0
	a.mu.Unlock()
	if last {
		_ = h.key.Close()
	}
}

// holdSession keeps the open session key of a new PRT.
func (a *account) holdSession(blob string, key tpm.SessionKey) {
	if h := a.useSession(blob, key); h != nil {
		a.doneWith(h)
	}
}

// releaseUnused closes the session keys that no PRT of the record has.
func (a *account) releaseUnused() {
	a.mu.Lock()
	var old []*heldSession
	for blob, h := range a.sessions {
		used := a.record != nil && slices.ContainsFunc(a.record.PRTs, func(e prtEntry) bool {
			return string(e.token.SessionKey) == blob || e.previous != nil && string(e.previous.SessionKey) == blob
		})
		if used {
			continue
		}
		delete(a.sessions, blob)
		h.unused = true
		if h.users == 0 {
			old = append(old, h)
		}
	}
	a.mu.Unlock()
	for _, h := range old {
		_ = h.key.Close()
	}
}

func (a *account) close() error {
	a.mu.Lock()
	sessions := a.sessions
	a.sessions, a.record = nil, nil
	a.mu.Unlock()
	a.holdOffline(nil)
	var errs []error
	for _, h := range sessions {
		errs = append(errs, h.key.Close())
	}
	a.vault.Close()
	return errors.Join(errs...)
}
