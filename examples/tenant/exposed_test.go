package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// exposed is a tenant as in a container: on all interfaces, behind ports that it does
// not know.
func exposed(t *testing.T, change func(*options)) *tenant {
	t.Helper()
	o := options{proxy: "0.0.0.0:0", dashboard: "0.0.0.0:0", listen: "0.0.0.0:0", domain: "contoso.example", seed: 5,
		base: "https://Entra.test:9443", hosts: "tenant, localhost", insecureExposed: true, apiToken: "the-token"}
	if change != nil {
		change(&o)
	}
	ten, err := start(o, io.Discard)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ten.close() })
	return ten
}

// On all interfaces, the dashboard and the API still answer to the names that they were
// given and to those of loopback alone: a name that was rebound to their address is
// refused.
func TestExposedAnswersToItsNames(t *testing.T) {
	ten := exposed(t, nil)
	require.Equal(t, "https://entra.test:9443/", ten.authority)
	at := "http://" + reachable(ten.dashLn)
	for host, want := range map[string]int{
		"localhost:32768": 200, "127.0.0.1:32768": 200, "[::1]:32768": 200, "localhost": 200, "tenant:8471": 200, "TENANT": 200, "entra.test:80": 200,
		"evil.example:8471": 403, "tenant.evil.example": 403, "evil.example": 403, "": 403, "192.0.2.1:8471": 403, "0.0.0.0:8471": 403, "localhost.evil.example": 403,
		"localhost:8471.evil.example": 403,
	} {
		for _, path := range []string{"/", "/state.json", "/health", "/ca.pem", "/api/users"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+path, nil)
			require.NoError(t, err)
			if r.Host = host; host == "" {
				r.Host = "evil"
			}
			r.Header.Set("Authorization", "Bearer the-token")
			resp, err := http.DefaultTransport.RoundTrip(r)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, want, resp.StatusCode, "%s%s", host, path)
		}
	}
	// Another site's page that names the right host is refused as ever.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+"/do/revoke", strings.NewReader("user=alice"))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "http://evil.example")
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
}

// Without -insecure-exposed a configured name is good for the dashboard's own port only.
func TestNamesOfLoopback(t *testing.T) {
	ten, err := start(options{proxy: "127.0.0.1:0", dashboard: "127.0.0.1:0", domain: "contoso.example", hosts: "entra.test"}, io.Discard)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ten.close() })
	for host, want := range map[string]int{"entra.test:" + ten.dashboard.port: 200, "entra.test": 403, "entra.test:1": 403, "localhost:1": 403} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "http://"+host+"/health", nil)
		ten.dashboard.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, host)
	}
	_, err = start(options{proxy: "127.0.0.1:0", dashboard: "127.0.0.1:0", domain: "contoso.example", listen: "0.0.0.0:0"}, io.Discard)
	require.ErrorContains(t, err, "-listen: entratest: 0.0.0.0:0: the address is not a loopback address")
}

// The page names what a browser outside the container reaches.
func TestExposedPage(t *testing.T) {
	ten := exposed(t, nil)
	require.Equal(t, "https://entra.test:9443/emulator/authenticator", ten.dashboard.view("").Phones)
	var out bytes.Buffer
	ten.announce(&out)
	require.NotContains(t, out.String(), "0.0.0.0")
	require.NotContains(t, out.String(), "[::]")
	require.Contains(t, out.String(), "# Authority: https://entra.test:9443/")
	require.Contains(t, out.String(), "# Certificate authority: http://localhost:")
}

// An image that contains nothing but the program has no directory for temporary files:
// the dashboard then hands out the authority's certificate.
func TestWithoutTemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	ten := exposed(t, nil)
	var out bytes.Buffer
	ten.announce(&out)
	require.NotContains(t, out.String(), "SSL_CERT_FILE")
	require.Contains(t, out.String(), "export HTTPS_PROXY=http://localhost:")
	require.True(t, strings.HasSuffix(out.String(), "\n# ready\n"))
	resp, err := http.Get("http://" + reachable(ten.dashLn) + "/ca.pem")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	pem, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, ten.srv.CA(), pem)
}

func TestHealth(t *testing.T) {
	ten := startTest(t, "")
	at := "http://" + ten.dashLn.Addr().String() + "/health"
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1") // a proxy of the environment is not asked
	require.NoError(t, run(t.Context(), []string{"-health", at}, io.Discard, io.Discard))
	require.NoError(t, ten.close())
	require.ErrorContains(t, run(t.Context(), []string{"-health", at}, io.Discard, io.Discard), "-health: ")
	ill := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(ill.Close)
	require.ErrorContains(t, run(t.Context(), []string{"-health", ill.URL}, io.Discard, io.Discard), "404 Not Found")
	require.ErrorContains(t, run(t.Context(), []string{"-health", "8471"}, io.Discard, io.Discard), "unsupported protocol scheme")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, []string{"-health", ill.URL}, io.Discard, io.Discard), context.Canceled)
}

// Every setting can come from the environment: the flags by their names, and all that
// a file says as the text of one variable.
func TestConfigByEnvironment(t *testing.T) {
	t.Setenv("TENANT_CONFIG_TEXT", `{"domain": "env.example", "users": [{"username": "ann", "password": "correct horse"}]}`)
	t.Setenv("TENANT_LISTEN", "localhost:0")
	t.Setenv("TENANT_BASE", "https://entra.test")
	t.Setenv("TENANT_HOSTS", "a.test,b.test")
	t.Setenv("TENANT_INSECURE_EXPOSED", "true")
	o, err := parseOptions([]string{"-proxy", "127.0.0.1:0", "-dashboard", "127.0.0.1:0"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []string{"a.test", "b.test", "entra.test"}, o.hostNames())
	require.True(t, o.insecureExposed)
	ten, err := start(o, io.Discard)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ten.close() })
	users, err := json.Marshal(ten.srv.Users())
	require.NoError(t, err)
	require.Contains(t, string(users), "ann@env.example")
	var out bytes.Buffer
	ten.announce(&out)
	require.NotContains(t, out.String(), "payroll", "that is of the tenant without a file")

	t.Setenv("TENANT_CONFIG_TEXT", "{\n usres: []}")
	_, err = start(options{configText: "{\n usres: []}", proxy: "127.0.0.1:0", dashboard: "127.0.0.1:0"}, io.Discard)
	require.ErrorContains(t, err, `-config-text:2:2: "usres" is not a key here`)
	t.Setenv("TENANT_CONFIG", "x.yaml")
	_, err = parseOptions(nil, io.Discard)
	require.ErrorContains(t, err, "give one of them")
	_, err = parseOptions([]string{"-config-text", "", "-listen", ""}, io.Discard)
	require.ErrorContains(t, err, "give -listen too")
}
