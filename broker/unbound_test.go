package broker_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
)

// Two members of the family of client ids.
const (
	onedrive = "ab9b8c07-8f02-4f72-87fa-80105867a763"
	teams    = "1fec8e78-bce4-4aaf-ab1b-5451cc387264"
)

func unboundWorld(t *testing.T) *world {
	w := newWorld(t, withMemory)
	require.NoError(t, w.b.Close())
	w.cfg.AllowUnbound = true
	w.b = w.open()
	return w
}

// Without a registration nothing is given unless the caller allows it, and
// then the result says so.
func TestMachineWithoutDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	_, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice})
	require.ErrorIs(t, err, broker.ErrDeviceNotRegistered)
	require.Zero(t, w.person.prompts())

	w = unboundWorld(t)
	res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice})
	require.NoError(t, err)
	require.Equal(t, 1, w.person.prompts())
	require.Equal(t, alice, res.Account.PreferredUsername)
	require.Empty(t, res.Metadata.DeviceID)

	tok := w.silent(open)
	require.Equal(t, broker.SourceRefreshToken, tok.Metadata.Source)
	require.Empty(t, accessToken(t, tok).DeviceID)
	require.Equal(t, tok.AccessToken, w.silent(open).AccessToken)

	// It survives a restart, sealed.
	require.NoError(t, w.b.Close())
	w.b = w.open()
	w.clock.Advance(24 * time.Hour)
	require.Equal(t, broker.SourceRefreshToken, w.silent(graph).Metadata.Source)
	accts, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []broker.Account{res.Account}, accts)

	// MFA needs the user, who gives it at the app's own page.
	_, err = w.b.AcquireTokenSilent(t.Context(), payroll)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	got, err := w.b.AcquireTokenInteractive(t.Context(), payroll)
	require.NoError(t, err)
	require.Equal(t, broker.SourceInteractive, got.Metadata.Source)
	require.Equal(t, 2, w.person.prompts())
	w.silent(ledger)

	// A revoked token is the user's to renew; removing the account erases it.
	require.NoError(t, w.srv.Revoke("alice"))
	_, err = w.b.AcquireTokenSilent(t.Context(), open, broker.WithForceRefresh())
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.NoError(t, w.b.RemoveAccount(t.Context(), res.Account))
	_, err = w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrNoAccount)
}

// Later the machine is registered, and the same calls go by the PRT.
func TestFromUnboundToDevice(t *testing.T) {
	t.Parallel()
	w := unboundWorld(t)
	_, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice})
	require.NoError(t, err)
	w.join()
	_, err = w.b.AcquireTokenSilent(t.Context(), open)
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "a plain refresh token is no PRT")
	w.signIn()
	tok := w.silent(open)
	require.Equal(t, broker.SourcePRT, tok.Metadata.Source)
	require.NotEmpty(t, tok.Metadata.DeviceID)
}

// One sign-in serves the apps of the family, and no other.
func TestFamilyOfClientIDs(t *testing.T) {
	t.Parallel()
	w := unboundWorld(t)
	word := broker.App{ClientID: onedrive}
	res, err := w.b.AcquireTokenInteractive(t.Context(), graph, broker.WithApp(word), broker.WithLoginHint(alice))
	require.NoError(t, err)
	require.Equal(t, 1, w.person.prompts())
	require.Equal(t, alice, res.Account.PreferredUsername)
	chat := w.silent(graph, broker.WithApp(broker.App{ClientID: teams}))
	require.Equal(t, teams, accessToken(t, chat).ClientID)
	_, err = w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "the app is not of the family")
	w.silent(graph, broker.WithApp(word), broker.WithForceRefresh())
}

// No PRT tells here whether the user signed in again meanwhile, in this process or
// another, and so no refusal is remembered.
func TestUnboundRefusalIsNotRemembered(t *testing.T) {
	t.Parallel()
	w := unboundWorld(t)
	_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.NoError(t, err)
	for range 2 {
		_, err := w.b.AcquireTokenSilent(t.Context(), payroll)
		require.ErrorIs(t, err, broker.ErrInteractionRequired)
		var e *broker.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 50076, e.Code)
		require.False(t, e.Remembered)
	}
}

// Who signs in on the page must be who was asked for.
func TestAnotherUserWithoutDevice(t *testing.T) {
	t.Parallel()
	w := unboundWorld(t)
	res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice})
	require.NoError(t, err)
	w.person.Username, w.person.Password, w.person.TOTPSecret = bob, password, ""
	_, err = w.b.AcquireTokenInteractive(t.Context(), open, broker.WithAccount(res.Account), broker.WithNewSignIn())
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.ErrorContains(t, err, "another user signed in")
	accts, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []broker.Account{res.Account}, accts)
}

// A service that answers a request for a bound token with a bearer token, as an
// older one would, is not served.
func TestUnboundBearerInPlaceOfPoP(t *testing.T) {
	t.Parallel()
	w := unboundWorld(t)
	_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.NoError(t, err)
	bound := broker.WithPoP(broker.PoP{Method: "GET", URL: "https://files.example/"})
	res, err := w.b.AcquireTokenSilent(t.Context(), open, bound)
	require.NoError(t, err)
	require.Equal(t, "PoP", res.TokenType)
	w.bearerOnly()
	_, err = w.b.AcquireTokenSilent(t.Context(), open, bound, broker.WithForceRefresh())
	require.ErrorContains(t, err, "not bound to the key")
}

// bearerOnly makes the service one that knows no bound tokens.
func (w *world) bearerOnly() {
	inner := w.wire.inner
	w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
		if r.Body == nil {
			return inner.Do(r)
		}
		body, err := io.ReadAll(r.Body)
		require.NoError(w.t, err)
		form, err := url.ParseQuery(string(body))
		require.NoError(w.t, err)
		form.Del("token_type")
		form.Del("req_cnf")
		older, err := http.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), strings.NewReader(form.Encode()))
		require.NoError(w.t, err)
		older.Header = r.Header
		return inner.Do(older)
	})
}

// An account that is removed while its sign-in comes to its end leaves no token
// in memory.
func TestUnboundTokenOfARemovedAccount(t *testing.T) {
	t.Parallel()
	w := unboundWorld(t)
	res, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.NoError(t, err)
	require.NoError(t, w.b.Close())
	trap := &trapped{Store: w.store}
	w.cfg.Store = trap
	w.b = w.open()
	trap.on(".refresh", func() { require.NoError(t, w.b.RemoveAccount(t.Context(), res.Account)) })
	_, err = w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.ErrorIs(t, err, broker.ErrNoAccount)
	_, err = w.b.AcquireTokenSilent(t.Context(), []string{"https://graph.microsoft.com/User.Read"}, broker.WithAccount(res.Account))
	require.ErrorIs(t, err, broker.ErrNoAccount)
}

// trapped is a store that does something after the next write of a record.
type trapped struct {
	store.Store
	mu     sync.Mutex // guards all below
	suffix string
	do     func()
}

func (s *trapped) on(suffix string, do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suffix, s.do = suffix, do
}

func (s *trapped) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	v, err := s.Store.Put(ctx, name, data, old)
	s.mu.Lock()
	do := s.do
	if hit := err == nil && do != nil && strings.HasSuffix(name, s.suffix); hit {
		s.do = nil
	} else {
		do = nil
	}
	s.mu.Unlock()
	if do != nil {
		do()
	}
	return v, err
}
