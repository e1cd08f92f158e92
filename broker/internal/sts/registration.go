package sts

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// RegistrationError reads an error of the registration service, whose codes
// are words. What they mean is documented for dsregcmd only in parts.
func RegistrationError(r *Reply) *Error {
	reply := prt.ParseError(r.Status, r.Body)
	e := refusal(reply, r, ByDevice)
	if e.Code != 0 {
		return e
	}
	text := strings.ToLower(reply.Code + " " + reply.Description)
	switch {
	case strings.Contains(text, "devicecapreached"), strings.Contains(text, "quota"):
		e.Verdict, e.Detail = aadsts.Blocked, "the user has as many devices as the tenant allows"
	case strings.Contains(text, "mfa"), strings.Contains(text, "multi-factor"), strings.Contains(text, "strong auth"):
		e.Verdict, e.Detail = aadsts.Interact, "the tenant asks for MFA to register a device"
	case len(r.Body) > 0 && !json.Valid(r.Body): // not the service's word: a proxy's, or a page on the way
		e.Said, e.Verdict, e.Detail = false, aadsts.Retry, "the registration service did not answer, but something on the way"
	case r.Status == http.StatusForbidden, strings.EqualFold(reply.Code, "AuthorizationError"):
		e.Verdict, e.Detail = aadsts.Blocked, "the user may not register devices"
	case r.Status == http.StatusUnauthorized, strings.EqualFold(reply.Code, "AuthenticationError"):
		e.Verdict, e.Detail = aadsts.Interact, "the registration service did not take the token"
	case strings.EqualFold(reply.Code, "DirectoryError"):
		e.Verdict, e.Detail = aadsts.Retry, "the directory does not have what the request names, or not yet"
	case r.Status < 500 && r.Status != http.StatusTooManyRequests:
		e.Verdict, e.Detail = aadsts.Fail, "the registration service refused the request"
	}
	return e
}

// Deleted reports whether the key service says that a key is gone. A page of
// somebody on the way says nothing.
func Deleted(r *Reply) error {
	if isPage(r.Body) {
		return &Error{Verdict: aadsts.Retry, StatusCode: r.Status, Detail: "a page came in place of an answer"}
	}
	if r.OK() {
		return nil
	}
	e := RegistrationError(r)
	if r.Status == http.StatusNotFound && e.OAuth != "" {
		return nil
	}
	return e
}
