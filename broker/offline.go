package broker

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/prtbroker/prtbroker/broker/internal/account"
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

// prepareOffline seals the offline key under the PIN, now that the service has
// confirmed the user by it with the Hello key whose blob is used: the limits of
// Config.Offline begin anew. The offline key stays the same, so that what other
// processes sealed under it stays open to them.
func (b *Broker) prepareOffline(ctx context.Context, a *account.Account, pin PIN, used []byte) error {
	s, ok := b.cfg.Keys.(tpm.PINSealer)
	if !ok || b.cfg.Offline.Time == 0 {
		return nil
	}
	rec := a.Record()
	if rec == nil {
		return ErrClosed
	}
	o := a.Offline()
	fresh := !rec.SealedUnder(o)
	if fresh {
		var err error
		if o, err = b.makeOffline(a); err != nil {
			return err
		}
	}
	if err := b.sealOffline(ctx, a, s, o, pin, used); err != nil {
		if fresh {
			o.Forget()
		}
		return err
	}
	if fresh {
		a.HoldOffline(o)
	}
	return b.saveOffline(ctx, a)
}

func (b *Broker) makeOffline(a *account.Account) (*account.Offline, error) {
	var id [32]byte
	if _, err := io.ReadFull(b.cfg.Rand, id[:]); err != nil {
		return nil, fmt.Errorf("broker: reading randomness: %w", err)
	}
	key := make([]byte, vault.KeySize)
	if _, err := io.ReadFull(b.cfg.Rand, key); err != nil {
		return nil, fmt.Errorf("broker: reading randomness: %w", err)
	}
	return a.NewOffline(key, base64.RawURLEncoding.EncodeToString(id[:])), nil
}

func (b *Broker) sealOffline(ctx context.Context, a *account.Account, s tpm.PINSealer, o *account.Offline, pin PIN, used []byte) error {
	key := o.CopyKey()
	defer clear(key)
	if key == nil {
		return ErrClosed
	}
	sealed, err := s.SealPIN(ctx, key, a.OfflineAAD(o.ID), pin, b.cfg.Offline)
	if err != nil {
		return keyError("sealing under the PIN", err)
	}
	_, err = a.Update(ctx, func(r *account.Record) error {
		switch {
		case r.Hello == nil || !bytes.Equal(r.Hello.Key, used): // another PIN, or none, meanwhile
			return errReplaced
		case r.Away != nil && !r.SealedUnder(o): // what was put away needs the key that is there
			return errReplaced
		}
		h := *r.Hello
		h.Offline = &account.SealedOffline{ID: o.ID, Sealed: sealed}
		r.Hello = &h
		return nil
	})
	return err
}

// errNotPrepared: there is nothing that the PIN could open offline.
var errNotPrepared = errors.New("broker: no offline unlock was prepared")

// openOffline opens the offline key by the PIN and brings back what it seals.
func (b *Broker) openOffline(ctx context.Context, a *account.Account, pin PIN) error {
	rec := a.Record()
	s, ok := b.cfg.Keys.(tpm.PINSealer)
	if !ok || rec == nil || rec.Hello == nil || rec.Hello.Offline == nil {
		return errNotPrepared
	}
	sealed := rec.Hello.Offline
	var key []byte
	err := b.tryPIN(ctx, a, func() (err error) {
		key, err = s.UnsealPIN(ctx, sealed.Sealed, a.OfflineAAD(sealed.ID), pin)
		return err
	})
	if err != nil {
		return err
	}
	o := a.NewOffline(key, sealed.ID)
	if len(key) != vault.KeySize {
		o.Forget()
		return fmt.Errorf("%w: offline key of %s has %d bytes", ErrStateDamaged, a.Name(), len(key))
	}
	if err := b.bringBack(ctx, a, o); err != nil {
		o.Forget()
		return err
	}
	if o = a.HoldOffline(o); o == nil {
		return ErrClosed
	}
	if err := b.bringBackTokens(ctx, a, o); err != nil {
		b.cfg.Logger.InfoContext(ctx, "the tokens for an offline unlock are not readable", "error", err)
	}
	return nil
}

// offlineLeft is what is left of Config.Offline, for showing.
func (b *Broker) offlineLeft(ctx context.Context, a *account.Account) tpm.Limit {
	rec := a.Record()
	s, ok := b.cfg.Keys.(tpm.PINSealer)
	if !ok || rec == nil || rec.Hello == nil || rec.Hello.Offline == nil {
		return tpm.Limit{}
	}
	left, err := s.Left(ctx, rec.Hello.Offline.Sealed, a.OfflineAAD(rec.Hello.Offline.ID))
	if err != nil {
		b.cfg.Logger.InfoContext(ctx, "what is left of the offline time could not be read", "error", err)
	}
	return left
}

// errMeanwhile: another process did something to the account between two
// commands of the TPM.
var errMeanwhile = &Error{kind: ErrTransient, detail: "the PIN or the Hello key was changed meanwhile: try again"}

// bringBack restores the PRTs that were put away. One that the account got
// since is newer and stays.
func (b *Broker) bringBack(ctx context.Context, a *account.Account, o *account.Offline) error {
	_, err := a.Update(ctx, func(r *account.Record) error {
		if !r.SealedUnder(o) {
			return errMeanwhile
		}
		away, err := o.OpenPRTs(r.Away)
		if err != nil {
			return err
		}
		r.PRTs, r.Away = r.With(away), nil
		return nil
	})
	return err
}

// reopen is what a sign-in by the PIN does for the offline unlock: what was put
// away comes back, tokens too, and the limits begin anew. Only what the TPM
// says is over is given up: the service has just given a new PRT in its place.
func (b *Broker) reopen(ctx context.Context, a *account.Account, pin PIN, used []byte) error {
	rec := a.Record()
	if rec == nil || rec.Hello == nil || !bytes.Equal(rec.Hello.Key, used) {
		return errReplaced
	}
	o := a.Offline()
	switch held := rec.SealedUnder(o); {
	case held && rec.Away != nil:
		if err := b.bringBack(ctx, a, o); err != nil {
			return err
		}
	case !held && rec.Hello.Offline != nil:
		err := b.openOffline(ctx, a, pin)
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
func (b *Broker) changedOffline(ctx context.Context, a *account.Account, sealed *account.SealedOffline, old, pin PIN) (*account.SealedOffline, error) {
	s, ok := b.cfg.Keys.(tpm.PINSealer)
	if !ok || sealed == nil {
		return sealed, nil
	}
	changed, err := s.ChangeSealPIN(ctx, sealed.Sealed, a.OfflineAAD(sealed.ID), old, pin)
	if errors.Is(err, tpm.ErrExpired) {
		return sealed, nil
	}
	if err != nil {
		return nil, err
	}
	return &account.SealedOffline{ID: sealed.ID, Sealed: changed}, nil
}

// giveUp forgets an offline key that nothing opens any more, and what it seals.
func (b *Broker) giveUp(ctx context.Context, a *account.Account, sealed *account.SealedOffline) error {
	_, err := a.Update(ctx, func(r *account.Record) error {
		if r.Hello == nil || !r.Hello.Offline.Equal(sealed) {
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
func (b *Broker) putAway(ctx context.Context, a *account.Account) error {
	if err := b.saveOffline(ctx, a); err != nil {
		return err
	}
	o := a.Offline()
	rec, err := a.Update(ctx, func(r *account.Record) error {
		if r.Locked() {
			return errDone
		}
		if !r.SealedUnder(o) { // nobody signed in here by the PIN
			return &Error{Account: Account(r.Account), cause: errors.ErrUnsupported, detail: "Lock needs a Hello key, Config.Offline and a sign-in by the PIN in this process"}
		}
		away, err := o.OpenPRTs(r.Away)
		if err != nil {
			return err
		}
		if r.Away, err = o.SealPRTs(r.With(away)); err != nil {
			return err
		}
		r.PRTs = []account.PRT{}
		return nil
	})
	if errors.Is(err, errDone) {
		rec, err = a.Record(), nil
	}
	if err != nil || rec == nil {
		return err
	}
	b.tokens.DropAccount(rec.Account.HomeAccountID, rec.Account.Environment)
	a.HoldOffline(nil)
	a.ReleaseUnused()
	return a.EraseTokens(ctx)
}

// errDone ends an update that another process has done already.
var errDone = errors.New("broker: already done")
