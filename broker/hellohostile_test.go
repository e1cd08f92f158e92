package broker_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// A stranger answers in place of the service where answer says so.
type stranger struct {
	inner  broker.Transport
	answer func(*http.Request) *http.Response // nil: the service answers

	mu      sync.Mutex // guards cookies
	cookies []string   // hosts that were shown a PRT
}

func (s *stranger) Do(r *http.Request) (*http.Response, error) {
	if r.Header.Get(wire.CookieRefreshToken) != "" {
		s.mu.Lock()
		s.cookies = append(s.cookies, r.URL.Host)
		s.mu.Unlock()
	}
	if s.answer != nil {
		if res := s.answer(r); res != nil {
			return res, nil
		}
	}
	return s.inner.Do(r)
}

func redirect(to string) *http.Response {
	res := reply(http.StatusFound, "")
	res.Header.Set("Location", to)
	return res
}

// What the sign-in page and the key service answer while a key is provisioned
// may be anything. No key is taken for registered that is not, the PRT is shown
// to the sign-in host alone, and nothing is lost.
func TestHostileProvisioning(t *testing.T) {
	t.Parallel()
	const app = "ms-appx-web://Microsoft.AAD.BrokerPlugin/" + wire.ClientDeviceRegistration
	visit := func(answer func(*http.Request) *http.Response) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/oauth2/authorize") && r.Header.Get(wire.CookieRefreshToken) != "" {
				return answer(r)
			}
			return nil
		}
	}
	register := func(status int, body string) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response {
			if strings.Contains(r.URL.Path, "/EnrollmentServer/key/") {
				return reply(status, body)
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name   string
		answer func(*http.Request) *http.Response
		want   error
		text   string
	}{
		{"a page", visit(func(*http.Request) *http.Response { return reply(200, "<html><script>$Config={};</script>") }), broker.ErrInteractionRequired, "needs the user"},
		{"a portal's page for a page", visit(func(*http.Request) *http.Response { return reply(200, "<html>") }), broker.ErrTransient, "in its place"},
		{"another host of the service", visit(func(*http.Request) *http.Response { return redirect("https://login.microsoft.com/authorize") }), nil, "another host"},
		{"another host", visit(func(*http.Request) *http.Response { return redirect("https://login.example/authorize") }), broker.ErrTransient, "login.example"},
		{"without TLS", visit(func(r *http.Request) *http.Response { return redirect("http://" + r.URL.Host + r.URL.Path) }), broker.ErrTransient, "in its place"},
		{"round and round", visit(func(r *http.Request) *http.Response { return redirect(r.URL.String()) }), broker.ErrInteractionRequired, "too many times"},
		{"no code", visit(func(r *http.Request) *http.Response {
			return redirect(app + "?state=" + url.QueryEscape(r.URL.Query().Get("state")))
		}), nil, "no code"},
		{"the answer to another request", visit(func(*http.Request) *http.Response { return redirect(app + "?code=x&state=y") }), nil, "another request"},
		{"the bare redirect", visit(func(*http.Request) *http.Response { return redirect(app) }), nil, "another request"},
		{"the user must be asked", visit(func(r *http.Request) *http.Response {
			return redirect(app + "?error=interaction_required&error_description=AADSTS50076&state=" + url.QueryEscape(r.URL.Query().Get("state")))
		}), broker.ErrInteractionRequired, "AADSTS50076"},
		{"the service has trouble", visit(func(*http.Request) *http.Response { return reply(503, "") }), broker.ErrTransient, ""},
		{"the key is refused", register(401, `{"ErrorType":"AuthenticationError","Message":"no"}`), broker.ErrInteractionRequired, "did not take the token"},
		{"keys are forbidden", register(403, `{"ErrorType":"AuthorizationError","Message":"no"}`), broker.ErrBlocked, ""},
		{"the key service has trouble", register(500, ``), broker.ErrTransient, ""},
		{"no id of the key", register(200, `{"upn":"alice@contoso.example"}`), broker.ErrTransient, "in its place"},
		{"a portal's page", register(200, `<html>`), broker.ErrTransient, "in its place"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			s := &stranger{inner: w.cfg.Transport}
			w.cfg.Transport, w.cfg.Prompter = s, nil
			softwareHello(w)
			w.join()
			w.cfg.Prompter = w.person
			w.reopen()
			res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
			require.NoError(t, err)
			w.cfg.Prompter = nil
			w.reopen()
			s.answer = tt.answer
			err = w.b.ProvisionHello(t.Context(), res.Account, rightPIN)
			require.ErrorContains(t, err, "broker: provision Hello: ")
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			}
			require.ErrorContains(t, err, tt.text)
			require.True(t, strings.HasPrefix(err.Error(), "broker: provision Hello: "), err)
			h, err := w.b.HelloStatus(t.Context(), res.Account)
			require.NoError(t, err)
			require.False(t, h.Set)
			for _, host := range s.cookies {
				require.Equal(t, wire.LoginHost, host)
			}
			require.NotEmpty(t, s.cookies)

			s.answer = nil
			w.silent(graph)
			require.NoError(t, w.b.ProvisionHello(t.Context(), res.Account, rightPIN))
			require.Len(t, w.helloKeys(alice), 1)
		})
	}
}

// A nonce that the sign-in page finds old is replaced by the one that it gives.
func TestVisitWithAnOldNonce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	w.hello()
	old := 0
	s := &stranger{inner: w.cfg.Transport}
	s.answer = func(r *http.Request) *http.Response {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/oauth2/authorize") || r.URL.Query().Get("sso_nonce") != "" {
			return nil
		}
		old++
		q := r.URL.Query()
		n, err := w.srv.Client().PostForm("https://login.microsoftonline.com/common/oauth2/token", url.Values{"grant_type": {wire.GrantNonce}})
		if err != nil {
			return nil
		}
		defer n.Body.Close()
		q.Set("sso_nonce", nonceOf(t, n))
		return redirect(r.URL.Path + "?" + q.Encode())
	}
	w.cfg.Transport = s
	w.reopen()
	require.NoError(t, w.b.ResetPIN(t.Context(), broker.Account{}, otherPIN))
	require.Equal(t, 1, old)
}
