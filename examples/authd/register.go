package authd

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker"
)

// RegisterDevice joins this machine to the tenant with a refresh token of the broker
// client, and signs the user in on it. The data that it returns holds the device and
// the user's PRT. Each call registers a new device; a caller that has valid data
// does not call it.
//
// cleanup does nothing and is never nil: no lock is held between this call and the
// next.
//
// If the sign-in fails after the registration, the data is returned without a PRT,
// and AcquireAccessTokenForGraphAPI signs in.
func (p *Provider) RegisterDevice(ctx context.Context, token *oauth2.Token, tenantID, domain string) (_ *DeviceRegistrationData, cleanup func(), err error) {
	cleanup = func() {}
	data := DeviceRegistrationData{AuthValue: inTPM}
	if p.cfg.Keys == nil {
		data.AuthValue = newAuthValue()
	}
	m, err := p.open(ctx, tenantID, data)
	if err != nil {
		return nil, cleanup, fmt.Errorf("authd: registering the device: %w", err)
	}
	cred := broker.RefreshToken{Token: token.RefreshToken}
	dev, err := m.b.RegisterDevice(ctx, broker.RegisterRequest{Credential: cred, TargetDomain: domain})
	if err != nil {
		_ = m.close()
		return nil, cleanup, fmt.Errorf("authd: registering the device: %w", err)
	}
	if err := m.describe(dev); err != nil {
		_ = m.close()
		return nil, cleanup, err
	}
	if _, err := m.b.SignIn(ctx, cred); err != nil {
		p.cfg.Logger.WarnContext(ctx, "the device is registered, and the user is not signed in on it yet", "device", dev.ID, "error", err)
	}
	m.complete.Store(true)
	if m, err = p.keep(m); err != nil {
		return nil, cleanup, err
	}
	return m.current(), cleanup, nil
}

// describe fills in what the data says about the device.
func (m *machine) describe(dev *broker.Device) error {
	thumbprint, err := hex.DecodeString(dev.Thumbprint)
	if err != nil {
		return err
	}
	written, err := json.Marshal(header{version, dev.TenantID})
	if err != nil {
		return err
	}
	m.data.DeviceID, m.data.CertKey, m.data.TransportKey, m.registered = dev.ID, thumbprint, written, dev.Registered
	return nil
}
