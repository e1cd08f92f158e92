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
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/arm"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/discovery"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/drs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/graph"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/local"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/login"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/passkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/phones"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/policy"
)

// Server is an emulated Entra ID: sign-in service, device registration service, a
// small part of Microsoft Graph and, for federated domains, a federation server.
// It is safe for concurrent use, and its methods may be called while requests run.
type Server struct {
	opts    Options
	clock   *Clock
	rand    *ids.Source
	keeper  *session.Keeper
	access  *access.Engine
	mint    *mint.Mint
	phones  *phones.Service
	sts     *tokenendpoint.Service
	drs     *drs.Service
	web     *web.Router
	log     *directory.SignInLog
	prts    *tokenendpoint.PRTList
	inspect inspector

	dir *directory.Directory

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
	r := ids.NewSource(o.Seed)
	box := seal.New(r.Bytes(32), r)
	s := &Server{
		opts:  o,
		clock: o.Clock,
		rand:  r,
		log:   directory.NewSignInLog(o.SignInLog),
		prts:  tokenendpoint.NewPRTList(),
		done:  make(chan struct{}),
	}
	dir, err := directory.New(o.tenants(), o.DeviceQuota, r)
	if err != nil {
		return nil, err
	}
	s.dir = dir
	s.SetDirectoryLag(o.DirectoryLag)
	s.keeper = &session.Keeper{
		Directory: dir, Rand: r, Now: s.Now, Logf: o.Logf, TTL: session.TTL(o.TTL), Box: box, Pending: session.NewPending(),
		RefuseTOTPReuse: o.RefuseTOTPReuse, Quirks: &quirks.Set{},
	}
	for _, q := range o.WithoutQuirks {
		if err := s.SetQuirk(q, false); err != nil {
			return nil, err
		}
	}
	s.access = &access.Engine{Keeper: s.keeper, Address: o.ClientAddress}
	if o.Judge != nil {
		s.access.Judge = func(b *policy.Bundle, in *policy.SignIn) access.Judgement { return access.Judgement(o.Judge(b, in)) }
	}
	s.mint = &mint.Mint{Keys: mint.NewKeys(), Keeper: s.keeper, GCMReplies: o.GCMReplies, PlainReplies: o.PlainReplies, DisabledDevice50155: o.DisabledDevice50155}
	s.web = web.New(web.Config{Directory: dir, Rand: r, Now: s.Now, Logf: o.Logf, Log: s.log, Done: s.done})
	for _, f := range o.Faults {
		s.web.AddFault(f.fault())
	}
	s.addRoutes()
	s.inspect = inspector{dir: dir, log: s.log, mint: s.mint, sts: s.sts, keeper: s.keeper}
	if st == nil {
		s.tlsCA, err = newTLSAuthority(s.hosts())
	} else if err = s.restore(st); err == nil {
		s.tlsCA, err = st.authority(s.hosts())
	}
	if err != nil {
		return nil, err
	}
	s.locals.Handler, s.locals.Serves, s.locals.Certificate = s.web, s.serves, s.tlsCA.certificate
	s.window.Handler, s.window.Rand = s.web, r
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// addRoutes adds the routes of the services to the router. The first route that
// matches wins.
func (s *Server) addRoutes() {
	o := &s.opts
	s.sts = &tokenendpoint.Service{Keeper: s.keeper, Access: s.access, Mint: s.mint, Web: s.web, PRTs: s.prts,
		InheritDeviceMFA: o.InheritDeviceMFA, RollSessionKey: o.RollSessionKey, RefuseKDFv1: o.RefuseKDFv1, RollDropsMFA: o.RollDropsMFA}
	s.drs = &drs.Service{Keeper: s.keeper, Access: s.access, Mint: s.mint, Web: s.web,
		RequireMFAToJoin: o.RequireMFAToJoin, ReplicationLag: o.ReplicationLag, ReplicationTries: o.ReplicationTries}
	s.phones = &phones.Service{Keeper: s.keeper, Web: s.web}
	pages := &login.Pages{Keeper: s.keeper, Access: s.access, Mint: s.mint, Passkeys: &passkeys.Checker{Keeper: s.keeper}, STS: s.sts, Web: s.web,
		AskToStaySignedIn: o.AskToStaySignedIn, NoUserConsent: o.NoUserConsent, BindBrowserSessions: o.BindBrowserSessions, Traits: login.Traits(o.Pages)}

	s.sts.Routes()
	(&discovery.Service{Directory: s.dir, Mint: s.mint, Web: s.web, Quirks: s.keeper.Quirks}).Routes()
	pages.Routes()
	s.phones.Routes()
	s.drs.Routes()
	(&graph.Service{Keeper: s.keeper, Mint: s.mint, Web: s.web}).Routes()
	(&adfs.Server{Keeper: s.keeper, Mint: s.mint, Web: s.web, ErrorPage: pages.ErrorPage, FormTargets: pages.FormTargets}).Routes()
	(&arm.Service{Keeper: s.keeper, Mint: s.mint, Web: s.web}).Routes()
}

func (s *Server) listen() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.listener = ln
	s.http = &http.Server{
		Handler:           s.web,
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
	if !s.serves(host) {
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
func (s *Server) Handler() http.Handler { return s.web }

// Now returns the server's time.
func (s *Server) Now() time.Time { return s.clock.Now() }

// Domain returns the verified domain of the first tenant, such as
// "contoso.example".
func (s *Server) Domain() string { return s.dir.Home().Domain }

// TenantID returns the id of the first tenant, a GUID in lower case.
func (s *Server) TenantID() string { return s.dir.Home().ID }
