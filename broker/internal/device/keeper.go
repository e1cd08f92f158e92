// Package device keeps this machine's registration in a tenant: it makes the
// keys, asks for the certificate, finds the registration again, and forgets it.
package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/flight"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// Errors for a registration that a keeper does not have. ErrIncomplete is also
// an ErrNone.
var (
	ErrNone       = errors.New("the device is not registered")
	ErrIncomplete = fmt.Errorf("%w: its registration was not completed", ErrNone)
)

// A Config says what registration a keeper has and what it works with. No
// field is optional.
type Config struct {
	Keys   tpm.KeyStore
	Ring   *vault.Keyring // of the store
	Store  store.Store
	Rand   io.Reader
	Logger *slog.Logger
	Now    func() time.Time
	Sleep  func(context.Context, time.Duration) error

	Services *sts.Client
	Tenant   string // an id or a verified domain, in lower case
	// What a registration says of this machine.
	Type, DisplayName, OSVersion string

	// Finish runs work that must be written even if the caller's context ends,
	// and returns within that context.
	Finish func(ctx context.Context, work func(context.Context) error) error
	// Gone is called when the registration in memory has been erased.
	Gone func()
}

// A Keeper keeps this machine's registration: in the store, and open in memory.
type Keeper struct {
	cfg   Config
	loads flight.Group[struct{}, *Device]

	device atomic.Pointer[Device] // nil until it was loaded and found
	// registration is Device.from of the one that was used last, even if it is no
	// longer in memory: Forget applies only to that one. Zero: none was used.
	registration atomic.Uint64

	mu      sync.Mutex // guards all below; not held over I/O
	retired []*Device  // no longer the registration
}

// New returns a keeper. It reads nothing yet.
func New(cfg Config) *Keeper { return &Keeper{cfg: cfg} }

// Stop ends the loads that calls share.
func (k *Keeper) Stop() { k.loads.Close() }

// Close closes the keys.
func (k *Keeper) Close() error {
	k.mu.Lock()
	all := k.retired
	k.retired = nil
	k.mu.Unlock()
	if d := k.device.Swap(nil); d != nil {
		all = append(all, d)
	}
	var errs []error
	for _, d := range all {
		errs = append(errs, d.close())
	}
	return errors.Join(errs...)
}

// Open returns the registration that is open; nil when none is.
func (k *Keeper) Open() *Device { return k.device.Load() }

// Device is a complete registration with its keys open.
type Device struct {
	owner     string
	from      store.Version // of the record of its data key: the same as long as it is the same registration
	Record    *Record
	Cert      *prt.DeviceCertificate
	Key       tpm.Signer
	Transport tpm.Key
}

func (d *Device) close() error { return errors.Join(d.Key.Close(), d.Transport.Close()) }

// Proof is what signs a request as this device.
func (d *Device) Proof() prt.DeviceProof { return prt.DeviceProof{Key: d.Key, Certificate: d.Cert.DER} }

// Stored is a registration's record as it is in the store.
type Stored struct {
	vault  *vault.Vault
	record *Record
	sealed vault.Record
}

// find returns the record of the configured tenant, finished or not, or
// ErrNotFound.
func (k *Keeper) find(ctx context.Context) (*Stored, error) {
	names, err := k.cfg.Store.List(ctx, devicePrefix)
	if err != nil {
		return nil, err
	}
	for _, owner := range vault.Owners(names) {
		d, err := k.read(ctx, owner)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if d.record.matches(k.cfg.Tenant) {
			return d, nil
		}
		d.vault.Close()
	}
	return nil, store.ErrNotFound
}

func (k *Keeper) read(ctx context.Context, owner string) (*Stored, error) {
	v := vault.New(k.cfg.Ring, k.cfg.Store, k.cfg.Rand, owner)
	if err := v.Open(ctx); err != nil {
		return nil, err
	}
	r, err := v.Read(ctx, vault.StateSuffix)
	if err != nil {
		return nil, err
	}
	d := &Stored{vault: v, record: new(Record), sealed: r}
	if err := vault.Decode(owner, r.Plain, d.record); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Stored) save(ctx context.Context) error {
	plain, err := vault.Encode(d.record)
	if err != nil {
		return err
	}
	d.sealed, err = d.vault.Write(ctx, vault.StateSuffix, plain, d.sealed)
	return err
}

// Load returns the registration with its keys open, or ErrNone if there is no
// complete one. It answers from memory when it can; Current also asks the
// store.
func (k *Keeper) Load(ctx context.Context) (*Device, error) {
	if d := k.device.Load(); d != nil {
		return d, nil
	}
	d, _, err := k.loads.Do(ctx, struct{}{}, func(ctx context.Context) (*Device, error) {
		if d := k.device.Load(); d != nil {
			return d, nil
		}
		for {
			d, err := k.openRegistered(ctx)
			if err != nil {
				return nil, err
			}
			k.keep(d)
			// It may have been erased before it was kept, so that whoever erased it found
			// nothing to let go.
			if err := k.Notice(ctx); err != nil {
				return nil, err
			}
			if d := k.device.Load(); d != nil {
				return d, nil
			}
		}
	})
	return d, err
}

// openRegistered reads the registration and opens its keys.
func (k *Keeper) openRegistered(ctx context.Context) (*Device, error) {
	stored, err := k.find(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	defer stored.vault.Close()
	if stored.record.Phase != phaseComplete {
		return nil, ErrIncomplete
	}
	return k.open(ctx, stored)
}

func (k *Keeper) open(ctx context.Context, stored *Stored) (*Device, error) {
	r := stored.record
	cert, err := prt.ParseDeviceCertificate(r.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: device certificate", store.ErrDamaged)
	}
	key, transport, err := k.openKeys(ctx, r)
	if err != nil {
		return nil, err
	}
	return stored.with(cert, key, transport), nil
}

// with returns the complete registration with its keys open.
func (d *Stored) with(cert *prt.DeviceCertificate, key tpm.Signer, transport tpm.Key) *Device {
	return &Device{owner: d.vault.Owner(), from: d.vault.KeyVersion(), Record: d.record, Cert: cert, Key: key, Transport: transport}
}

// keep makes d the registration in memory, unless it is there already,
// and returns the one that is.
func (k *Keeper) keep(d *Device) *Device {
	for {
		old := k.device.Load()
		if old != nil && old.from == d.from {
			_ = d.close()
			return old
		}
		if k.device.CompareAndSwap(old, d) {
			k.registration.Store(uint64(d.from))
			k.retire(old)
			return d
		}
	}
}

// Current is Load for calls that report what the store has, or that ask the
// service for something that only the current registration gets.
func (k *Keeper) Current(ctx context.Context) (*Device, error) {
	if err := k.Notice(ctx); err != nil {
		return nil, err
	}
	return k.Load(ctx)
}

// Notice forgets the registration in memory if another process erased it from
// the store, even if that process has registered the device again since. If the
// store cannot tell, nothing changes.
func (k *Keeper) Notice(ctx context.Context) error {
	d := k.device.Load()
	if d == nil {
		return nil
	}
	_, v, err := k.cfg.Store.Get(ctx, d.owner+vault.KeySuffix)
	if errors.Is(err, store.ErrNotFound) {
		err = vault.New(k.cfg.Ring, k.cfg.Store, k.cfg.Rand, d.owner).Check(ctx) // or it was lost
	}
	switch {
	case err == nil && v == d.from:
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	if k.letGo(d) {
		k.cfg.Logger.InfoContext(ctx, "another process has unregistered the device", "device", d.Cert.DeviceID)
	}
	return nil
}

// letGo forgets a registration that is erased, and the tokens that were got on
// it, in memory alone. It reports whether d was the registration in memory.
func (k *Keeper) letGo(d *Device) bool {
	if !k.device.CompareAndSwap(d, nil) {
		return false
	}
	k.cfg.Gone()
	k.retire(d)
	return true
}

// retire leaves the keys of d open until Close: a call may be using them, and
// should end with the answer of the service.
func (k *Keeper) retire(d *Device) {
	if d == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retired = append(k.retired, d)
}

func (k *Keeper) openKeys(ctx context.Context, r *Record) (tpm.Signer, tpm.Key, error) {
	opened, err := k.cfg.Keys.OpenKey(ctx, r.DeviceKey)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the device key: %w", err)
	}
	key, ok := opened.(tpm.Signer)
	if !ok {
		_ = opened.Close()
		return nil, nil, fmt.Errorf("%w: the device key cannot sign", store.ErrDamaged)
	}
	transport, err := k.cfg.Keys.OpenKey(ctx, r.TransportKey)
	if err != nil {
		_ = key.Close()
		return nil, nil, fmt.Errorf("opening the transport key: %w", err)
	}
	return key, transport, nil
}
