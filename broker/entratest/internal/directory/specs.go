package directory

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"time"
)

// TenantSpec describes a tenant to be created. Its fields, like those of the other
// specs, are documented with the emulator's own types.
type TenantSpec struct {
	Domain, TenantID, DisplayName string
	Users                         []UserSpec
	Groups                        []GroupSpec
	Devices                       []DeviceSpec
	Apps                          []AppSpec
	Domains                       []string
	Policies                      json.RawMessage
	Federated                     []string
	FederatedMFA                  string
}

// UserSpec describes a user.
type UserSpec struct {
	Username, ID, Name, Password string

	TOTPSecret, FederationTOTP, HardwareTOTP string // base32
	NumberMatch, PhoneSignIn                 bool
	Phone                                    string
	Passkeys                                 []PasskeySpec

	Roles           []string
	Guest, Disabled bool
	SID             string
	Mail            string
}

// GroupSpec describes a group.
type GroupSpec struct {
	ID, Name string
	Members  []string
}

// DeviceSpec describes a device without keys.
type DeviceSpec struct {
	ID, ObjectID, Name           string
	OS                           string
	OSVersion                    string
	TrustType                    string
	Owner                        string
	Managed, Compliant, Disabled bool
}

// PasskeySpec describes a passkey.
type PasskeySpec struct {
	ID         []byte
	Public     crypto.PublicKey
	Key        *ecdsa.PrivateKey
	AAGUID     string
	UserHandle []byte
	Count      uint32
}

// FederatedCredential identifies the tokens from another issuer that authenticate an
// application.
type FederatedCredential struct {
	Issuer, Subject, Audience string
}

// AppSpec describes an application.
type AppSpec struct {
	ClientID, Name string

	Redirects []string
	Public    bool
	Secret    string
	SPA       bool

	SecretExpires time.Time `json:",omitzero"`

	Certificates       [][]byte
	Federated          []FederatedCredential
	ServicePrincipalID string
	ManagedIdentity    string

	Roles              []string
	RoleAssignments    map[string][]string
	Permissions        map[string][]string
	AssignmentRequired bool
	GroupClaims        bool

	URIs           []string
	Exposes        []string
	TokenVersion   int
	OptionalClaims []string

	Preauthorised        map[string][]string
	PreauthorisedClients map[string][]string
	AdminConsent         bool
	FirstParty           bool
	FOCI                 bool

	DeviceTokens bool

	AssignTo []string
	Disabled bool
}
