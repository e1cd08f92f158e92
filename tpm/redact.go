package tpm

import (
	"fmt"
	"io"
	"log/slog"
)

// Types that carry a caller's secret print without it, whatever the verb.

func printRedacted(f fmt.State, name string, secret []byte) {
	has := "none"
	if len(secret) > 0 {
		has = "[redacted]"
	}
	_, _ = io.WriteString(f, name+"{"+has+"}")
}

// Format prints the spec without its PIN.
func (s KeySpec) Format(f fmt.State, _ rune) {
	printRedacted(f, fmt.Sprintf("KeySpec{Purpose:%d Algorithm:%d} PIN", s.Purpose, s.Algorithm), s.PIN)
}

// LogValue logs the spec without its PIN.
func (s KeySpec) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// MarshalText encodes what Format prints.
func (s KeySpec) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(s)), nil }

// Format prints no PIN.
func (o OpenOption) Format(f fmt.State, _ rune) { printRedacted(f, "OpenOption PIN", o.PIN) }

// LogValue logs no PIN.
func (o OpenOption) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(o)) }

// MarshalText encodes what Format prints.
func (o OpenOption) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(o)), nil }

// Format prints the type's name: what is in memory is not for a log.
func (t *TPM) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "TPM{}") }

// Format prints the configuration without KeyAuth.
func (c Config) Format(f fmt.State, _ rune) {
	printRedacted(f, fmt.Sprintf("Config{SRKName:%x Idle:%v} KeyAuth", c.SRKName, c.Idle), c.KeyAuth)
}

// LogValue logs the configuration without KeyAuth.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// MarshalText encodes what Format prints.
func (c Config) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(c)), nil }
