package entratest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// maxBody limits a request body, in bytes. The largest legitimate one, a token
// request with a certificate chain, is below 32 KiB.
const maxBody = 256 << 10

const deviceLoginHost = "microsoft.com" // of https://microsoft.com/devicelogin

// certAuthHost asks for the certificate of a user in the TLS handshake.
const certAuthHost = "certauth.login.microsoftonline.com"

// otherHosts are the names the server plays beside the sign-in hosts.
var otherHosts = []string{
	wire.RegistrationHost, wire.GraphHost, deviceLoginHost, "www.microsoft.com",
	certAuthHost, autologonHost,
}

func isLoginHost(host string) bool { return slices.Contains(loginHosts, host) }

// hostKind groups hosts that serve the same paths.
type hostKind int

const (
	onLogin hostKind = iota
	onRegistration
	onGraph
	onFederation
	onAutologon
	onDeviceLogin
	onCertAuth
	nowhere
)

func (s *Server) hostKind(r *http.Request) hostKind {
	host := strings.ToLower(r.Host)
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	switch {
	case isLoginHost(host), host == "localhost", net.ParseIP(host).IsLoopback():
		return onLogin
	case host == wire.RegistrationHost:
		return onRegistration
	case host == wire.GraphHost:
		return onGraph
	case host == deviceLoginHost, host == "www.microsoft.com":
		return onDeviceLogin
	case host == autologonHost:
		return onAutologon
	case host == certAuthHost:
		return onCertAuth
	case s.dir.FederationTenant(host) != nil:
		return onFederation
	}
	return nowhere
}

// route is one endpoint. Its pattern is a path whose segments in braces match
// anything; {tenant} is looked up before the handler runs, and a pattern that
// ends in {rest} matches deeper paths. Real paths are case-insensitive.
type route struct {
	host     hostKind
	methods  string // space separated
	pattern  []string
	endpoint Endpoint
	handle   handler
}

type handler = func(http.ResponseWriter, *request)

// request is an HTTP request on its way through the server.
type request struct {
	*http.Request
	body   []byte
	form   url.Values // of an urlencoded body; nil otherwise
	path   map[string]string
	tenant *directory.Tenant // of {tenant}; nil for common and organizations
	v2     bool
	entry  *directory.LogEntry // of the sign-in log; nil until a grant begins
}

func (s *Server) route(host hostKind, methods, pattern string, e Endpoint, h handler) {
	s.routes = append(s.routes, route{host, methods, split(pattern), e, h})
}

func split(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

func (rt *route) match(segments []string) (map[string]string, bool) {
	vars := map[string]string{}
	for i, p := range rt.pattern {
		if p == "{rest}" {
			vars["rest"] = strings.Join(segments[min(i, len(segments)):], "/")
			return vars, true
		}
		if i >= len(segments) {
			return nil, false
		}
		if strings.HasPrefix(p, "{") {
			vars[strings.Trim(p, "{}")] = segments[i]
			continue
		}
		if !strings.EqualFold(p, segments[i]) {
			return nil, false
		}
	}
	return vars, len(segments) == len(rt.pattern)
}

// Handler serves every host of the emulator, told apart by the Host header.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				s.opts.Logf("entratest: %s %s: panic: %v\n%s", r.Method, r.URL.Path, v, debug.Stack())
			}
			panic(v)
		}
	}()
	w.Header().Set("Date", s.Now().UTC().Format(http.TimeFormat))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			http.Error(w, "request entity too large", http.StatusRequestEntityTooLarge)
			return
		}
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	if correlationID(r) == "" {
		r = r.WithContext(context.WithValue(r.Context(), correlationKey{}, s.rand.GUID()))
	}
	// Handlers and faults may look at the body again.
	r.Body = io.NopCloser(bytes.NewReader(body))
	in := &request{Request: r, body: body}
	if id := r.Header.Get("client-request-id"); id != "" && strings.EqualFold(r.Header.Get("return-client-request-id"), "true") {
		w.Header().Set("client-request-id", correlationID(r))
	}
	rt, notAllowed := s.lookup(in)
	if rt == nil {
		s.notFound(w, in, notAllowed)
		return
	}
	endpoint := rt.endpoint
	if endpoint == EndpointToken && in.form.Get("grant_type") == wire.GrantNonce {
		endpoint = EndpointNonce
	}
	r.PostForm = in.form
	s.faults.apply(s, w, r, endpoint, func(w http.ResponseWriter) { s.handle(rt, w, in) })
}

func (s *Server) handle(rt *route, w http.ResponseWriter, in *request) {
	name, named := in.path["tenant"]
	if named && !multiTenant(name) {
		if in.tenant = s.dir.Tenant(name); in.tenant == nil {
			s.refuse(w, in, fail("invalid_tenant", 90002, "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", clip(name)))
			return
		}
	}
	rt.handle(w, in)
}

func multiTenant(name string) bool {
	switch strings.ToLower(name) {
	case "common", "organizations", "consumers":
		return true
	}
	return false
}

// lookup finds the route and parses what all handlers need.
func (s *Server) lookup(in *request) (found *route, notAllowed bool) {
	host := s.hostKind(in.Request)
	segments := split(in.URL.Path)
	for i := range s.routes {
		rt := &s.routes[i]
		if rt.host != host {
			continue
		}
		vars, ok := rt.match(segments)
		if !ok {
			continue
		}
		if !slices.Contains(strings.Fields(rt.methods), in.Method) {
			notAllowed = true
			continue
		}
		in.path = vars
		in.v2 = slices.Contains(rt.pattern, "v2.0")
		if strings.HasPrefix(strings.TrimSpace(in.Header.Get("Content-Type")), "application/x-www-form-urlencoded") ||
			in.Header.Get("Content-Type") == "" && rt.endpoint == EndpointToken {
			in.form, _ = url.ParseQuery(string(in.body)) // what cannot be parsed is missing, and refused as that
		}
		return rt, false
	}
	return nil, notAllowed
}

func (s *Server) notFound(w http.ResponseWriter, in *request, notAllowed bool) {
	s.mistake(in, "no endpoint %s %s on host %s", in.Method, in.URL.Path, in.Host)
	if notAllowed && s.hostKind(in.Request) == onLogin {
		s.writeSTSError(w, in.Request, invalidRequest(900561, "The endpoint only accepts POST requests. Received a %s request.", in.Method))
		return
	}
	if notAllowed {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	http.NotFound(w, in.Request)
}

// refuse answers with an error in the shape of the sign-in service and tells
// the test log why.
func (s *Server) refuse(w http.ResponseWriter, in *request, err error) {
	e := asSTSError(err)
	why := e.why
	if why == "" {
		why = e.text
	}
	s.mistake(in, "AADSTS%d %s: %s", e.code, e.oauth, why)
	s.writeSTSError(w, in.Request, e)
}

func asSTSError(err error) *stsError {
	var e *stsError
	if errors.As(err, &e) {
		return e
	}
	return (&stsError{status: http.StatusInternalServerError, oauth: "server_error", code: 50000, text: "There was an error issuing a token."}).because("%v", err)
}

// mistake reports what a client did wrong to the test log.
func (s *Server) mistake(in *request, format string, args ...any) {
	s.opts.Logf("entratest: %s %s: "+format, append([]any{in.Method, in.URL.Path}, args...)...)
}

type correlationKey struct{} // of the correlation id that the server made up

// correlationID returns the client's correlation id when it is a GUID, else
// the one that the server made up for the request.
func correlationID(r *http.Request) string {
	id := r.Header.Get("client-request-id")
	if id == "" {
		id = r.URL.Query().Get("client-request-id")
	}
	if ids.IsGUID(id) {
		return strings.ToLower(id)
	}
	id, _ = r.Context().Value(correlationKey{}).(string)
	return id
}

// clip shortens what a client sent before it goes into a message.
func clip(s string) string {
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
}
