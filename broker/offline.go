package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/tpm"
)

// What only the PIN opens is sealed under a key of its own, the offline key:
// the PRTs that Lock put away, in the account's record, and the tokens that
// apps got, in a record beside it. The key store seals the offline key under
// the PIN and under limits that the TPM enforces. That, too, is in the
// account's record, with the Hello key of the PIN: so the two never differ, and
// whoever changes the account sees whether it is locked. While this process may
// use the offline key, it is held like a data key.

const offlinePurpose = "prtbroker offline key 2 "

// sealedOffline is the offline key, sealed under the PIN.
type sealedOffline struct {
	ID     string `json:"id"` // of the key, random; it stays when the key is sealed anew
	Sealed []byte `json:"sealed"`
}

// offline is the open offline key of an account.
type offline struct {
	vault *vault.Vault // seals under the offline key
	id    string
}

// awaySuffix names what Lock put away among what the offline key seals.
const awaySuffix = ".away"

// awayRecord is what Lock put away.
type awayRecord struct {
	Version int        `json:"v"`
	PRTs    []prtEntry `json:"prts"`
}

// locked reports whether only the PIN opens the account's PRTs.
func (r *accountRecord) locked() bool { return r.Away != nil && len(r.PRTs) == 0 }

// sealedUnder reports whether the offline key in the record is o.
func (r *accountRecord) sealedUnder(o *offline) bool {
	return o != nil && r.Hello != nil && r.Hello.Offline != nil && r.Hello.Offline.ID == o.id
}

func (a *account) offlineKey() *offline {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.offline
}

// holdOffline keeps the open offline key, in place of the one before, which is
// forgotten; nil keeps none. It returns the one that is held: another opening
// of the same key may have been there first, and is in use.
func (a *account) holdOffline(o *offline) *offline {
	a.mu.Lock()
	held := a.offline
	drop := held
	switch {
	case a.sessions == nil: // closed meanwhile
		a.offline, drop = nil, o
		if held != nil {
			held.vault.Close()
		}
	case o != nil && held != nil && o.id == held.id:
		drop = o
	default:
		a.offline = o
	}
	now := a.offline
	a.mu.Unlock()
	if drop != nil {
		drop.vault.Close()
	}
	return now
}

func (b *Broker) newOffline(a *account, key []byte, id string) *offline {
	return &offline{vault: vault.WithKey(b.cfg.Store, b.cfg.Rand, a.owner, key), id: id}
}

func (a *account) offlineAAD(id string) []byte { return []byte(offlinePurpose + a.owner + " " + id) }

// prepareOffline seals the offline key under the PIN, now that the service has
// confirmed the user by it with the Hello key whose blob is used: the limits of
// Config.Offline begin anew. The offline key stays the same, so that what other
// processes sealed under it stays open to them.
func (b *Broker) prepareOffline(ctx context.Context, a *account, pin PIN, used []byte) error {
	s, ok := b.cfg.Keys.(tpm.PINSealer)
	if !ok || b.cfg.Offline.Time == 0 {
		return nil
	}
	rec := a.snapshot()
	if rec == nil {
		return ErrClosed
	}
	o := a.offlineKey()
	fresh := !rec.sealedUnder(o)
	if fresh {
		var err error
		if o, err = b.makeOffline(a); err != nil {
			return err
		}
	}
	if err := b.sealOffline(ctx, a, s, o, pin, used); err != nil {
		if fresh {
			o.vault.Close()
		}
		return err
	}
	if fresh {
		a.holdOffline(o)
	}
	return b.saveOffline(ctx, a)
}

func (b *Broker) makeOffline(a *account) (*offline, error) {
	id, err := b.random()
	if err != nil {
		return nil, err
	}
	key := make([]byte, vault.KeySize)
	if _, err := io.ReadFull(b.cfg.Rand, key); err != nil {
		return nil, fmt.Errorf("broker: reading randomness: %w", err)
	}
	return b.newOffline(a, key, id), nil
}

func (b *Broker) sealOffline(ctx context.Context, a *account, s tpm.PINSealer, o *offline, pin PIN, used []byte) error {
	key := o.vault.CopyKey()
	defer clear(key)
	if key == nil {
		return ErrClosed
	}
	sealed, err := s.SealPIN(ctx, key, a.offlineAAD(o.id), pin, b.cfg.Offline)
	if err != nil {
		return keyError("sealing under the PIN", err)
	}
	_, err = a.update(ctx, func(r *accountRecord) error {
		switch {
		case r.Hello == nil || !bytes.Equal(r.Hello.Key, used): // another PIN, or none, meanwhile
			return errReplaced
		case r.Away != nil && !r.sealedUnder(o): // what was put away needs the key that is there
			return errReplaced
		}
		h := *r.Hello
		h.Offline = &sealedOffline{ID: o.id, Sealed: sealed}
		r.Hello = &h
		return nil
	})
	return err
}

// errNotPrepared: there is nothing that the PIN could open offline.
var errNotPrepared = errors.New("broker: no offline unlock was prepared")

// openOffline opens the offline key by the PIN and brings back what it seals.
func (b *Broker) openOffline(ctx context.Context, a *account, pin PIN) (left tpm.Limit, err error) {
	rec := a.snapshot()
	s, ok := b.cfg.Keys.(tpm.PINSealer)
	if !ok || rec == nil || rec.Hello == nil || rec.Hello.Offline == nil {
		return left, errNotPrepared
	}
	sealed := rec.Hello.Offline
	var key []byte
	err = b.tryPIN(ctx, a, func() (err error) {
		key, left, err = s.UnsealPIN(ctx, sealed.Sealed, a.offlineAAD(sealed.ID), pin)
		return err
	})
	if err != nil {
		return left, err
	}
	o := b.newOffline(a, key, sealed.ID)
	if len(key) != vault.KeySize {
		o.vault.Close()
		return left, fmt.Errorf("%w: offline key of %s has %d bytes", ErrStateDamaged, a.owner, len(key))
	}
	if err := b.bringBack(ctx, a, o); err != nil {
		o.vault.Close()
		return left, err
	}
	if o = a.holdOffline(o); o == nil {
		return left, ErrClosed
	}
	if err := b.bringBackTokens(ctx, a, o); err != nil {
		b.cfg.Logger.InfoContext(ctx, "the tokens for an offline unlock are not readable", "error", err)
	}
	return left, nil
}

// errMeanwhile: another process did something to the account between two
// commands of the TPM.
var errMeanwhile = &Error{kind: ErrTransient, detail: "the PIN or the Hello key was changed meanwhile: try again"}

// bringBack restores the PRTs that were put away. One that the account got
// since is newer and stays.
func (b *Broker) bringBack(ctx context.Context, a *account, o *offline) error {
	_, err := a.update(ctx, func(r *accountRecord) error {
		if !r.sealedUnder(o) {
			return errMeanwhile
		}
		away, err := o.open(r.Away)
		if err != nil {
			return err
		}
		r.PRTs, r.Away = r.with(away), nil
		return nil
	})
	return err
}

// with returns the PRTs of the record and those of others that it has none of
// the same kind for.
func (r *accountRecord) with(others []prtEntry) []prtEntry {
	all := slices.Clone(r.PRTs)
	for _, e := range others {
		if r.find(e.token.Credential) == nil {
			all = append(all, e)
		}
	}
	return all
}

// open returns the PRTs that were put away.
func (o *offline) open(away []byte) ([]prtEntry, error) {
	if away == nil {
		return nil, nil
	}
	plain, _, err := o.vault.Unseal(awaySuffix, away)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var rec awayRecord
	if err := vault.Decode(o.vault.Owner()+awaySuffix, plain, &rec); err != nil {
		return nil, err
	}
	return rec.PRTs, nil
}

func (o *offline) seal(prts []prtEntry) ([]byte, error) {
	plain, err := vault.Encode(awayRecord{Version: vault.StateVersion, PRTs: prts})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return o.vault.Seal(awaySuffix, plain, 0)
}

// reopen is what a sign-in by the PIN does for the offline unlock: what was put
// away comes back, tokens too, and the limits begin anew. Only what the TPM
// says is over is given up: the service has just given a new PRT in its place.
func (b *Broker) reopen(ctx context.Context, a *account, pin PIN, used []byte) error {
	rec := a.snapshot()
	if rec == nil || rec.Hello == nil || !bytes.Equal(rec.Hello.Key, used) {
		return errReplaced
	}
	o := a.offlineKey()
	switch held := rec.sealedUnder(o); {
	case held && rec.Away != nil:
		if err := b.bringBack(ctx, a, o); err != nil {
			return err
		}
	case !held && rec.Hello.Offline != nil:
		_, err := b.openOffline(ctx, a, pin)
		if errors.Is(err, ErrOfflineExpired) {
			b.cfg.Logger.InfoContext(ctx, "what was put away stays shut", "error", err)
			err = b.giveUp(ctx, a, rec.Hello.Offline)
		}
		if err != nil {
			return err
		}
	}
	return b.prepareOffline(ctx, a, pin, used)
}

// changedOffline is the offline key sealed under the new PIN. Its limits stay,
// and one that the TPM opens no more stays as it is.
func (b *Broker) changedOffline(ctx context.Context, a *account, sealed *sealedOffline, old, pin PIN) (*sealedOffline, error) {
	s, ok := b.cfg.Keys.(tpm.PINSealer)
	if !ok || sealed == nil {
		return sealed, nil
	}
	changed, err := s.ChangeSealPIN(ctx, sealed.Sealed, a.offlineAAD(sealed.ID), old, pin)
	if errors.Is(err, tpm.ErrExpired) {
		return sealed, nil
	}
	if err != nil {
		return nil, err
	}
	return &sealedOffline{ID: sealed.ID, Sealed: changed}, nil
}

func (s *sealedOffline) equal(to *sealedOffline) bool {
	if s == nil || to == nil {
		return s == to
	}
	return s.ID == to.ID && bytes.Equal(s.Sealed, to.Sealed)
}

// giveUp forgets an offline key that nothing opens any more, and what it seals.
func (b *Broker) giveUp(ctx context.Context, a *account, sealed *sealedOffline) error {
	_, err := a.update(ctx, func(r *accountRecord) error {
		if r.Hello == nil || !r.Hello.Offline.equal(sealed) {
			return errReplaced
		}
		h := *r.Hello
		h.Offline = nil
		r.Hello, r.Away = &h, nil
		return nil
	})
	return err
}

// putAway moves the PRTs to where only the PIN opens them.
func (b *Broker) putAway(ctx context.Context, a *account) error {
	if err := b.saveOffline(ctx, a); err != nil {
		return err
	}
	o := a.offlineKey()
	rec, err := a.update(ctx, func(r *accountRecord) error {
		if r.locked() {
			return errDone
		}
		if !r.sealedUnder(o) { // nobody signed in here by the PIN
			return &Error{Account: r.Account, cause: errors.ErrUnsupported, detail: "Lock needs a Hello key, Config.Offline and a sign-in by the PIN in this process"}
		}
		away, err := o.open(r.Away)
		if err != nil {
			return err
		}
		if r.Away, err = o.seal(r.with(away)); err != nil {
			return err
		}
		r.PRTs = []prtEntry{}
		return nil
	})
	if errors.Is(err, errDone) {
		rec, err = a.snapshot(), nil
	}
	if err != nil || rec == nil {
		return err
	}
	b.tokens.DropAccount(rec.Account.HomeAccountID, rec.Account.Environment)
	a.holdOffline(nil)
	a.releaseUnused()
	return nil
}

// errDone ends an update that another process has done already.
var errDone = errors.New("broker: already done")
