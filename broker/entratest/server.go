package entratest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/local"
)

// Server is an emulated Entra ID: sign-in service, device registration service, a
// small part of Microsoft Graph and, for federated domains, a federation server.
// It is safe for concurrent use, and its methods may be called while requests run.
type Server struct {
	opts  Options
	seed  *savedState // nil: opts alone
	clock *Clock
	began reading // of the clock
	rand  *ids.Source

	current atomic.Pointer[world]
	reset   sync.Mutex // held by Reset

	tlsCA    *tlsAuthority
	listener net.Listener
	http     *http.Server
	done     chan struct{} // closed by Close
	close    sync.Once

	locals local.Listeners
	window local.Window

	clientMu sync.Mutex // guards client
	client   *http.Client
}

// NewServer starts a server on a loopback port. It panics if the options are
// invalid or no port is available, as httptest does. The caller must call
// [Server.Close].
func NewServer(o Options) *Server {
	s, err := Start(o)
	if err != nil {
		panic(err.Error())
	}
	return s
}

// Start is like [NewServer] but returns an error instead of panicking.
func Start(o Options) (*Server, error) {
	s, err := newServer(o)
	if err != nil {
		return nil, fmt.Errorf("entratest: %w", err)
	}
	return s, nil
}

// TB is the part of [testing.TB] that [NewTB] needs.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// NewTB starts a server for a test: it is closed when the test ends, and clients'
// mistakes are reported to the test's log.
func NewTB(tb TB, o Options) *Server {
	tb.Helper()
	var mu sync.Mutex // guards over
	over := false
	if o.Logf == nil {
		o.Logf = func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			if !over { // a log after the end of a test panics
				tb.Logf(format, args...)
			}
		}
	}
	s, err := newServer(o)
	if err != nil {
		tb.Fatalf("entratest: %v", err)
		return nil
	}
	tb.Cleanup(func() {
		s.Close()
		mu.Lock()
		defer mu.Unlock()
		over = true
	})
	return s
}

func newServer(o Options) (*Server, error) {
	st, err := readState(o.State)
	if err != nil {
		return nil, err
	}
	if st != nil {
		o = st.options(o)
	}
	o = o.withDefaults()
	s := &Server{opts: o, seed: st, clock: o.Clock, rand: ids.NewSource(o.Seed), done: make(chan struct{})}
	key := s.rand.Bytes(boxKeySize)
	if st != nil && st.BoxKey != nil {
		key = st.BoxKey
	}
	w, err := s.newWorld(key, directory.NewSignInLog(o.SignInLog))
	if err != nil {
		return nil, err
	}
	s.current.Store(w)
	if st == nil {
		s.tlsCA, err = newTLSAuthority(w.hosts())
	} else if err = s.restore(st); err == nil {
		s.tlsCA, err = st.authority(w.hosts())
	}
	if err != nil {
		return nil, err
	}
	s.began = s.clock.reading()
	handler := s.Handler()
	s.locals.Handler, s.locals.Serves, s.locals.Certificate = handler, func(host string) bool { return s.world().serves(host) }, s.tlsCA.certificate
	s.window.Handler, s.window.Rand = handler, s.rand
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reset puts the server back to its start: the tenants, users, groups, applications,
// policies, faults and quirks of the [Options], or of their State, no devices and
// sign-ins but those of the State, and the time that the clock would show if nobody had
// advanced it. Names and object ids stay the same, and so do the server's addresses and
// its certificate authority.
//
// Everything that was issued before is refused from then on: tokens, codes, cookies,
// PRTs, devices, Hello keys, certificates. Requests that are under way end in the former
// state. The sign-in log continues to count but forgets its entries.
//
// Access tokens stay valid for services that verify only their signature.
func (s *Server) Reset() error {
	s.reset.Lock()
	defer s.reset.Unlock()
	w, err := s.newWorld(s.rand.Bytes(boxKeySize), s.world().log.Next())
	if err != nil {
		return fmt.Errorf("entratest: reset: %w", err)
	}
	w.later = true
	if s.seed != nil {
		if err := w.load(s.seed); err != nil {
			return fmt.Errorf("entratest: reset: %w", err)
		}
	}
	s.clock.putBack(s.began)
	s.current.Store(w)
	return nil
}

func (s *Server) listen() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.listener = ln
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	tlsLn := tls.NewListener(ln, &tls.Config{
		Certificates: []tls.Certificate{s.tlsCA.leaf},
		ClientAuth:   tls.RequestClientCert, // an unjoin presents the device certificate
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	})
	go func() {
		if err := s.http.Serve(tlsLn); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.opts.Logf("entratest: %v", err)
		}
	}()
	return nil
}

// Close stops the server and breaks its connections.
func (s *Server) Close() {
	s.close.Do(func() {
		close(s.done)
		_ = s.http.Close()
		s.locals.Close()
		s.window.Close()
		s.clientMu.Lock()
		if s.client != nil {
			s.client.CloseIdleConnections()
		}
		s.clientMu.Unlock()
	})
}

// CA returns the PEM certificate of the authority that signed the server's
// certificates. Every server without a State creates a new authority, whose
// private key leaves the process only in [Server.State]: other programs that
// trust the certificate trust nothing but this server.
func (s *Server) CA() []byte { return s.tlsCA.pem }

// CertPool returns a pool that contains only [Server.CA].
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.tlsCA.pem)
	return pool
}

// Addr returns the loopback address the server listens on, as host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// DialContext dials the server for every host name that it emulates, and refuses
// any other: nothing meant for the emulator reaches the real service.
func (s *Server) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("entratest: dial %s: %w", addr, err)
	}
	var d net.Dialer
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return d.DialContext(ctx, network, addr)
	}
	if !s.world().serves(host) {
		return nil, fmt.Errorf("entratest: dial %s: the emulator does not serve this host", host)
	}
	return d.DialContext(ctx, network, s.listener.Addr().String())
}

// HTTPTransport returns a new transport that trusts the server's authority and
// dials the server under the real host names. Set certificates for mutual TLS in
// its TLSClientConfig.
func (s *Server) HTTPTransport() *http.Transport {
	return &http.Transport{
		DialContext:         s.DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: s.CertPool(), MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     30 * time.Second,
	}
}

// Client returns a client for the real URLs. It follows redirects and keeps no
// cookies; [Server.Close] closes its connections.
func (s *Server) Client() *http.Client {
	s.clientMu.Lock()
	defer s.clientMu.Unlock()
	if s.client == nil {
		s.client = &http.Client{Transport: s.HTTPTransport()}
	}
	return s.client
}

// Handler returns a handler for every host of the emulator, which it tells apart by
// the Host header.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.world().web.ServeHTTP(w, r) })
}

// Now returns the server's time.
func (s *Server) Now() time.Time { return s.clock.Now() }

// Domain returns the verified domain of the first tenant, such as
// "contoso.example".
func (s *Server) Domain() string { return s.world().dir.Home().Domain }

// TenantID returns the id of the first tenant, a GUID in lower case.
func (s *Server) TenantID() string { return s.world().dir.Home().ID }
