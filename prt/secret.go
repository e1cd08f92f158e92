package prt

import (
	"fmt"
	"log/slog"

	"github.com/prtbroker/prtbroker/internal/secret"
)

// A Secret is a token, password or key. It prints [redacted] through fmt,
// log/slog and encoding/json, whatever the verb and however deep it is nested.
// Copies share the same memory, so that [Secret.Clear] clears them all. The
// zero value holds no secret. A Secret may be copied and read concurrently;
// Clear must not run concurrently with another use.
type Secret struct{ value secret.Value }

// NewSecret makes a Secret of a copy of s. An empty s gives the zero Secret.
func NewSecret(s string) Secret { return Secret{secret.FromString(s)} }

// Bytes returns the secret itself, not a copy; nil for the zero Secret and
// after Clear.
func (s Secret) Bytes() []byte { return s.value.Bytes() }

// Reveal returns the secret as a string, a copy that Clear does not reach.
func (s Secret) Reveal() string { return s.value.Reveal() }

// IsZero reports whether s holds no secret or has been cleared.
func (s Secret) IsZero() bool { return s.value.IsZero() }

// Equal compares in a time that depends only on the lengths.
func (s Secret) Equal(o Secret) bool { return s.value.Equal(o.value) }

// Clear overwrites the secret in all copies of s, which then are zero.
func (s Secret) Clear() { s.value.Clear() }

// String returns "[redacted]", or "" when there is no secret.
func (s Secret) String() string { return s.value.String() }

// Format prints what String returns for every verb and flag.
func (s Secret) Format(f fmt.State, verb rune) { s.value.Format(f, verb) }

// GoString returns what String returns.
func (s Secret) GoString() string { return s.value.GoString() }

// LogValue logs what String returns.
func (s Secret) LogValue() slog.Value { return s.value.LogValue() }

// MarshalText returns what String returns, which covers JSON, XML and text
// handlers.
func (s Secret) MarshalText() ([]byte, error) { return s.value.MarshalText() }
