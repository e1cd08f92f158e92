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

// ErrDeviceDisabled: an administrator disabled the device in Microsoft Entra ID.
var ErrDeviceDisabled = errors.New("authd: the device is disabled in Microsoft Entra ID")

// ErrInvalidRedirectURI: the registration of the app lacks the redirect URI
// https://login.microsoftonline.com/common/oauth2/nativeclient, under mobile and
// desktop applications.
var ErrInvalidRedirectURI = errors.New("authd: the redirect URI of the app is missing or not valid")

// A TokenAcquisitionError says that the device registration is of no use any more,
// for certain: the service does not know the device, or this machine does not open
// the data. authd then forgets the data and registers the device again. No other
// failure is one: a network that is down, a policy, an app without consent and a user
// who has to sign in again all leave the device what it was.
type TokenAcquisitionError struct{ cause error }

// Error returns one line.
func (e TokenAcquisitionError) Error() string { return "authd: " + e.cause.Error() }

// Unwrap returns what the broker said.
func (e TokenAcquisitionError) Unwrap() error { return e.cause }

// readGroups is the scope of Microsoft Graph that authd reads a user's groups by.
const readGroups = "GroupMember.Read.All"

// AcquireAccessTokenForGraphAPI returns an access token of the app clientID for
// Microsoft Graph, with the scope GroupMember.Read.All. The kept PRT brings it; token,
// a refresh token of the broker client, is used where there is no PRT, where the PRT
// is not enough, and after a sign-in with MFA, whose claim the PRT then gets.
//
// An empty clientID is the broker client.
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

// groupsToken asks the PRT first, and the refresh token where that is not enough.
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

// account is the user of the kept PRT; zero: there is none, or token is another
// user's.
func (m *machine) account(ctx context.Context, token *oauth2.Token) (broker.Account, error) {
	all, err := m.b.Accounts(ctx)
	if err != nil || len(all) == 0 {
		return broker.Account{}, err
	}
	said, err := claims.Parse(token.AccessToken)
	if err != nil || said.ObjectID == "" { // an opaque token says nothing
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
// says more than the kept one.
func (m *machine) isFresh(refreshToken string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return refreshToken != "" && m.fresh == sha256.Sum256([]byte(refreshToken))
}

// setFresh notes a refresh token; "" forgets it.
func (m *machine) setFresh(refreshToken string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fresh = [sha256.Size]byte{}
	if refreshToken != "" {
		m.fresh = sha256.Sum256([]byte(refreshToken))
	}
}

// newDevice is for how long the service may not know a device everywhere. The broker
// waits a minute; what it hears after that about a device of this age is still no
// proof that the device is gone.
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

// extras are what authd reads from a token beside the tokens themselves, unverified.
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
