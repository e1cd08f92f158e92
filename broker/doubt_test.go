package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/tpm"
)

// What another tenant says of a PRT is said for that tenant.
func TestAnotherTenantEndsNoPRT(t *testing.T) {
	t.Parallel()
	for _, code := range []int{50173, 50132, 70000, 50013} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			w := newWorld(t)
			w.join()
			w.signIn()
			w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: code, Times: -1, Match: func(r *http.Request) bool {
				return strings.Contains(r.URL.Path, "fabrikam")
			}})
			_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithTenantID("fabrikam.example"))
			require.ErrorContains(t, err, fmt.Sprintf("AADSTS%d", code))
			_, err = w.b.AcquireTokenSilent(t.Context(), graph)
			require.NoError(t, err, "the home tenant was never asked")
		})
	}
}

// A wrong clock looks to the service like a bad signature, and ends no PRT.
func TestClockEndsNoPRT(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	remove := w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 50013, Times: -1})
	_, err := w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.NotErrorIs(t, err, broker.ErrPRTRevoked)
	remove() // the clock is right again
	_, err = w.b.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
}

// In ScopeSystem another user of the machine may have registered it anew: the
// PRTs of the registration before are not tried.
func TestPRTOfAnotherRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Scope, w.cfg.UserID = broker.ScopeSystem, "1000"
	w.b = w.open()
	w.join()
	w.signIn()
	w.cfg.UserID = "1001"
	second := w.open()
	w.person.Person = entratest.Person{Username: bob, Password: password, TOTPSecret: totp}
	_, err := second.SignIn(t.Context(), broker.AuthCode{LoginHint: bob, MFA: true})
	require.NoError(t, err)
	require.NoError(t, second.Close())
	require.NoError(t, w.b.UnregisterDevice(t.Context()))
	w.join()
	second = w.open()
	_, err = second.SignIn(t.Context(), broker.Password{Username: bob, Password: password})
	require.NoError(t, err)
	_, err = second.AcquireTokenSilent(t.Context(), open)
	require.NoError(t, err)
}

// A renewed PRT is proven by an answer of the service, and a cookie has none.
func TestCookieProvesNothing(t *testing.T) {
	t.Parallel()
	for _, cookie := range []bool{false, true} {
		t.Run(fmt.Sprint(cookie), func(t *testing.T) {
			w := newWorld(t)
			w.join()
			acct := w.signIn()
			w.silent(graph)
			require.NoError(t, w.b.RenewPRT(t.Context(), acct))
			if cookie {
				w.wire.take()
				_, err := w.b.SSOCookies(t.Context(), "https://login.microsoftonline.com/x", broker.WithNonce("abc"))
				require.NoError(t, err)
				require.Empty(t, w.wire.take(), "the service was not asked")
			}
			var n atomic.Int32
			inner := w.wire.inner
			w.wire.inner = roundTrip(func(r *http.Request) (*http.Response, error) {
				if prtOf(r) != "" && n.Add(1) == 1 {
					return reply(400, `{"error":"invalid_grant","error_codes":[50173],"error_description":"AADSTS50173: x"}`), nil
				}
				return inner.Do(r)
			})
			_, err := w.b.AcquireTokenSilent(t.Context(), open)
			require.NoError(t, err, "the PRT before works")
		})
	}
}

// The PRT before the renewed one stays when the service could not be asked about
// it.
func TestPRTBeforeStaysUntilItIsJudged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	w.silent(graph)
	require.NoError(t, w.b.RenewPRT(t.Context(), acct))
	var n atomic.Int32
	inner := w.wire.inner
	w.wire.inner = roundTrip(func(r *http.Request) (*http.Response, error) {
		if prtOf(r) == "" {
			return inner.Do(r)
		}
		if n.Add(1) == 1 {
			return reply(400, `{"error":"invalid_grant","error_codes":[50173],"error_description":"AADSTS50173: x"}`), nil
		}
		return nil, &url.Error{Err: errors.New("connection reset")}
	})
	_, err := w.b.AcquireTokenSilent(t.Context(), open)
	require.ErrorIs(t, err, broker.ErrTransient)
	w.wire.inner = inner
	_, err = w.b.AcquireTokenSilent(t.Context(), open)
	require.NoError(t, err, "the PRT before was never refused")
}

// A sign-in that replaces a PRT does not take the session key from a call that
// uses it.
func TestSessionKeyInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	w.silent(graph)
	var once sync.Once
	w.wire.set(func(r *http.Request) error {
		if prtOf(r) != "" {
			once.Do(func() {
				_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
				require.NoError(t, err)
			})
		}
		return nil
	}, nil)
	_, err := w.b.AcquireTokenSilent(t.Context(), open)
	require.NoError(t, err)
}

// busyKeys is a key store whose TPM is busy.
type busyKeys struct {
	tpm.KeyStore
	busy atomic.Bool
}

func (k *busyKeys) OpenSession(ctx context.Context, b []byte) (tpm.SessionKey, error) {
	if k.busy.Load() {
		return nil, fmt.Errorf("opening: %w", tpm.ErrBusy)
	}
	return k.KeyStore.OpenSession(ctx, b)
}

// A TPM that is busy is not another one.
func TestBusyTPM(t *testing.T) {
	t.Parallel()
	keys := &busyKeys{KeyStore: pooledKeys(t)}
	w := newWorld(t, withKeys(keys))
	w.join()
	w.signIn()
	b := w.open()
	keys.busy.Store(true)
	_, err := b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrTransient)
	require.NotErrorIs(t, err, broker.ErrKeyUnusable)
}

// A token that is another user's is none of the account's, whichever part of the reply
// says so.
func TestOtherUserOnThePageOfAnApp(t *testing.T) {
	t.Parallel()
	for name, member := range map[string]string{"client_info tells": `"client_info"`, "only the id_token tells": `"client_infx"`} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.join()
			acct := w.signIn()
			inner := w.wire.inner
			w.person.Person = entratest.Person{Username: bob, Password: password, TOTPSecret: totp}
			w.wire.inner = roundTrip(func(r *http.Request) (*http.Response, error) {
				// the first silent exchange: consent is missing
				if prtOf(r) != "" {
					return reply(400, `{"error":"invalid_grant","suberror":"consent_required","error_codes":[65001]}`), nil
				}
				res, err := inner.Do(r)
				if err != nil || !strings.Contains(r.URL.Path, "oauth2/v2.0/token") {
					return res, err
				}
				raw, _ := io.ReadAll(res.Body)
				require.Contains(t, string(raw), `"client_info"`)
				res.Body = io.NopCloser(strings.NewReader(strings.Replace(string(raw), `"client_info"`, member, 1)))
				return res, nil
			})
			_, err := w.b.AcquireTokenInteractive(t.Context(), open, broker.WithAccount(acct))
			require.ErrorIs(t, err, broker.ErrInteractionRequired)
			require.ErrorContains(t, err, "another user signed in")
			_, err = w.b.AcquireTokenSilent(t.Context(), open, broker.WithAccount(acct))
			require.ErrorIs(t, err, broker.ErrInteractionRequired, "alice is not given bob's token")
		})
	}
}

// What a proxy says is not what the registration service says.
func TestProxyIsNoRegistrationService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inner := w.wire.inner
	for _, status := range []int{403, 401} {
		w.wire.inner = roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "/EnrollmentServer/device") {
				return &http.Response{StatusCode: status, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>the proxy says no</html>"))}, nil
			}
			return inner.Do(r)
		})
		_, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
		if errors.Is(err, broker.ErrBlocked) || errors.Is(err, broker.ErrInteractionRequired) {
			t.Errorf("a proxy's page was taken for the service's word (%d)", status)
		}
	}
}
