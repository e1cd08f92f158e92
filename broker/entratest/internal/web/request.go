package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
)

// Handler answers a request whose tenant is known.
type Handler = func(http.ResponseWriter, *Request)

// Request is an HTTP request with what the server parsed from it.
type Request struct {
	*http.Request
	Data   []byte              // the whole body
	Values url.Values          // of an urlencoded body; nil otherwise
	Vars   map[string]string   // path segments that matched braces in the pattern
	Tenant *directory.Tenant   // of {tenant}; nil for common and organizations
	V2     bool                // of the v2.0 endpoints
	Entry  *directory.LogEntry // of the sign-in log; nil until a grant begins
}

// MultiTenant reports whether the tenant name in a path stands for any tenant.
func MultiTenant(name string) bool {
	switch strings.ToLower(name) {
	case "common", "organizations", "consumers":
		return true
	}
	return false
}

type correlationKey struct{} // of the correlation id that the server generated

// CorrelationID returns the client's correlation id if it is a GUID, or else
// the one that the server generated for the request.
func CorrelationID(r *http.Request) string {
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

// Clip shortens what a client sent before it goes into a message.
func Clip(s string) string {
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
