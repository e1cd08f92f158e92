package web

import (
	"net/http"
	"time"
)

// Endpoint names a family of endpoints, for faults and the sign-in log. The
// values are documented with the emulator's own.
type Endpoint string

const (
	EndpointDiscovery      Endpoint = "discovery"
	EndpointKeys           Endpoint = "keys"
	EndpointRealm          Endpoint = "realm"
	EndpointCredentialType Endpoint = "credentialtype"
	EndpointNonce          Endpoint = "nonce"
	EndpointToken          Endpoint = "token"
	EndpointDeviceCode     Endpoint = "devicecode"
	EndpointAuthorize      Endpoint = "authorize"
	EndpointLogin          Endpoint = "login"
	EndpointLogout         Endpoint = "logout"
	EndpointBulk           Endpoint = "bulk"
	EndpointDRSDiscovery   Endpoint = "drsdiscovery"
	EndpointDevice         Endpoint = "device"
	EndpointKey            Endpoint = "key"
	EndpointDRSNonce       Endpoint = "drsnonce"
	EndpointGraph          Endpoint = "graph"
	EndpointFederation     Endpoint = "federation"
	EndpointARM            Endpoint = "arm"
)

// FaultKind says what goes wrong.
type FaultKind int

const (
	DropBefore FaultKind = iota
	DropAfter
	Delay
	Throttle
	Status
	Truncate
	Garbage
	AADSTS
)

// Fault is something that goes wrong at an endpoint. Its fields are documented
// with the emulator's own.
type Fault struct {
	Endpoint   Endpoint
	Kind       FaultKind
	Nth        int
	Times      int
	Match      func(*http.Request) bool
	Delay      time.Duration
	RetryAfter time.Duration
	Status     int
	Code       int
	Error      string
	Suberror   string
}
