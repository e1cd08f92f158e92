package prt

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// An ErrorReply is an error returned by the service: the token endpoint (RFC
// 6749 5.2 with Entra's members) or the registration service. A field is empty
// when the reply lacks it. What a code means is for the caller to decide.
type ErrorReply struct {
	Status        int       // HTTP status; 0 when not known
	Code          string    // error, such as "invalid_grant"; of the registration service its ErrorType or code
	Suberror      string    // suberror, such as "basic_action"
	Codes         []int     // error_codes, AADSTS numbers; the first is the principal one
	Description   string    // error_description or Message; it may name the user, so Error leaves it out
	Claims        string    // claims: the request (JSON) to repeat interactively
	TraceID       string    // trace_id or TraceId
	CorrelationID string    // correlation_id
	URI           string    // error_uri
	Time          time.Time // timestamp
	Target        string    // target, of the registration service
}

// Error contains codes and ids, but no text from the service.
func (e *ErrorReply) Error() string {
	var b strings.Builder
	b.WriteString("prt: the service answered ")
	b.WriteString(first(printable(e.Code), "an error"))
	if e.Suberror != "" {
		b.WriteString(" (" + printable(e.Suberror) + ")")
	}
	for _, c := range e.Codes {
		fmt.Fprintf(&b, " AADSTS%d", c)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, ", HTTP %d", e.Status)
	}
	if e.TraceID != "" {
		b.WriteString(", trace " + printable(e.TraceID))
	}
	if e.CorrelationID != "" {
		b.WriteString(", correlation " + printable(e.CorrelationID))
	}
	return b.String()
}

// AADSTS returns the principal code, or 0 if there is none.
func (e *ErrorReply) AADSTS() int {
	if len(e.Codes) == 0 {
		return 0
	}
	return e.Codes[0]
}

// Has reports whether code is among Codes.
func (e *ErrorReply) Has(code int) bool {
	for _, c := range e.Codes {
		if c == code {
			return true
		}
	}
	return false
}

// maxPrintable is how much of a service's identifier an error prints.
const maxPrintable = 64

// printable keeps what an identifier may hold, so that a hostile reply puts
// neither line breaks nor prose into a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.':
			return r
		}
		return -1
	}, s[:min(len(s), maxPrintable)])
}

// ParseError reads the body of a reply whose HTTP status signals an error. It
// never returns nil: a body that it cannot read, such as a proxy's page, gives
// an ErrorReply with the status alone.
func ParseError(status int, body []byte) *ErrorReply {
	o, err := strictjson.Parse(body, MaxReplySize)
	if err != nil {
		return &ErrorReply{Status: status}
	}
	return parseError(status, o)
}

func parseError(status int, o *strictjson.Object) *ErrorReply {
	e := &ErrorReply{
		Status:        status,
		Suberror:      o.String("suberror"),
		Claims:        o.String("claims"),
		Description:   first(o.String("error_description"), o.String("Message"), o.String("message")),
		TraceID:       first(o.String("trace_id"), o.String("TraceId"), o.String("traceId")),
		CorrelationID: first(o.String("correlation_id"), o.String("clientrequestid")),
		URI:           o.String("error_uri"),
		Time:          parseTime(first(o.String("timestamp"), o.String("Time"), o.String("time"))),
		Target:        o.String("target"),
	}
	// The error member is a string at the token endpoint and may be an object
	// {code, message} at the registration service.
	if raw := o.Raw("error"); raw != nil && raw[0] == '{' {
		in := o.Object("error")
		e.Code = in.String("code")
		e.Description = first(e.Description, in.String("message"))
	} else if raw != nil {
		e.Code = o.String("error")
	}
	e.Code = first(e.Code, o.String("ErrorType"), o.String("code"), o.String("Code"))
	e.Codes = errorCodes(o, e.Description)
	return e
}

// maxCodes is how many error codes are kept.
const maxCodes = 16

// errorCodes reads error_codes, whose elements may be strings, and otherwise
// the AADSTS number that the description starts with.
func errorCodes(o *strictjson.Object, description string) (codes []int) {
	for _, r := range o.Array("error_codes") {
		if n, ok := strictjson.Int(r); ok && n > 0 && n <= maxCode && len(codes) < maxCodes {
			codes = append(codes, int(n))
		}
	}
	if codes != nil {
		return codes
	}
	if m := aadsts.FindStringSubmatch(description); m != nil {
		n, _ := strconv.Atoi(m[1]) // nine digits at most
		return []int{n}
	}
	return nil
}

const maxCode = 999_999_999

var aadsts = regexp.MustCompile(`^\s*AADSTS(\d{1,9})\b`)

// parseTime reads the time formats that the services use.
func parseTime(s string) time.Time {
	for _, layout := range []string{"2006-01-02 15:04:05Z", time.RFC3339, "1/2/2006 3:04:05 PM", "01/02/2006 15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}
