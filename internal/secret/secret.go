// Package secret holds values that must not be printed: passwords, refresh
// tokens, keys. A Value prints [redacted] through fmt, log/slog and
// encoding/json, whatever the verb and however deep it is nested.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// A Value is a secret. Copies share the same memory, so that [Value.Clear]
// clears them all. The zero value holds no secret. A Value may be copied and
// read concurrently; Clear must not run concurrently with another use.
//
// It holds a pointer to a pointer because fmt prints unexported fields by
// reflection, without asking any method, and follows one pointer when the verb
// does not fit it: there it finds an address.
type Value struct{ p **[]byte }

// New makes a secret of b and takes ownership of it: the caller must not keep
// b. An empty b gives the zero Value.
func New(b []byte) Value {
	if len(b) == 0 {
		return Value{}
	}
	p := &b
	return Value{p: &p}
}

// FromString makes a secret of a copy of s. The string itself cannot be
// cleared. An empty s gives the zero Value.
func FromString(s string) Value { return New([]byte(s)) }

// Bytes returns the secret itself, not a copy; nil for the zero Value and
// after Clear.
func (v Value) Bytes() []byte {
	if v.p == nil {
		return nil
	}
	return **v.p
}

// Reveal returns the secret as a string, a copy that Clear does not reach.
func (v Value) Reveal() string { return string(v.Bytes()) }

// Len returns the number of bytes.
func (v Value) Len() int { return len(v.Bytes()) }

// IsZero reports whether v holds no secret or has been cleared.
func (v Value) IsZero() bool { return v.Len() == 0 }

// Equal compares in a time that depends only on the lengths.
func (v Value) Equal(o Value) bool {
	return subtle.ConstantTimeCompare(v.Bytes(), o.Bytes()) == 1
}

// Clear overwrites the secret in all copies of v, which then are zero.
func (v Value) Clear() {
	if v.p == nil {
		return
	}
	clear(**v.p)
	**v.p = nil
}

// String returns "[redacted]", or "" when there is no secret.
func (v Value) String() string {
	if v.IsZero() {
		return ""
	}
	return redacted
}

// Format prints what String returns for every verb and flag.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// GoString returns what String returns.
func (v Value) GoString() string { return v.String() }

// LogValue logs what String returns.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }

// MarshalText returns what String returns, which covers JSON, XML and text
// handlers.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Wipe overwrites b, such as a derived key after its one use.
func Wipe(b []byte) { clear(b) }
