// Package ctap2 implements the part of CTAP2 that a sign-in needs: the capabilities
// of a security key, its PIN, and its assertions (CTAP 2.1, 6).
package ctap2

import (
	"context"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Commands (CTAP 2.1, 6.1 to 6.11).
const (
	commandGetAssertion     = 0x02
	commandGetInfo          = 0x04
	commandClientPIN        = 0x06
	commandGetNextAssertion = 0x08
	commandSelection        = 0x0b
)

// A Status is a key's answer to a command that it refuses (CTAP 2.1, 8.2).
type Status byte

// Statuses.
const (
	StatusInvalidCredential  Status = 0x22
	StatusOperationDenied    Status = 0x27
	StatusKeepAliveCancel    Status = 0x2d
	StatusNoCredentials      Status = 0x2e
	StatusUserActionTimeout  Status = 0x2f
	StatusNotAllowed         Status = 0x30
	StatusPINInvalid         Status = 0x31
	StatusPINBlocked         Status = 0x32
	StatusPINAuthInvalid     Status = 0x33
	StatusPINAuthBlocked     Status = 0x34
	StatusPINNotSet          Status = 0x35
	StatusPINRequired        Status = 0x36
	StatusPINPolicyViolation Status = 0x37
	StatusActionTimeout      Status = 0x3a
	StatusUVBlocked          Status = 0x3c
	StatusUVInvalid          Status = 0x3f
)

// Error returns one line.
func (s Status) Error() string { return fmt.Sprintf("CTAP2 status 0x%02x", byte(s)) }

// ErrMalformed is returned for an answer that does not conform to the command's
// section.
var ErrMalformed = errors.New("the security key sent a malformed answer")

// A Transport carries one command to a key.
type Transport interface {
	// Send sends a command with its parameters and returns the status and what
	// follows it. touch is called when the key begins to wait for the user.
	Send(ctx context.Context, message []byte, touch func() error) ([]byte, error)
}

// The canonical form of CTAP2 (8). Invalid UTF-8 and duplicate names are refused,
// and nesting is limited.
var (
	encoding = must(cbor.CTAP2EncOptions().EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 8, MaxArrayElements: 512, MaxMapPairs: 512, UTF8: cbor.UTF8RejectInvalid,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options are constant
	}
	return v
}

// send sends a command and reads its answer into out, if not nil.
func send(ctx context.Context, t Transport, command byte, in, out any, touch func() error) error {
	message := []byte{command}
	if in != nil {
		params, err := encoding.Marshal(in)
		if err != nil {
			return err
		}
		message = append(message, params...)
	}
	reply, err := t.Send(ctx, message, touch)
	if err != nil {
		return err
	}
	if len(reply) == 0 {
		return ErrMalformed
	}
	if reply[0] != 0 {
		return Status(reply[0])
	}
	if out == nil {
		return nil
	}
	if decoding.Unmarshal(reply[1:], out) != nil {
		return ErrMalformed // the library's text may quote the answer
	}
	return nil
}

// An Info says what a key can do (CTAP 2.1, 6.4).
type Info struct {
	Versions           []string        `cbor:"1,keyasint"`
	Options            map[string]bool `cbor:"4,keyasint"`
	MaxMessage         int             `cbor:"5,keyasint"` // bytes; 0: 1024
	Protocols          []int           `cbor:"6,keyasint"` // for the PIN, best first
	MaxCredentials     int             `cbor:"7,keyasint"` // in an allow list; 0: not said
	MaxCredentialBytes int             `cbor:"8,keyasint"` // 0: not said
	ForcePINChange     bool            `cbor:"12,keyasint"`
}

// defaultMaxMessage applies to a key that states no maximum (6.4).
const defaultMaxMessage = 1024

// GetInfo asks what the key can do.
func GetInfo(ctx context.Context, t Transport) (*Info, error) {
	i := new(Info)
	if err := send(ctx, t, commandGetInfo, nil, i, nil); err != nil {
		return nil, err
	}
	if i.MaxMessage <= 0 {
		i.MaxMessage = defaultMaxMessage
	}
	return i, nil
}

// Has reports whether an option is true.
func (i *Info) Has(option string) bool { return i.Options[option] }

// since21 reports whether the key speaks a version of CTAP2 with a command that 2.0
// lacks.
func (i *Info) since21() bool {
	for _, v := range i.Versions {
		if v != "FIDO_2_0" && v != "U2F_V2" && v != "FIDO_2_1_PRE" {
			return true
		}
	}
	return false
}
