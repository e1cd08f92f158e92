package authd

import (
	"errors"
	"fmt"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow"
)

// An MFAErrorCategory tells authd how to handle an error of a sign-in.
type MFAErrorCategory int

// Categories, with the numbers that they have in authd.
const (
	// MFAErrorOther: MFAError.AADSTS decides.
	MFAErrorOther MFAErrorCategory = iota
	// MFAErrorPollContinue: the user has not answered yet.
	MFAErrorPollContinue
	// MFAErrorDenied: the user declined, or did not answer in time where the service
	// does not tell the two apart.
	MFAErrorDenied
	// MFAErrorRequired: the sign-in cannot be done here; fall back to a device code.
	MFAErrorRequired
	// MFAErrorRetryableCode: the code is wrong, and another one may be tried.
	MFAErrorRetryableCode
	// MFAErrorPasswordRequired: a passwordless sign-in was requested, and the user
	// has no method for it.
	MFAErrorPasswordRequired
)

// An MFAError says why a sign-in ended, or what it is waiting for.
type MFAError struct {
	Category MFAErrorCategory
	AADSTS   int // number of the AADSTS code; 0: none
	Message  string

	cause error
}

// Error returns one line, with the AADSTS code where there is one.
func (e *MFAError) Error() string {
	if e.AADSTS != 0 {
		return fmt.Sprintf("AADSTS%d: %s", e.AADSTS, e.Message)
	}
	return e.Message
}

// Unwrap returns the error of package webflow, or nil.
func (e *MFAError) Unwrap() error { return e.cause }

// IsMFAPollContinue reports whether the user has not answered yet.
func (e *MFAError) IsMFAPollContinue() bool { return e.Category == MFAErrorPollContinue }

// IsMFADenied reports whether the user declined.
func (e *MFAError) IsMFADenied() bool { return e.Category == MFAErrorDenied }

// IsMFARequired reports whether to fall back to a device code.
func (e *MFAError) IsMFARequired() bool { return e.Category == MFAErrorRequired }

// IsMFARetryableCode reports whether another code may be tried.
func (e *MFAError) IsMFARetryableCode() bool { return e.Category == MFAErrorRetryableCode }

// IsMFAPasswordRequired reports whether the user has to give a password.
func (e *MFAError) IsMFAPasswordRequired() bool { return e.Category == MFAErrorPasswordRequired }

// AADSTS numbers that authd distinguishes and that a page does not always contain.
const (
	codePasswordExpired = 50055
	codeWrongPassword   = 50126
	codeMustRegister    = 50079
)

const pageProofUp = "ConvergedProofUpRedirect"

// signInError is the error of a step of a sign-in.
func signInError(err error) *MFAError {
	out := &MFAError{Message: err.Error(), cause: err}
	var said *broker.Error
	if errors.As(err, &said) {
		out.AADSTS = said.Code
	}
	var at *webflow.Error
	switch {
	case errors.Is(err, webflow.ErrDenied):
		out.Category = MFAErrorDenied
	case errors.Is(err, webflow.ErrConsent): // a device code would lack the consent too
	case errors.Is(err, webflow.ErrNoMethod):
		out.Category = MFAErrorRequired
		if errors.As(err, &at) && at.Page == pageProofUp && out.AADSTS == 0 {
			out.AADSTS = codeMustRegister
		}
	case errors.Is(err, webflow.ErrPage), errors.Is(err, broker.ErrInteractionRequired) && !errors.Is(err, webflow.ErrTimeout):
		out.Category = MFAErrorRequired
	}
	return out
}

// failure returns an error that this package detected itself.
func failure(c MFAErrorCategory, code int, message string) *MFAError {
	return &MFAError{Category: c, AADSTS: code, Message: "authd: " + message}
}
