package chromium_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/prompt/chromium"
)

const redirect = "ms-appx-web://Microsoft.AAD.BrokerPlugin/29d9ed98-a469-4536-ade2-f981bc1d605e"

// findBrowser skips where no browser is installed, unless the environment
// demands one.
func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("PRTBROKER_REQUIRE_TOOLS") == "1" {
		t.Fatal("chromium is missing: apt-get install chromium")
	}
	t.Skip("no Chromium is installed")
	return ""
}

// newPrompter is a prompter whose browser finds every host at addr. The tests
// may run as root, where the sandbox cannot.
func newPrompter(t *testing.T, addr string, more ...string) *chromium.Prompter {
	t.Helper()
	p := &chromium.Prompter{Path: findBrowser(t)}
	return p.WithArguments(append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-proxy-server",
		"--host-resolver-rules=MAP * " + addr, "--ignore-certificate-errors",
	}, more...)...)
}

// site answers by host and path, and remembers what the device said to whom.
type site struct {
	*httptest.Server
	mu   sync.Mutex // guards told
	told []string
}

func newSite(t *testing.T, handler http.HandlerFunc) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := r.Header.Get("x-ms-RefreshTokenCredential"); v != "" {
			s.mu.Lock()
			s.told = append(s.told, r.Host+" "+v)
			s.mu.Unlock()
		}
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) addr() string { return s.Listener.Addr().String() }

func (s *site) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.told...)
}

func TestRedirects(t *testing.T) {
	want := redirect + "?code=a%2Fb&state=s"
	for _, tc := range []struct {
		name string
		page http.HandlerFunc
	}{
		{"by the service", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", want)
			w.WriteHeader(http.StatusFound)
		}},
		{"after other redirects", func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/authorize":
				http.Redirect(w, r, "/next", http.StatusFound)
			case "/next":
				http.Redirect(w, r, "https://sts.windows.net/last", http.StatusSeeOther)
			default:
				w.Header().Set("Location", want)
				w.WriteHeader(http.StatusFound)
			}
		}},
		{"by a script", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`<!doctype html><script>document.location.replace("` + want + `")</script>`))
		}},
		{"by a form", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", want)
				w.WriteHeader(http.StatusFound)
				return
			}
			_, _ = w.Write([]byte(`<!doctype html><form method=post action=/done></form><script>document.forms[0].submit()</script>`))
		}},
		{"by a link", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`<!doctype html><a id=a href="` + want + `">go</a><script>document.getElementById("a").click()</script>`))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, tc.page)
			got, err := newPrompter(t, s.addr()).Authorize(t.Context(), "https://login.microsoftonline.com/authorize?x=1", redirect)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

// A page that only looks like the redirect is not taken for it.
func TestOtherAddresses(t *testing.T) {
	want := redirect + "?code=1"
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/authorize" {
			http.Redirect(w, r, "https://attacker.example/?u="+url.QueryEscape(redirect), http.StatusFound)
			return
		}
		w.Header().Set("Location", want)
		w.WriteHeader(http.StatusFound)
	})
	got, err := newPrompter(t, s.addr()).Authorize(t.Context(), "https://login.microsoftonline.com/authorize", redirect)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// The device's cookies go to sign-in hosts by https and to nobody else, also
// when a sign-in host redirects.
func TestCookies(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Host {
		case "login.microsoftonline.com":
			http.Redirect(w, r, "https://adfs.contoso.example/", http.StatusFound)
		case "adfs.contoso.example":
			http.Redirect(w, r, "https://login.microsoft.com/back?sso_nonce=n", http.StatusTemporaryRedirect)
		default:
			w.Header().Set("Location", redirect+"?code=1")
			w.WriteHeader(http.StatusFound)
		}
	})
	p := newPrompter(t, s.addr())
	p.Cookies = func(_ context.Context, page string) ([]*http.Cookie, error) {
		return []*http.Cookie{{Name: "x-ms-RefreshTokenCredential", Value: "for " + page}}, nil
	}
	_, err := p.Authorize(t.Context(), "https://login.microsoftonline.com/authorize", redirect)
	require.NoError(t, err)
	require.Equal(t, []string{
		"login.microsoftonline.com for https://login.microsoftonline.com/authorize",
		"login.microsoft.com for https://login.microsoft.com/back?sso_nonce=n",
	}, s.heard())
}

func TestSignInHosts(t *testing.T) {
	p := &chromium.Prompter{}
	for address, want := range map[string]bool{
		"https://login.microsoftonline.com/a":                true,
		"https://LOGIN.microsoftonline.com:443/a":            true,
		"https://login.microsoft.com":                        true,
		"http://login.microsoftonline.com/a":                 false,
		"https://login.microsoftonline.com:8443/a":           false,
		"https://login.microsoftonline.com./a":               false,
		"https://x.login.microsoftonline.com/a":              false,
		"https://login.microsoftonline.com.attacker.example": false,
		"https://login.microsoftonline.com@attacker.example": false,
		"https://user@login.microsoftonline.com/":            false,
		"https://login.mıcrosoftonline.com/":                 false,
		"data:text/html,https://login.microsoftonline.com":   false,
		"": false,
		"https://login.microsoftonline.com\\@attacker.example/": false,
	} {
		require.Equalf(t, want, p.SignInHost(address), "%q", address)
	}
}

func TestContextEnds(t *testing.T) {
	shown := make(chan struct{})
	var once sync.Once
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("<!doctype html><title>Sign in</title>"))
		once.Do(func() { close(shown) })
	})
	profile := filepath.Join(t.TempDir(), "profile")
	p := newPrompter(t, s.addr())
	p.ProfileDir = profile
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-shown
		cancel()
	}()
	_, err := p.Authorize(ctx, "https://login.microsoftonline.com/", redirect)
	require.ErrorIs(t, err, context.Canceled)
	for len(processesOf(t, profile)) > 0 { // what was killed may take a moment, what was not hangs
		runtime.Gosched()
	}
}

// A user who closes the window gives up.
func TestWindowClosed(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("<!doctype html><script>window.close()</script>"))
	})
	p := newPrompter(t, s.addr(), "--blink-settings=allowScriptsToCloseWindows=true")
	_, err := p.Authorize(t.Context(), "https://login.microsoftonline.com/", redirect)
	require.ErrorIs(t, err, broker.ErrUserCanceled)
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		name, path, page, want string
		is                     error
	}{
		{"not https", "", "http://login.microsoftonline.com/", "chromium: the sign-in page is not an https address", nil},
		{"a file", "", "file:///etc/passwd", "chromium: the sign-in page is not an https address", nil},
		{"no such program", "/nonexistent/chromium", "https://login.microsoftonline.com/", "chromium: starting the browser", nil},
		{"not a browser", "/bin/true", "https://login.microsoftonline.com/", "", broker.ErrUserCanceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := (&chromium.Prompter{Path: tc.path}).WithArguments("--headless")
			_, err := p.Authorize(t.Context(), tc.page, redirect)
			if tc.is != nil {
				require.True(t, errors.Is(err, tc.is) || err != nil && strings.Contains(err.Error(), "the browser ended"), "%v", err)
				return
			}
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestNoDisplay(t *testing.T) {
	t.Setenv("DISPLAY", "")
	t.Setenv("WAYLAND_DISPLAY", "")
	_, err := (&chromium.Prompter{}).Authorize(t.Context(), "https://login.microsoftonline.com/", redirect)
	require.ErrorIs(t, err, chromium.ErrNoBrowser)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = (&chromium.Prompter{}).PIN(t.Context(), broker.Account{})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorIs(t, (&chromium.Prompter{}).DeviceCode(t.Context(), broker.DeviceCode{}), errors.ErrUnsupported)
}

// Neither a port that other programs could drive the sign-in by, nor a browser
// without its sandbox.
func TestArguments(t *testing.T) {
	args := chromium.Arguments("/profile")
	require.Contains(t, args, "--remote-debugging-pipe")
	for _, a := range args {
		require.False(t, strings.HasPrefix(a, "--remote-debugging-port") || strings.Contains(a, "sandbox") || strings.Contains(a, "certificate"), a)
	}
}

// processesOf lists the processes that were started with a profile.
func processesOf(t *testing.T, profile string) (found []string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, path := range lines {
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), profile) {
			if state, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "stat")); !strings.Contains(string(state), ") Z ") {
				found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
			}
		}
	}
	return found
}
