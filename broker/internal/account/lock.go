package account

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

// Whatever only the PIN opens is sealed under a key of its own, the offline
// key: the PRTs that Lock put away, in the account's record, and the tokens
// that apps got, in a record beside it. The key store seals the offline key
// under the PIN and under limits that the TPM enforces. The sealed key is also
// in the account's record, with the Hello key of that PIN: so the two always
// match, and every change of the account sees whether it is locked. While this
// process may use the offline key, it is held like a data key.

var (
	// ErrReplaced: what was to be changed has been replaced meanwhile.
	ErrReplaced = errors.New("broker: the PRT was replaced in the meantime")
	// ErrDone ends an update that another process has already done.
	ErrDone = errors.New("broker: already done")
	// ErrNotPrepared: there is nothing that the PIN could open offline.
	ErrNotPrepared = errors.New("broker: no offline unlock was prepared")
	// ErrMeanwhile: another process did something to the account between two
	// commands of the TPM.
	ErrMeanwhile = errors.New("broker: the PIN or the Hello key was changed in the meantime")
	// ErrNotUnlocked: there was no sign-in with the PIN in this process, so
	// nothing can be put away for it.
	ErrNotUnlocked = errors.New("broker: nobody has signed in with the PIN in this process")
)

// PrepareOffline seals the offline key under the PIN, now that the service has
// confirmed the user by it with the Hello key whose blob is used: the limits of
// Config.Offline start over. While seven eighths of the time and all of the
// other limits are left, it keeps what is sealed. The offline key stays the
// same, so that what other processes sealed under it stays open to them.
func (a *Account) PrepareOffline(ctx context.Context, pin, used []byte, limit tpm.Limit) error {
	s, ok := a.cfg.Keys.(tpm.PINSealer)
	if !ok || limit.Time == 0 {
		return nil
	}
	rec := a.Record()
	if rec == nil {
		return vault.ErrClosed
	}
	o := a.Offline()
	fresh := !rec.SealedUnder(o)
	if !fresh && a.lasts(ctx, s, rec, o, used, limit) {
		return nil // callers that keep tokens under it check that it is still current
	}
	if fresh {
		var err error
		if o, err = a.makeOffline(); err != nil {
			return err
		}
	}
	if err := a.sealOffline(ctx, s, o, pin, used, limit); err != nil {
		if fresh {
			o.Forget()
		}
		return err
	}
	if fresh {
		a.HoldOffline(o)
	}
	return nil
}

func (a *Account) sealOffline(ctx context.Context, s tpm.PINSealer, o *Offline, pin, used []byte, limit tpm.Limit) error {
	key := o.CopyKey()
	defer clear(key)
	if key == nil {
		return vault.ErrClosed
	}
	sealed, err := s.SealPIN(ctx, key, a.offlineAAD(o.ID), pin, limit)
	if err != nil {
		return fmt.Errorf("sealing under the PIN: %w", err)
	}
	_, err = a.Update(ctx, func(r *Record) error {
		switch {
		case r.Hello == nil || !bytes.Equal(r.Hello.Key, used): // another PIN, or none, meanwhile
			return ErrReplaced
		case r.Away != nil && !r.SealedUnder(o): // what was put away needs the key that is there
			return ErrReplaced
		}
		h := *r.Hello
		h.Offline = &SealedOffline{ID: o.ID, Sealed: sealed}
		r.Hello = &h
		return nil
	})
	if now := a.cfg.Now(); err == nil {
		o.sealedAt.Store(&now)
	}
	return err
}

// lasts reports whether the sealed offline key opens for about as long as one
// that would be sealed now. The TPM's answer is not authenticated: whoever
// forges it only keeps a blob in use that they could have kept anyway.
func (a *Account) lasts(ctx context.Context, s tpm.PINSealer, rec *Record, o *Offline, used []byte, limit tpm.Limit) bool {
	if !bytes.Equal(rec.Hello.Key, used) { // another PIN
		return false
	}
	least := limit.Time - limit.Time/8
	// The machine's clock may show that it is certainly over, which costs no TPM
	// command. Only this process knows when it sealed.
	if at := o.sealedAt.Load(); at != nil {
		if gone := a.cfg.Now().Sub(*at); gone < 0 || gone > limit.Time/8 {
			return false
		}
	}
	left, err := s.Left(ctx, rec.Hello.Offline.Sealed, a.offlineAAD(o.ID))
	return err == nil && left.Time >= least && left.Time <= limit.Time &&
		left.Resets == max(limit.Resets, -1) && left.Restarts == max(limit.Restarts, -1)
}

func (a *Account) makeOffline() (*Offline, error) {
	var id [32]byte
	if _, err := io.ReadFull(a.cfg.Rand, id[:]); err != nil {
		return nil, fmt.Errorf("broker: reading randomness: %w", err)
	}
	key := make([]byte, vault.KeySize)
	if _, err := io.ReadFull(a.cfg.Rand, key); err != nil {
		return nil, fmt.Errorf("broker: reading randomness: %w", err)
	}
	return a.newOffline(key, base64.RawURLEncoding.EncodeToString(id[:])), nil
}

// OpenOffline opens the offline key with the PIN and restores what it seals.
func (a *Account) OpenOffline(ctx context.Context, pin []byte) error {
	rec := a.Record()
	s, ok := a.cfg.Keys.(tpm.PINSealer)
	if !ok || rec == nil || rec.Hello == nil || rec.Hello.Offline == nil {
		return ErrNotPrepared
	}
	sealed := rec.Hello.Offline
	var key []byte
	err := a.TryPIN(ctx, func() (err error) {
		key, err = s.UnsealPIN(ctx, sealed.Sealed, a.offlineAAD(sealed.ID), pin)
		return err
	})
	if err != nil {
		return err
	}
	o := a.newOffline(key, sealed.ID)
	if len(key) != vault.KeySize {
		o.Forget()
		return fmt.Errorf("%w: offline key of %s has %d bytes", store.ErrDamaged, a.Name(), len(key))
	}
	if err := a.BringBack(ctx, o); err != nil {
		o.Forget()
		return err
	}
	if a.HoldOffline(o) == nil {
		return vault.ErrClosed
	}
	return nil
}

// OfflineLeft returns what is left of the limits of the offline unlock, for
// display; zero when none was prepared.
func (a *Account) OfflineLeft(ctx context.Context) (tpm.Limit, error) {
	rec := a.Record()
	s, ok := a.cfg.Keys.(tpm.PINSealer)
	if !ok || rec == nil || rec.Hello == nil || rec.Hello.Offline == nil {
		return tpm.Limit{}, nil
	}
	return s.Left(ctx, rec.Hello.Offline.Sealed, a.offlineAAD(rec.Hello.Offline.ID))
}

// BringBack restores the PRTs that were put away. A PRT that the account got
// since then is newer and stays.
func (a *Account) BringBack(ctx context.Context, o *Offline) error {
	_, err := a.Update(ctx, func(r *Record) error {
		if !r.SealedUnder(o) {
			return ErrMeanwhile
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

// ChangedOffline returns the offline key sealed under the new PIN. Its limits
// stay, and a key that the TPM no longer opens stays as it is.
func (a *Account) ChangedOffline(ctx context.Context, sealed *SealedOffline, old, pin []byte) (*SealedOffline, error) {
	s, ok := a.cfg.Keys.(tpm.PINSealer)
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
	return &SealedOffline{ID: sealed.ID, Sealed: changed}, nil
}

// GiveUpOffline forgets an offline key that nothing opens any longer, and what
// it seals.
func (a *Account) GiveUpOffline(ctx context.Context, sealed *SealedOffline) error {
	_, err := a.Update(ctx, func(r *Record) error {
		if r.Hello == nil || !r.Hello.Offline.Equal(sealed) {
			return ErrReplaced
		}
		h := *r.Hello
		h.Offline = nil
		r.Hello, r.Away = &h, nil
		return nil
	})
	return err
}

// PutAway moves the PRTs to where only the PIN opens them.
func (a *Account) PutAway(ctx context.Context) error {
	o := a.Offline()
	_, err := a.Update(ctx, func(r *Record) error {
		if r.Locked() {
			return ErrDone
		}
		if !r.SealedUnder(o) { // no sign-in with the PIN in this process
			return ErrNotUnlocked
		}
		away, err := o.OpenPRTs(r.Away)
		if err != nil {
			return err
		}
		if r.Away, err = o.SealPRTs(r.With(away)); err != nil {
			return err
		}
		r.PRTs = []PRT{}
		return nil
	})
	if err != nil && !errors.Is(err, ErrDone) {
		return err
	}
	a.HoldOffline(nil)
	a.ReleaseUnused()
	return a.EraseTokens(ctx)
}
