package broker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/aadsts"
)

// Sentinels, for [errors.Is]. The [*Error] that wraps them, for [errors.As],
// holds what the service said.
var (
	// ErrInteractionRequired: user interaction is required; call
	// AcquireTokenInteractive or SignIn next. It is the only outcome of a silent
	// call that says so: a network failure is never reported this way.
	ErrInteractionRequired = errors.New("broker: user interaction is required")

	// ErrPRTRevoked: the PRT was revoked, by a password change or by an
	// administrator. It is also an ErrInteractionRequired.
	ErrPRTRevoked error = derived{"broker: the PRT was revoked", ErrInteractionRequired}

	// ErrPRTExpired: the PRT was not used for too long, or the access pass that
	// it was obtained with has expired. It is also an ErrInteractionRequired.
	ErrPRTExpired error = derived{"broker: the PRT has expired", ErrInteractionRequired}

	// ErrNoAccount: no user is signed in, or not that account. It is also an
	// ErrInteractionRequired.
	ErrNoAccount error = derived{"broker: no such account is signed in", ErrInteractionRequired}

	// ErrSeveralAccounts: several accounts are signed in, and the call does not
	// say which one to use: see [WithAccount].
	ErrSeveralAccounts = errors.New("broker: several accounts are signed in")

	// ErrBlocked: refused by a policy or an administrator; asking the user
	// does not help.
	ErrBlocked = errors.New("broker: blocked")

	// ErrDeviceNotRegistered: this device has no registration, here or where
	// the service looked for one.
	ErrDeviceNotRegistered = errors.New("broker: the device is not registered")

	// ErrDeviceAuth: the service did not accept the device and gave no further
	// reason. A new registration takes about a minute to be known everywhere; the
	// device may also be disabled or deleted. The broker keeps the registration.
	ErrDeviceAuth = errors.New("broker: the device was not accepted")

	// ErrDeviceDisabled: an administrator disabled the device. It is also an
	// ErrDeviceAuth.
	ErrDeviceDisabled error = derived{"broker: the device is disabled", ErrDeviceAuth}

	// ErrDeviceGone: the directory does not have the device, or does not have its
	// key. It is also an ErrDeviceAuth. Registering again is the caller's
	// decision.
	ErrDeviceGone error = derived{"broker: the device is gone from the directory", ErrDeviceAuth}

	// ErrDeviceNotCompliant: a policy asks for a compliant or managed device.
	// It is also an ErrBlocked.
	ErrDeviceNotCompliant error = derived{"broker: the device does not meet the policy", ErrBlocked}

	// ErrBadCredential: the password, code or assertion is wrong. The broker
	// does not send it again.
	ErrBadCredential = errors.New("broker: the credential is wrong")

	// ErrWrongPIN: the PIN of the Hello key is wrong. The cause says how many
	// tries the TPM leaves ([tpm.WrongPINError]). It is also an
	// ErrBadCredential.
	ErrWrongPIN error = derived{"broker: wrong PIN", ErrBadCredential}

	// ErrPINLocked: too many wrong PINs; Error.RetryAfter says how long to wait.
	// The PIN given now was not tried.
	ErrPINLocked = errors.New("broker: too many wrong PINs")

	// ErrPINRules: Config.PIN does not allow the PIN. It was not tried.
	ErrPINRules = errors.New("broker: the PIN does not meet the rules")

	// ErrNoHello: the account has no Hello key on this device.
	ErrNoHello = errors.New("broker: there is no Hello key")

	// ErrHelloExists: the account has a Hello key on this device already.
	ErrHelloExists = errors.New("broker: a Hello key exists already")

	// ErrLocked: the account is locked, and its PIN opens it (Unlock). It is also
	// an ErrInteractionRequired.
	ErrLocked error = derived{"broker: the account is locked", ErrInteractionRequired}

	// ErrOfflineExpired: the PIN no longer opens anything without the service
	// (Config.Offline). It is also an ErrTransient: with a network the PIN works.
	ErrOfflineExpired error = derived{"broker: the offline time limit has passed", ErrTransient}

	// ErrUserNotFound: the directory has no such user.
	ErrUserNotFound = errors.New("broker: no such user")

	// ErrAccountLocked: too many wrong credentials. Do not try again soon.
	ErrAccountLocked = errors.New("broker: the account is locked")

	// ErrUserDisabled: the user's account is disabled.
	ErrUserDisabled = errors.New("broker: the user is disabled")

	// ErrAppConfig: the app's registration, its consent or the configured tenant
	// is wrong. The text names what to change.
	ErrAppConfig = errors.New("broker: app or tenant configuration error")

	// ErrUserCanceled: the user gave up.
	ErrUserCanceled = errors.New("broker: canceled by the user")

	// ErrThrottled: asked too often; Error.RetryAfter says how long to wait.
	// It is also an ErrTransient.
	ErrThrottled error = derived{"broker: throttled", ErrTransient}

	// ErrTransient: the network, the service or the TPM failed temporarily.
	ErrTransient = errors.New("broker: temporary failure")

	// ErrKeyUnusable: the key store does not open the keys of this state: the
	// state is from another machine, or the TPM was cleared. Nothing is deleted.
	ErrKeyUnusable = errors.New("broker: the key store cannot open this state")

	// ErrStateDamaged: a record of the state is not what was written, or is older
	// than the last one written. Nothing is overwritten.
	ErrStateDamaged = store.ErrDamaged

	// ErrClosed: the broker was closed.
	ErrClosed = vault.ErrClosed
)

// derived is a sentinel that is also another one.
type derived struct {
	text string
	is   error
}

func (e derived) Error() string { return e.text }
func (e derived) Unwrap() error { return e.is }

// A Verdict is what to do about an error from the service.
type Verdict string

// An Error is a failure of an operation, with what the service said about it.
// It holds no secret and no body of a reply.
type Error struct {
	// Op is the operation: "sign in", "register device", "acquire token".
	Op string
	// Code is the number of the AADSTS code that decided; 0 if there is none.
	Code int
	// Codes are all AADSTS codes of the reply.
	Codes []int
	// OAuth and SubError are the fields error and suberror of the reply. For
	// the registration service OAuth is its ErrorType.
	OAuth    string
	SubError string
	// Claims is the claims request (JSON) to pass to AcquireTokenInteractive
	// by WithClaims. It may be empty.
	Claims string
	// CorrelationID and TraceID find the request in the tenant's sign-in log.
	CorrelationID string
	TraceID       string
	// StatusCode is the HTTP status; 0 if there was no reply.
	StatusCode int
	// RetryAfter is how long to wait before the next attempt: what the service
	// asked for, up to an hour, or for ErrPINLocked how long no PIN is tried. 0 if
	// it is not known.
	RetryAfter time.Duration
	// Verdict names what the code means for the caller, such as "step-up".
	Verdict Verdict
	// Remembered says that the service was not asked: it gave this answer less
	// than two minutes ago to the same request with the same PRT. A sign-in, a
	// step-up or a renewal ends that; WithForceRefresh and WithClaims ask all the
	// same.
	Remembered bool
	// Scopes are those of the token request that failed, for the interactive
	// one that follows.
	Scopes []string
	// Account is the account whose request failed; zero when it is not known.
	Account Account

	detail string // our own explanation
	kind   error  // a sentinel, or nil
	cause  error  // of the network, the key store or the store; or nil
	action aadsts.Verdict
}

// Error returns one line: the operation, what happened, and how to find it.
func (e *Error) Error() string {
	var s strings.Builder
	s.WriteString("broker")
	if e.Op != "" {
		s.WriteString(": " + e.Op)
	}
	switch {
	case e.detail != "":
		s.WriteString(": " + e.detail)
	case e.kind != nil:
		s.WriteString(": " + strings.TrimPrefix(e.kind.Error(), "broker: "))
	case e.cause == nil:
		s.WriteString(": failed")
	}
	var at []string
	if e.Code != 0 {
		at = append(at, "AADSTS"+strconv.Itoa(e.Code))
	}
	if e.OAuth != "" {
		at = append(at, aadsts.Clean(e.OAuth))
	}
	if e.SubError != "" {
		at = append(at, aadsts.Clean(e.SubError))
	}
	if e.Code == 0 && e.OAuth == "" && e.StatusCode != 0 {
		at = append(at, fmt.Sprintf("HTTP %d", e.StatusCode))
	}
	if e.Remembered {
		at = append(at, "remembered")
	}
	if e.CorrelationID != "" {
		at = append(at, "correlation id "+aadsts.Clean(e.CorrelationID))
	}
	if len(at) > 0 {
		s.WriteString(" (" + strings.Join(at, ", ") + ")")
	}
	if e.cause != nil {
		s.WriteString(": " + strings.TrimPrefix(e.cause.Error(), "broker: "))
	}
	return s.String()
}

// Unwrap returns the sentinel and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.kind != nil {
		errs = append(errs, e.kind)
	}
	if e.cause != nil {
		errs = append(errs, e.cause)
	}
	return errs
}

// NewError returns e as an error of one of the sentinels of this package, with
// a text that says what happened. It is for implementations of the broker's
// methods elsewhere. The cause may be nil. Neither text nor cause may hold a
// secret.
func NewError(sentinel error, text string, cause error, e Error) *Error {
	e.kind, e.detail, e.cause = sentinel, text, cause
	return &e
}
