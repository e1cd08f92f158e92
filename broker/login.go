package broker

import (
	"context"
	"errors"
)

// A Login is what a login screen does after an attempt.
type Login string

// What a login screen does.
const (
	// LoginGranted: let the user in.
	LoginGranted Login = "granted"
	// LoginWrong: ask again; what was given is not right, or nothing was given.
	LoginWrong Login = "wrong"
	// LoginWait: ask again, but not now: Error.RetryAfter says when, if it is
	// known. Further attempts make the wait longer.
	LoginWait Login = "wait"
	// LoginLater: nothing is known to be wrong with the user; the network, the
	// service or the TPM could not be asked.
	LoginLater Login = "later"
	// LoginDenied: refused, and the user cannot change it here.
	LoginDenied Login = "denied"
	// LoginEnroll: the user is not set up on this machine, or not any more: Enroll,
	// SignIn or ProvisionHello is next.
	LoginEnroll Login = "enroll"
	// LoginFailed: none of these. The program, its configuration or the state on
	// this machine is at fault: an administrator has to look at the error.
	LoginFailed Login = "failed"
)

// logins are the answers to the sentinels, the most specific first: the first
// one that matches an error decides.
var logins = []struct {
	is  error
	say Login
}{
	{ErrPINLocked, LoginWait},
	{ErrAccountLocked, LoginWait},
	{ErrThrottled, LoginWait},
	{ErrWrongPIN, LoginWrong},
	{ErrPINRules, LoginWrong},
	{ErrBadCredential, LoginWrong},
	{ErrUserCanceled, LoginWrong},
	{ErrLocked, LoginWrong},
	{ErrUserDisabled, LoginDenied},
	{ErrUserNotFound, LoginDenied},
	{ErrDeviceDisabled, LoginDenied},
	{ErrDeviceGone, LoginDenied},
	{ErrDeviceAuth, LoginDenied},
	{ErrDeviceNotCompliant, LoginDenied},
	{ErrBlocked, LoginDenied},
	{ErrDeviceNotRegistered, LoginEnroll},
	{ErrNoAccount, LoginEnroll},
	{ErrNoHello, LoginEnroll},
	{ErrPRTRevoked, LoginEnroll},
	{ErrPRTExpired, LoginEnroll},
	{ErrInteractionRequired, LoginEnroll},
	{ErrHelloExists, LoginFailed},
	{ErrSeveralAccounts, LoginFailed},
	{ErrAppConfig, LoginFailed},
	{ErrKeyUnusable, LoginFailed},
	{ErrStateDamaged, LoginFailed},
	{ErrOfflineExpired, LoginLater},
	{ErrTransient, LoginLater},
	{ErrClosed, LoginLater},
	{context.DeadlineExceeded, LoginLater},
	{context.Canceled, LoginLater},
}

// LoginOf returns what a login screen (PAM, a greeter, a lock screen) does
// after [Broker.Unlock], [Broker.SignIn] or [Broker.Enroll] returned err. Every
// sentinel of this package has an answer; any other error is LoginFailed.
func LoginOf(err error) Login {
	if err == nil {
		return LoginGranted
	}
	for _, l := range logins {
		if errors.Is(err, l.is) {
			return l.say
		}
	}
	return LoginFailed
}
