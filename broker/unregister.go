package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
)

// UnregisterDevice deletes the device object in the directory, which the
// device's certificate authorises by mutual TLS, and then the registration
// here. If the service refuses, the registration stays, even if it has no such
// device (ErrDeviceGone), as after a call whose reply was lost: ForgetDevice
// then deletes the registration here. After a success the user's accounts
// stay, without PRT and Hello key. The Hello keys are deleted at the service
// first, as far as that is possible: without the device they are of no use
// there.
//
// If Config.Transport is set and is not an *http.Client over an
// *http.Transport, or its DialTLSContext is set, Config.MutualTLS is needed.
func (b *Broker) UnregisterDevice(ctx context.Context) (err error) {
	const op = "unregister device"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	release, err := b.devices.Lease(ctx)
	if err != nil {
		return opError(op, err)
	}
	release, keep := vault.Shared(release)
	defer release()
	d, err := b.devices.Current(ctx)
	if err != nil {
		return opError(op, err)
	}
	t, err := b.cfg.mutualTLS(ctx, d)
	if err != nil { // before anything is deleted
		return opError(op, err)
	}
	b.removeHelloKeys(ctx, op)
	if err := b.deleteDevice(ctx, d, t); err != nil {
		return opError(op, err)
	}
	b.cfg.Logger.InfoContext(ctx, "device unregistered", "device", d.Cert.DeviceID)
	done := keep()
	return opError(op, b.finish(ctx, func(ctx context.Context) error {
		defer done()
		return b.forget(ctx)
	}))
}

// ForgetDevice deletes the registration here and leaves the device object in
// the directory. It is for a device that an administrator has deleted there
// (ErrDeviceGone), before it is registered again. The broker never calls it by
// itself.
//
// It forgets the last registration that this broker has used: if another
// process has forgotten that one already and registered the device again, the
// new registration stays, and RegisterDevice returns it.
func (b *Broker) ForgetDevice(ctx context.Context) (err error) {
	const op = "forget device"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	release, err := b.devices.Lease(ctx)
	if err != nil {
		return opError(op, err)
	}
	defer release()
	return opError(op, b.forget(ctx))
}

// removeHelloKeys removes the Hello keys of the user's accounts. If the service
// refuses, the key stays there, and the device is deleted all the same.
func (b *Broker) removeHelloKeys(ctx context.Context, op string) {
	all, _, err := b.book.All(ctx)
	if err != nil {
		return // a record that cannot be read is reported where it is needed
	}
	for _, a := range all {
		rec := a.Record()
		if rec == nil || rec.Hello == nil && rec.NextHello == nil {
			continue
		}
		if err := b.removeHello(ctx, op, Account(rec.Account)); err != nil {
			b.cfg.Logger.InfoContext(ctx, "removing the Hello key failed", "account", rec.Account.HomeAccountID, "error", err)
		}
	}
}

func (b *Broker) deleteDevice(ctx context.Context, d *device.Device, t Transport) error {
	if c, ok := t.(interface{ CloseIdleConnections() }); ok {
		defer c.CloseIdleConnections()
	}
	return b.devices.Delete(ctx, d, t)
}

// mutualTLS returns a transport that shows the device certificate.
func (c *Config) mutualTLS(ctx context.Context, d *device.Device) (Transport, error) {
	cert := d.TLSCertificate(ctx)
	if c.MutualTLS != nil {
		return c.MutualTLS(cert), nil
	}
	h, ok := c.Transport.(*http.Client)
	if !ok {
		return nil, &Error{detail: "Config.Transport cannot present a client certificate: set Config.MutualTLS"}
	}
	var t *http.Transport
	switch rt := h.Transport.(type) {
	case nil:
		t = sts.NewTransport().Transport.(*http.Transport)
	case *http.Transport:
		t = rt.Clone()
	default:
		return nil, &Error{detail: "the RoundTripper of Config.Transport cannot present a client certificate: set Config.MutualTLS"}
	}
	//lint:ignore SA1019 a caller may still set DialTLS
	if t.DialTLSContext != nil || t.DialTLS != nil { //nolint:staticcheck // the same, for golangci-lint
		return nil, &Error{detail: "Config.Transport does TLS by itself (DialTLSContext), without the device's certificate: set Config.MutualTLS"}
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.MinVersion = tls.VersionTLS12
	t.TLSClientConfig.MaxVersion = tls.VersionTLS12
	t.TLSClientConfig.Certificates = []tls.Certificate{cert}
	t.TLSClientConfig.GetClientCertificate = nil // it would win over the device's
	t.ForceAttemptHTTP2 = false
	t.TLSClientConfig.NextProtos = []string{"http/1.1"}
	return &http.Client{Transport: t, Timeout: h.Timeout, CheckRedirect: sts.NoRedirect}, nil
}

// forget deletes the registration's record and what depends on it.
func (b *Broker) forget(ctx context.Context) error {
	gone, err := b.devices.Forget(ctx)
	if err != nil || !gone {
		return err
	}
	return b.dropPRTs(ctx)
}

// dropPRTs erases the PRTs and Hello keys of the user's accounts: they were
// bound to the device that is gone.
func (b *Broker) dropPRTs(ctx context.Context) error {
	all, unreadable, err := b.book.All(ctx)
	errs := []error{err, unreadable}
	for _, a := range all {
		errs = append(errs, a.EraseOffline(ctx))
		_, err := a.Update(ctx, func(r *account.Record) error {
			r.DropHello()
			r.PRTs = []account.PRT{}
			return nil
		})
		errs = append(errs, err)
		a.ReleaseUnused()
	}
	b.tokens.Clear()
	return errors.Join(errs...)
}
