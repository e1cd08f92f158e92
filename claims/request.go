package claims

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// MaxRequestSize is the size, in bytes, of the largest claims request that is
// read.
const MaxRequestSize = 64 << 10

// ErrRequest is wrapped by the errors of [ParseRequest].
var ErrRequest = errors.New("malformed claims request")

// A Request is an OpenID Connect claims request (OpenID Connect Core 5.5): what
// the next token must contain. A resource asks with it (claims challenge), a
// client announces its capabilities with it. The zero value and a nil pointer
// ask for nothing.
//
// A Request is immutable: its methods return new ones.
type Request struct {
	// sections are access_token, id_token and what else came, by claim name.
	sections map[string]map[string]json.RawMessage
}

// ParseRequest reads the JSON of a claims request. An empty text is an empty
// request.
func ParseRequest(text string) (*Request, error) {
	if strings.TrimSpace(text) == "" {
		return &Request{}, nil
	}
	o, err := strictjson.Parse([]byte(text), MaxRequestSize)
	if err != nil {
		return nil, fmt.Errorf("claims: %w: %w", ErrRequest, err)
	}
	r := &Request{sections: map[string]map[string]json.RawMessage{}}
	for name := range o.Members() {
		if s := o.Object(name); s != nil {
			r.sections[name] = s.Members()
		}
	}
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("claims: %w: a section is not an object", ErrRequest)
	}
	return r, nil
}

// accessToken is the section that resources and capabilities use.
const accessToken = "access_token"

// Merge returns a request for both. Where both name the same claim, values
// are united when each side lists values without demanding one value, as
// capabilities do; otherwise what other asks for replaces what r asks for,
// because it is newer.
func (r *Request) Merge(other *Request) *Request {
	out := &Request{sections: map[string]map[string]json.RawMessage{}}
	for _, in := range []*Request{r, other} {
		if in == nil {
			continue
		}
		for section, wants := range in.sections {
			for claim, want := range wants {
				out.set(section, claim, want)
			}
		}
	}
	return out
}

func (r *Request) set(section, claim string, want json.RawMessage) {
	if r.sections[section] == nil {
		r.sections[section] = map[string]json.RawMessage{}
	}
	if old, ok := r.sections[section][claim]; ok {
		want = unite(old, want)
	}
	r.sections[section][claim] = want
}

// want is the value of one claim in a request.
type want struct {
	Essential bool     `json:"essential,omitempty"`
	Value     string   `json:"value,omitempty"`
	Values    []string `json:"values,omitempty"`
}

func unite(old, newer json.RawMessage) json.RawMessage {
	a, okA := listOf(old)
	b, okB := listOf(newer)
	if !okA || !okB {
		return newer
	}
	size := len(a.Values)
	for _, v := range b.Values {
		if !slices.ContainsFunc(a.Values, func(have string) bool { return strings.EqualFold(have, v) }) {
			a.Values = append(a.Values, v)
		}
	}
	if len(a.Values) == size && (a.Essential || !b.Essential) {
		return old
	}
	a.Essential = a.Essential || b.Essential
	return encode(a)
}

// listOf reads a claim that asks for one of several values and nothing else.
func listOf(r json.RawMessage) (w want, ok bool) {
	o, err := strictjson.Parse(r, MaxRequestSize)
	if err != nil {
		return w, false
	}
	values := o.Raw("values")
	if values == nil || values[0] != '[' {
		return w, false
	}
	w.Values = o.Strings("values")
	essential := string(o.Raw("essential"))
	w.Essential = essential == "true"
	for name := range o.Members() {
		ok = name == "values" || name == "essential" && (w.Essential || essential == "false")
		if !ok {
			return w, false
		}
	}
	return w, len(w.Values) > 0 && o.Err() == nil
}

func (r *Request) with(claim string, w want) *Request {
	add := &Request{sections: map[string]map[string]json.RawMessage{
		accessToken: {claim: encode(w)},
	}}
	return r.Merge(add)
}

// WithCapabilities adds client capabilities (xms_cc), such as "cp1": the
// client handles claims challenges, and the service may revoke its tokens at
// once in return for a longer life (continuous access evaluation).
func (r *Request) WithCapabilities(capabilities ...string) *Request {
	if len(capabilities) == 0 {
		return r.Merge(nil)
	}
	return r.with("xms_cc", want{Values: capabilities})
}

// WithContext asks for an authentication context, "c1" to "c99" (acrs).
func (r *Request) WithContext(id string) *Request {
	return r.with("acrs", want{Essential: true, Value: id})
}

// WithNotBefore asks for a token issued at t or later (nbf), as continuous
// access evaluation does after a revocation.
func (r *Request) WithNotBefore(t time.Time) *Request {
	return r.with("nbf", want{Essential: true, Value: strconv.FormatInt(t.Unix(), 10)})
}

// WithMFA asks for amr mfa or, fresh, ngcmfa.
func (r *Request) WithMFA(fresh bool) *Request {
	v := "mfa"
	if fresh {
		v = "ngcmfa"
	}
	return r.with("amr", want{Essential: true, Values: []string{v}})
}

// Contexts returns the authentication contexts that are asked for (acrs).
func (r *Request) Contexts() []string { return r.values("acrs") }

// Capabilities returns the client capabilities that are announced (xms_cc).
func (r *Request) Capabilities() []string { return r.values("xms_cc") }

// AMR returns the amr values that are asked for.
func (r *Request) AMR() []string { return r.values("amr") }

// NotBefore returns the time after which the token must be issued, or zero if
// the request does not ask for one.
func (r *Request) NotBefore() time.Time {
	for _, v := range r.values("nbf") {
		if s, err := strconv.ParseInt(v, 10, 64); err == nil {
			return unix(s)
		}
	}
	return time.Time{}
}

func (r *Request) values(claim string) []string {
	if r == nil {
		return nil
	}
	var out []string
	for _, section := range []string{accessToken, "id_token"} {
		raw, ok := r.sections[section][claim]
		if !ok {
			continue
		}
		o, err := strictjson.Parse(raw, MaxRequestSize)
		if err != nil {
			continue
		}
		if n, ok := strictjson.Int(o.Raw("value")); ok {
			out = append(out, strconv.FormatInt(n, 10))
		} else if v := o.String("value"); v != "" {
			out = append(out, v)
		}
		out = append(out, o.Strings("values")...)
	}
	return out
}

// IsZero reports whether nothing is asked for.
func (r *Request) IsZero() bool {
	if r == nil {
		return true
	}
	for _, s := range r.sections {
		if len(s) > 0 {
			return false
		}
	}
	return true
}

// Beyond reports whether r asks for anything but capabilities. Such a request
// must not be answered from a cache of tokens.
func (r *Request) Beyond() bool {
	if r == nil {
		return false
	}
	for section, wants := range r.sections {
		for claim := range wants {
			if section != accessToken || claim != "xms_cc" {
				return true
			}
		}
	}
	return false
}

// String returns the JSON for the claims parameter of an authorize or token
// request, members sorted; empty when nothing is asked for.
func (r *Request) String() string {
	if r.IsZero() {
		return ""
	}
	return string(encode(r.sections))
}

// encode marshals values that cannot fail, without HTML escapes.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("claims: encoding a claims request: " + err.Error()) // maps of checked JSON and strings only
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
