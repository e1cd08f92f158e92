package wire

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// An object reads JSON as the clients write it. A member that is missing,
// null, of another type, or an empty string in place of an object counts as
// absent. A nil object has no members.
type object struct{ members map[string]json.RawMessage }

// parse reads a whole message of at most limit bytes.
func parse(data string, limit int) (*object, error) {
	o, err := strictjson.Parse([]byte(data), limit)
	if err != nil {
		return nil, err
	}
	return &object{o.Members()}, nil
}

func (o *object) raw(name string) json.RawMessage {
	if o == nil {
		return nil
	}
	return o.members[name]
}

// object returns a member that is an object, or a string that holds one.
func (o *object) object(name string) *object {
	raw := o.raw(name)
	if s, ok := str(raw); ok {
		raw = json.RawMessage(s)
	}
	p, err := strictjson.Parse(raw, MaxReply)
	if err != nil {
		return nil
	}
	return &object{p.Members()}
}

func str(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	if n := len(raw) - 2; bytes.IndexByte(raw[1:1+n], '\\') < 0 {
		return string(raw[1 : 1+n]), true
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, true
}

// text returns a member that is a string, or a number as text.
func (o *object) text(name string) string {
	raw := o.raw(name)
	if s, ok := str(raw); ok {
		return s
	}
	if len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		return string(raw)
	}
	return ""
}

// number returns a member that is a whole number, or a string that holds one.
func (o *object) number(name string) (int64, bool) {
	raw := o.raw(name)
	if raw == nil {
		return 0, false
	}
	return strictjson.Int(raw)
}

// flag returns a member that is true, 1, or a string that says so.
func (o *object) flag(name string) bool {
	raw := o.raw(name)
	s, ok := str(raw)
	if !ok {
		s = string(raw)
	}
	return s == "1" || strings.EqualFold(s, "true")
}

// list returns a member that is an array of strings, or one string of words
// separated by white space.
func (o *object) list(name string) []string {
	raw := o.raw(name)
	if s, ok := str(raw); ok {
		return strings.Fields(s)
	}
	var out []string
	for _, e := range elements(raw) {
		if s, ok := str(e); ok && s != "" {
			out = append(out, s)
		}
	}
	return out
}

// objects returns the objects of a member that is an array.
func (o *object) objects(name string) []*object {
	var out []*object
	for _, e := range elements(o.raw(name)) {
		if p, err := strictjson.Parse(e, MaxReply); err == nil {
			out = append(out, &object{p.Members()})
		}
	}
	return out
}

// elements returns the elements of an array; none of another value.
func elements(raw json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}
