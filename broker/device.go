package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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
	vault  *vault
	record *deviceRecord
	sealed sealedRecord
}

// findDevice returns the record of the configured tenant, finished or not, or
// ErrNotFound.
func (b *Broker) findDevice(ctx context.Context) (*storedDevice, error) {
	names, err := b.cfg.Store.List(ctx, devicePrefix)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		owner, ok := strings.CutSuffix(n, keySuffix)
		if !ok {
			continue
		}
		d, err := b.readDevice(ctx, owner)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if d.record.matches(b.cfg.Tenant) {
			return d, nil
		}
		d.vault.close()
	}
	return nil, ErrNotFound
}

func (b *Broker) readDevice(ctx context.Context, owner string) (*storedDevice, error) {
	v := newVault(b.cfg.Keys, b.cfg.Store, b.cfg.Rand, owner)
	if err := v.open(ctx); err != nil {
		return nil, err
	}
	r, err := v.read(ctx, stateSuffix)
	if err != nil {
		return nil, err
	}
	d := &storedDevice{vault: v, record: new(deviceRecord), sealed: r}
	if err := decode(owner, r.plain, d.record); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *storedDevice) save(ctx context.Context) error {
	plain, err := encode(d.record)
	if err != nil {
		return err
	}
	d.sealed, err = d.vault.write(ctx, stateSuffix, plain, d.sealed)
	return err
}

// loadDevice returns the registration with its keys open. It is
// ErrDeviceNotRegistered when there is none, or none that is complete.
func (b *Broker) loadDevice(ctx context.Context) (*device, error) {
	if d := b.device.Load(); d != nil {
		return d, nil
	}
	return do(ctx, &b.flights, "device", func(ctx context.Context) (*device, error) {
		if d := b.device.Load(); d != nil {
			return d, nil
		}
		stored, err := b.findDevice(ctx)
		if errors.Is(err, ErrNotFound) {
			return nil, &Error{kind: ErrDeviceNotRegistered}
		}
		if err != nil {
			return nil, err
		}
		defer stored.vault.close()
		if stored.record.Phase != phaseComplete {
			return nil, &Error{kind: ErrDeviceNotRegistered, detail: "the registration of the device was not completed: register again, with the same keys"}
		}
		d, err := b.openDevice(ctx, stored.record)
		if err != nil {
			return nil, err
		}
		b.device.Store(d)
		return d, nil
	})
}

func (b *Broker) openDevice(ctx context.Context, r *deviceRecord) (*device, error) {
	cert, err := prt.ParseDeviceCertificate(r.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: device certificate", ErrStateDamaged)
	}
	key, transport, err := b.openKeys(ctx, r)
	if err != nil {
		return nil, err
	}
	return &device{record: r, cert: cert, key: key, transport: transport}, nil
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
