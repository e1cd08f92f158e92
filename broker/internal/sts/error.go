package sts

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// By is what a request presented, which decides what its refusal means.
type By uint8

// What a request presents.
const (
	ByUser   By = iota // a credential, a code or a plain refresh token
	ByPRT              // a PRT: its revocation is one of its own
	ByDevice           // a request of the registration service
)

// An Error is a request that did not give what it was sent for.
type Error struct {
	// Said reports whether the service itself said so. What this side concludes,
	// for example from a broken connection or an unknown domain, was not said.
	Said bool
	// Verdict is what to do about it.
	Verdict aadsts.Verdict
	// By is what the request presented.
	By By
	// Code is the AADSTS code that decided, and Codes are all of them.
	Code  int
	Codes []int
	// OAuth and SubError are the fields error and suberror; of the registration
	// service OAuth is the ErrorType.
	OAuth, SubError string
	// Claims is the claims request to answer with.
	Claims string
	// CorrelationID and TraceID find the request in the service's log.
	CorrelationID, TraceID string
	// StatusCode is the HTTP status; 0 without a reply.
	StatusCode int
	// RetryAfter is how long the service wants to be left alone; 0 if it did
	// not say.
	RetryAfter time.Duration
	// Detail is a sentence about it.
	Detail string
	// Abroad: a tenant other than its own refused a PRT. The PRT is not over.
	Abroad bool
	// Cause is an error of the network or of reading the reply; or nil.
	Cause error

	description string // the service's sentence, which may name the user
}

// Error returns the sentence and the cause.
func (e *Error) Error() string {
	s := e.Detail
	switch {
	case s == "" && e.Code != 0:
		s = fmt.Sprintf("AADSTS%d", e.Code)
	case s == "" && e.Cause != nil:
		return e.Cause.Error()
	case s == "":
		s = "failed"
	case e.Code != 0:
		s += fmt.Sprintf(" (AADSTS%d)", e.Code)
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Transient reports whether the same request may succeed later.
func (e *Error) Transient() bool {
	return e.Verdict == aadsts.Retry || e.Verdict == aadsts.Throttled || e.Verdict == aadsts.NewNonce
}

// doubtful are the codes for a signature or an assertion that the service does
// not accept: the PRT may be over, but a wrong clock here looks the same
// (50013: "check the clock"). They end no PRT.
var doubtful = map[int]bool{50006: true, 50013: true, 900384: true}

// Over reports whether the PRT that was presented is revoked or expired.
func (e *Error) Over() bool {
	if e.By != ByPRT || e.Abroad {
		return false
	}
	return e.Verdict == aadsts.Expired || e.Verdict == aadsts.SignInAgain && !doubtful[e.Code]
}

// WantsUser reports whether the user must be asked.
func (e *Error) WantsUser() bool {
	switch e.Verdict {
	case aadsts.StepUp, aadsts.StaleMFA, aadsts.Interact, aadsts.SignInAgain, aadsts.Expired, aadsts.HelloKey, aadsts.Restart:
		return true
	}
	return false
}

// Blocks reports whether a policy or an administrator refuses, so that asking
// the user does not help.
func (e *Error) Blocks() bool {
	return e.Verdict == aadsts.Blocked || e.Verdict == aadsts.DeviceNotCompliant
}

// Consent reports whether the app's own page is needed, rather than a stronger
// sign-in.
func (e *Error) Consent() bool {
	return e.Code == 65001 || e.SubError == "consent_required" || e.OAuth == "consent_required"
}

// said returns the service's verdict on a request; None when err is not from
// the service.
func said(err error) aadsts.Verdict {
	var e *Error
	if errors.As(err, &e) && e.Said {
		return e.Verdict
	}
	return aadsts.None
}

// Refusal is the error of a reply whose status is not a success.
func Refusal(r *Reply, by By) *Error { return refusal(prt.ParseError(r.Status, r.Body), r, by) }

func refusal(e *prt.ErrorReply, r *Reply, by By) *Error {
	entry := aadsts.Classify(e.Codes, e.Code, e.Suberror)
	out := &Error{
		Said:          true,
		Verdict:       entry.Verdict,
		By:            by,
		Code:          entry.Code,
		Codes:         e.Codes,
		OAuth:         e.Code,
		SubError:      e.Suberror,
		Claims:        e.Claims,
		CorrelationID: e.CorrelationID,
		TraceID:       e.TraceID,
		StatusCode:    r.Status,
		RetryAfter:    r.RetryAfter,
		Detail:        entry.Meaning,
		description:   e.Description,
	}
	if out.Code == 0 && len(e.Codes) > 0 {
		out.Code = e.Codes[0]
	}
	if out.CorrelationID == "" {
		out.CorrelationID = r.CorrelationID
	}
	switch {
	case r.Status == 429:
		out.Verdict = aadsts.Throttled
	case entry.Verdict == aadsts.None, r.Status >= 500 && entry.Code == 0:
		out.Verdict, out.Detail = byStatus(r.Status)
	}
	return out
}

// byStatus judges a reply by its status when its error is not known.
func byStatus(status int) (aadsts.Verdict, string) {
	switch {
	case status >= 500 || status == 408:
		return aadsts.Retry, "the service has trouble"
	case status >= 300 && status < 400:
		return aadsts.Fail, "the service redirects, which it must not"
	}
	return aadsts.Fail, "the service refused the request"
}

// Unreadable is the error of a successful reply that could not be read, or that
// holds an error.
func Unreadable(r *Reply, err error, by By) error {
	var e *prt.ErrorReply
	if errors.As(err, &e) {
		return refusal(e, r, by)
	}
	return Malformed(r, err)
}

// Malformed is a reply of the service that is not what the protocol says.
func Malformed(r *Reply, err error) error {
	e := &Error{StatusCode: r.Status, CorrelationID: r.CorrelationID, Cause: err}
	if errors.Is(err, prt.ErrReply) {
		e.Detail = "the reply is not what the protocol says"
		return e
	}
	e.Detail = "the reply could not be read"
	return e
}

func isPage(body []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) }

// hasPrefixFold ignores the case of scheme and host, which browsers may change
// to lower case.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
