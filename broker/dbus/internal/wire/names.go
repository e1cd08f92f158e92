// Package wire defines the messages that programs and a broker for Linux
// exchange on D-Bus: the names, the JSON of the eight methods, and the numbers
// of the errors. It does no I/O.
//
// Microsoft publishes no description of the interface. This package follows
// measurements with Microsoft's own library (pymsalruntime 0.20.7, unmodified,
// over a private bus) and the public source of its other clients:
// linux-entra-sso, sso-mib, the OneDrive client and Teams for Linux. Where they
// differ, requests are read liberally and replies contain what each of them
// needs.
package wire

// Where the broker is: on the session bus of the user.
const (
	BusName   = "com.microsoft.identity.broker1"
	Path      = "/com/microsoft/identity/broker1"
	Interface = "com.microsoft.identity.Broker1"
)

// Protocol is the version of the interface that every client names.
const Protocol = "0.0"

// Methods of the interface. Each takes the protocol version, a correlation id
// and a request, and returns a reply. All are strings; the request and the
// reply are JSON.
const (
	GetAccounts        = "getAccounts"
	AcquireSilently    = "acquireTokenSilently"
	AcquireInteractive = "acquireTokenInteractively"
	AcquireCookie      = "acquirePrtSsoCookie"
	SignHTTPRequest    = "generateSignedHttpRequest"
	RemoveAccount      = "removeAccount"
	CancelInteractive  = "cancelInteractiveFlow"
	GetVersion         = "getLinuxBrokerVersion"
)

// Methods lists the methods in the order in which introspection shows them.
var Methods = [...]string{
	AcquireCookie, AcquireInteractive, AcquireSilently, CancelInteractive,
	SignHTTPRequest, GetAccounts, GetVersion, RemoveAccount,
}

// Limits of a message.
const (
	// MaxRequest is the longest request that is read, in bytes. Real ones have
	// one to four kilobytes.
	MaxRequest = 256 << 10
	// MaxReply is the longest reply that a client reads, in bytes.
	MaxReply = 4 << 20
	// MaxScopes is how many scopes a request may name.
	MaxScopes = 256
)

// TypeBearer and TypePoP are the values of accessTokenType.
const (
	TypeBearer = 0
	TypePoP    = 1
)

// Authorization types of a request, as the clients send them.
const (
	AuthSilent      = 1
	AuthInteractive = 6
	AuthCookie      = 8
)
