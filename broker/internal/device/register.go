package device

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// A Request says how to register this machine.
type Request struct {
	JoinType prt.JoinType
	Domain   string       // a domain of the tenant; empty: that of the configuration
	Computer *Computer    // hybrid alone
	Token    prt.Secret   // for the registration service; not used when hybrid
	Step     func(string) // called with each step as it begins; may be nil
}

func (r *Request) step(s string) {
	if r.Step != nil {
		r.Step(s)
	}
}

// Steps of a registration.
const (
	stepDiscover     = "discover"
	stepDeviceKey    = "device key"
	stepTransportKey = "transport key"
	stepSaveKeys     = "save keys"
	stepRequest      = "request certificate"
	stepSave         = "save certificate"
)

// An OtherTypeError says that there is a registration of another type.
type OtherTypeError struct{ Is, Want prt.JoinType }

// Error names both types by their numbers.
func (e *OtherTypeError) Error() string {
	return fmt.Sprintf("broker: the device is registered with join type %d, not %d", e.Is, e.Want)
}

// Lease keeps two processes from registering, or from forgetting, at once.
func (k *Keeper) Lease(ctx context.Context) (release func(), err error) {
	return vault.Lease(ctx, k.cfg.Store, "register", vault.LongWait)
}

// Registered returns the registration, or nil if there is none.
func (k *Keeper) Registered(ctx context.Context, want prt.JoinType) (*Device, error) {
	d, err := k.Current(ctx)
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	if err == nil && d.Record.JoinType != want {
		return nil, &OtherTypeError{d.Record.JoinType, want}
	}
	return d, err
}

// Register makes the keys, saves them, asks for the certificate and saves it,
// in this order, so that a crash at any point leaves keys with which the next
// call continues and no device object without its keys.
func (k *Keeper) Register(ctx context.Context, req Request) (d *Device, existing bool, err error) {
	release, err := k.Lease(ctx)
	if err != nil {
		return nil, false, err
	}
	release, keep := vault.Shared(release)
	defer release()
	if d, err := k.Registered(ctx, req.JoinType); d != nil || err != nil {
		return d, true, err // another process was faster
	}
	req.step(stepDiscover)
	stored, err := k.prepare(ctx, req)
	if err != nil {
		return nil, false, err
	}
	k.registration.Store(uint64(stored.vault.KeyVersion())) // ForgetDevice ends an interrupted one, too
	saving := false
	defer func() {
		if !saving {
			stored.vault.Close()
		}
	}()
	key, transport, err := k.registrationKeys(ctx, &req, stored)
	if err != nil {
		return nil, false, err
	}
	done := false
	defer func() {
		if !done {
			_, _ = key.Close(), transport.Close()
		}
	}()
	cert, err := k.requestCertificate(ctx, &req, stored, key, transport)
	if err != nil {
		return nil, false, err
	}
	req.step(stepSave)
	existing = stored.record.Phase == phaseComplete // under another name of the tenant
	stored.record.Phase, stored.record.Certificate = phaseComplete, cert.DER
	if !existing {
		stored.record.Registered = k.cfg.Now()
	}
	saving = true // also when the caller goes away: the certificate is here
	leave := keep()
	err = k.cfg.Finish(ctx, func(ctx context.Context) error {
		defer leave()
		defer stored.vault.Close()
		return stored.save(ctx)
	})
	if err != nil {
		return nil, false, err
	}
	done = true
	d = k.keep(stored.with(cert, key, transport))
	return d, existing, nil
}

// prepare returns the record of an interrupted registration, or a new one.
func (k *Keeper) prepare(ctx context.Context, req Request) (*Stored, error) {
	tenantID, err := k.cfg.Services.TenantID(ctx, k.cfg.Tenant)
	if err != nil {
		return nil, err
	}
	owner := deviceOwner(tenantID)
	stored, err := k.read(ctx, owner)
	if errors.Is(err, store.ErrNotFound) {
		v := vault.New(k.cfg.Ring, k.cfg.Store, k.cfg.Rand, owner)
		if err := v.Create(ctx); err != nil {
			return nil, err
		}
		stored = &Stored{vault: v, record: &Record{Version: vault.StateVersion, TenantID: tenantID}}
	} else if err != nil {
		return nil, err
	}
	r := stored.record
	if r.Phase == phaseComplete && r.JoinType != req.JoinType {
		stored.vault.Close()
		return nil, &OtherTypeError{r.JoinType, req.JoinType}
	}
	if name := k.cfg.Tenant; name != tenantID && !slices.Contains(r.TenantNames, name) {
		r.TenantNames = append(r.TenantNames, name)
	}
	if r.Phase == phaseComplete {
		// Registered under another name of the same tenant.
		return stored, nil
	}
	r.JoinType = req.JoinType
	r.DisplayName = k.cfg.DisplayName
	r.Endpoints = k.cfg.Services.Discover(ctx, tenantID)
	return stored, nil
}

// registrationKeys opens the keys of an interrupted registration, or makes
// them and saves them before anything is sent.
func (k *Keeper) registrationKeys(ctx context.Context, req *Request, stored *Stored) (tpm.Signer, tpm.Key, error) {
	r := stored.record
	if r.DeviceKey != nil { // both were saved at once
		return k.openKeys(ctx, r)
	}
	req.step(stepDeviceKey)
	made, err := k.cfg.Keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
	if err != nil {
		return nil, nil, fmt.Errorf("making the device key: %w", err)
	}
	key, ok := made.(tpm.Signer)
	if !ok {
		_ = made.Close()
		return nil, nil, errors.New("broker: the key store made a device key that cannot sign")
	}
	req.step(stepTransportKey)
	transport, err := k.cfg.Keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Unwrap})
	if err != nil {
		_ = key.Close()
		return nil, nil, fmt.Errorf("making the transport key: %w", err)
	}
	req.step(stepSaveKeys)
	r.Phase, r.DeviceKey, r.TransportKey = phaseKeys, key.Blob(), transport.Blob()
	if err := stored.save(ctx); err != nil {
		_, _ = key.Close(), transport.Close()
		return nil, nil, err
	}
	return key, transport, nil
}

// requestCertificate sends the request. Before that the record says that it may
// have been sent: a registration that is resumed later asks to have the same
// device object back.
func (k *Keeper) requestCertificate(ctx context.Context, req *Request, stored *Stored, key tpm.Signer, transport tpm.Key) (*prt.DeviceCertificate, error) {
	r := stored.record
	if r.Phase == phaseComplete {
		return prt.ParseDeviceCertificate(r.Certificate)
	}
	join := prt.JoinRequest{
		DeviceKey:    key,
		TransportKey: transport.Public(),
		Type:         req.JoinType,
		Domain:       req.Domain,
		DeviceType:   k.cfg.Type,
		DisplayName:  k.cfg.DisplayName,
		OSVersion:    k.cfg.OSVersion,
		Reuse:        r.Phase == phaseRequested,
	}
	if join.Domain == "" {
		join.Domain = k.cfg.Tenant
	}
	if r.Phase != phaseRequested {
		r.Phase = phaseRequested
		if err := stored.save(ctx); err != nil {
			return nil, err
		}
	}
	req.step(stepRequest)
	if req.JoinType == prt.JoinHybrid {
		return k.hybridJoin(ctx, req, r, join, key)
	}
	body, err := join.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	rep, err := k.cfg.Services.Register(ctx, http.MethodPost, sts.WithVersion(r.Endpoints.Join, r.Endpoints.JoinVersion), body, req.Token, "")
	if err != nil {
		return nil, err
	}
	return readCertificate(rep, key)
}

func readCertificate(rep *sts.Reply, key tpm.Signer) (*prt.DeviceCertificate, error) {
	joined, err := prt.ParseJoin(rep.Body)
	if err != nil {
		return nil, sts.Malformed(rep, err)
	}
	if !joined.Certificate.Matches(key.Public()) {
		return nil, &sts.Error{Detail: "the certificate is not for the device key of this machine", CorrelationID: rep.CorrelationID}
	}
	return joined.Certificate, nil
}

// Delete deletes the device object in the directory, which the certificate that
// t shows authorises.
func (k *Keeper) Delete(ctx context.Context, d *Device, t sts.Transport) error {
	join := d.Record.Endpoints.Join
	if join == "" {
		join = k.cfg.Services.Cloud().Registration(wire.PathDevice)
	}
	return k.cfg.Services.DeleteDevice(ctx, sts.WithVersion(strings.TrimSuffix(join, "/")+"/"+d.Cert.DeviceID, "1.0"), t)
}

// Forget deletes the record of the registration that was used last, and reports
// whether it did: another process may have been faster.
func (k *Keeper) Forget(ctx context.Context) (bool, error) {
	if err := k.Notice(ctx); err != nil {
		return false, err
	}
	stored, err := k.find(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return false, ErrNone
	}
	if err != nil {
		return false, err
	}
	if used := store.Version(k.registration.Load()); used != 0 && used != stored.vault.KeyVersion() {
		stored.vault.Close()
		return false, nil // the one that was used is gone, and this is a later one
	}
	if err := stored.vault.Destroy(ctx); err != nil {
		return false, err
	}
	if d := k.Open(); d != nil {
		k.letGo(d)
	}
	return true, nil
}
