package entratest

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/browser"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// plainServer shows the sign-in pages to an ordinary browser: on loopback and
// without TLS, since no browser trusts the server's authority or finds it
// under the real host names.
type plainServer struct {
	addr string
	http *http.Server

	mu    sync.Mutex               // guards waits
	waits map[string]chan<- string // by the redirect URI that ends the sign-in
}

func (p *plainServer) close() { _ = p.http.Close() }

// BrowserURL makes an authorization URL usable in an ordinary browser on this
// machine: it returns a loopback URL that shows the same sign-in pages, and a
// channel that receives the URL to which the sign-in was redirected. The
// browser sees a page that says that the window may be closed. Federated users
// cannot sign in this way.
func (s *Server) BrowserURL(authorizeURL string) (local string, redirected <-chan string, err error) {
	u, err := url.Parse(authorizeURL)
	if err != nil || !web.IsLoginHost(strings.ToLower(u.Hostname())) {
		return "", nil, fmt.Errorf("entratest: %q is not a URL of the sign-in service", web.Clip(authorizeURL))
	}
	redirect := u.Query().Get("redirect_uri")
	if redirect == "" {
		return "", nil, fmt.Errorf("entratest: the authorization URL has no redirect_uri")
	}
	p, err := s.plainServer()
	if err != nil {
		return "", nil, err
	}
	ch := make(chan string, 1)
	p.mu.Lock()
	p.waits[redirect] = ch
	p.mu.Unlock()
	u.Scheme, u.Host = "http", p.addr
	return u.String(), ch, nil
}

func (s *Server) plainServer() (*plainServer, error) {
	s.plainMu.Lock()
	defer s.plainMu.Unlock()
	if s.plain != nil {
		return s.plain, nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("entratest: %w", err)
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("entratest: %w", err)
	}
	p := &plainServer{addr: net.JoinHostPort("localhost", port), waits: map[string]chan<- string{}}
	p.http = &http.Server{Handler: p.intercept(s), ReadHeaderTimeout: s.http.ReadHeaderTimeout}
	go func() { _ = p.http.Serve(ln) }() // it ends when it is closed
	s.plain = p
	return p, nil
}

// intercept keeps the browser on the loopback server: it takes the redirect
// that ends a sign-in out of the reply.
func (p *plainServer) intercept(s *Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := web.NewRecorder()
		s.Handler().ServeHTTP(rec, r)
		to := rec.Header().Get("Location")
		if to == "" {
			base, _ := url.Parse(web.LoginURL) // a constant
			to = browser.Target(rec.Body.Bytes(), base)
		}
		if ch := p.waiting(to); ch != nil {
			ch <- to
			s.showMessage(w, nil, "You have signed in", "You may close this window and go back to the program.")
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
	})
}

// waiting takes the channel of the sign-in that ends at a URL.
func (p *plainServer) waiting(to string) chan<- string {
	if to == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for redirect, ch := range p.waits {
		if to == redirect || strings.HasPrefix(to, redirect+"?") || strings.HasPrefix(to, redirect+"#") {
			delete(p.waits, redirect)
			return ch
		}
	}
	return nil
}
