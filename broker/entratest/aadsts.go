package entratest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// stsError is a refusal of the sign-in service.
type stsError struct {
	status     int    // zero: 400, or 401 for invalid_client
	oauth      string // OAuth error
	code       int    // AADSTS code
	text       string // description without the code
	suberror   string
	claims     string        // claims challenge, JSON
	why        string        // for the test log only: what the client did wrong
	retryAfter time.Duration // zero: no header
}

func (e *stsError) Error() string { return fmt.Sprintf("AADSTS%d: %s", e.code, e.text) }

// because adds what the test log should say.
func (e *stsError) because(format string, args ...any) *stsError {
	c := *e
	c.why = fmt.Sprintf(format, args...)
	return &c
}

func (e *stsError) sub(suberror string) *stsError {
	c := *e
	c.suberror = suberror
	return &c
}

func fail(oauth string, code int, format string, args ...any) *stsError {
	return &stsError{oauth: oauth, code: code, text: fmt.Sprintf(format, args...)}
}

func invalidGrant(code int, format string, args ...any) *stsError {
	return fail("invalid_grant", code, format, args...)
}

func invalidRequest(code int, format string, args ...any) *stsError {
	return fail("invalid_request", code, format, args...)
}

func (e *stsError) httpStatus() int {
	switch {
	case e.status != 0:
		return e.status
	case e.oauth == "invalid_client" || e.oauth == "unauthorized_client" && e.code == 7000112:
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

func (s *Server) errorBody(e *stsError, correlation string) errorBody {
	now := s.Now().UTC().Format("2006-01-02 15:04:05Z")
	trace := s.rand.GUID()
	return errorBody{
		Error: e.oauth,
		Description: fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			e.code, e.text, trace, correlation, now),
		Codes:         []int{e.code},
		Timestamp:     now,
		TraceID:       trace,
		CorrelationID: correlation,
		URI:           "https://login.microsoftonline.com/error?code=" + strconv.Itoa(e.code),
		Suberror:      e.suberror,
		Claims:        e.claims,
	}
}

func (s *Server) writeSTSError(w http.ResponseWriter, r *http.Request, e *stsError) {
	body := s.errorBody(e, correlationID(r))
	w.Header().Set("x-ms-request-id", body.TraceID)
	w.Header().Set("x-ms-clitelem", fmt.Sprintf("1,%d,0,,", e.code))
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", seconds(e.retryAfter))
	}
	noStore(w)
	writeJSON(w, e.httpStatus(), body)
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.Header().Set("Pragma", "no-cache")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic("entratest: " + err.Error()) // replies are plain structs and maps
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}
