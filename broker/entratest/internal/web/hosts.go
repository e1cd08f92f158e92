package web

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// LoginURL is the URL of the sign-in service.
const LoginURL = "https://" + wire.LoginHost + "/"

// CloudName is the service's name for its cloud.
const CloudName = "microsoftonline.com"

// autologonHost serves desktop SSO.
const autologonHost = "autologon.microsoftazuread-sso.com"

// officeHost tells programs that know only a domain which cloud and tenant it belongs
// to (libhimmelblau asks it first).
const officeHost = "odc.officeapps.live.com"

// armHost is Azure Resource Manager.
const armHost = "management.azure.com"

// LoginHosts are the names of the sign-in service.
var LoginHosts = []string{
	wire.LoginHost, "login.windows.net", "login.microsoft.com", wire.STSHost,
}

const deviceLoginHost = "microsoft.com" // of https://microsoft.com/devicelogin

// CertAuthHost asks for the certificate of a user in the TLS handshake.
const CertAuthHost = "certauth.login.microsoftonline.com"

// OtherHosts are the names that the server serves besides the sign-in hosts.
var OtherHosts = []string{
	wire.RegistrationHost, wire.GraphHost, deviceLoginHost, "www.microsoft.com",
	CertAuthHost, autologonHost, officeHost, armHost,
}

type baseKey struct{} // of the base of a request to an address of this machine

// WithBase marks a request that came to an address of this machine instead of a real
// host name. The base ends with a slash.
func WithBase(r *http.Request, base string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), baseKey{}, base))
}

// LocalBase returns the base URL, with a slash at the end, of a request that came to an
// address of this machine; "" if it came to a real host name.
func LocalBase(r *http.Request) string {
	base, _ := r.Context().Value(baseKey{}).(string)
	return base
}

// Base returns the URL of the sign-in service for a request, with a slash at the end.
func Base(r *http.Request) string {
	if base := LocalBase(r); base != "" {
		return base
	}
	return LoginURL
}

// IsLoginHost reports whether a host, in lower case, belongs to the sign-in service.
func IsLoginHost(host string) bool { return slices.Contains(LoginHosts, host) }

// HostKind groups hosts that serve the same paths.
type HostKind int

const (
	OnLogin HostKind = iota
	OnRegistration
	OnGraph
	OnFederation
	OnAutologon
	OnDeviceLogin
	OnCertAuth
	OnOffice
	OnARM
	nowhere
)

// HostKind returns the kind of host that a request is for.
func (s *Router) HostKind(r *http.Request) HostKind {
	host := strings.ToLower(r.Host)
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	switch {
	case IsLoginHost(host), host == "localhost", net.ParseIP(host).IsLoopback():
		return OnLogin
	case host == wire.RegistrationHost:
		return OnRegistration
	case host == wire.GraphHost:
		return OnGraph
	case host == deviceLoginHost, host == "www.microsoft.com":
		return OnDeviceLogin
	case host == autologonHost:
		return OnAutologon
	case host == CertAuthHost:
		return OnCertAuth
	case host == officeHost:
		return OnOffice
	case host == armHost:
		return OnARM
	case s.Directory.FederationTenant(host) != nil:
		return OnFederation
	}
	return nowhere
}
