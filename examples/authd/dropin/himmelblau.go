//go:build withmsentraid

// Package himmelblau replaces libhimmelblau in authd with prtbroker. This file
// replaces himmelblau.go, himmelblau_c.go and generate.sh; the files beside it with
// the types of authd stay. See docs/authd.md of prtbroker.
package himmelblau

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/examples/authd"
	"github.com/prtbroker/prtbroker/tpm"
)

// tpmVariable names the environment variable that selects the machine's TPM for the
// keys of devices. Empty or unset: software keys, as before.
const tpmVariable = "AUTHD_TPM"

var (
	providerMu sync.Mutex // guards provider
	provider   *authd.Provider
)

// current opens the provider on first use. If a TPM was requested and cannot be
// opened, that is an error, and the next call tries again.
func current(ctx context.Context) (*authd.Provider, error) {
	providerMu.Lock()
	defer providerMu.Unlock()
	if provider != nil {
		return provider, nil
	}
	var cfg authd.Config
	if os.Getenv(tpmVariable) != "" {
		keys, err := tpm.Open(ctx, tpm.Default(), tpm.Config{})
		if err != nil {
			return nil, fmt.Errorf("opening the TPM: %w", err)
		}
		cfg.Keys = keys
	}
	provider = authd.New(cfg)
	return provider, nil
}

// RegisterDevice registers this machine with a refresh token of the broker client.
func RegisterDevice(ctx context.Context, token *oauth2.Token, tenantID, domain string) (*DeviceRegistrationData, func(), error) {
	p, err := current(ctx)
	if err != nil {
		return nil, nil, err
	}
	data, cleanup, err := p.RegisterDevice(ctx, token, tenantID, domain)
	if err != nil {
		return nil, nil, err
	}
	return (*DeviceRegistrationData)(data), cleanup, nil
}

// AcquireAccessTokenForGraphAPI returns the token that reads the user's groups.
func AcquireAccessTokenForGraphAPI(ctx context.Context, clientID, tenantID string, token *oauth2.Token, data DeviceRegistrationData) (string, error) {
	p, err := current(ctx)
	if err != nil {
		return "", err
	}
	access, err := p.AcquireAccessTokenForGraphAPI(ctx, clientID, tenantID, token, authd.DeviceRegistrationData(data))
	var acquisition authd.TokenAcquisitionError
	switch {
	case errors.Is(err, authd.ErrDeviceDisabled):
		return "", fmt.Errorf("%w: %w", ErrDeviceDisabled, err)
	case errors.Is(err, authd.ErrInvalidRedirectURI):
		return "", fmt.Errorf("%w: %w", ErrInvalidRedirectURI, err)
	case errors.As(err, &acquisition):
		return "", TokenAcquisitionError{msg: err.Error()}
	}
	return access, err
}

// AcquireTokenByMFAFlow answers the challenge of a sign-in.
func AcquireTokenByMFAFlow(ctx context.Context, clientID, tenantID string, data *DeviceRegistrationData, username string, flow *MFAFlowState, authData string, pollAttempt int) (*oauth2.Token, error) {
	p, err := current(ctx)
	if err != nil {
		return nil, err
	}
	t, err := p.AcquireTokenByMFAFlow(ctx, clientID, tenantID, (*authd.DeviceRegistrationData)(data), username, under(flow), authData, pollAttempt)
	return t, mfaError(err)
}

// newFlow wraps a sign-in in authd's handle.
func newFlow(s *authd.MFAFlowState) *MFAFlowState {
	return &MFAFlowState{opaque: s, release: func() { authd.FreeMFAFlowState(s) }}
}

// under returns the sign-in in authd's handle, or nil if there is none or it was
// released.
func under(flow *MFAFlowState) *authd.MFAFlowState {
	if flow == nil {
		return nil
	}
	flow.mu.Lock() // not held during the request: releasing the flow ends a poll
	defer flow.mu.Unlock()
	s, _ := flow.opaque.(*authd.MFAFlowState)
	return s
}

// mfaError converts an error to authd's type.
func mfaError(err error) error {
	var e *authd.MFAError
	if !errors.As(err, &e) {
		return err
	}
	return &MFAError{Category: MFAErrorCategory(e.Category), AADSTS: e.AADSTS, Message: e.Message}
}
