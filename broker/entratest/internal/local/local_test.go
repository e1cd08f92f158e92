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
	l := &local.Listeners{TLS: certificate(t), Serves: func(host string) bool { return host == "graph.microsoft.com" || host == "login.microsoft.com" },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, web.LocalBase(r)+" "+r.Host+" "+r.URL.Path)
		})}
	t.Cleanup(l.Close)
	plain, err := l.Listen("127.0.0.1:0", true)
	require.NoError(t, err)
	require.Contains(t, plain, "http://127.0.0.1:")
	secure, err := l.Listen("localhost:0", false)
	require.NoError(t, err)
	require.Contains(t, secure, "https://localhost:")
	c := client(t, l.TLS)
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
	_, err = l.Listen("0.0.0.0:0", true)
	require.ErrorIs(t, err, local.ErrNotLoopback)
	_, err = l.Listen("256.0.0.1:0", false)
	require.ErrorContains(t, err, "256.0.0.1")
	l.Close()
	_, err = new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimSuffix(strings.TrimPrefix(plain, "http://"), "/"))
	require.ErrorContains(t, err, "refused")
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
