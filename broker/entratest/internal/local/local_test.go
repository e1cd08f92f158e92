package local_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/local"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

func get(t *testing.T, c *http.Client, to string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
	require.NoError(t, err)
	resp, err := c.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func client(t *testing.T, c tls.Certificate) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if c.Leaf != nil {
		roots.AddCert(c.Leaf)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// The sign-in service is at the root of an address, and the other hosts below it by
// their names.
func TestListen(t *testing.T) {
	t.Parallel()
	cert := certificate(t)
	var certified []string
	l := &local.Listeners{Certificate: func(hosts []string) (tls.Certificate, error) { certified = hosts; return cert, nil }, Serves: func(host string) bool { return host == "graph.microsoft.com" || host == "login.microsoft.com" },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, web.LocalBase(r)+" "+r.Host+" "+r.URL.Path)
		})}
	t.Cleanup(l.Close)
	plain, err := l.Listen("127.0.0.1:0", local.Config{Plain: true})
	require.NoError(t, err)
	require.Contains(t, plain, "http://127.0.0.1:")
	secure, err := l.Listen("localhost:0", local.Config{})
	require.NoError(t, err)
	require.Contains(t, secure, "https://localhost:")
	require.Equal(t, []string{"localhost"}, certified)
	c := client(t, cert)
	for _, base := range []string{plain, secure} {
		for path, want := range map[string]string{
			"common/oauth2/token":              "localhost /common/oauth2/token",
			"graph.microsoft.com/v1.0/me":      "graph.microsoft.com /v1.0/me",
			"login.microsoft.com/common/login": "localhost /login.microsoft.com/common/login", // the sign-in service is at the root
			"elsewhere.example/x":              "localhost /elsewhere.example/x",
		} {
			_, body := get(t, c, base+path)
			require.Equal(t, base+" "+want, body)
		}
	}
	for _, plain := range []bool{false, true} {
		_, err = l.Listen("0.0.0.0:0", local.Config{Plain: plain})
		require.ErrorIs(t, err, local.ErrNotLoopback)
	}
	_, err = l.Listen("256.0.0.1:0", local.Config{})
	require.ErrorContains(t, err, "256.0.0.1")
	l.Close()
	_, err = new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimSuffix(strings.TrimPrefix(plain, "http://"), "/"))
	require.ErrorContains(t, err, "refused")
}

// What a client is told follows the base, or the host name that it used if that is one
// of the listed ones. Another name gets the base: it cannot become an issuer.
func TestBase(t *testing.T) {
	t.Parallel()
	cert := certificate(t)
	for name, tt := range map[string]struct {
		config    local.Config
		base      string // of the listener
		host      string // of the request
		want      string
		certified []string
	}{
		"a mapped port":       {local.Config{Base: "https://localhost:9443"}, "https://localhost:9443/", "localhost:8443", "https://localhost:9443/", []string{"localhost"}},
		"another host name":   {local.Config{Base: "https://Entra.test/"}, "https://entra.test/", "entra.test", "https://entra.test/", []string{"entra.test"}},
		"an address":          {local.Config{Base: "https://[::1]:9443"}, "https://[::1]:9443/", "x", "https://[::1]:9443/", []string{"::1"}},
		"TLS before it":       {local.Config{Base: "https://entra.test", Plain: true}, "https://entra.test/", "entra.test", "https://entra.test/", nil},
		"a listed name":       {local.Config{Base: "https://localhost:1", Hosts: []string{"tenant", "192.0.2.1"}}, "https://localhost:1/", "Tenant:32768", "https://tenant:32768/", []string{"localhost", "tenant", "192.0.2.1"}},
		"a listed address":    {local.Config{Base: "https://localhost:1", Hosts: []string{"::1"}}, "https://localhost:1/", "[::1]:32768", "https://[::1]:32768/", []string{"localhost", "::1"}},
		"a name not listed":   {local.Config{Base: "https://localhost:1", Hosts: []string{"tenant"}}, "https://localhost:1/", "evil.example", "https://localhost:1/", []string{"localhost", "tenant"}},
		"part of a name":      {local.Config{Base: "https://localhost:1", Hosts: []string{"tenant"}}, "https://localhost:1/", "tenant.evil.example", "https://localhost:1/", []string{"localhost", "tenant"}},
		"exposed, by a name":  {local.Config{Base: "https://localhost:1", Exposed: true}, "https://localhost:1/", "x", "https://localhost:1/", []string{"localhost"}},
		"a name in its place": {local.Config{Base: "https://localhost:1", Hosts: []string{"localhost"}}, "https://localhost:1/", "localhost:32768", "https://localhost:32768/", []string{"localhost", "localhost"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var certified []string
			l := &local.Listeners{Serves: func(string) bool { return false },
				Certificate: func(hosts []string) (tls.Certificate, error) { certified = hosts; return cert, nil },
				Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, web.LocalBase(r)) })}
			t.Cleanup(l.Close)
			addr := "127.0.0.1:0"
			if tt.config.Exposed {
				addr = "0.0.0.0:0"
			}
			ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr) // a free port
			require.NoError(t, err)
			addr = ln.Addr().String()
			require.NoError(t, ln.Close())
			base, err := l.Listen(addr, tt.config)
			require.NoError(t, err)
			require.Equal(t, tt.base, base)
			require.Equal(t, tt.certified, certified)
			scheme := "https://"
			if tt.config.Plain {
				scheme = "http://"
			}
			_, port, err := net.SplitHostPort(addr)
			require.NoError(t, err)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"localhost:"+port+"/", nil)
			require.NoError(t, err)
			r.Host = tt.host
			resp, err := client(t, cert).Do(r)
			require.NoError(t, err)
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, tt.want, string(body))
		})
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		l := &local.Listeners{}
		for base, want := range map[string]string{
			"localhost:8443": "not an http or https URL", "ftp://localhost": "not an http", "https://localhost/entra": "without a path", "https://a:b@localhost": "URL without a path",
			"https://localhost?x=1": "URL without a path", "https://": "URL without a path", "https://*.test": "URL without a path",
		} {
			_, err := l.Listen("127.0.0.1:0", local.Config{Base: base})
			require.ErrorContains(t, err, want, base)
		}
		for _, host := range []string{"localhost:8443", "https://localhost", "", "*"} {
			_, err := l.Listen("127.0.0.1:0", local.Config{Hosts: []string{host}})
			require.ErrorContains(t, err, "without a port", host)
		}
	})
}

// The window stays on loopback until the sign-in ends, however it does: then it
// tells the program, and not the browser, where that led.
func TestWindow(t *testing.T) {
	t.Parallel()
	const redirect = "https://app.example/cb"
	authorize := "https://login.microsoftonline.com/common/oauth2/authorize?redirect_uri=" + redirect
	for name, answer := range map[string]func(w http.ResponseWriter){
		"redirect": func(w http.ResponseWriter) { web.Redirect(w, redirect+"?code=1") },
		"form": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `<form id="hiddenform" action="`+redirect+`"><input name="code" value="1"></form>`)
		},
		"script": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `<script>document.location.replace("`+redirect+`?code=1")</script>`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &local.Window{Rand: ids.NewSource(1), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/common/oauth2/authorize":
					w.Header().Set("X-Page", "1")
					web.Redirect(w, "https://login.microsoftonline.com/common/login?x=1")
				case "/common/login":
					answer(w)
				default:
					web.Redirect(w, "https://elsewhere.example/")
				}
			})}
			t.Cleanup(l.Close)
			to, done, err := l.Lead(authorize)
			require.NoError(t, err)
			require.Contains(t, to, "http://localhost:")
			c := client(t, tls.Certificate{})
			resp, _ := get(t, c, to)
			require.Equal(t, "/common/login?x=1", resp.Header.Get("Location"), "without the real host")
			require.Equal(t, "1", resp.Header.Get("X-Page"))
			addr, err := l.Open()
			require.NoError(t, err)
			require.Contains(t, to, addr, "one window")
			resp, body := get(t, c, "http://"+addr+"/common/login")
			require.Equal(t, 200, resp.StatusCode)
			require.Contains(t, body, "You may close this window")
			require.NotContains(t, body, "code=1")
			require.Equal(t, redirect+"?code=1", <-done)
			_, body = get(t, c, "http://"+addr+"/common/login")
			require.NotContains(t, body, "You may close", "nobody waits for another")
			resp, _ = get(t, c, "http://"+addr+"/x")
			require.Equal(t, "https://elsewhere.example/", resp.Header.Get("Location"))
		})
	}
	l := &local.Window{}
	for bad, want := range map[string]string{
		"%": "is not a URL of the sign-in service", "https://evil.example/?redirect_uri=x": "is not a URL of the sign-in service",
		"https://login.microsoftonline.com/common/oauth2/authorize": "has no redirect_uri",
	} {
		_, _, err := l.Lead(bad)
		require.ErrorContains(t, err, want, bad)
	}
	l.Close() // though it was never opened
}
