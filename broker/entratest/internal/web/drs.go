package web

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// DRSError is an error of the registration service, whose body differs from that of
// the sign-in service.
type DRSError struct {
	status  int
	kind    string // ErrorType
	message string
	Why     string // for the test log only
}

func (e *DRSError) Error() string { return e.kind + ": " + e.message }

// Because adds a reason for the test log.
func (e *DRSError) Because(format string, args ...any) *DRSError {
	c := *e
	c.Why = fmt.Sprintf(format, args...)
	return &c
}

// DRSFail returns an error of the registration service.
func DRSFail(status int, kind, format string, args ...any) *DRSError {
	return &DRSError{status: status, kind: kind, message: fmt.Sprintf(format, args...)}
}

// RefuseDRS answers with an error in the format of the registration service and
// writes the reason to the test log.
func (s *Router) RefuseDRS(w http.ResponseWriter, r *Request, err error) {
	var e *DRSError
	switch {
	case errors.As(err, &e):
	case errors.Is(err, directory.ErrQuota):
		e = DRSFail(http.StatusBadRequest, "AuthorizationError", "User is not eligible to enroll a device of this type: DeviceCapReached.")
	case errors.Is(err, directory.ErrKeyTaken):
		e = DRSFail(http.StatusBadRequest, "InvalidRequest", "The request is not valid.").Because("the key belongs to another user")
	default:
		e = DRSFail(http.StatusInternalServerError, "ServerError", "The service had a problem.").Because("%v", err)
	}
	why := e.Why
	if why == "" {
		why = e.message
	}
	s.Mistake(r, "%s: %s", e.kind, why)
	now := s.Now().UTC()
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	WriteJSON(w, e.status, map[string]string{
		"ErrorType": e.kind, "Message": e.message, "TraceId": s.Rand.GUID(), "Time": now.Format("01-02-2006 15:04:05Z"),
	})
}

// BearerRefused returns the registration service's error for an access token that it
// refuses.
func BearerRefused(why error) *DRSError {
	return DRSFail(http.StatusUnauthorized, "AuthenticationError", "The access token is missing, expired or not for this service.").Because("%v", why)
}
