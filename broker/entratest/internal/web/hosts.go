package web

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// LoginURL is where the sign-in service is.
const LoginURL = "https://" + wire.LoginHost + "/"

// CloudName is how the service names the cloud that it is of.
const CloudName = "microsoftonline.com"

// autologonHost is where desktop SSO signs in.
const autologonHost = "autologon.microsoftazuread-sso.com"

// officeHost tells which cloud and tenant a domain belongs to, to programs that
// know nothing else (libhimmelblau asks it first).
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

// OtherHosts are the names the server plays beside the sign-in hosts.
var OtherHosts = []string{
	wire.RegistrationHost, wire.GraphHost, deviceLoginHost, "www.microsoft.com",
	CertAuthHost, autologonHost, officeHost, armHost,
}

type baseKey struct{} // of the base of a request to an address of this machine

// WithBase marks a request that came to an address of this machine instead of a host
// that the emulator plays. The base ends with a slash.
func WithBase(r *http.Request, base string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), baseKey{}, base))
}

// LocalBase is where a request came in that came to an address of this machine, with
// a slash at the end; "": it came to a real host name.
func LocalBase(r *http.Request) string {
	base, _ := r.Context().Value(baseKey{}).(string)
	return base
}

// Base is where the sign-in service of a request is, with a slash at the end.
func Base(r *http.Request) string {
	if base := LocalBase(r); base != "" {
		return base
	}
	return LoginURL
}

// IsLoginHost reports whether a host, in lower case, is of the sign-in service.
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

// HostKind tells which hosts' paths a request is for.
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
