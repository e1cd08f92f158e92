package entratest

import (
	"net/http"
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
	EndpointDeviceCode     Endpoint = "devicecode"
	EndpointAuthorize      Endpoint = "authorize"
	EndpointLogin          Endpoint = "login" // the pages behind authorize
	EndpointLogout         Endpoint = "logout"
	EndpointBulk           Endpoint = "bulk"
	EndpointDRSDiscovery   Endpoint = "drsdiscovery"
	EndpointDevice         Endpoint = "device" // join, hybrid join, unjoin, status
	EndpointKey            Endpoint = "key"    // Hello keys
	EndpointDRSNonce       Endpoint = "drsnonce"
	EndpointGraph          Endpoint = "graph"
	EndpointFederation     Endpoint = "federation"
	EndpointARM            Endpoint = "arm" // Azure Resource Manager
)

// FaultKind says what goes wrong.
type FaultKind int

// Kinds of faults.
const (
	DropBefore FaultKind = iota // the connection breaks before the request is handled
	DropAfter                   // the request is handled, its reply is lost
	Delay                       // the reply comes after Fault.Delay, or never when that is negative
	Throttle                    // 429 with Retry-After
	Status                      // Fault.Status (zero: 503) with an HTML body, Retry-After when set
	Truncate                    // half of the reply arrives
	Garbage                     // 200 with bytes that are neither JSON nor a JWE
	AADSTS                      // the error with code Fault.Code in the usual JSON body
)

// Fault is something that goes wrong at an endpoint.
type Fault struct {
	Endpoint Endpoint // "": every endpoint
	Kind     FaultKind
	// Nth is the first matching call, counted from 1 since the fault was
	// added, that it hits; zero: the first.
	Nth int
	// Times is how many calls in a row it hits; zero: one; negative: all.
	Times int
	// Match narrows the calls further; nil: all of the endpoint. It must not
	// read the body; the form is parsed already.
	Match func(*http.Request) bool

	Delay      time.Duration // of Delay; the real time; negative: until the client gives up
	RetryAfter time.Duration // of Throttle and Status; zero: none for Status, 1 s for Throttle
	Status     int           // of Status and AADSTS
	Code       int           // of AADSTS
	Error      string        // OAuth error of AADSTS; "": invalid_grant
	Suberror   string        // of AADSTS
}

// AddFault installs a fault; remove takes it away again.
func (s *Server) AddFault(f Fault) (remove func()) { return s.web.AddFault(f.fault()) }

// ClearFaults takes all faults away.
func (s *Server) ClearFaults() { s.web.ClearFaults() }
