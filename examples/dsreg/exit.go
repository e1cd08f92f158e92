package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
)

// Exit statuses. Scripts rely on them: see docs/dsreg.md.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitUser    = 3 // the user must be asked
	exitLater   = 4 // a temporary failure
	exitRefused = 5 // by the service, a policy or the TPM
)

// usageError is a wrong command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitStatus maps an error to the status of the process. The order matters:
// several sentinels wrap another one.
func exitStatus(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	}
	for _, c := range exitClasses {
		if errors.Is(err, c.err) {
			return c.status
		}
	}
	return exitFailed
}

// exitClasses are the sentinels of package broker by exit status, the specific
// ones first.
var exitClasses = []struct {
	err    error
	status int
}{
	{broker.ErrSeveralAccounts, exitUsage},
	{broker.ErrWrongPIN, exitRefused},
	{broker.ErrBadCredential, exitRefused},
	{broker.ErrPINLocked, exitLater},
	{broker.ErrAccountLocked, exitLater},
	{dbus.ErrNoBroker, exitLater},
	{broker.ErrTransient, exitLater},
	{broker.ErrInteractionRequired, exitUser},
	{broker.ErrUserCanceled, exitUser},
	{broker.ErrDeviceNotRegistered, exitUser},
	{broker.ErrNoHello, exitUser},
	{broker.ErrBlocked, exitRefused},
	{broker.ErrDeviceAuth, exitRefused},
	{broker.ErrUserNotFound, exitRefused},
	{broker.ErrUserDisabled, exitRefused},
	{broker.ErrAppConfig, exitRefused},
	{broker.ErrPINRules, exitRefused},
}

// failure is an error as JSON.
type failure struct {
	Message       string    `json:"message"`
	Status        int       `json:"exitStatus"`
	AADSTS        int       `json:"aadsts,omitempty"`
	OAuth         string    `json:"error,omitempty"`
	SubError      string    `json:"suberror,omitempty"`
	Claims        string    `json:"claims,omitempty"`
	CorrelationID string    `json:"correlationId,omitempty"`
	RetryAfter    float64   `json:"retryAfterSeconds,omitempty"`
	Verdict       string    `json:"verdict,omitempty"`
	Time          time.Time `json:"time"`
}

// fail prints an error on standard error: a line, or with --json an object.
func (a *app) fail(err error) {
	if !a.flags.json {
		fmt.Fprintf(a.err, "dsreg: %v\n", err)
		if next := advice(err); next != "" {
			fmt.Fprintf(a.err, "dsreg: %s\n", next)
		}
		return
	}
	f := failure{Message: err.Error(), Status: exitStatus(err), Time: time.Now().UTC()}
	var e *broker.Error
	if errors.As(err, &e) {
		f.AADSTS, f.OAuth, f.SubError, f.Claims = e.Code, e.OAuth, e.SubError, e.Claims
		f.CorrelationID, f.RetryAfter, f.Verdict = e.CorrelationID, e.RetryAfter.Seconds(), string(e.Verdict)
	}
	_ = json.NewEncoder(a.err).Encode(map[string]failure{"error": f})
}

// advice names the command that helps, where one does.
func advice(err error) string {
	switch {
	case errors.Is(err, broker.ErrDeviceNotRegistered):
		return "this machine is not registered: dsreg join --tenant DOMAIN"
	case errors.Is(err, broker.ErrSeveralAccounts):
		return "choose one with --account USER; dsreg accounts lists them"
	case errors.Is(err, broker.ErrLocked):
		return "the account is locked: dsreg unlock"
	case errors.Is(err, broker.ErrNoAccount):
		return "nobody is signed in: dsreg signin"
	case errors.Is(err, broker.ErrNoHello):
		return "the account has no Hello PIN here: dsreg hello set"
	case errors.Is(err, broker.ErrDeviceGone):
		return "the directory does not know this device: dsreg leave --local, then dsreg join"
	case errors.Is(err, broker.ErrUserCanceled):
		return ""
	case errors.Is(err, broker.ErrInteractionRequired):
		return "the user must be asked: dsreg token --interactive SCOPE, or dsreg signin"
	case errors.Is(err, broker.ErrKeyUnusable):
		return "dsreg doctor says which keys this state needs"
	}
	return ""
}
