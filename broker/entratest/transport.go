package entratest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// Transport carries requests to the server in memory, without sockets or TLS.
// It satisfies what an http.Client's user needs: one method, Do. It does not
// follow redirects.
type Transport struct {
	server *Server
	state  *tls.ConnectionState // nil: no client certificate
}

// Transport returns a transport without sockets.
func (s *Server) Transport() *Transport { return &Transport{server: s} }

// WithCertificate returns a transport that shows a client certificate, as
// mutual TLS does.
func (t *Transport) WithCertificate(c *x509.Certificate) *Transport {
	return &Transport{server: t.server, state: &tls.ConnectionState{
		HandshakeComplete: true,
		PeerCertificates:  []*x509.Certificate{c},
	}}
}

// RoundTrip makes the transport an [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) { return t.Do(req) }

// Do answers the request. It returns when the request's context ends, also
// when a fault keeps the reply back.
func (t *Transport) Do(req *http.Request) (*http.Response, error) {
	if !t.server.serves(req.URL.Hostname()) {
		return nil, errors.New("entratest: the emulator does not play " + req.URL.Hostname())
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
		reply *recorder
		err   error
	}
	ch := make(chan result, 1)
	go func() {
		defer cancel()
		w := newRecorder()
		err := w.serve(t.server.Handler(), in)
		_ = in.Body.Close()
		ch <- result{w, err}
	}()
	select {
	case <-ctx.Done():
		if req.Context().Err() != nil {
			return nil, req.Context().Err()
		}
		r := <-ch // the handler's own end cancelled the context
		return r.reply.response(req, r.err)
	case r := <-ch:
		return r.reply.response(req, r.err)
	}
}

// recorder keeps a reply in memory.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}} }

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// serve runs the handler; an aborted reply is io.ErrUnexpectedEOF, as a broken
// connection is.
func (w *recorder) serve(h http.Handler, r *http.Request) (err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			err = io.ErrUnexpectedEOF
		default:
			panic(v)
		}
	}()
	h.ServeHTTP(w, r)
	return nil
}

func (w *recorder) response(req *http.Request, err error) (*http.Response, error) {
	if err != nil && w.status == 0 {
		return nil, err
	}
	var body io.Reader = bytes.NewReader(w.body.Bytes())
	if err != nil {
		body = io.MultiReader(body, brokenReader{err})
	}
	w.WriteHeader(http.StatusOK)
	length := int64(w.body.Len())
	if text := w.header.Get("Content-Length"); text != "" {
		if n, perr := strconv.ParseInt(text, 10, 64); perr == nil {
			length = n
		}
	}
	return &http.Response{
		Status:        strconv.Itoa(w.status) + " " + http.StatusText(w.status),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.header,
		Body:          io.NopCloser(body),
		ContentLength: length,
		Request:       req,
	}, nil
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// hosts returns the names that the server plays.
func (s *Server) hosts() []string {
	hosts := append([]string{}, loginHosts...)
	hosts = append(hosts, otherHosts...)
	for _, t := range s.dir.Tenants() {
		for domain := range t.Federated {
			hosts = append(hosts, directory.FederationHost(domain))
		}
	}
	return hosts
}

func (s *Server) serves(host string) bool {
	host = strings.ToLower(host)
	if isLoginHost(host) {
		return true
	}
	for _, h := range otherHosts {
		if h == host {
			return true
		}
	}
	return s.dir.FederationTenant(host) != nil
}
