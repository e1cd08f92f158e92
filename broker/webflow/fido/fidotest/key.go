package fidotest

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/prtbroker/prtbroker/broker/webflow/fido"
)

// Errors of a touch, for Options.Touch and Options.BuiltIn.
var (
	// ErrDeclined means that the user declines.
	ErrDeclined = errors.New("fidotest: declined")
	// ErrUntouched means that the user does nothing until the key gives up.
	ErrUntouched = errors.New("fidotest: untouched")
	// ErrMismatch means that the finger does not match. It is for Options.BuiltIn.
	ErrMismatch = errors.New("fidotest: no match")
)

// Options describe a key. The zero value is a CTAP 2.1 key without a PIN that is
// touched at once.
type Options struct {
	// Name is the name of the device. Empty: "Virtual security key".
	Name string
	// PIN is the PIN, in NFC. Empty: the key has none.
	PIN string
	// Protocols are the PIN protocols that the key supports, best first. Nil: 2 and
	// 1.
	Protocols []int
	// CTAP20 leaves out what is new in CTAP 2.1.
	CTAP20 bool
	// U2F makes it a key that does not speak CTAP2.
	U2F bool
	// MaxCredentials is how long an allow list may be. 0: the key states no limit
	// and accepts any list.
	MaxCredentials int
	// ForcePINChange makes the key accept the PIN only for changing it.
	ForcePINChange bool
	// BuiltIn verifies the user on the key itself, such as by a fingerprint. Nil:
	// the key cannot.
	BuiltIn func(context.Context) error
	// Touch waits for the user's touch. Its context ends when the program cancels
	// or the key is unplugged. Nil: the key is touched at once.
	Touch func(context.Context) error
	// Edit changes an answer, its status and what follows, before it is sent. Nil:
	// answers are not changed.
	Edit func(command byte, answer []byte) []byte
}

// A Credential is a key pair for one relying party.
type Credential struct {
	RelyingParty string
	ID           []byte
	Key          *ecdsa.PrivateKey // P-256
	UserHandle   []byte
	UserName     string
	Discoverable bool // it is found without its id
	Protected    bool // it is found only when the user was verified (credProtect 3)
}

// A Key is a security key.
type Key struct {
	o Options

	mu          sync.Mutex // guards all below
	plugged     chan struct{}
	credentials []Credential
	counter     uint32
	pin         pinState
	commands    []byte
	cancelled   int
	next        []found // of getNextAssertion
	nextHash    []byte
}

// New makes a key that is plugged in.
func New(o Options) *Key {
	if o.Name == "" {
		o.Name = "Virtual security key"
	}
	if o.Protocols == nil {
		o.Protocols = []int{2, 1}
	}
	if o.Touch == nil {
		o.Touch = func(context.Context) error { return nil }
	}
	k := &Key{o: o, pin: pinState{retries: maxRetries}}
	k.PlugIn()
	return k
}

// Add gives the key a credential.
func (k *Key) Add(c Credential) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.credentials = append(k.credentials, c)
}

// Unplug removes the key, even while it is in use.
func (k *Key) Unplug() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.plugged:
	default:
		close(k.plugged)
	}
}

// PlugIn plugs the key in again, after which it accepts PINs again.
func (k *Key) PlugIn() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.plugged = make(chan struct{})
	k.pin.powerUp()
}

// Device returns the key as a program sees it.
func (k *Key) Device() fido.Device {
	return fido.Device{Name: k.o.Name, Open: func(context.Context) (io.ReadWriteCloser, error) { return k.connect() }}
}

// Devices returns a function for Key.Devices of package fido, which lists the keys that
// are plugged in.
func Devices(keys ...*Key) func(context.Context) ([]fido.Device, error) {
	return func(context.Context) (out []fido.Device, err error) {
		for _, k := range keys {
			if !k.unplugged() {
				out = append(out, k.Device())
			}
		}
		return out, nil
	}
}

func (k *Key) unplugged() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.plugged:
		return true
	default:
		return false
	}
}

// Commands returns the CTAP2 commands that the key received, in order. Those of the PIN
// are followed by their subcommand.
func (k *Key) Commands() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.commands)
}

// Cancelled returns how often a program told the key to stop.
func (k *Key) Cancelled() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cancelled
}

// Retries returns how many wrong PINs the key still allows.
func (k *Key) Retries() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pin.retries
}
