// Package web routes requests to the emulator: it finds the handler for host, path and
// method, applies faults, and writes errors in the formats of the sign-in service and
// of the registration service.
package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// Config is the configuration of a [Router].
type Config struct {
	Directory *directory.Directory
	Rand      *ids.Source
	Now       func() time.Time
	Logf      func(format string, args ...any) // receives the mistakes of clients
	Log       *directory.SignInLog
	Done      <-chan struct{} // closed when the server is closed
}

// Router finds the handler of a request, and writes errors.
type Router struct {
	Config
	faults *faultList
	routes []route
}

// New returns a router without routes.
func New(c Config) *Router { return &Router{Config: c, faults: &faultList{}} }

// AddFault installs a fault; calling remove removes it.
func (s *Router) AddFault(f Fault) (remove func()) { return s.faults.add(f) }

// ClearFaults removes all faults.
func (s *Router) ClearFaults() { s.faults.clear() }

// maxBody limits a request body, in bytes. The largest legitimate one, a token
// request with a certificate chain, is below 32 KiB.
const maxBody = 256 << 10

// route is one endpoint. Its pattern is a path whose segments in braces match
// anything; {tenant} is looked up before the handler runs, and a pattern that
// ends in {rest} matches deeper paths. Real paths are case-insensitive.
type route struct {
	host     HostKind
	methods  string // space separated
	pattern  []string
	endpoint Endpoint
	handle   Handler
}

// Handle adds an endpoint; methods are separated by spaces. The first match wins.
func (s *Router) Handle(host HostKind, methods, pattern string, e Endpoint, h Handler) {
	s.routes = append(s.routes, route{host, methods, Split(pattern), e, h})
}

// Split cuts a path into segments.
func Split(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

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

// ServeHTTP serves every host of the emulator, told apart by the Host header.
func (s *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				s.Logf("entratest: %s %s: panic: %v\n%s", r.Method, r.URL.Path, v, debug.Stack())
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
	if CorrelationID(r) == "" {
		r = r.WithContext(context.WithValue(r.Context(), correlationKey{}, s.Rand.GUID()))
	}
	// Handlers and faults may read the body again.
	r.Body = io.NopCloser(bytes.NewReader(body))
	in := &Request{Request: r, Data: body}
	if id := r.Header.Get("client-request-id"); id != "" && strings.EqualFold(r.Header.Get("return-client-request-id"), "true") {
		w.Header().Set("client-request-id", CorrelationID(r))
	}
	rt, notAllowed := s.lookup(in)
	if rt == nil {
		s.notFound(w, in, notAllowed)
		return
	}
	endpoint := rt.endpoint
	if endpoint == EndpointToken && in.Values.Get("grant_type") == wire.GrantNonce {
		endpoint = EndpointNonce
	}
	r.PostForm = in.Values
	s.faults.apply(s, w, r, endpoint, func(w http.ResponseWriter) { s.dispatch(rt, w, in) })
}

func (s *Router) dispatch(rt *route, w http.ResponseWriter, in *Request) {
	name, named := in.Vars["tenant"]
	if named && !MultiTenant(name) {
		if in.Tenant = s.Directory.Tenant(name); in.Tenant == nil {
			s.Refuse(w, in, Fail("invalid_tenant", 90002, "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", Clip(name)))
			return
		}
	}
	rt.handle(w, in)
}

// lookup finds the route and parses what all handlers need.
func (s *Router) lookup(in *Request) (found *route, notAllowed bool) {
	host := s.HostKind(in.Request)
	segments := Split(in.URL.Path)
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
		in.Vars = vars
		in.V2 = slices.Contains(rt.pattern, "v2.0")
		if strings.HasPrefix(strings.TrimSpace(in.Header.Get("Content-Type")), "application/x-www-form-urlencoded") ||
			in.Header.Get("Content-Type") == "" && rt.endpoint == EndpointToken {
			in.Values, _ = url.ParseQuery(string(in.Data)) // parameters that cannot be parsed are refused as missing
		}
		return rt, false
	}
	return nil, notAllowed
}

func (s *Router) notFound(w http.ResponseWriter, in *Request, notAllowed bool) {
	s.Mistake(in, "no endpoint %s %s on host %s", in.Method, in.URL.Path, in.Host)
	if notAllowed && s.HostKind(in.Request) == OnLogin {
		s.writeSTSError(w, in.Request, InvalidRequest(900561, "The endpoint only accepts POST requests. Received a %s request.", in.Method))
		return
	}
	if notAllowed {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	http.NotFound(w, in.Request)
}

// Refuse answers with an error in the format of the sign-in service and writes the
// reason to the test log.
func (s *Router) Refuse(w http.ResponseWriter, in *Request, err error) {
	e := AsSTSError(err)
	why := e.Why
	if why == "" {
		why = e.Text
	}
	s.Mistake(in, "AADSTS%d %s: %s", e.Code, e.OAuth, why)
	s.writeSTSError(w, in.Request, e)
}

// AsSTSError returns the STSError in err, or a general one if err contains none.
func AsSTSError(err error) *STSError {
	var e *STSError
	if errors.As(err, &e) {
		return e
	}
	return (&STSError{status: http.StatusInternalServerError, OAuth: "server_error", Code: 50000, Text: "There was an error issuing a token."}).Because("%v", err)
}

// Mistake reports what a client did wrong to the test log.
func (s *Router) Mistake(in *Request, format string, args ...any) {
	s.Logf("entratest: %s %s: "+format, append([]any{in.Method, in.URL.Path}, args...)...)
}

// Record closes the entry of a request, if it has one.
func (s *Router) Record(r *Request, err error) {
	e := r.Entry
	if e == nil {
		return
	}
	r.Entry = nil
	if err != nil {
		f := AsSTSError(err)
		e.ErrorCode, e.Error, e.Suberror = f.Code, f.OAuth, f.Suberror
	}
	s.Log.Add(*e)
}

// List names every endpoint and method.
func (s *Router) List() []string {
	var names []string
	for i := range s.routes {
		for range strings.Fields(s.routes[i].methods) {
			names = append(names, s.routes[i].String())
		}
	}
	return names
}

// Reaches returns the name of the endpoint that a request reaches, or "".
func (s *Router) Reaches(r *http.Request) string {
	rt, _ := s.lookup(&Request{Request: r})
	if rt == nil {
		return ""
	}
	return rt.String()
}

func (rt *route) String() string {
	return strconv.Itoa(int(rt.host)) + " /" + strings.Join(rt.pattern, "/")
}
