package entratest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/local"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Transport carries requests to the server in memory, without sockets or TLS.
// Like an http.Client it has a method Do, but it does not follow redirects.
type Transport struct {
	server *Server
	state  *tls.ConnectionState // nil: no client certificate
}

// Transport returns an in-memory transport to the server.
func (s *Server) Transport() *Transport { return &Transport{server: s} }

// WithCertificate returns a transport that presents a client certificate, as
// mutual TLS does.
func (t *Transport) WithCertificate(c *x509.Certificate) *Transport {
	return &Transport{server: t.server, state: &tls.ConnectionState{
		HandshakeComplete: true,
		PeerCertificates:  []*x509.Certificate{c},
	}}
}

// RoundTrip makes the transport an [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) { return t.Do(req) }

// Do sends the request to the server and returns its reply. It returns when the
// request's context ends, even if a fault holds back the reply.
func (t *Transport) Do(req *http.Request) (*http.Response, error) {
	if !t.server.world().serves(req.URL.Hostname()) {
		return nil, errors.New("entratest: the emulator does not serve " + req.URL.Hostname())
	}
	ctx, cancel := context.WithCancel(req.Context())
	in := req.Clone(ctx)
	in.RequestURI = req.URL.RequestURI()
	in.RemoteAddr = "127.0.0.1:0"
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: req.URL.Hostname()}
	if t.state != nil {
		in.TLS = t.state
	}
	type result struct {
		reply *web.Recorder
		err   error
	}
	ch := make(chan result, 1)
	go func() {
		defer cancel()
		w := web.NewRecorder()
		err := w.Serve(t.server.Handler(), in)
		_ = in.Body.Close()
		ch <- result{w, err}
	}()
	select {
	case <-ctx.Done():
		if req.Context().Err() != nil {
			return nil, req.Context().Err()
		}
		r := <-ch // the handler's own end cancelled the context
		return r.reply.Response(req, r.err)
	case r := <-ch:
		return r.reply.Response(req, r.err)
	}
}

// ListenOptions are options of [Server.Listen].
type ListenOptions struct {
	// Base is the URL under which clients reach the listener if that is not its
	// address: behind a mapped port, a reverse proxy or under another host name, such
	// as https://localhost:8443. It has no path. The certificate is valid for its
	// host. "": the address itself, under localhost if it is that of all interfaces.
	Base string
	// Hosts lists host names, without ports, that clients may use besides that of
	// Base: a request under one of them gets discovery, pages and issuers of its own
	// Host header, whatever the port. With "localhost" here, a port of a container may
	// be mapped to one that is not known when the server starts. The certificate is
	// valid for all of them.
	Hosts []string
	// InsecureHTTP serves without TLS. Tokens and passwords then travel in the clear,
	// and MSAL refuses an authority without TLS unless a proxy in front of it, named
	// by Base, adds TLS.
	InsecureHTTP bool
	// InsecureExposed allows an address that is not a loopback address, as in a
	// container. Anyone who reaches it can answer for the users' phones and sign in with
	// passwords that tests publish.
	InsecureExposed bool
}

// Listen serves the sign-in service at an address of this machine, such as
// localhost:8443 or localhost:0, for clients configured with a custom authority
// instead of a proxy for the real host names. It returns the base URL of that
// authority, such as https://localhost:8443/; discovery, endpoints, pages and
// the issuers of tokens use that address. A client then signs in at
// base + tenant, and must not look the authority up at Microsoft: set
// knownAuthorities or instance_discovery=False in MSAL, DisableInstanceDiscovery in
// azidentity.
//
// The other hosts are served below it under their names: Microsoft Graph is at
// base + "graph.microsoft.com/v1.0". Passkeys are bound to a real host name and do
// not work there, and neither do user certificates. The server's own authority
// ([Server.CA]) signs the certificate. [Server.Close] closes the listener.
func (s *Server) Listen(addr string, o ListenOptions) (base string, err error) {
	base, err = s.locals.Listen(addr, local.Config{Plain: o.InsecureHTTP, Exposed: o.InsecureExposed, Base: o.Base, Hosts: o.Hosts})
	if err != nil {
		return "", fmt.Errorf("entratest: %w", err)
	}
	return base, nil
}
