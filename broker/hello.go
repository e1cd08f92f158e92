package broker

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"net/http"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// A Hello key (Windows Hello for Business) signs the user in: it is in the TPM,
// which is what the user has, and signs only with the PIN, which is what the
// user knows. Entra therefore accepts its signature as MFA.

// HelloPIN is the PIN of the account's Hello key. The PRT obtained with it
// carries MFA from the start.
type HelloPIN struct{ PIN PIN }

func (HelloPIN) kind() prt.CredentialKind { return prt.ByHello }

// ProvisionHello makes a Hello key for the account on this device: an RSA key
// in the key store that a PIN unlocks, registered at the service. The zero
// Account means the only one. From then on [HelloPIN] signs in with MFA.
//
// The service accepts a key only from a user who did MFA within the last ten
// minutes or so. If that was longer ago, the user is asked once, as in
// AcquireTokenInteractive; without a Prompter the call then fails with
// ErrInteractionRequired.
//
// A PIN that Config.PIN does not allow is an ErrPINRules. A key store without a
// TPM is refused with [errors.ErrUnsupported], because nothing there counts
// wrong PINs, unless Config.InsecureSoftwareHello allows it. An account that
// already has a key is an ErrHelloExists, unless the service no longer knows
// that key (HelloStatus.Unknown): then the new key replaces it, as with
// ResetPIN.
func (b *Broker) ProvisionHello(ctx context.Context, acct Account, pin PIN) error {
	const op = "provision Hello"
	return opError(op, b.provision(ctx, op, acct, pin, false))
}

// ResetPIN replaces the account's Hello key with a new one and a new PIN, for a
// user who forgot the old PIN. It has the same requirements as ProvisionHello.
// The service drops the old key when it takes the new one, so that none is left
// behind. What Lock put away is lost, since only the old PIN would open it; the
// account has the PRT of the sign-in that the reset asked for.
func (b *Broker) ResetPIN(ctx context.Context, acct Account, pin PIN) error {
	const op = "reset PIN"
	return opError(op, b.provision(ctx, op, acct, pin, true))
}

func (b *Broker) provision(ctx context.Context, op string, acct Account, pin PIN, replace bool) (err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	if err := b.cfg.PIN.refuse(pin); err != nil {
		return err
	}
	software, err := b.cfg.softwareHello(ctx)
	if err != nil {
		return err
	}
	d, err := b.devices.Current(ctx)
	if err != nil {
		return err
	}
	a, rec, release, err := b.leaseHello(ctx, acct)
	if err != nil {
		return err
	}
	release, keep := vault.Shared(release)
	defer release()
	switch {
	case rec.Hello == nil && replace:
		return &Error{kind: ErrNoHello, Account: Account(rec.Account)}
	case rec.Hello != nil && !replace && !rec.Hello.Unknown():
		return &Error{kind: ErrHelloExists, Account: Account(rec.Account)}
	}
	token, err := b.freshToken(ctx, op, a, Account(rec.Account))
	if err != nil {
		return err
	}
	pin = bytes.Clone(pin) // the caller may wipe its own while the key is made
	defer clear(pin)
	h := &account.Hello{Username: rec.Account.PreferredUsername, DeviceID: d.Cert.DeviceID, Created: b.cfg.Now(), Software: software}
	if err := b.registerHello(ctx, op, a, d, h, pin, token, keep); err != nil {
		return err
	}
	if err := a.EraseOffline(ctx); err != nil { // what the old PIN opened
		b.cfg.Logger.InfoContext(ctx, "erasing the tokens for an offline unlock failed", "error", err)
	}
	b.cfg.Logger.InfoContext(ctx, "Hello key provisioned", "account", rec.Account.HomeAccountID, "device", h.DeviceID)
	if err := b.prepareOffline(ctx, a, pin, h.Key); err != nil {
		b.cfg.Logger.InfoContext(ctx, "preparing the offline unlock failed", "error", err)
	}
	return nil
}

// helloLease keeps two processes from provisioning at once. It is not the lease
// of the account, which a step-up during the call needs.
const helloLease = ".hello"

// leaseHello finds the account and reads it under helloLease.
func (b *Broker) leaseHello(ctx context.Context, acct Account) (*account.Account, *account.Record, func(), error) {
	a, _, err := b.accountFor(ctx, acct)
	if err != nil {
		return nil, nil, nil, err
	}
	release, err := vault.Lease(ctx, b.cfg.Store, a.Name()+helloLease, vault.LongWait)
	if err != nil {
		return nil, nil, nil, err
	}
	rec, err := a.Load(ctx)
	if err != nil {
		release()
		return nil, nil, nil, err
	}
	return a, rec, release, nil
}

// softwareHello refuses a key store in which a PIN can be found by brute force,
// unless that was allowed.
func (c *Config) softwareHello(ctx context.Context) (bool, error) {
	info, err := c.Keys.Info(ctx)
	if err != nil {
		return false, keyError("reading how the keys are protected", err)
	}
	if info.Hardware || c.InsecureSoftwareHello {
		return !info.Hardware, nil
	}
	return false, &Error{cause: errors.ErrUnsupported, detail: "a Hello key needs a TPM, which counts wrong PINs; Config.InsecureSoftwareHello does without"}
}

// registerHello makes the key and registers it. The key is saved before the
// service learns of it: the state has every key that the service may know.
func (b *Broker) registerHello(ctx context.Context, op string, a *account.Account, d *device.Device, h *account.Hello, pin PIN, token prt.Secret, keep func() func()) error {
	key, err := b.cfg.Keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, PIN: pin})
	if err != nil {
		return keyError("making the Hello key", err)
	}
	defer key.Close()
	h.Key = key.Blob()
	if _, err := a.Update(ctx, func(r *account.Record) error { r.NextHello = h; return nil }); err != nil {
		return err
	}
	body, err := prt.HelloRegistration(key.Public())
	if err != nil {
		return err
	}
	e := d.Record.Endpoints
	rep, err := b.sts.Register(ctx, http.MethodPost, sts.WithVersion(e.Key, e.KeyVersion), body, token, h.Username)
	if err != nil {
		return opError(op, err)
	}
	reg, err := prt.ParseHelloRegistration(rep.Body)
	if err != nil {
		return opError(op, sts.Malformed(rep, err))
	}
	done := *h
	done.ID = reg.ID
	if reg.Username != "" {
		done.Username = reg.Username
	}
	leave := keep()
	return b.finish(ctx, func(ctx context.Context) error { // the service has it
		defer leave()
		_, err := a.Update(ctx, func(r *account.Record) error {
			if r.NextHello == nil || !bytes.Equal(r.NextHello.Key, done.Key) {
				return account.ErrReplaced
			}
			r.Hello, r.NextHello, r.Away = &done, nil, nil
			return nil
		})
		return err
	})
}

// helloSigner signs with the Hello key and keeps count of the PINs.
type helloSigner struct {
	a   *account.Account
	key tpm.Signer
}

func (s helloSigner) Public() crypto.PublicKey { return s.key.Public() }

func (s helloSigner) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) (sig []byte, err error) {
	err = s.a.TryPIN(ctx, func() error {
		sig, err = s.key.SignContext(ctx, digest, opts)
		return err
	})
	return sig, err
}

// openHello opens the account's Hello key with a PIN, which is tried at the
// first signature.
func (c *Config) openHello(ctx context.Context, rec *account.Record, pin PIN) (tpm.Signer, error) {
	if rec.Hello == nil {
		return nil, &Error{kind: ErrNoHello, Account: Account(rec.Account)}
	}
	if err := pin.possible(); err != nil {
		return nil, err
	}
	key, err := c.Keys.OpenKey(ctx, rec.Hello.Key, tpm.WithPIN(pin))
	if err != nil {
		return nil, keyError("opening the Hello key", err)
	}
	s, ok := key.(tpm.Signer)
	if !ok {
		_ = key.Close()
		return nil, &Error{kind: ErrStateDamaged, detail: "the Hello key cannot sign"}
	}
	return s, nil
}

// signInHello gets a PRT with the Hello key and opens what else its PIN opens.
// It waits for the service no longer than wait, if that is not zero.
func (b *Broker) signInHello(ctx context.Context, op string, want Account, pin PIN, wait time.Duration) (AuthResult, error) {
	a, rec, err := b.accountFor(ctx, want)
	if err != nil {
		return AuthResult{}, err
	}
	d, err := b.devices.Load(ctx)
	if err != nil {
		return AuthResult{}, err
	}
	key, err := b.cfg.openHello(ctx, rec, pin)
	if err != nil {
		return AuthResult{}, err
	}
	defer key.Close()
	online, cancel := ctx, func() {}
	if wait > 0 {
		online, cancel = context.WithTimeout(ctx, wait)
	}
	defer cancel()
	signIn := func(username string) (AuthResult, error) {
		return b.issue(online, op, prt.HelloGrant{Key: helloSigner{a, key}, Username: username, Audience: d.Record.TenantID},
			signon.Provenance{Origin: account.Direct}, Account(rec.Account))
	}
	res, err := signIn(rec.Hello.Username)
	if notKnownBy(err) {
		if name := b.engine.Renamed(online, a, rec.Hello.Username); name != "" {
			res, err = signIn(name)
		}
	}
	if err != nil {
		return AuthResult{}, err
	}
	if err := b.signedInByPIN(ctx, a, pin, rec.Hello.Key); err != nil {
		b.cfg.Logger.InfoContext(ctx, "preparing the offline unlock failed", "error", err)
	}
	return res, nil
}

// notKnownBy reports whether the service does not know the user, or the Hello key, by
// the name that the key signed under.
func notKnownBy(err error) bool {
	v := action(err)
	return v == aadsts.UserNotFound || v == aadsts.HelloKey
}

// ChangePIN gives the account's Hello key a new PIN. The key stays, so the
// service need not be told and no network is needed. A wrong old PIN is an
// ErrWrongPIN.
//
// A copy of the state from before the change still opens with the old PIN, on
// this machine; ResetPIN makes a new key and ends that.
func (b *Broker) ChangePIN(ctx context.Context, acct Account, old, pin PIN) error {
	const op = "change PIN"
	return opError(op, b.changePIN(ctx, acct, old, pin))
}

func (b *Broker) changePIN(ctx context.Context, acct Account, old, pin PIN) (err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	if err := b.cfg.PIN.refuse(pin); err != nil {
		return err
	}
	a, rec, release, err := b.leaseHello(ctx, acct)
	if err != nil {
		return err
	}
	defer release()
	for range vault.MaxConflicts {
		err = b.changePINOf(ctx, a, rec, old, pin)
		if !errors.Is(err, account.ErrReplaced) { // a sign-in came in between, which restarts the limits
			return err
		}
		if rec, err = a.Load(ctx); err != nil {
			return err
		}
	}
	return store.ErrConflict
}

// changePINOf changes the PIN of the key and of what it opens offline, both or
// neither.
func (b *Broker) changePINOf(ctx context.Context, a *account.Account, rec *account.Record, old, pin PIN) error {
	key, err := b.cfg.openHello(ctx, rec, old)
	if err != nil {
		return err
	}
	defer key.Close()
	changer, ok := key.(tpm.PINKey)
	if !ok {
		return &Error{cause: errors.ErrUnsupported, detail: "the key store cannot change PINs; ResetPIN makes a new key"}
	}
	next := *rec.Hello
	err = a.TryPIN(ctx, func() (err error) {
		if next.Key, err = changer.ChangePIN(ctx, pin); err != nil {
			return err
		}
		next.Offline, err = a.ChangedOffline(ctx, rec.Hello.Offline, old, pin)
		return err
	})
	if err != nil {
		return err
	}
	_, err = a.Update(ctx, func(r *account.Record) error {
		if r.Hello == nil || !bytes.Equal(r.Hello.Key, rec.Hello.Key) || !r.Hello.Offline.Equal(rec.Hello.Offline) {
			return account.ErrReplaced
		}
		h := *r.Hello
		h.Key, h.Offline = next.Key, next.Offline
		r.Hello = &h
		return nil
	})
	return err
}
