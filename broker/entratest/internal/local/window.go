package local

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/browser"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Window shows the sign-in pages to an ordinary browser: on loopback and without
// TLS, since an ordinary browser neither trusts the emulator's authority nor reaches
// it under the real host names. It is opened on first use.
type Window struct {
	Handler http.Handler // of every host
	Rand    *ids.Source

	mu    sync.Mutex // guards what follows
	addr  string     // "": not open yet
	http  *http.Server
	waits map[string]chan<- string // by the redirect URI that ends the sign-in
}

// Lead makes an authorization URL usable in an ordinary browser on this machine. It
// returns a loopback URL for the same pages, and a channel that receives the URL to
// which the sign-in was redirected.
func (l *Window) Lead(authorizeURL string) (local string, redirected <-chan string, err error) {
	u, err := url.Parse(authorizeURL)
	if err != nil || !web.IsLoginHost(strings.ToLower(u.Hostname())) {
		return "", nil, fmt.Errorf("%q is not a URL of the sign-in service", web.Clip(authorizeURL))
	}
	redirect := u.Query().Get("redirect_uri")
	if redirect == "" {
		return "", nil, errors.New("the authorization URL has no redirect_uri")
	}
	addr, err := l.Open()
	if err != nil {
		return "", nil, err
	}
	ch := make(chan string, 1)
	l.mu.Lock()
	l.waits[redirect] = ch
	l.mu.Unlock()
	u.Scheme, u.Host = "http", addr
	return u.String(), ch, nil
}

// Open returns the address of the window, as host:port.
func (l *Window) Open() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addr != "" {
		return l.addr, nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return "", err
	}
	l.addr, l.waits = net.JoinHostPort("localhost", port), map[string]chan<- string{}
	l.http = &http.Server{Handler: http.HandlerFunc(l.intercept), ReadHeaderTimeout: 30 * time.Second}
	go func(srv *http.Server) { _ = srv.Serve(ln) }(l.http) // returns when the server is closed
	return l.addr, nil
}

// Close closes the window.
func (l *Window) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.http != nil {
		_ = l.http.Close()
	}
}

// intercept keeps the browser on the loopback server: it removes the redirect
// that ends a sign-in from the reply.
func (l *Window) intercept(w http.ResponseWriter, r *http.Request) {
	rec := web.NewRecorder()
	l.Handler.ServeHTTP(rec, r)
	to := rec.Header().Get("Location")
	if to == "" {
		base, _ := url.Parse(web.LoginURL) // a constant
		to = browser.Target(rec.Body.Bytes(), base)
	}
	if ch := l.waiting(to); ch != nil {
		ch <- to
		pages.Message(ids.Hex(l.Rand.Bytes(16)), "You have signed in", "You may close this window and go back to the program.").Write(w, http.StatusOK)
		return
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	if u, err := url.Parse(rec.Header().Get("Location")); err == nil && web.IsLoginHost(strings.ToLower(u.Host)) {
		u.Scheme, u.Host = "", ""
		w.Header().Set("Location", u.String())
	}
	rec.WriteHeader(http.StatusOK)
	w.WriteHeader(rec.Status)
	_, _ = w.Write(rec.Body.Bytes())
}

// waiting removes and returns the channel of the sign-in that ends at a URL.
func (l *Window) waiting(to string) chan<- string {
	if to == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for redirect, ch := range l.waits {
		if to == redirect || strings.HasPrefix(to, redirect+"?") || strings.HasPrefix(to, redirect+"#") {
			delete(l.waits, redirect)
			return ch
		}
	}
	return nil
}
