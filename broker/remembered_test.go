package broker_test

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// asked is how many token requests were sent since the last call.
func (w *world) asked() (n int) {
	for _, what := range w.wire.take() {
		if what == "token" {
			n++
		}
	}
	return n
}

// refusedFor is a world where the service wants the user for payroll, and said so.
func refusedFor(t *testing.T) (*world, broker.Account) {
	t.Helper()
	w := newWorld(t, withMemory)
	w.join()
	acct := w.signIn()
	w.asked()
	_, err := w.b.AcquireTokenSilent(t.Context(), payroll)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.Equal(t, 1, w.asked())
	return w, acct
}

// A silent request that needs the user is answered for two minutes without a
// request, and the error says so.
func TestNeedOfTheUserIsRemembered(t *testing.T) {
	t.Parallel()
	w, acct := refusedFor(t)
	for range 50 {
		_, err := w.b.AcquireTokenSilent(t.Context(), payroll, broker.WithAccount(acct))
		require.ErrorIs(t, err, broker.ErrInteractionRequired)
		var e *broker.Error
		require.ErrorAs(t, err, &e)
		require.True(t, e.Remembered)
		require.Equal(t, 50076, e.Code)
		require.Equal(t, payroll, e.Scopes)
		require.Equal(t, acct, e.Account)
		require.NotEmpty(t, e.CorrelationID)
		require.ErrorContains(t, err, "remembered")
	}
	w.clock.Advance(2*time.Minute - time.Second)
	_, err := w.b.AcquireTokenSilent(t.Context(), payroll)
	require.ErrorContains(t, err, "remembered")
	require.Zero(t, w.asked())

	w.clock.Advance(time.Second)
	_, err = w.b.AcquireTokenSilent(t.Context(), payroll)
	require.NotContains(t, err.Error(), "remembered")
	require.Equal(t, 1, w.asked())
}

// What ends it: whatever gives the account another PRT, in any process, and a
// call that says so.
func TestNeedOfTheUserIsForgotten(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*world, broker.Account){
		"a sign-in": func(w *world, _ broker.Account) { w.signIn() },
		"a sign-in of another process": func(w *world, _ broker.Account) {
			_, err := w.open().SignIn(t.Context(), broker.Password{Username: alice, Password: password})
			require.NoError(t, err)
		},
		"a renewal": func(w *world, a broker.Account) { require.NoError(t, w.b.RenewPRT(t.Context(), a)) },
		"a renewal of another process": func(w *world, a broker.Account) {
			require.NoError(t, w.open().RenewPRT(t.Context(), a))
		},
		"a step-up": func(w *world, _ broker.Account) {
			_, err := w.b.AcquireTokenInteractive(t.Context(), ledger)
			require.NoError(t, err)
		},
		"a step-up of another process": func(w *world, _ broker.Account) {
			_, err := w.open().AcquireTokenInteractive(t.Context(), ledger)
			require.NoError(t, err)
		},
		"a forced call": func(w *world, _ broker.Account) {
			require.NoError(t, w.srv.SetPolicies([]byte(`{"value":[]}`)))
			w.silent(payroll, broker.WithForceRefresh())
		},
		"a forced call that is refused": func(w *world, _ broker.Account) {
			_, err := w.b.AcquireTokenSilent(t.Context(), payroll, broker.WithClaims(`{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`))
			require.ErrorIs(t, err, broker.ErrInteractionRequired)
		},
		"the clock is set back": func(w *world, _ broker.Account) {
			clock := w.clock.Now()
			w.clock.Advance(-time.Hour)
			require.True(t, w.clock.Now().Before(clock))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, acct := refusedFor(t)
			end(w, acct)
			w.asked()
			_, err := w.b.AcquireTokenSilent(t.Context(), payroll)
			if err == nil {
				return // served
			}
			require.NotContains(t, err.Error(), "remembered")
			require.NotZero(t, w.asked())
		})
	}
}

// It is one request of one app: others are asked for.
func TestNeedOfTheUserIsOfOneRequest(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(*world, broker.Account) error{
		"other scopes": func(w *world, _ broker.Account) error {
			_, err := w.b.AcquireTokenSilent(t.Context(), ledger)
			return err
		},
		"another app": func(w *world, _ broker.Account) error {
			_, err := w.b.AcquireTokenSilent(t.Context(), payroll, broker.WithApp(broker.App{ClientID: openID, RedirectURI: native}))
			return err
		},
		"another redirect": func(w *world, _ broker.Account) error {
			_, err := w.b.AcquireTokenSilent(t.Context(), payroll, broker.WithApp(broker.App{ClientID: appID, RedirectURI: native + "/x"}))
			return err
		},
		"another tenant": func(w *world, _ broker.Account) error {
			_, err := w.b.AcquireTokenSilent(t.Context(), payroll, broker.WithTenantID("fabrikam.example"))
			return err
		},
		"with CAE": func(w *world, _ broker.Account) error {
			_, err := w.b.AcquireTokenSilent(t.Context(), payroll, broker.WithCAE())
			return err
		},
		"a bound token": func(w *world, _ broker.Account) error {
			_, err := w.b.AcquireTokenSilent(t.Context(), payroll, broker.WithPoP(broker.PoP{Method: http.MethodGet, URL: "https://payroll.example/"}))
			return err
		},
		"with the user": func(w *world, _ broker.Account) error {
			_, err := w.b.AcquireTokenInteractive(t.Context(), payroll)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, acct := refusedFor(t)
			err := ask(w, acct)
			if err != nil {
				require.NotContains(t, err.Error(), "remembered")
			}
			require.NotZero(t, w.asked())
		})
	}
}

// What somebody else may mend at any moment, and what says nothing of the user,
// is asked each time.
func TestWhatIsNotRemembered(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		code      int
		oauth     string
		remembers bool
	}{
		"MFA":                          {50076, "interaction_required", true},
		"registration for MFA":         {50079, "interaction_required", true},
		"an expired password":          {50055, "invalid_grant", true},
		"a code that nobody knows":     {999999, "interaction_required", true},
		"a device that must comply":    {53000, "interaction_required", false},
		"a device that must be hybrid": {53001, "interaction_required", false},
		"device authentication":        {50097, "interaction_required", false},
		"consent":                      {65001, "invalid_grant", false},
		"consent, by a strange code":   {999999, "consent_required", false},
		"the device is not accepted":   {50155, "invalid_grant", false},
		"the clock, or a signature":    {50013, "invalid_grant", false},
		"a policy that blocks":         {53003, "access_denied", false},
		"a temporary failure":          {90033, "temporarily_unavailable", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			w.join()
			w.signIn()
			w.silent(graph)
			w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: tt.code, Error: tt.oauth, Times: -1})
			var sent []int
			for range 2 {
				w.asked()
				_, err := w.b.AcquireTokenSilent(t.Context(), open)
				require.ErrorAs(t, err, new(*broker.Error))
				sent = append(sent, w.asked())
			}
			require.Equal(t, tt.remembers, sent[1] == 0, sent)
		})
	}
	t.Run("no network", func(t *testing.T) {
		w := newWorld(t, withMemory)
		w.join()
		w.signIn()
		w.wire.set(func(*http.Request) error {
			return &url.Error{Err: &net.OpError{Op: "read", Err: errors.New("reset")}}
		}, nil)
		for range 2 {
			_, err := w.b.AcquireTokenSilent(t.Context(), open)
			require.ErrorIs(t, err, broker.ErrTransient)
			require.True(t, slices.Contains(w.wire.take(), "token"))
		}
	})
}
