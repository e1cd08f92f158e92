package entratest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Endpoint names a family of endpoints, for faults and the sign-in log.
type Endpoint string

// Endpoints.
const (
	EndpointDiscovery      Endpoint = "discovery"      // OIDC and instance discovery
	EndpointKeys           Endpoint = "keys"           // JWKS
	EndpointRealm          Endpoint = "realm"          // user realm
	EndpointCredentialType Endpoint = "credentialtype" // GetCredentialType
	EndpointNonce          Endpoint = "nonce"          // srv_challenge on the token endpoint
	EndpointToken          Endpoint = "token"          // every other grant of the token endpoint
	EndpointDeviceCode     Endpoint = "devicecode"     // device authorization (RFC 8628)
	EndpointAuthorize      Endpoint = "authorize"      // v1 and v2.0
	EndpointLogin          Endpoint = "login"          // the pages behind authorize
	EndpointLogout         Endpoint = "logout"         // v1 and v2.0
	EndpointBulk           Endpoint = "bulk"
	EndpointDRSDiscovery   Endpoint = "drsdiscovery" // discovery of the registration service
	EndpointDevice         Endpoint = "device"       // join, hybrid join, unjoin, status
	EndpointKey            Endpoint = "key"          // Hello keys
	EndpointDRSNonce       Endpoint = "drsnonce"     // nonce of the registration service
	EndpointGraph          Endpoint = "graph"        // Microsoft Graph
	EndpointFederation     Endpoint = "federation"   // the federation server (WS-Trust) and its pages
	EndpointARM            Endpoint = "arm"          // Azure Resource Manager
)

// FaultKind says what goes wrong.
type FaultKind int

// Kinds of faults.
const (
	DropBefore FaultKind = iota // the connection breaks before the request is handled
	DropAfter                   // the request is handled, but its reply is lost
	Delay                       // the reply comes after Fault.Delay, or never if that is negative
	Throttle                    // 429 with Retry-After
	Status                      // Fault.Status (zero: 503) with an HTML body, and Retry-After if set
	Truncate                    // half of the reply arrives
	Garbage                     // 200 with bytes that are neither JSON nor a JWE
	AADSTS                      // the error with code Fault.Code in the usual JSON body
)

var faultNames = [...]string{DropBefore: "dropBefore", DropAfter: "dropAfter", Delay: "delay", Throttle: "throttle",
	Status: "status", Truncate: "truncate", Garbage: "garbage", AADSTS: "aadsts"}

// String returns the name of the kind, such as dropBefore.
func (k FaultKind) String() string {
	if k < 0 || int(k) >= len(faultNames) {
		return fmt.Sprintf("FaultKind(%d)", int(k))
	}
	return faultNames[k]
}

// MarshalText returns the name of the kind.
func (k FaultKind) MarshalText() ([]byte, error) {
	if k < 0 || int(k) >= len(faultNames) {
		return nil, fmt.Errorf("entratest: %v is not a kind of fault", k)
	}
	return []byte(faultNames[k]), nil
}

// UnmarshalText reads the name of a kind.
func (k *FaultKind) UnmarshalText(name []byte) error {
	i := slices.Index(faultNames[:], string(name))
	if i < 0 {
		return fmt.Errorf("entratest: %q is not a kind of fault; the kinds are %s", name, strings.Join(faultNames[:], ", "))
	}
	*k = FaultKind(i)
	return nil
}

// Fault is something that goes wrong at an endpoint.
type Fault struct {
	Endpoint Endpoint // "": every endpoint
	Kind     FaultKind
	// Nth is the first matching call that the fault affects, counted from 1
	// since the fault was added; zero: the first.
	Nth int
	// Times is how many calls in a row are affected; zero: one; negative: all.
	Times int
	// Match narrows the calls further; nil: all calls of the endpoint. It must
	// not read the body; the form is already parsed.
	Match func(*http.Request) bool

	Delay      time.Duration // for Delay, in real time; negative: until the client gives up
	RetryAfter time.Duration // for Throttle and Status; zero: none for Status, 1 s for Throttle
	Status     int           // for Status and AADSTS
	Code       int           // for AADSTS
	Error      string        // OAuth error for AADSTS; "": invalid_grant
	Suberror   string        // for AADSTS
}

// AddFault installs a fault; calling remove removes it.
func (s *Server) AddFault(f Fault) (remove func()) { return s.world().web.AddFault(f.fault()) }

// ClearFaults removes all faults.
func (s *Server) ClearFaults() { s.world().web.ClearFaults() }
