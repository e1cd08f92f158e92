package broker

import (
	"context"
	"time"
)

// A JoinType is how a device belongs to a tenant.
type JoinType int

const (
	// Join is an organization's device (Entra joined).
	Join JoinType = 0
	// Register is a person's own device (Entra registered).
	Register JoinType = 4
	// Hybrid is a device of an on-premises directory (hybrid joined).
	Hybrid JoinType = 6
)

// String returns the join type's name.
func (j JoinType) String() string {
	switch j {
	case Join:
		return "joined"
	case Register:
		return "registered"
	case Hybrid:
		return "hybrid joined"
	}
	return "unknown"
}

// A DeviceInfo describes a machine in a registration.
type DeviceInfo struct {
	DisplayName string // empty: the host name
	Type        string // empty: "Linux", "Windows" or "MacOS"
	OSVersion   string // empty: what the operating system says
}

// A Device is a registration of this machine in a tenant.
type Device struct {
	ID         string   `json:"deviceId"`
	TenantID   string   `json:"tenantId"`
	TenantName string   `json:"tenantName,omitempty"` // a domain, as configured or as the service names it
	UserID     string   `json:"userId,omitempty"`     // object id of who registered it, from the certificate
	Region     string   `json:"region,omitempty"`     // two letters, from the certificate
	JoinType   JoinType `json:"joinType"`
	// Thumbprint is the SHA-1 of the stored certificate, in upper-case hex.
	Thumbprint string    `json:"thumbprint"`
	NotBefore  time.Time `json:"notBefore"`
	NotAfter   time.Time `json:"notAfter"`
	// Existing says that the device was registered before this call.
	Existing bool `json:"-"`
}

// A RegisterRequest says how to register this machine.
type RegisterRequest struct {
	// Credential authenticates the user who registers: AuthCode,
	// DeviceCodeFlow or RefreshToken of the broker client, or Password where
	// the tenant asks for no MFA.
	Credential Credential
	// JoinType is Join when zero.
	JoinType JoinType
	// TargetDomain is a domain of the tenant. Empty: Config.Tenant.
	TargetDomain string
	// Progress, if not nil, is told each step as it begins. It must return
	// soon; making keys in a hardware TPM takes up to 15 seconds each.
	Progress func(Step)
}

// An EnrollRequest says how to register this machine and sign in.
type EnrollRequest struct {
	JoinType     JoinType
	TargetDomain string
	Progress     func(Step)
}

// A Step is a step of a registration.
type Step string

// Steps, in their order.
const (
	StepSignIn      Step = "sign in"
	StepDiscover    Step = "discover"
	StepDeviceKey   Step = "device key"
	StepTransport   Step = "transport key"
	StepSave        Step = "save keys"
	StepRequest     Step = "request certificate"
	StepComplete    Step = "save certificate"
	StepPRT         Step = "primary refresh token"
	StepUnregister  Step = "unregister"
	StepCredentials Step = "credentials"
)

// RegisterDevice registers this machine and keeps its certificate. A device
// that is registered already is returned as it is, with Existing set; a
// registration that was interrupted is taken up with the same keys.
func (b *Broker) RegisterDevice(ctx context.Context, req RegisterRequest) (*Device, error) {
	return nil, errSkeleton
}

// UnregisterDevice deletes the device in the directory, by mutual TLS with its
// certificate, and then the registration here. Accounts stay, without their
// PRTs.
func (b *Broker) UnregisterDevice(ctx context.Context) error { return errSkeleton }

// Enroll registers this machine and signs the user in with one prompt: the
// refresh token of one sign-in buys the registration and becomes the PRT, with
// the MFA that was done for it. It returns the account; AcquireTokenSilent is
// next.
func (b *Broker) Enroll(ctx context.Context, cred Credential, req EnrollRequest) (AuthResult, error) {
	return AuthResult{}, errSkeleton
}
