package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func startTest(t *testing.T, data string) *tenant {
	t.Helper()
	ten, err := start(options{proxy: "127.0.0.1:0", dashboard: "127.0.0.1:0", domain: "contoso.example", data: data, seed: 5}, io.Discard)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ten.close() })
	return ten
}

// throughProxy is a client with the environment that the program prints.
func (t *tenant) throughProxy(tb testing.TB) *http.Client {
	tb.Helper()
	pem, err := os.ReadFile(t.caFile)
	require.NoError(tb, err)
	pool := x509.NewCertPool()
	require.True(tb, pool.AppendCertsFromPEM(pem))
	u, err := url.Parse("http://" + t.proxyLn.Addr().String())
	require.NoError(tb, err)
	tr := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	tb.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func signIn(tb testing.TB, c *http.Client, user, password string) (int, string) {
	tb.Helper()
	resp, err := c.PostForm("https://login.microsoftonline.com/organizations/oauth2/v2.0/token", url.Values{
		"grant_type": {"password"}, "client_id": {appID}, "scope": {"https://graph.microsoft.com/User.Read"}, "username": {user}, "password": {password}})
	require.NoError(tb, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(tb, err)
	return resp.StatusCode, string(body)
}

func TestProxy(t *testing.T) {
	ten := startTest(t, "")
	c := ten.throughProxy(t)
	status, body := signIn(t, c, "bob@contoso.example", "battery staple")
	require.Equal(t, http.StatusOK, status, body)
	for name, target := range map[string]string{
		"a host that is not emulated": "https://www.example.org/",
		"another port":                "https://login.microsoftonline.com:8443/",
		"loopback":                    "https://127.0.0.1:443/",
	} {
		_, err := c.Get(target)
		require.ErrorContains(t, err, "Forbidden", name)
	}
	resp, err := c.Get("http://login.microsoftonline.com/")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusForbidden, resp.StatusCode, "plain HTTP")
}

func TestLoopbackAlone(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0"} {
		_, err := listen("-proxy", addr, false)
		require.ErrorContains(t, err, "-proxy: "+addr+" is not a loopback address; -insecure-exposed allows it")
	}
	ln, err := listen("-proxy", "0.0.0.0:0", true)
	require.NoError(t, err)
	require.Contains(t, reachable(ln), "localhost:")
	require.NoError(t, ln.Close())
}

// When the port is in use, the error names the flag that selects another one.
func TestPortInUse(t *testing.T) {
	ten := startTest(t, "")
	used := ten.dashLn.Addr().String()
	for flag, o := range map[string]options{
		"-proxy":     {proxy: used, dashboard: "127.0.0.1:0", domain: "contoso.example"},
		"-dashboard": {proxy: "127.0.0.1:0", dashboard: used, domain: "contoso.example"},
	} {
		_, err := start(o, io.Discard)
		require.ErrorContains(t, err, "listens on "+used)
		require.ErrorContains(t, err, "use a free address with "+flag+", such as 127.0.0.1:0")
	}
}

// The command that starts a browser is run as it is printed: a browser that
// nobody told of the authority but by its flags shows the sign-in page.
func TestBrowserCommand(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		require.NotEqual(t, "1", os.Getenv("PRTBROKER_REQUIRE_TOOLS"), "chromium is missing")
		t.Skip("chromium is not installed")
	}
	ten := startTest(t, "")
	page := "'https://login.microsoftonline.com/common/oauth2/v2.0/authorize?client_id=" + appID +
		"&response_type=code&scope=openid&redirect_uri=http%3A%2F%2Flocalhost'"
	show := func(command string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command+" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --dump-dom "+page)
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	require.Contains(t, show(ten.browser()), `to continue to <strong>Desktop app</strong>`)
	distrustful, _, _ := strings.Cut(ten.browser(), " --ignore-certificate-errors")
	require.NotContains(t, show(distrustful), "Desktop app")
}

// A browser takes the authority's certificate from the page.
func TestAuthorityOnThePage(t *testing.T) {
	ten := startTest(t, "")
	resp, err := http.Get("http://" + ten.dashLn.Addr().String() + "/ca.pem")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "application/x-x509-ca-cert", resp.Header.Get("Content-Type"))
	require.Equal(t, string(ten.srv.CA()), string(text))
}

func TestDashboardRefusesOthers(t *testing.T) {
	ten := startTest(t, "")
	addr := ten.dashLn.Addr().String()
	ask := func(method, path string, header map[string]string) int {
		req, err := http.NewRequest(method, "http://"+addr+path, strings.NewReader("user=alice"))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for k, v := range header {
			if k == "Host" {
				req.Host = v
			}
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode
	}
	for _, tt := range []struct {
		name, method, path string
		header             map[string]string
		want               int
	}{
		{"the page", "GET", "/", nil, 200},
		{"a program", "POST", "/do/revoke", nil, 303},
		{"its own page", "POST", "/do/revoke", map[string]string{"Origin": "http://" + addr, "Sec-Fetch-Site": "same-origin"}, 303},
		{"another origin", "POST", "/do/revoke", map[string]string{"Origin": "http://evil.example"}, 403},
		{"an opaque origin", "POST", "/do/revoke", map[string]string{"Origin": "null"}, 403},
		{"another port of loopback", "POST", "/do/revoke", map[string]string{"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}, 403},
		{"a cross-site form", "POST", "/do/revoke", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 403},
		{"a cross-site read", "GET", "/state.json", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"a link from elsewhere", "GET", "/", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200},
		{"a rebound name", "GET", "/", map[string]string{"Host": "evil.example:" + ten.dashboard.port}, 403},
		{"a name without the port", "GET", "/", map[string]string{"Host": "127.0.0.1"}, 403},
		{"localhost", "GET", "/", map[string]string{"Host": "localhost:" + ten.dashboard.port}, 200},
		{"a change by GET", "GET", "/do/revoke", nil, 405},
		{"no such event", "POST", "/do/nothing", nil, 404},
	} {
		require.Equal(t, tt.want, ask(tt.method, tt.path, tt.header), tt.name)
	}
}

func TestEvents(t *testing.T) {
	ten := startTest(t, "")
	c := ten.throughProxy(t)
	press := func(event string, want int, kv ...string) {
		form := url.Values{}
		for i := 0; i < len(kv); i += 2 {
			form.Set(kv[i], kv[i+1])
		}
		noFollow := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := noFollow.PostForm("http://"+ten.dashLn.Addr().String()+"/do/"+event, form)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		require.Equal(t, want, resp.StatusCode, event)
	}
	const bob = "bob@contoso.example"
	press("disable-user", 303, "user", bob)
	_, body := signIn(t, c, bob, "battery staple")
	require.Contains(t, body, "AADSTS50057")
	press("enable-user", 303, "user", bob)
	press("change-password", 422, "user", bob)
	press("change-password", 303, "user", bob, "password", "another one")
	_, body = signIn(t, c, bob, "battery staple")
	require.Contains(t, body, "AADSTS50126")
	before := ten.srv.Now()
	press("clock", 303, "by", "4h")
	require.InDelta(t, 4*3600, ten.srv.Now().Sub(before).Seconds(), 60)
	for _, by := range []string{"", "soon", "999999h"} {
		press("clock", 422, "by", by)
	}
	press("policies", 422, "policies", "{")
	press("policies", 303, "policies", "")
	require.Empty(t, ten.srv.PolicyNames())
	press("risk", 422, "user", bob, "user-risk", "extreme")
	press("disable-device", 422, "device", "none")
	press("answer", 422, "user", "carol", "number", "12")
	press("sync-computer", 422, "name", "PC")

	defer func() {
		press("reset", 303)
		require.Len(t, ten.srv.PolicyNames(), 3, "the policies are there again")
		status, _ := signIn(t, c, bob, "battery staple")
		require.Equal(t, http.StatusOK, status)
	}()
	v := ten.dashboard.view("bob")
	var order []string
	for _, l := range v.Log {
		order = append(order, l.Key)
	}
	require.Equal(t, []string{"sign-in-2", "note-4", "note-2", "sign-in-1", "note-1"}, order, "newest first, what was done between what it led to")
	require.Positive(t, v.Hidden)
}

func TestData(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	first := startTest(t, file)
	id := first.srv.TenantID()
	ca, err := os.ReadFile(first.caFile)
	require.NoError(t, err)
	require.NoError(t, first.srv.ChangePassword("bob", "kept"))
	require.NoError(t, first.close())
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	second := startTest(t, file)
	require.Equal(t, id, second.srv.TenantID())
	again, err := os.ReadFile(second.caFile)
	require.NoError(t, err)
	require.Equal(t, string(ca), string(again))
	status, body := signIn(t, second.throughProxy(t), "bob@contoso.example", "kept")
	require.Equal(t, http.StatusOK, status, body)

	_, err = start(options{proxy: "127.0.0.1:0", dashboard: "127.0.0.1:0", data: file, clock: "2026-01-01T00:00:00Z"}, io.Discard)
	require.ErrorContains(t, err, "clock")
}

func TestAnnounce(t *testing.T) {
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	r, w := io.Pipe()
	go func() {
		done <- run(ctx, []string{"-proxy", "127.0.0.1:0", "-dashboard", "127.0.0.1:0"}, w, io.Discard)
		_ = w.Close()
	}()
	buf := make([]byte, 1024)
	for !strings.Contains(out.String(), "NODE_USE_ENV_PROXY") {
		n, err := r.Read(buf)
		require.NoError(t, err)
		out.Write(buf[:n])
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	require.NoError(t, <-done)
	for _, want := range []string{"export HTTPS_PROXY=http://127.0.0.1:", "export SSL_CERT_FILE=", "export REQUESTS_CA_BUNDLE=", "export NODE_EXTRA_CA_CERTS=", "# Dashboard: http://127.0.0.1:"} {
		require.Contains(t, out.String(), want)
	}
	require.ErrorContains(t, run(t.Context(), []string{"-proxy", "0.0.0.0:0"}, io.Discard, io.Discard), "not a loopback address")
	require.ErrorContains(t, run(t.Context(), []string{"extra"}, io.Discard, io.Discard), `unexpected argument "extra"`)
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 seconds", time.Second: "1 second", 90 * time.Second: "1 minute 30 seconds", 26 * time.Hour: "1 day 2 hours",
		-time.Hour: "minus 1 hour", 24 * time.Hour: "1 day",
	} {
		require.Equal(t, want, duration(d))
	}
	require.Equal(t, "/a/b-c.pem", shellQuote("/a/b-c.pem"))
	require.Equal(t, `'/a b/it'\''s'`, shellQuote("/a b/it's"))
}

func TestPageSaysWhatToUse(t *testing.T) {
	ten := startTest(t, "")
	_, body := signIn(t, ten.throughProxy(t), "bob@contoso.example", "battery staple")
	require.Contains(t, body, "access_token")
	_, body = signIn(t, ten.throughProxy(t), "bob@contoso.example", "wrong")
	require.Contains(t, body, "AADSTS50126")
	resp, err := http.Get("http://" + ten.dashLn.Addr().String() + "/")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	page, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	for _, want := range []string{
		appID, webID, spaID, "web server", webSecret, webRedirect("contoso.example"), payrollURI, // what a client is given
		"dave@corp.contoso.example</code> <span class=\"tag\">federated",
		"Compliant devices, tried out: report-only: would refuse",
		"AADSTS50126</span> <span>the user name or the password is wrong</span>",
		"--ignore-certificate-errors-spki-list=", // how a browser trusts the authority
		`<button id="user-`, "Delete the user Bob Example</button>",
	} {
		require.Contains(t, string(page), want)
	}
}
