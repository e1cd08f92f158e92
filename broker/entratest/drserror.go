package entratest

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// drsError is a refusal of the registration service, whose body differs from
// that of the sign-in service.
type drsError struct {
	status  int
	kind    string // ErrorType
	message string
	why     string // for the test log only
}

func (e *drsError) Error() string { return e.kind + ": " + e.message }

func (e *drsError) because(format string, args ...any) *drsError {
	c := *e
	c.why = fmt.Sprintf(format, args...)
	return &c
}

func drsFail(status int, kind, format string, args ...any) *drsError {
	return &drsError{status: status, kind: kind, message: fmt.Sprintf(format, args...)}
}

func (s *Server) refuseDRS(w http.ResponseWriter, r *request, err error) {
	var e *drsError
	switch {
	case errors.As(err, &e):
	case errors.Is(err, directory.ErrQuota):
		e = drsFail(http.StatusBadRequest, "AuthorizationError", "User is not eligible to enroll a device of this type: DeviceCapReached.")
	case errors.Is(err, directory.ErrKeyTaken):
		e = drsFail(http.StatusBadRequest, "InvalidRequest", "The request is not valid.").because("the key is another user's")
	default:
		e = drsFail(http.StatusInternalServerError, "ServerError", "The service had a problem.").because("%v", err)
	}
	why := e.why
	if why == "" {
		why = e.message
	}
	s.mistake(r, "%s: %s", e.kind, why)
	now := s.Now().UTC()
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, e.status, map[string]string{
		"ErrorType": e.kind, "Message": e.message, "TraceId": s.rand.GUID(), "Time": now.Format("01-02-2006 15:04:05Z"),
	})
}
