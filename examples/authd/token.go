package authd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/claims"
)

// ErrDeviceDisabled means that an administrator disabled the device in Microsoft Entra
// ID.
var ErrDeviceDisabled = errors.New("authd: the device is disabled in Microsoft Entra ID")

// ErrInvalidRedirectURI means that the registration of the app lacks the redirect URI
// https://login.microsoftonline.com/common/oauth2/nativeclient, under mobile and
// desktop applications.
var ErrInvalidRedirectURI = errors.New("authd: the redirect URI of the app is missing or not valid")

// A TokenAcquisitionError means that the device registration is certainly of no
// further use: the service does not know the device, or this machine cannot open the
// data. authd then discards the data and registers the device again. No other failure
// is a TokenAcquisitionError: a network outage, a policy, an app without consent or a
// user who has to sign in again does not invalidate the registration.
type TokenAcquisitionError struct{ cause error }

// Error returns one line.
func (e TokenAcquisitionError) Error() string { return "authd: " + e.cause.Error() }

// Unwrap returns the error of the broker.
func (e TokenAcquisitionError) Unwrap() error { return e.cause }

// readGroups is the scope of Microsoft Graph with which authd reads a user's groups.
const readGroups = "GroupMember.Read.All"

// AcquireAccessTokenForGraphAPI returns an access token of the app clientID for
// Microsoft Graph, with the scope GroupMember.Read.All. It is acquired with the stored
// PRT. token, a refresh token of the broker client, is used if there is no PRT, if the
// PRT is not enough, and after a sign-in with MFA, so that the PRT gets the MFA claim.
//
// An empty clientID stands for the broker client.
func (p *Provider) AcquireAccessTokenForGraphAPI(ctx context.Context, clientID, tenantID string, token *oauth2.Token, data DeviceRegistrationData) (string, error) {
	m, err := p.machine(ctx, tenantID, data)
	if err != nil {
		return "", p.refusal(nil, err)
	}
	access, err := m.groupsToken(ctx, clientID, token)
	if err != nil {
		return "", p.refusal(m, err)
	}
	return access, nil
}

// groupsToken tries the PRT first, and uses the refresh token if the PRT is not
// enough.
func (m *machine) groupsToken(ctx context.Context, clientID string, token *oauth2.Token) (string, error) {
	acct, err := m.account(ctx, token)
	if err != nil {
		return "", err
	}
	if !acct.IsZero() && !m.isFresh(token.RefreshToken) {
		access, err := m.silent(ctx, clientID, acct)
		if err == nil || !errors.Is(err, broker.ErrInteractionRequired) || token.RefreshToken == "" {
			return access, err
		}
	}
	res, err := m.b.SignIn(ctx, broker.RefreshToken{Token: token.RefreshToken})
	if err != nil {
		return "", err
	}
	m.setFresh("")
	return m.silent(ctx, clientID, res.Account)
}

func (m *machine) silent(ctx context.Context, clientID string, acct broker.Account) (string, error) {
	app := broker.App{ClientID: clientID}
	if clientID == "" {
		app = broker.App{ClientID: broker.BrokerClientID, RedirectURI: broker.BrokerRedirect}
	}
	res, err := m.b.AcquireTokenSilent(ctx, []string{readGroups}, broker.WithAccount(acct), broker.WithApp(app))
	return res.AccessToken, err
}

// account returns the user of the stored PRT. It is zero if there is none, or if token
// belongs to another user.
func (m *machine) account(ctx context.Context, token *oauth2.Token) (broker.Account, error) {
	all, err := m.b.Accounts(ctx)
	if err != nil || len(all) == 0 {
		return broker.Account{}, err
	}
	said, err := claims.Parse(token.AccessToken)
	if err != nil || said.ObjectID == "" { // an opaque token names no user
		return all[0], nil
	}
	for _, a := range all {
		if a.LocalAccountID == said.ObjectID && (said.TenantID == "" || said.TenantID == a.Realm) {
			return a, nil
		}
	}
	return broker.Account{}, nil
}

// isFresh reports whether MFA was just done for a refresh token, so that a new PRT
// would carry more than the stored one.
func (m *machine) isFresh(refreshToken string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return refreshToken != "" && m.fresh == sha256.Sum256([]byte(refreshToken))
}

// setFresh records a refresh token; "" clears it.
func (m *machine) setFresh(refreshToken string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fresh = [sha256.Size]byte{}
	if refreshToken != "" {
		m.fresh = sha256.Sum256([]byte(refreshToken))
	}
}

// newDevice is how long a new device may be unknown to parts of the service. The
// broker waits a minute. Even after that, an error about a device of this age does not
// prove that the device is gone.
const newDevice = time.Hour

// refusal is the kind of error that authd tells apart.
func (p *Provider) refusal(m *machine, err error) error {
	var said *broker.Error
	code := 0
	if errors.As(err, &said) {
		code = said.Code
	}
	switch {
	case errors.Is(err, broker.ErrDeviceDisabled):
		return fmt.Errorf("%w: %w", ErrDeviceDisabled, err)
	case code == 50011, code/10 == 50011: // 500112 and 500113 are of its family
		return fmt.Errorf("%w: %w", ErrInvalidRedirectURI, err)
	case errors.Is(err, errForeign), errors.Is(err, broker.ErrKeyUnusable), errors.Is(err, broker.ErrStateDamaged), errors.Is(err, broker.ErrDeviceNotRegistered) && m == nil:
		return TokenAcquisitionError{err}
	case errors.Is(err, broker.ErrDeviceAuth) && m != nil && p.cfg.Now().Sub(m.registered) > newDevice:
		return TokenAcquisitionError{err}
	}
	return fmt.Errorf("authd: the token for Microsoft Graph: %w", err)
}

// extras returns what authd reads from a token in addition to the tokens themselves,
// unverified.
func extras(accessToken string) map[string]any {
	t, err := claims.Parse(accessToken)
	if err != nil {
		return nil
	}
	out := map[string]any{}
	for name, value := range map[string]string{
		"preferred_username": t.Username, "sub": t.Subject, "name": t.Name, "scp": joined(t.Scopes), "scope": joined(t.Scopes),
	} {
		if value != "" {
			out[name] = value
		}
	}
	return out
}

func joined(scopes []string) string { return strings.Join(scopes, " ") }
