package broker_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// A worldwide service has the emulated tenant in a cloud of its own: requests
// to the hosts of that cloud reach the emulator under its public names, and
// the public cloud knows nothing but where the tenant is.
type elsewhere struct {
	inner broker.Transport
	cloud broker.Cloud
	name  string // in the text of AADSTS90038

	mu    sync.Mutex // guards hosts
	hosts []string
}

func (e *elsewhere) Do(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	e.hosts = append(e.hosts, r.URL.Host)
	e.mu.Unlock()
	public := map[string]string{e.cloud.LoginHost: broker.CloudPublic.LoginHost, e.cloud.RegistrationHost: broker.CloudPublic.RegistrationHost}
	if host, ok := public[r.URL.Host]; ok {
		to := r.Clone(r.Context())
		to.URL.Host, to.Host = host, host
		return e.inner.Do(to)
	}
	return &http.Response{
		StatusCode: http.StatusBadRequest,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(`{"error":"invalid_request","error_codes":[90038],"error_description":"AADSTS90038: Tenant 'contoso.example' request is being redirected to the National Cloud '` +
			e.name + `'. Trace ID: 1"}`)),
	}, nil
}

func (e *elsewhere) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.hosts
	e.hosts = nil
	return out
}

func TestTenantOfAnotherCloud(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	us := &elsewhere{inner: w.srv.Client(), cloud: broker.CloudUSGovernment, name: "MicrosoftOnline.US"}
	w.cfg.Transport = us
	w.cfg.App.RedirectURI = native
	w.b = w.open()
	w.join()
	acct := w.signIn()
	require.Equal(t, broker.CloudUSGovernment.Environment, acct.Environment)
	require.Contains(t, us.take(), broker.CloudPublic.LoginHost, "asked there first")
	_, err := w.b.AcquireTokenSilent(t.Context(), open)
	require.NoError(t, err)
	require.NotContains(t, us.take(), broker.CloudPublic.LoginHost, "and never again")

	// Another process knows it from the registration.
	w.b = w.open()
	_, err = w.b.AcquireTokenSilent(t.Context(), open)
	require.NoError(t, err)
	require.NotContains(t, us.take(), broker.CloudPublic.LoginHost)
}

// A reply sends nothing to a host that is no cloud, and not away from the
// cloud that was configured.
func TestCloudsAreNotTakenFromReplies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cloud broker.Cloud
		says  string
	}{
		"a foreign host":    {broker.Cloud{}, "login.evil.example"},
		"the cloud was set": {broker.CloudPublic, "MicrosoftOnline.US"},
		"itself":            {broker.Cloud{}, "MicrosoftOnline.COM"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			us := &elsewhere{inner: w.srv.Client(), cloud: broker.CloudUSGovernment, name: tt.says}
			w.cfg.Transport, w.cfg.Cloud = us, tt.cloud
			w.b = w.open()
			_, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
			require.ErrorIs(t, err, broker.ErrAppConfig)
			require.Equal(t, []string{broker.CloudPublic.LoginHost}, us.take())
		})
	}
}

// A login host that is not known is verified once, by the public cloud, before
// anything is sent there.
func TestInstanceDiscovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	custom := broker.Cloud{LoginHost: "login.cloud.example", RegistrationHost: "device.cloud.example"}
	own := &elsewhere{inner: w.srv.Client(), cloud: custom}
	asked := 0
	verdict := http.StatusOK
	w.cfg.Cloud = custom
	w.cfg.App.RedirectURI = native
	w.cfg.Transport = apiDo(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host != broker.CloudPublic.LoginHost {
			return own.Do(r)
		}
		asked++
		require.Equal(t, "/common/discovery/instance", r.URL.Path)
		endpoint, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
		require.NoError(t, err)
		require.Equal(t, custom.LoginHost, endpoint.Host)
		body := `{"tenant_discovery_endpoint":"https://login.cloud.example/common/v2.0/.well-known/openid-configuration","api-version":"1.1","metadata":[]}`
		if verdict != http.StatusOK {
			body = `{"error":"invalid_instance","error_codes":[50049],"error_description":"AADSTS50049: Unknown or invalid instance."}`
		}
		return &http.Response{StatusCode: verdict, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
	})

	verdict = http.StatusBadRequest
	w.b = w.open()
	_, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
	require.ErrorIs(t, err, broker.ErrAppConfig)
	require.NotContains(t, own.take(), custom.LoginHost, "nothing was sent there")

	verdict, asked = http.StatusOK, 0
	w.b = w.open()
	w.join()
	w.signIn()
	w.silent(open)
	require.Equal(t, 1, asked)

	custom.InsecureSkipInstanceDiscovery = true
	w.cfg.Cloud = custom
	asked = 0
	w.b = w.open()
	w.silent(open)
	require.Zero(t, asked)
}

// A login host that the public cloud does not know gets nothing: no password,
// also not by way of the federation server that it names, no user and no
// cookie. One that was verified costs no further request.
func TestUnknownLoginHostGetsNothing(t *testing.T) {
	t.Parallel()
	const host = "login.evil.example"
	w := newWorld(t, withMemory)
	w.join()
	acct := w.signIn()
	w.cfg.Cloud = broker.CloudPublic
	w.cfg.Cloud.LoginHost = host
	w.cfg.Prompter = untouched{w.person, t}
	for name, call := range map[string]func(*broker.Broker) error{
		"password": func(b *broker.Broker) error {
			_, err := b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
			return err
		},
		"federated": func(b *broker.Broker) error {
			_, err := b.SignIn(t.Context(), broker.Federated{Username: alice, Password: password})
			return err
		},
		"page": func(b *broker.Broker) error {
			_, err := b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice})
			return err
		},
		"cookie with a nonce of the page": func(b *broker.Broker) error {
			c, err := b.SSOCookies(t.Context(), "https://"+host+"/x?sso_nonce=abc")
			require.Empty(t, c)
			return err
		},
		"cookie with a nonce of the caller": func(b *broker.Broker) error {
			c, err := b.SSOCookies(t.Context(), "https://"+host+"/x", broker.WithNonce("abc"), broker.WithAccount(acct))
			require.Empty(t, c)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.cfg.Transport = apiDo(func(r *http.Request) (*http.Response, error) {
				require.Equal(t, broker.CloudPublic.LoginHost+"/common/discovery/instance", r.URL.Host+r.URL.Path)
				return reply(400, `{"error":"invalid_instance","error_codes":[50049],"error_description":"AADSTS50049: Unknown or invalid instance."}`), nil
			})
			require.ErrorIs(t, call(w.open()), broker.ErrAppConfig)
		})
	}
	t.Run("verified", func(t *testing.T) {
		asked := 0
		w.cfg.Transport = apiDo(func(*http.Request) (*http.Response, error) {
			asked++
			return reply(200, `{"tenant_discovery_endpoint":"https://login.cloud.example/"}`), nil
		})
		b := w.open()
		for range 3 {
			_, err := b.SSOCookies(t.Context(), "https://"+host+"/x?sso_nonce=abc")
			require.NoError(t, err)
		}
		require.Equal(t, 1, asked)
	})
}

// untouched is a Prompter that is not to be asked.
type untouched struct {
	*person
	t *testing.T
}

func (u untouched) Authorize(context.Context, string, string) (string, error) {
	u.t.Error("the user was led to the page")
	return "", broker.ErrUserCanceled
}

type apiDo func(*http.Request) (*http.Response, error)

func (f apiDo) Do(r *http.Request) (*http.Response, error) { return f(r) }
