package why

import (
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/prt"
)

// A Snapshot is what is known on this machine at one moment.
type Snapshot struct {
	Now      time.Time
	ClientID string   // of the app
	Scopes   []string // that it asks for
	Resource string   // that they name
	// ResourceID is the application id by which policies know the resource.
	// Empty: not known.
	ResourceID string
	Facts      Facts
	// Policies are those of the tenant. Nil: not known.
	Policies  *policy.Set
	UserAgent string // of the requests

	Device *Device // the registration; nil: there is none
	// Unbound says that a token needs no registration: without one, a refresh
	// token of the app serves.
	Unbound bool
	Account *Account // nil: no one is signed in, or not the account asked for
}

// A Device is the registration of this machine, with where its keys are.
type Device struct {
	ID, DisplayName, OperatingSystem, OSVersion string

	JoinType            prt.JoinType
	NotBefore, NotAfter time.Time // of its certificate
	Hardware            bool      // a TPM holds the keys
	KeyStore            string    // its name
}

// An Account is who is signed in, and what is kept for them.
type Account struct {
	ID       string // the home account id
	LocalID  string // the object id in the tenant
	Username string
	Hello    *Hello // nil: there is no Hello key
	// TokenUntil is the expiry of the token in memory that would be returned.
	// Zero: there is none.
	TokenUntil time.Time
	// PRTs are those that may be used, in the order in which they are tried.
	PRTs []PRT
	// Locked and Over say why there are none: the account is locked, or what the
	// service said when the last one ended.
	Locked bool
	Over   string
	// Last is what the service last said about the app and the resource; nil
	// when it was not asked.
	Last *Observation
}

// Hello is a Hello key.
type Hello struct {
	Software bool // not in a TPM
}

// A PRT is one Primary Refresh Token of an account.
type PRT struct {
	Credential           prt.CredentialKind
	State                prt.State
	RenewedOn, ExpiresOn time.Time
	HasSessionKey        bool
	Session              claims.Session
}
