package wire

import "strconv"

// A Status is the kind of an error. Clients read it as a number and reject a
// word. The values are those on the wire, which differ from the enumeration of
// MSAL's Python and .NET wrappers between 15 and 20.
type Status int

// Statuses, with the names under which MSAL reports them.
const (
	Unexpected                    Status = 0
	Reserved                      Status = 1
	InteractionRequired           Status = 2
	NoNetwork                     Status = 3
	NetworkTemporarilyUnavailable Status = 4
	ServerTemporarilyUnavailable  Status = 5
	APIContractViolation          Status = 6
	UserCanceled                  Status = 7
	ApplicationCanceled           Status = 8
	IncorrectConfiguration        Status = 9
	InsufficientBuffer            Status = 10
	AuthorityUntrusted            Status = 11
	UserSwitch                    Status = 12
	AccountUnusable               Status = 13
	UserDataRemovalRequired       Status = 14
	TransientError                Status = 15
	AccountSwitch                 Status = 16
	DeviceNotRegistered           Status = 17
	KeyNotFound                   Status = 18
	AccountNotFound               Status = 19
	RequiredBrokerMissing         Status = 20
	FallbackToNativeMSAL          Status = 21
)

var statusNames = [...]string{
	"Unexpected", "Reserved", "InteractionRequired", "NoNetwork", "NetworkTemporarilyUnavailable",
	"ServerTemporarilyUnavailable", "ApiContractViolation", "UserCanceled", "ApplicationCanceled",
	"IncorrectConfiguration", "InsufficientBuffer", "AuthorityUntrusted", "UserSwitch", "AccountUnusable",
	"UserDataRemovalRequired", "TransientError", "AccountSwitch", "DeviceNotRegistered", "KeyNotFound",
	"AccountNotFound", "RequiredBrokerMissing", "FallbackToNativeMsal",
}

// String returns MSAL's name of the status.
func (s Status) String() string {
	if s >= 0 && int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "Status" + strconv.Itoa(int(s))
}

// statusWords maps the words that some brokers send to statuses.
var statusWords = map[string]Status{
	"USER_INTERACTION_REQUIRED":        InteractionRequired,
	"INTERACTION_REQUIRED":             InteractionRequired,
	"NO_NETWORK":                       NoNetwork,
	"NETWORK_TEMPORARILY_UNAVAILABLE":  NetworkTemporarilyUnavailable,
	"SERVER_TEMPORARILY_UNAVAILABLE":   ServerTemporarilyUnavailable,
	"API_CONTRACT_VIOLATION":           APIContractViolation,
	"USER_CANCELED":                    UserCanceled,
	"APPLICATION_CANCELED":             ApplicationCanceled,
	"INCORRECT_CONFIGURATION":          IncorrectConfiguration,
	"AUTHORITY_UNTRUSTED":              AuthorityUntrusted,
	"USER_SWITCH":                      UserSwitch,
	"ACCOUNT_UNUSABLE":                 AccountUnusable,
	"TRANSIENT_ERROR":                  TransientError,
	"DEVICE_NOT_REGISTERED":            DeviceNotRegistered,
	"KEY_NOT_FOUND":                    KeyNotFound,
	"ACCOUNT_NOT_FOUND":                AccountNotFound,
	"REQUIRED_BROKER_MISSING":          RequiredBrokerMissing,
	"FALLBACK_TO_NATIVE_MSAL":          FallbackToNativeMSAL,
	"STATUS_INTERACTION_REQUIRED":      InteractionRequired,
	"STATUS_NO_NETWORK":                NoNetwork,
	"STATUS_INTERNAL_UNEXPECTED_ERROR": Unexpected,
}

// tagBase is the base of every status's tag: "prt" followed by the number. MSAL
// drops an error without a tag and prints the tag, so support can tell which
// broker it came from.
const tagBase = 0x70727400

// Tag returns the tag of errors of this status. It is never zero.
func (s Status) Tag() int { return tagBase + int(s)&0xff }
