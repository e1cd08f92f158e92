package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// A JoinType is how a device belongs to a tenant.
type JoinType int

const (
	// Join is an organization's device (Entra joined). It is the zero value.
	Join JoinType = 0
	// Register is a person's own device (Entra registered).
	Register JoinType = 4
	// Hybrid is a device of an on-premises directory (hybrid joined).
	Hybrid JoinType = 6
)

// String returns the join type's name.
func (j JoinType) String() string {
	switch j {
	case Join:
		return "joined"
	case Register:
		return "registered"
	case Hybrid:
		return "hybrid joined"
	}
	return "unknown"
}

// A DeviceInfo describes a machine in a registration.
type DeviceInfo struct {
	DisplayName string // empty: the host name
	Type        string // empty: "Linux", "Windows" or "MacOS"
	OSVersion   string // empty: what the operating system says
}

// A Device is a registration of this machine in a tenant.
type Device struct {
	ID         string   `json:"deviceId"`
	TenantID   string   `json:"tenantId"`
	TenantName string   `json:"tenantName,omitempty"` // a domain, as configured; empty when only the id is known
	UserID     string   `json:"userId,omitempty"`     // object id of who registered it, from the certificate
	Region     string   `json:"region,omitempty"`     // two letters, from the certificate
	JoinType   JoinType `json:"joinType"`
	// DisplayName is the name that the registration gave.
	DisplayName string `json:"displayName"`
	// Thumbprint is the SHA-1 of the stored certificate, in upper-case hex.
	Thumbprint string `json:"thumbprint"`
	// NotBefore and NotAfter are the certificate's validity, which has nothing
	// to do with that of a PRT.
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	// Registered is when the certificate came here.
	Registered time.Time `json:"registered"`
	// Existing says that the device was registered before this call.
	Existing bool `json:"-"`
}

// device is a complete registration with its keys open.
type device struct {
	owner     string
	from      store.Version // of the record of its data key: the same as long as it is the same registration
	record    *deviceRecord
	cert      *prt.DeviceCertificate
	key       tpm.Signer
	transport tpm.Key
}

func (d *device) close() error { return errors.Join(d.key.Close(), d.transport.Close()) }

func (d *device) proof() prt.Device { return prt.Device{Key: d.key, Certificate: d.cert.DER} }

func (d *device) public() *Device { return d.record.public(d.cert) }

func (r *deviceRecord) public(c *prt.DeviceCertificate) *Device {
	out := &Device{
		ID:          c.DeviceID,
		TenantID:    r.TenantID,
		UserID:      c.UserID,
		Region:      c.Region,
		JoinType:    r.JoinType,
		DisplayName: r.DisplayName,
		Thumbprint:  c.Thumbprint,
		NotBefore:   c.NotBefore,
		NotAfter:    c.NotAfter,
		Registered:  r.Registered,
	}
	if len(r.TenantNames) > 0 {
		out.TenantName = r.TenantNames[0]
	}
	return out
}

// storedDevice is a registration's record as it lies in the store.
type storedDevice struct {
	vault  *vault.Vault
	record *deviceRecord
	sealed vault.Record
}

// findDevice returns the record of the configured tenant, finished or not, or
// ErrNotFound.
func (b *Broker) findDevice(ctx context.Context) (*storedDevice, error) {
	names, err := b.cfg.Store.List(ctx, devicePrefix)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		owner, ok := strings.CutSuffix(n, vault.KeySuffix)
		if !ok {
			continue
		}
		d, err := b.readDevice(ctx, owner)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if d.record.matches(b.cfg.Tenant) {
			return d, nil
		}
		d.vault.Close()
	}
	return nil, store.ErrNotFound
}

func (b *Broker) readDevice(ctx context.Context, owner string) (*storedDevice, error) {
	v := vault.New(b.cfg.Keys, b.cfg.Store, b.cfg.Rand, owner)
	if err := v.Open(ctx); err != nil {
		return nil, err
	}
	r, err := v.Read(ctx, vault.StateSuffix)
	if err != nil {
		return nil, err
	}
	d := &storedDevice{vault: v, record: new(deviceRecord), sealed: r}
	if err := vault.Decode(owner, r.Plain, d.record); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *storedDevice) save(ctx context.Context) error {
	plain, err := vault.Encode(d.record)
	if err != nil {
		return err
	}
	d.sealed, err = d.vault.Write(ctx, vault.StateSuffix, plain, d.sealed)
	return err
}

// loadDevice returns the registration with its keys open. It is
// ErrDeviceNotRegistered when there is none, or none that is complete. What is
// in memory answers; currentDevice also asks the store.
func (b *Broker) loadDevice(ctx context.Context) (*device, error) {
	if d := b.device.Load(); d != nil {
		return d, nil
	}
	return do(ctx, &b.flights, "device", func(ctx context.Context) (*device, error) {
		if d := b.device.Load(); d != nil {
			return d, nil
		}
		for {
			d, err := b.openRegistered(ctx)
			if err != nil {
				return nil, err
			}
			b.keepDevice(d)
			// It may have been erased before it was kept, and who erased it
			// found nothing to let go.
			if err := b.noticeDevice(ctx); err != nil {
				return nil, err
			}
			if d := b.device.Load(); d != nil {
				return d, nil
			}
		}
	})
}

// openRegistered reads the registration and opens its keys.
func (b *Broker) openRegistered(ctx context.Context) (*device, error) {
	stored, err := b.findDevice(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &Error{kind: ErrDeviceNotRegistered}
	}
	if err != nil {
		return nil, err
	}
	defer stored.vault.Close()
	if stored.record.Phase != phaseComplete {
		return nil, &Error{kind: ErrDeviceNotRegistered, detail: "the registration of the device was not completed: register again, with the same keys"}
	}
	return b.openDevice(ctx, stored)
}

func (b *Broker) openDevice(ctx context.Context, stored *storedDevice) (*device, error) {
	r := stored.record
	cert, err := prt.ParseDeviceCertificate(r.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: device certificate", ErrStateDamaged)
	}
	key, transport, err := b.openKeys(ctx, r)
	if err != nil {
		return nil, err
	}
	return stored.with(cert, key, transport), nil
}

// with is the registration once it is complete and its keys are open.
func (d *storedDevice) with(cert *prt.DeviceCertificate, key tpm.Signer, transport tpm.Key) *device {
	return &device{owner: d.vault.Owner(), from: d.vault.KeyVersion(), record: d.record, cert: cert, key: key, transport: transport}
}

// keepDevice makes d the registration in memory, unless it is there already,
// and returns the one that is.
func (b *Broker) keepDevice(d *device) *device {
	for {
		old := b.device.Load()
		if old != nil && old.from == d.from {
			_ = d.close()
			return old
		}
		if b.device.CompareAndSwap(old, d) {
			b.registration.Store(uint64(d.from))
			b.retire(old)
			return d
		}
	}
}

// currentDevice is loadDevice for calls that ask what the store has, or that
// ask the service for something that only the registration of today gets.
func (b *Broker) currentDevice(ctx context.Context) (*device, error) {
	if err := b.noticeDevice(ctx); err != nil {
		return nil, err
	}
	return b.loadDevice(ctx)
}

// noticeDevice forgets the registration in memory if another process erased it
// from the store, also when it has registered the device anew since. That the
// store cannot say whether changes nothing.
func (b *Broker) noticeDevice(ctx context.Context) error {
	d := b.device.Load()
	if d == nil {
		return nil
	}
	_, v, err := b.cfg.Store.Get(ctx, d.owner+vault.KeySuffix)
	switch {
	case err == nil && v == d.from:
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	if b.letGo(d) {
		b.cfg.Logger.InfoContext(ctx, "another process has unregistered the device", "device", d.cert.DeviceID)
	}
	return nil
}

// letGo forgets a registration that is erased, and the tokens that were got on
// it, in memory alone. It reports whether d was the registration in memory.
func (b *Broker) letGo(d *device) bool {
	if !b.device.CompareAndSwap(d, nil) {
		return false
	}
	b.tokens.Clear()
	b.retire(d)
	return true
}

// retire leaves the keys of d open until Close: a call may be using them, which
// is to end by what the service says.
func (b *Broker) retire(d *device) {
	if d == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retired = append(b.retired, d)
}

func (b *Broker) openKeys(ctx context.Context, r *deviceRecord) (tpm.Signer, tpm.Key, error) {
	k, err := b.cfg.Keys.OpenKey(ctx, r.DeviceKey)
	if err != nil {
		return nil, nil, keyError("opening the device key", err)
	}
	key, ok := k.(tpm.Signer)
	if !ok {
		_ = k.Close()
		return nil, nil, fmt.Errorf("%w: the device key does not sign", ErrStateDamaged)
	}
	transport, err := b.cfg.Keys.OpenKey(ctx, r.TransportKey)
	if err != nil {
		_ = key.Close()
		return nil, nil, keyError("opening the transport key", err)
	}
	return key, transport, nil
}
