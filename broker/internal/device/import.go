package device

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"time"

	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// An Import is a registration that another program made, with its private keys.
type Import struct {
	Certificate    *prt.DeviceCertificate
	Key, Transport crypto.Signer // RSA; may be the same
	JoinType       prt.JoinType
}

// An ImportError says why a registration cannot be imported.
type ImportError struct{ Why string }

// Error returns the reason.
func (e *ImportError) Error() string { return "broker: importing a device: " + e.Why }

// Import keeps a registration that another program made. It sends only the
// requests that find the tenant and its services. An existing registration,
// finished or not, is never replaced.
func (k *Keeper) Import(ctx context.Context, in Import) (d *Device, existing bool, err error) {
	if err := in.check(k.cfg.Now()); err != nil {
		return nil, false, err
	}
	keys, ok := k.cfg.Keys.(tpm.Importer)
	if !ok {
		return nil, false, tpm.ErrNoImport
	}
	tenantID, err := k.cfg.Services.TenantID(ctx, k.cfg.Tenant)
	if err != nil {
		return nil, false, err
	}
	if of := in.Certificate.TenantID; of != "" && of != tenantID {
		return nil, false, &ImportError{fmt.Sprintf("the certificate is for the tenant %s, and %s is %s", of, k.cfg.Tenant, tenantID)}
	}
	release, err := k.Lease(ctx)
	if err != nil {
		return nil, false, err
	}
	defer release()
	stored, err := k.prepare(ctx, Request{JoinType: in.JoinType})
	if err != nil {
		return nil, false, err
	}
	defer stored.vault.Close()
	r := stored.record
	switch {
	case r.Phase == phaseComplete && bytes.Equal(r.Certificate, in.Certificate.DER):
		existing = true
	case r.Phase != "":
		return nil, false, &ImportError{"this machine already has a registration, finished or not; ForgetDevice removes it"}
	default:
		if err := r.take(ctx, keys, in, k.cfg.Now()); err != nil {
			return nil, false, err
		}
	}
	if err := stored.save(ctx); err != nil {
		return nil, false, err
	}
	if d, err = k.open(ctx, stored); err != nil {
		return nil, false, err
	}
	return k.keep(d), existing, nil
}

func (in *Import) check(now time.Time) error {
	c := in.Certificate
	switch {
	case !c.Matches(in.Key.Public()):
		return &ImportError{"the certificate is not for this key"}
	case now.Before(c.NotBefore):
		return &ImportError{"the certificate is not valid before " + c.NotBefore.UTC().Format(time.RFC3339) + ": is the clock right?"}
	case now.After(c.NotAfter):
		return &ImportError{"the certificate expired on " + c.NotAfter.UTC().Format(time.RFC3339) + ": register the machine anew"}
	}
	return nil
}

// take fills the record from the imported registration. It counts as new, since
// nothing tells whether the whole service knows the device yet.
func (d *Record) take(ctx context.Context, keys tpm.Importer, in Import, now time.Time) error {
	key, err := keys.ImportKey(ctx, tpm.KeySpec{Purpose: tpm.Sign}, in.Key)
	if err != nil {
		return fmt.Errorf("importing the device key: %w", err)
	}
	defer key.Close()
	transport, err := keys.ImportKey(ctx, tpm.KeySpec{Purpose: tpm.Unwrap}, in.Transport)
	if err != nil {
		return fmt.Errorf("importing the transport key: %w", err)
	}
	defer transport.Close()
	d.DeviceKey, d.TransportKey = key.Blob(), transport.Blob()
	d.Phase, d.Certificate, d.Registered = phaseComplete, in.Certificate.DER, now
	return nil
}
