// Package strictjson reads JSON objects that come from the network: UTF-8
// only, no duplicate members, a limit on size and depth, member names matched
// exactly (encoding/json folds case and takes the last duplicate, so that two
// readers of one token may see two tokens), and numbers that may be strings,
// as the v1 endpoints of Entra send them.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may nest.
const MaxDepth = 32

// Errors of [Parse] and [Check]. They name the kind of error and quote no
// content.
var (
	ErrSize      = errors.New("JSON is larger than its limit")
	ErrSyntax    = errors.New("not valid JSON")
	ErrUTF8      = errors.New("JSON is not valid UTF-8")
	ErrDepth     = errors.New("JSON nests too deep")
	ErrDuplicate = errors.New("JSON repeats a member")
	ErrObject    = errors.New("JSON is not an object")
)

// Check refuses what [Parse] refuses, for any JSON value.
func Check(data []byte, limit int) error {
	switch {
	case len(data) > limit:
		return ErrSize
	case !utf8.Valid(data):
		return ErrUTF8
	case !json.Valid(data):
		return ErrSyntax
	}
	w := walker{data: data}
	return w.value(0)
}

// Parse reads one object of at most limit bytes.
//
// A byte-order mark before it is skipped, as RFC 8259 8.1 allows.
func Parse(data []byte, limit int) (*Object, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if err := Check(data, limit); err != nil {
		return nil, err
	}
	if data = bytes.TrimSpace(data); data[0] != '{' {
		return nil, ErrObject
	}
	o := &Object{}
	if err := json.Unmarshal(data, &o.members); err != nil {
		return nil, ErrSyntax
	}
	return o, nil
}

// walker steps over JSON that json.Valid accepted, so that every delimiter is
// where the grammar puts it.
type walker struct {
	data []byte
	pos  int
}

func (w *walker) value(depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	switch w.peek() {
	case '{':
		return w.object(depth)
	case '[':
		return w.array(depth)
	case '"':
		w.string()
		return nil
	}
	for w.pos < len(w.data) && strings.IndexByte(",]} \t\r\n", w.data[w.pos]) < 0 {
		w.pos++
	}
	return nil
}

func (w *walker) object(depth int) error {
	seen := map[string]bool{}
	for w.pos++; w.peek() != '}'; {
		name, err := unquote(w.string())
		if err != nil {
			return ErrSyntax
		}
		if seen[name] {
			return ErrDuplicate
		}
		seen[name] = true
		w.peek()
		w.pos++ // the colon
		if err := w.value(depth + 1); err != nil {
			return err
		}
		if w.peek() == ',' {
			w.pos++
		}
	}
	w.pos++
	return nil
}

func (w *walker) array(depth int) error {
	for w.pos++; w.peek() != ']'; {
		if err := w.value(depth + 1); err != nil {
			return err
		}
		if w.peek() == ',' {
			w.pos++
		}
	}
	w.pos++
	return nil
}

// string steps over a string and returns it with its quotes.
func (w *walker) string() []byte {
	w.peek()
	start := w.pos
	for w.pos++; w.data[w.pos] != '"'; w.pos++ {
		if w.data[w.pos] == '\\' {
			w.pos++
		}
	}
	w.pos++
	return w.data[start:w.pos]
}

// peek returns the next byte that is not white space, or 0.
func (w *walker) peek() byte {
	for ; w.pos < len(w.data); w.pos++ {
		switch c := w.data[w.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// unquote returns what stands between the quotes of a valid string.
func unquote(quoted []byte) (string, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	var s string
	err := json.Unmarshal(quoted, &s)
	return s, err
}

// An Object is a JSON object. Its getters return the zero value for a member
// that is absent or null; the first member of the wrong type is remembered
// and returned by Err. A nil Object has no members.
type Object struct {
	members map[string]json.RawMessage
	err     error
}

// A TypeError names a member that is not of the type it should be.
type TypeError struct{ Member, Want string }

func (e *TypeError) Error() string { return "member " + e.Member + " is not " + e.Want }

// Err returns the first type error that a getter met.
func (o *Object) Err() error {
	if o == nil {
		return nil
	}
	return o.err
}

// Raw returns a member as it was sent, nil when it is absent or null.
func (o *Object) Raw(name string) json.RawMessage {
	if o == nil {
		return nil
	}
	if r := o.members[name]; !bytes.Equal(r, []byte("null")) {
		return r
	}
	return nil
}

// Has reports whether a member is there and not null.
func (o *Object) Has(name string) bool { return o.Raw(name) != nil }

// Take returns a member and removes it from o.
func (o *Object) Take(name string) json.RawMessage {
	r := o.Raw(name)
	if o != nil {
		delete(o.members, name)
	}
	return r
}

// Members returns all members. The caller must not change them.
func (o *Object) Members() map[string]json.RawMessage {
	if o == nil {
		return nil
	}
	return o.members
}

func (o *Object) fail(name, want string) {
	if o.err == nil {
		o.err = &TypeError{name, want}
	}
}

// String returns a member that is a string.
func (o *Object) String(name string) string {
	r := o.Raw(name)
	if r == nil {
		return ""
	}
	if r[0] != '"' {
		o.fail(name, "a string")
		return ""
	}
	s, err := unquote(r)
	if err != nil {
		o.fail(name, "a string")
	}
	return s
}

// Int returns a member that is a whole number, or a string that holds one.
func (o *Object) Int(name string) int64 {
	r := o.Raw(name)
	if r == nil {
		return 0
	}
	n, ok := Int(r)
	if !ok {
		o.fail(name, "a number")
	}
	return n
}

// Int reads a whole number, or a string that holds one. A fraction of zero is
// accepted.
func Int(r json.RawMessage) (int64, bool) {
	s := string(r)
	if len(r) > 0 && r[0] == '"' {
		if json.Unmarshal(r, &s) != nil {
			return 0, false
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	// ParseFloat takes hexadecimal, underscores, NaN and Inf too.
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < -1<<53 || f > 1<<53 || f != math.Trunc(f) {
		return 0, false
	}
	return int64(f), true
}

// Strings returns a member that is an array of strings, or one string.
func (o *Object) Strings(name string) []string {
	r := o.Raw(name)
	if r == nil {
		return nil
	}
	if r[0] == '"' {
		return []string{o.String(name)}
	}
	var list []string
	if json.Unmarshal(r, &list) != nil {
		o.fail(name, "an array of strings")
		return nil
	}
	return list
}

// Object returns a member that is an object, or a string that holds one; nil
// when it is absent.
func (o *Object) Object(name string) *Object {
	r := o.Raw(name)
	if r == nil {
		return nil
	}
	data := []byte(r)
	if r[0] == '"' {
		if data = []byte(o.String(name)); len(data) == 0 {
			return nil
		}
	}
	in, err := Parse(data, len(data))
	if err != nil {
		o.fail(name, "an object")
		return nil
	}
	return in
}

// Array returns the elements of a member that is an array.
func (o *Object) Array(name string) []json.RawMessage {
	r := o.Raw(name)
	if r == nil {
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(r, &list) != nil {
		o.fail(name, "an array")
		return nil
	}
	return list
}
