package broker_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/tpm"
)

// What the service throttles is one request: other apps, scopes and accounts of
// the machine go on.
func TestThrottleIsPerRequest(t *testing.T) {
	t.Parallel()
	other := broker.App{ClientID: "11111111-aaaa-4bbb-8ccc-000000000009", RedirectURI: native}
	for name, neighbour := range map[string]func(*world, broker.Account) error{
		"other scopes": func(w *world, a broker.Account) error {
			_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(a))
			return err
		},
		"another app": func(w *world, a broker.Account) error {
			_, err := w.b.AcquireTokenSilent(t.Context(), open, broker.WithAccount(a), broker.WithApp(other))
			return err
		},
		"another account": func(w *world, _ broker.Account) error {
			res, err := w.b.SignIn(t.Context(), broker.Password{Username: "bob@contoso.example", Password: password})
			require.NoError(t, err)
			_, err = w.b.AcquireTokenSilent(t.Context(), open, broker.WithAccount(res.Account))
			return err
		},
		"a renewal": func(w *world, a broker.Account) error { return w.b.RenewPRT(t.Context(), a) },
		"a sign-in": func(w *world, _ broker.Account) error {
			_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory, withOptions(func(o *entratest.Options) {
				o.Apps = append(o.Apps, entratest.App{ClientID: other.ClientID, Name: "The other app", Public: true, Redirects: []string{native}, AdminConsent: true})
			}))
			w.join()
			acct := w.signIn()
			w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.Throttle, RetryAfter: 90 * time.Second})
			_, err := w.b.AcquireTokenSilent(t.Context(), open)
			require.ErrorIs(t, err, broker.ErrThrottled)
			require.NoError(t, neighbour(w, acct))
			w.wire.take()
			_, err = w.b.AcquireTokenSilent(t.Context(), open, broker.WithAccount(acct))
			require.ErrorIs(t, err, broker.ErrThrottled)
			require.Empty(t, w.wire.take())
			w.clock.Advance(90 * time.Second)
			w.silent(open, broker.WithAccount(acct))
		})
	}
}

// A request that the service sees in a loop (AADSTS50196) is one request, however
// often an app asks, and the error says how long to wait.
func TestLoopIsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	w.silent(graph)
	w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 50196, Times: -1})
	w.wire.take()
	var e *broker.Error
	for range 100 {
		_, err := w.b.AcquireTokenSilent(t.Context(), open, broker.WithForceRefresh())
		require.ErrorIs(t, err, broker.ErrThrottled)
		require.NotErrorIs(t, err, broker.ErrInteractionRequired)
		require.ErrorAs(t, err, &e)
		require.Equal(t, 5*time.Minute, e.RetryAfter)
	}
	require.Equal(t, []string{"token"}, w.wire.take())
	w.srv.ClearFaults()
	w.clock.Advance(e.RetryAfter)
	w.silent(open)
}

// A machine whose clock is wrong signs in by its Hello key, renews, gets tokens
// and signs requests to APIs: what it stamps says the service's time.
func TestWrongClock(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{
		"10 min 1 s ahead":   10*time.Minute + time.Second,
		"10 min 1 s behind":  -10*time.Minute - time.Second,
		"three hours ahead":  3 * time.Hour,
		"three hours behind": -3 * time.Hour,
		"a year ahead":       365 * 24 * time.Hour,
		"a year behind":      -365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = fileStore(t, filepath.Join(t.TempDir(), "state")) })
			var wrong atomic.Int64 // nanoseconds
			clock := w.clock
			w.cfg.Now = func() time.Time { return clock.Now().Add(time.Duration(wrong.Load())) }
			softwareHello(w)
			w.join()
			acct := w.hello()
			wrong.Store(int64(off))
			w.reopen() // which knows nothing of the time
			_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
			require.NoError(t, err)
			w.silent(payroll)
			require.NoError(t, w.b.RenewPRT(t.Context(), acct))

			res, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithPoP(broker.PoP{Method: http.MethodGet, URL: "https://graph.microsoft.com/v1.0/me"}))
			require.NoError(t, err)
			body, _ := verifySHR(t, res.AccessToken)
			require.InDelta(t, w.clock.Now().Unix(), body.Time, 1)

			wrong.Store(0) // somebody sets the clock right
			w.clock.Advance(time.Hour)
			_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
			require.NoError(t, err)
		})
	}
}

// What the service's clock says moves neither the wait after wrong PINs nor what
// is left of Config.Offline.
func TestServiceTimeMovesNoLimit(t *testing.T) {
	t.Parallel()
	for _, lie := range []time.Duration{10 * time.Hour, -10 * time.Hour, 3000 * time.Hour} {
		l, keys := newSteppedLaptop(t)
		service := l.wire.inner
		l.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
			rep, err := service.Do(r)
			if err == nil {
				rep.Header.Set("Date", l.clock.Now().Add(lie).UTC().Format(http.TimeFormat))
			}
			return rep, err
		})
		l.clock.Advance(time.Hour)
		l.silent(open) // the broker hears the time, with a nonce and a token

		l.cut()
		l.clock.Advance(time.Hour)
		u := l.unlock(rightPIN)
		require.True(t, u.Offline)
		require.InDelta(t, aWeek.Time.Hours(), u.Left.Time.Hours(), 0.1, "the TPM's own clock counts, and it went on for seconds")
		for range 5 {
			keys.at(&keys.onUnseal, func() error { return tpm.ErrWrongPIN })
			_, err := l.b.Unlock(t.Context(), l.acct, wrongPIN)
			require.ErrorIs(t, err, broker.ErrWrongPIN)
		}
		l.connect()
		l.clock.Advance(30 * time.Second)
		_, err := l.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh())
		require.NoError(t, err)
		_, err = l.b.Unlock(t.Context(), l.acct, rightPIN)
		require.ErrorIs(t, err, broker.ErrPINLocked)
		var e *broker.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 30*time.Second, e.RetryAfter)
	}
}

// A tenant that is named by its id is not looked up: its tokens say that it is
// there.
func TestTenantByIDIsNotLookedUp(t *testing.T) {
	t.Parallel()
	for _, byID := range []bool{true, false} {
		w := newWorld(t, withMemory)
		if byID {
			w.cfg.Tenant = w.srv.TenantID()
		}
		w.b = w.open()
		w.join()
		w.signIn()
		lookups := 0
		for _, path := range w.wire.take() {
			if strings.Contains(path, "openid-configuration") {
				lookups++
			}
		}
		require.Equal(t, !byID, lookups > 0)
	}
}
