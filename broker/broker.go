package broker

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// A Broker works for the accounts of one tenant on one device. It is safe for
// concurrent use.
type Broker struct {
	cfg Config
}

var errSkeleton = errors.New("broker: being built")

// New returns a broker over the state in cfg.Store. It makes no request; it
// returns ErrKeyUnusable when the state was made with other keys.
func New(ctx context.Context, cfg Config) (*Broker, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Broker{cfg: cfg}, nil
}

// Close waits for what is under way and releases what the broker holds in the
// key store. It leaves cfg.Keys and cfg.Store open: they are the caller's.
func (b *Broker) Close() error { return nil }

// Run renews PRTs in the background until ctx ends. It is optional.
func (b *Broker) Run(ctx context.Context) error { return errSkeleton }

// SignIn gets a PRT for a user on the registered device. It returns
// ErrDeviceNotRegistered on a device that is not.
func (b *Broker) SignIn(ctx context.Context, cred Credential, opts ...CallOption) (AuthResult, error) {
	return AuthResult{}, errSkeleton
}

// AcquireTokenSilent returns a token for scopes of one resource without the
// user. It takes WithAccount, WithApp, WithTenantID, WithClaims,
// WithForceRefresh and WithCorrelationID.
func (b *Broker) AcquireTokenSilent(ctx context.Context, scopes []string, opts ...CallOption) (AuthResult, error) {
	return AuthResult{}, errSkeleton
}

// AcquireTokenInteractive returns a token for scopes of one resource, with the
// user where that is needed: it steps up to MFA, after which a new PRT carries
// the claim for all apps, and then asks silently again.
func (b *Broker) AcquireTokenInteractive(ctx context.Context, scopes []string, opts ...CallOption) (AuthResult, error) {
	return AuthResult{}, errSkeleton
}

// Accounts returns who is signed in.
func (b *Broker) Accounts(ctx context.Context) ([]Account, error) { return nil, errSkeleton }

// RemoveAccount erases the account's PRTs and tokens here. It revokes nothing
// at the service.
func (b *Broker) RemoveAccount(ctx context.Context, a Account) error { return errSkeleton }

// RenewPRT renews the account's PRT now.
func (b *Broker) RenewPRT(ctx context.Context, a Account) error { return errSkeleton }

// SSOCookies returns the cookies that sign the account in at signInURL, an
// https address of a sign-in host.
func (b *Broker) SSOCookies(ctx context.Context, signInURL string, opts ...CallOption) ([]*http.Cookie, error) {
	return nil, errSkeleton
}

// PRTStatus says what the account's PRT is and carries. It makes no request.
func (b *Broker) PRTStatus(ctx context.Context, a Account) (PRTStatus, error) {
	return PRTStatus{}, errSkeleton
}

// Status says what `dsregcmd /status` shows, and what protects the keys. It
// makes no request.
func (b *Broker) Status(ctx context.Context) (Status, error) { return Status{}, errSkeleton }

// A PRTStatus describes an account's PRT.
type PRTStatus struct {
	Account    Account
	State      PRTState
	Credential CredentialKind // what it was born of
	IssuedOn   time.Time
	RenewedOn  time.Time // equals IssuedOn before the first renewal
	RenewOn    time.Time // when it is due for renewal
	ExpiresOn  time.Time
	DeviceID   string
	AMR        []string // as the service named the methods
	MFA        MFAStatus
	SessionKey bool // the key store opens its session key
}

// A PRTState says what a PRT is good for.
type PRTState string

// States of a PRT.
const (
	PRTNone             PRTState = "none"              // no PRT
	PRTFresh            PRTState = "fresh"             // usable
	PRTNeedsRenewal     PRTState = "needs renewal"     // usable, and renewed at its next use
	PRTExpired          PRTState = "expired"           // by the clock; it is still tried once online
	PRTNeedsInteraction PRTState = "needs interaction" // revoked or refused: the user must sign in
)

// An MFAStatus is what is known about the MFA of a PRT.
type MFAStatus struct {
	Known   bool      // the service said whether MFA was done
	Done    bool      // and it was
	On      time.Time // when, as far as known
	Methods []string
	Source  string // how it was earned, such as "step-up"
}

// A Status is the state of device, tenant, user and sign-on, in the layout of
// `dsregcmd /status` as String prints it.
type Status struct {
	Device Device
	PRTs   []PRTStatus
}

// String returns the sections of `dsregcmd /status`.
func (s Status) String() string { return "" }
