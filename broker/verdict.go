package broker

import (
	"context"
	"errors"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// sentinels maps the verdicts of the table to the errors that callers test for.
// A verdict that is missing has no sentinel.
var sentinels = map[aadsts.Verdict]error{
	aadsts.AppConfig:           ErrAppConfig,
	aadsts.Retry:               ErrTransient,
	aadsts.Throttled:           ErrThrottled,
	aadsts.NewNonce:            ErrTransient,
	aadsts.StepUp:              ErrInteractionRequired,
	aadsts.StaleMFA:            ErrInteractionRequired,
	aadsts.Interact:            ErrInteractionRequired,
	aadsts.SignInAgain:         ErrInteractionRequired,
	aadsts.Expired:             ErrInteractionRequired,
	aadsts.BadCredential:       ErrBadCredential,
	aadsts.UserNotFound:        ErrUserNotFound,
	aadsts.UserDisabled:        ErrUserDisabled,
	aadsts.AccountLocked:       ErrAccountLocked,
	aadsts.Blocked:             ErrBlocked,
	aadsts.DeviceNotCompliant:  ErrDeviceNotCompliant,
	aadsts.DeviceNotRegistered: ErrDeviceNotRegistered,
	aadsts.DeviceAuth:          ErrDeviceAuth,
	aadsts.DeviceDisabled:      ErrDeviceDisabled,
	aadsts.DeviceGone:          ErrDeviceGone,
	aadsts.HelloKey:            ErrInteractionRequired,
	aadsts.SwitchCloud:         ErrAppConfig,
	aadsts.Restart:             ErrInteractionRequired,
	aadsts.Declined:            ErrUserCanceled,
}

// serviceError is the broker's error of one of package sts.
func serviceError(op string, e *sts.Error) *Error {
	out := &Error{
		Op:            op,
		Code:          e.Code,
		Codes:         e.Codes,
		OAuth:         e.OAuth,
		SubError:      e.SubError,
		Claims:        e.Claims,
		CorrelationID: e.CorrelationID,
		TraceID:       e.TraceID,
		StatusCode:    e.StatusCode,
		RetryAfter:    e.RetryAfter,
		detail:        e.Detail,
		kind:          sentinels[e.Verdict],
		cause:         e.Cause,
	}
	if e.Said {
		out.action, out.Verdict = e.Verdict, Verdict(e.Verdict.String())
	}
	switch {
	case e.Abroad: // the user has to sign in for that tenant
		out.kind, out.action = ErrInteractionRequired, aadsts.Interact
	case e.Over() && e.Verdict == aadsts.Expired:
		out.kind = ErrPRTExpired
	case e.Over():
		out.kind = ErrPRTRevoked
	case out.kind == nil: // the key store may have failed while a reply was read
		if wait, kind := keyKind(e.Cause); kind != nil {
			out.kind, out.RetryAfter = kind, max(wait, out.RetryAfter)
		}
	}
	return out
}

// ErrorOf returns the error for an AADSTS code that an adapter read by itself,
// for example from a sign-in page.
func ErrorOf(op string, code int) *Error {
	entry := aadsts.Classify([]int{code}, "", "")
	return &Error{Op: op, Code: code, Codes: []int{code}, detail: entry.Meaning, kind: sentinels[entry.Verdict],
		action: entry.Verdict, Verdict: Verdict(entry.Verdict.String())}
}

// action returns the table's verdict on err; None when err is not from the
// service.
func action(err error) aadsts.Verdict {
	var e *Error
	if errors.As(err, &e) {
		return e.action
	}
	return aadsts.None
}

// keyErrors maps what a key store reports about a wrong machine, a cleared TPM
// or a broken blob, and about a TPM that is busy or does not answer, whose keys
// are intact.
var keyErrors = []struct{ is, kind error }{
	{tpm.ErrKeyUnusable, ErrKeyUnusable},
	{tpm.ErrInvalidBlob, ErrKeyUnusable},
	{tpm.ErrWrongStore, ErrKeyUnusable},
	{tpm.ErrAuth, ErrKeyUnusable},
	{tpm.ErrPurpose, ErrKeyUnusable},
	{tpm.ErrBusy, ErrTransient},
	{tpm.ErrNoTPM, ErrTransient},
}

// roomErrors maps the errors of the internal packages to those that callers
// test for.
var roomErrors = []struct {
	is, kind error
	detail   string
}{
	{account.ErrNobody, ErrNoAccount, "nobody is signed in"},
	{account.ErrSeveral, ErrSeveralAccounts, "several accounts are signed in: say which by WithAccount or WithLoginHint"},
	{account.ErrUnknown, ErrNoAccount, ""},
	{account.ErrLocked, ErrLocked, "the account is locked: Unlock opens it by the PIN"},
	{account.ErrNoPRT, ErrNoAccount, "the account has no PRT"},
	{account.ErrNoHello, ErrNoHello, ""},
	{account.ErrMeanwhile, ErrTransient, "the PIN or the Hello key was changed in the meantime: try again"},
	{vault.ErrHeld, ErrTransient, "another process holds the state and does not let go of it: it may have been stopped"},
	{account.ErrNotUnlocked, errors.ErrUnsupported, "Lock needs a Hello key, Config.Offline and a sign-in by the PIN in this process"},
	{signon.ErrOtherUser, ErrInteractionRequired, "another user signed in than the one who was asked for"},
	{device.ErrIncomplete, ErrDeviceNotRegistered, "the registration of the device was not completed: register again, with the same keys"},
	{device.ErrNone, ErrDeviceNotRegistered, "this machine is not registered: call Enroll, which registers it and signs in, or RegisterDevice"},
	{device.ErrComputer, nil, "OnPremises needs the objectGUID and the SID of the computer"},
	{device.ErrNoComputer, nil, "a hybrid registration needs OnPremises, and OnPremisesCertificate before it"},
}

// keyKind returns how long an error of the key store says to wait, and the sentinel
// for it, or nil.
func keyKind(err error) (wait time.Duration, kind error) {
	for _, k := range keyErrors {
		if errors.Is(err, k.is) {
			return 0, k.kind
		}
	}
	if e := new(Error); errors.As(pinError(err), &e) {
		return e.RetryAfter, e.kind
	}
	return 0, nil
}

// verdict makes an Error of an error from an internal package or the key store,
// and leaves other errors as they are: so the end of a context stays
// recognizable.
func verdict(err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	if said := new(sts.Error); errors.As(err, &said) {
		return serviceError("", said)
	}
	if ended(err) {
		return err
	}
	if other := new(device.OtherTypeError); errors.As(err, &other) {
		return &Error{detail: "the device is " + other.Is.String() + " already; unregister it before it is " + other.Want.String()}
	}
	if bad := new(device.ImportError); errors.As(err, &bad) {
		return &Error{detail: bad.Why}
	}
	if dead := new(account.Death); errors.As(err, &dead) {
		return deathError(dead)
	}
	if address := new(signon.AddressError); errors.As(err, &address) {
		return &Error{detail: "no cookie for that address", cause: address.Err}
	}
	for _, r := range roomErrors {
		if errors.Is(err, r.is) {
			return &Error{kind: r.kind, detail: r.detail}
		}
	}
	if e := pinError(err); e != nil {
		return e
	}
	if errors.Is(err, prt.ErrRequest) {
		return &Error{detail: "the request is incomplete", cause: err}
	}
	if _, kind := keyKind(err); kind != nil {
		return &Error{kind: kind, cause: err}
	}
	return err
}

// deathError returns again the error that ended a PRT.
func deathError(n *account.Death) *Error {
	e := &Error{Code: n.Code, OAuth: n.OAuth, action: n.Verdict, Verdict: Verdict(n.Verdict.String()), kind: ErrPRTRevoked}
	if n.Verdict == aadsts.Expired {
		e.kind = ErrPRTExpired
	}
	if row, ok := aadsts.Lookup(n.Code); ok {
		e.detail = row.Meaning
	}
	return e
}

// obituary returns why no PRT of the account can be used.
func obituary(op string, r *account.Record) error {
	return withAccount(opError(op, r.Over()), Account(r.Account))
}

// isOver reports whether a PRT is revoked or expired.
func isOver(err error) bool { return errors.Is(err, ErrPRTRevoked) || errors.Is(err, ErrPRTExpired) }

// pinError converts what the key store, or the count of wrong PINs, says about
// a PIN; nil when it says something else.
func pinError(err error) error {
	var wrong *tpm.WrongPINError
	var locked *tpm.LockedOutError
	var soon *account.TooSoon
	switch {
	case errors.As(err, &soon):
		return &Error{kind: ErrPINLocked, RetryAfter: soon.Wait, detail: soon.Error()}
	case errors.As(err, &wrong) && wrong.TriesLeft >= 0:
		return &Error{kind: ErrWrongPIN, cause: wrong}
	case errors.Is(err, tpm.ErrWrongPIN):
		return &Error{kind: ErrWrongPIN, cause: tpm.ErrWrongPIN}
	case errors.As(err, &locked):
		return &Error{kind: ErrPINLocked, RetryAfter: locked.RetryAfter, cause: locked}
	case errors.Is(err, tpm.ErrLockedOut):
		return &Error{kind: ErrPINLocked, cause: tpm.ErrLockedOut}
	case errors.Is(err, tpm.ErrExpired):
		return &Error{kind: ErrOfflineExpired, cause: tpm.ErrExpired}
	}
	return nil
}

// keyError wraps an error of the key store that occurred while doing something.
func keyError(doing string, err error) error {
	if ended(err) {
		return err
	}
	wait, kind := keyKind(err)
	return &Error{Op: doing, kind: kind, RetryAfter: wait, cause: err}
}

// ended reports whether err is the end of a context.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// opError makes an Error of an error from an internal package or the key store,
// and names the operation in an error that does not name one yet.
func opError(op string, err error) error {
	if err == nil {
		return nil
	}
	err = verdict(closedError(err))
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Op: op, cause: err}
	}
	if e.Op == "" {
		c := *e
		c.Op = op
		return &c
	}
	return err
}

// withAccount names the account in an Error that does not name one yet.
func withAccount(err error, acct Account) error {
	var e *Error
	if acct.IsZero() || !errors.As(err, &e) || !e.Account.IsZero() {
		return err
	}
	c := *e
	c.Account = acct
	return &c
}

// refusal returns again what the service said before.
func refusal(n *account.Death, op string) *Error {
	e := &Error{Op: op, Code: n.Code, OAuth: n.OAuth, action: n.Verdict, Verdict: Verdict(n.Verdict.String()), kind: sentinels[n.Verdict]}
	e.detail = "the service refused this before, and cannot be asked now"
	return e
}
