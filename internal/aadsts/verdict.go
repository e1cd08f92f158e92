// Package aadsts is the table of the error codes of the sign-in service
// (AADSTS), with what a client should do about each.
//
// The meanings follow Microsoft's public reference "Microsoft Entra
// authentication and authorization error codes"; the verdicts are ours.
// Microsoft says that codes change and new ones appear, so what the table does
// not know is judged by the OAuth error and suberror ([Classify]).
package aadsts

// A Verdict is what to do about an error.
type Verdict uint8

const (
	// None: the reply is not an error that this package can judge.
	None Verdict = iota
	// Fail: the request is wrong and will be wrong again. A fault of the
	// client or of the directory, not of the user.
	Fail
	// AppConfig: the app's registration, its consent or the tenant's
	// configuration lacks something.
	AppConfig
	// Retry: a temporary failure of the service.
	Retry
	// Throttled: asked too often; wait at least as long as the reply says.
	Throttled
	// NewNonce: the nonce was missing, old or unknown; fetch one, try once.
	NewNonce
	// StepUp: the user has to do MFA.
	StepUp
	// StaleMFA: the user did MFA, and a policy finds it too old.
	StaleMFA
	// Interact: the user has something to do on the sign-in page.
	Interact
	// SignInAgain: the grant was revoked; a full sign-in is needed.
	SignInAgain
	// Expired: the grant is over; a full sign-in is needed.
	Expired
	// BadCredential: the credential is wrong. It is not to be sent again.
	BadCredential
	// UserNotFound: the directory has no such user, or no longer has it.
	UserNotFound
	// UserDisabled: the account exists and is disabled.
	UserDisabled
	// AccountLocked: too many wrong credentials. Trying again makes it worse.
	AccountLocked
	// Blocked: refused, and the user cannot change it now.
	Blocked
	// DeviceNotCompliant: a policy asks for a managed or compliant device.
	DeviceNotCompliant
	// DeviceNotRegistered: a policy or resource asks for a registered device.
	DeviceNotRegistered
	// DeviceAuth: the device was not accepted, and the code does not say why.
	DeviceAuth
	// DeviceDisabled: the device object is disabled.
	DeviceDisabled
	// DeviceGone: the device object or its key is not in the directory.
	DeviceGone
	// HelloKey: the Hello key is unknown to the user's object.
	HelloKey
	// SwitchCloud: the tenant lives in another national cloud.
	SwitchCloud
	// Pending: the user has not finished yet; keep polling.
	Pending
	// Restart: the code or the flow is over; start a new one.
	Restart
	// Declined: the user said no.
	Declined
)

var names = [...]string{
	None: "none", Fail: "fail", AppConfig: "app configuration", Retry: "retry", Throttled: "throttled",
	NewNonce: "new nonce", StepUp: "step-up", StaleMFA: "stale MFA", Interact: "interact",
	SignInAgain: "sign in again", Expired: "expired", BadCredential: "bad credential",
	UserNotFound: "user not found", UserDisabled: "user disabled", AccountLocked: "account locked",
	Blocked: "blocked", DeviceNotCompliant: "device not compliant", DeviceNotRegistered: "device not registered",
	DeviceAuth: "device authentication", DeviceDisabled: "device disabled", DeviceGone: "device gone",
	HelloKey: "hello key", SwitchCloud: "switch cloud", Pending: "pending", Restart: "restart", Declined: "declined",
}

// String returns the verdict's name.
func (v Verdict) String() string {
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown verdict"
}
