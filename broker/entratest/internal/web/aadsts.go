package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// STSError is an error of the sign-in service.
type STSError struct {
	status     int    // zero: 400, or 401 for invalid_client
	OAuth      string // OAuth error
	Code       int    // AADSTS code
	Text       string // description without the code
	Suberror   string
	Claims     string        // claims challenge, JSON
	Why        string        // for the test log only: what the client did wrong
	retryAfter time.Duration // zero: no header
}

func (e *STSError) Error() string { return fmt.Sprintf("AADSTS%d: %s", e.Code, e.Text) }

// Because adds a reason for the test log.
func (e *STSError) Because(format string, args ...any) *STSError {
	c := *e
	c.Why = fmt.Sprintf(format, args...)
	return &c
}

// Sub adds the suberror.
func (e *STSError) Sub(suberror string) *STSError {
	c := *e
	c.Suberror = suberror
	return &c
}

// Fail returns an error of the sign-in service.
func Fail(oauth string, code int, format string, args ...any) *STSError {
	return &STSError{OAuth: oauth, Code: code, Text: fmt.Sprintf(format, args...)}
}

// InvalidGrant returns an error with the OAuth error invalid_grant.
func InvalidGrant(code int, format string, args ...any) *STSError {
	return Fail("invalid_grant", code, format, args...)
}

// InvalidRequest returns an error with the OAuth error invalid_request.
func InvalidRequest(code int, format string, args ...any) *STSError {
	return Fail("invalid_request", code, format, args...)
}

func (e *STSError) httpStatus() int {
	switch {
	case e.status != 0:
		return e.status
	case e.OAuth == "invalid_client" || e.OAuth == "unauthorized_client" && e.Code == 7000112:
		return http.StatusUnauthorized
	}
	return http.StatusBadRequest
}

// errorBody is the JSON body of a refused token request.
type errorBody struct {
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	Codes         []int  `json:"error_codes"`
	Timestamp     string `json:"timestamp"`
	TraceID       string `json:"trace_id"`
	CorrelationID string `json:"correlation_id"`
	URI           string `json:"error_uri"`
	Suberror      string `json:"suberror,omitempty"`
	Claims        string `json:"claims,omitempty"`
}

// ErrorBody returns the body for an error.
func (s *Router) ErrorBody(e *STSError, correlation string) errorBody {
	now := s.Now().UTC().Format("2006-01-02 15:04:05Z")
	trace := s.Rand.GUID()
	return errorBody{
		Error: e.OAuth,
		Description: fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			e.Code, e.Text, trace, correlation, now),
		Codes:         []int{e.Code},
		Timestamp:     now,
		TraceID:       trace,
		CorrelationID: correlation,
		URI:           "https://login.microsoftonline.com/error?code=" + strconv.Itoa(e.Code),
		Suberror:      e.Suberror,
		Claims:        e.Claims,
	}
}

func (s *Router) writeSTSError(w http.ResponseWriter, r *http.Request, e *STSError) {
	body := s.ErrorBody(e, CorrelationID(r))
	w.Header().Set("x-ms-request-id", body.TraceID)
	w.Header().Set("x-ms-clitelem", fmt.Sprintf("1,%d,0,,", e.Code))
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", Seconds(e.retryAfter))
	}
	NoStore(w)
	WriteJSON(w, e.httpStatus(), body)
}

// Seconds prints whole seconds.
func Seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// NoStore forbids caches to store the reply.
func NoStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.Header().Set("Pragma", "no-cache")
}

// WriteJSON answers with v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic("entratest: " + err.Error()) // replies are plain structs and maps
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}
