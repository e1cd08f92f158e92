package entratest

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
)

// tenantSpec describes a tenant to be made. Its fields, as those of the other
// specs, mean what the documentation of the emulator says of them.
type tenantSpec struct {
	Domain, TenantID, DisplayName string
	Users                         []userSpec
	Groups                        []groupSpec
	Apps                          []appSpec
	Policies                      json.RawMessage
	Federated                     []string
	FederatedMFA                  string
}

// userSpec describes a user.
type userSpec struct {
	Username, ID, Name, Password string

	TOTPSecret, FederationTOTP, HardwareTOTP string // base32
	NumberMatch, PhoneSignIn                 bool
	Phone                                    string
	Passkeys                                 []passkeySpec

	Roles           []string
	Guest, Disabled bool
	SID             string
}

// groupSpec describes a group.
type groupSpec struct {
	ID, Name string
	Members  []string
}

// passkeySpec describes a passkey.
type passkeySpec struct {
	ID         []byte
	Public     crypto.PublicKey
	Key        *ecdsa.PrivateKey
	AAGUID     string
	UserHandle []byte
	Count      uint32
}

// appSpec describes an application.
type appSpec struct {
	ClientID, Name string

	Redirects []string
	Public    bool
	Secret    string
	SPA       bool

	URIs           []string
	Exposes        []string
	TokenVersion   int
	OptionalClaims []string

	Preauthorised map[string][]string
	AdminConsent  bool
	FirstParty    bool
	FOCI          bool

	DeviceTokens bool

	AssignTo []string
	Disabled bool
}
