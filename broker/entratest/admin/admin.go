// Package admin serves the administration of an [entratest.Server] as JSON over HTTP,
// for tests in other languages: users, apps, groups, devices, policies, risk, faults,
// the clock, the sign-in log, the codes that phones show, and tokens with arbitrary
// claims.
//
//	srv := entratest.NewServer(entratest.Options{
//		Users: []entratest.User{{Username: "alice", Password: "correct horse"}},
//	})
//	defer srv.Close()
//	handler := admin.New(srv, admin.Options{Token: "a random token"})
//
// The interface describes itself: GET openapi.json, below the address it is served
// at, returns an OpenAPI 3.1 document of every route. JSON members are the fields of
// package entratest in camel case. Unknown members are refused, and every refusal has
// the form {"error": "…"}.
//
// A caller of this interface controls the tenant. Each request must therefore carry
// the token of [Options] as a bearer token; requests from web pages (those with an
// Origin header) are refused, and so are requests for a host name that neither means
// loopback nor is in [Options] (DNS rebinding). Serve it on loopback.
package admin

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/camel"
)

// Options of [New].
type Options struct {
	// Token authorizes each request, as "Authorization: Bearer TOKEN". Required.
	Token string
	// Clock is the one in the server's Options; nil: the clock cannot be moved.
	Clock *entratest.Clock
	// Hosts lists host names, without ports, that the interface answers to besides
	// those of loopback, for one behind a mapped port or in a container. Nil: none.
	Hosts []string
}

// Format implements [fmt.Formatter] without revealing the token.
func (Options) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "Options{[redacted]}") }

// LogValue implements [slog.LogValuer] without revealing the token.
func (Options) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText implements [encoding.TextMarshaler] without revealing the token.
func (Options) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// maxBody bounds a request, in bytes.
const maxBody = 1 << 20

// New returns a handler that administers srv. Its routes are at the root; mount it
// elsewhere with [http.StripPrefix]. New panics if the token is empty.
func New(srv *entratest.Server, o Options) http.Handler {
	if o.Token == "" {
		panic("admin: Options.Token is required")
	}
	a := &api{srv: srv, clock: o.Clock, token: o.Token, hosts: o.Hosts, mux: http.NewServeMux()}
	for _, r := range routes {
		a.mux.HandleFunc(r.method+" "+r.path, a.serve(r))
	}
	a.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, document()) })
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusNotFound, refusal{"no such route: " + r.Method + " " + r.URL.Path + "; GET openapi.json lists them"})
	})
	return a
}

type api struct {
	srv   *entratest.Server
	clock *entratest.Clock
	token string
	hosts []string
	mux   *http.ServeMux
}

type refusal struct{ Error string }

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case !a.answersTo(r.Host):
		writeJSON(w, http.StatusForbidden, refusal{"the interface answers to a loopback name only, and to those in its configuration"})
	case r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
		writeJSON(w, http.StatusForbidden, refusal{"the interface does not serve web pages"})
	case !a.authorised(r):
		w.Header().Set("WWW-Authenticate", "Bearer")
		writeJSON(w, http.StatusUnauthorized, refusal{"the bearer token is missing or wrong"})
	default:
		a.mux.ServeHTTP(w, r)
	}
}

func (a *api) authorised(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && subtle.ConstantTimeCompare([]byte(token), []byte(a.token)) == 1
}

func (a *api) answersTo(hostport string) bool {
	at := url.URL{Host: hostport}
	ip, err := netip.ParseAddr(at.Hostname())
	return err == nil && ip.IsLoopback() ||
		slices.ContainsFunc(append([]string{"localhost"}, a.hosts...), func(h string) bool { return strings.EqualFold(h, at.Hostname()) })
}

// serve carries out a route. The request body is JSON of the route's input type, or
// empty if the route has none.
func (a *api) serve(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			writeJSON(w, http.StatusRequestEntityTooLarge, refusal{"the request is larger than 1 MiB, or was cut off"})
			return
		}
		out, err := rt.do(a, r, body)
		switch {
		case errors.Is(err, errRequest):
			writeJSON(w, http.StatusBadRequest, refusal{err.Error()})
		case err != nil:
			writeJSON(w, http.StatusUnprocessableEntity, refusal{strings.TrimPrefix(err.Error(), "entratest: ")})
		case out == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			writeJSON(w, http.StatusOK, out)
		}
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var text []byte
	var err error
	if doc, ok := v.(map[string]any); ok {
		text, err = json.Marshal(doc)
	} else {
		text, err = camel.Marshal(v)
	}
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"the reply cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that hung up needs no answer
}
