package fidotest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/fxamacker/cbor/v2"
)

// Commands, statuses and a permission (CTAP 2.1, 6, 8.2, 6.5.5.7).
const (
	cmdGetAssertion     = 0x02
	cmdGetInfo          = 0x04
	cmdClientPIN        = 0x06
	cmdGetNextAssertion = 0x08
	cmdSelection        = 0x0b

	statusInvalidCommand     = 0x01
	statusInvalidParameter   = 0x02
	statusInvalidCBOR        = 0x12
	statusMissingParameter   = 0x14
	statusLimitExceeded      = 0x15
	statusOperationDenied    = 0x27
	statusKeepAliveCancel    = 0x2d
	statusNoCredentials      = 0x2e
	statusUserActionTimeout  = 0x2f
	statusNotAllowed         = 0x30
	statusPINInvalid         = 0x31
	statusPINBlocked         = 0x32
	statusPINAuthInvalid     = 0x33
	statusPINAuthBlocked     = 0x34
	statusPINNotSet          = 0x35
	statusPINPolicyViolation = 0x37
	statusInvalidSubcommand  = 0x3e
	statusUVInvalid          = 0x3f

	permissionAssert = 0x02
)

// A found is a credential that may sign, with these flags.
type found struct {
	c     Credential
	flags byte
	all   int // how many there are
}

func integer(v any) int {
	switch n := v.(type) {
	case uint64:
		return int(n)
	case int64:
		return int(n)
	}
	return 0
}

func statusOf(err error) byte {
	switch {
	case errors.Is(err, ErrDeclined):
		return statusOperationDenied
	case errors.Is(err, ErrUntouched):
		return statusUserActionTimeout
	case errors.Is(err, ErrMismatch):
		return statusUVInvalid
	}
	return statusKeepAliveCancel
}

// answer does a command. waiting is called while the key waits for its user.
func (k *Key) answer(ctx context.Context, message []byte, waiting func() (end func())) []byte {
	if len(message) == 0 {
		return []byte{statusInvalidCommand}
	}
	user := func(ask func(context.Context) error) func() error {
		return func() error {
			defer waiting()()
			return ask(ctx)
		}
	}
	out, status := k.do(message[0], message[1:], user)
	answer := []byte{status}
	if status == 0 && out != nil {
		mode, err := cbor.CTAP2EncOptions().EncMode()
		if err != nil {
			panic(err) // the options are constant
		}
		body, err := mode.Marshal(out)
		if err != nil {
			panic(err) // plain maps
		}
		answer = append(answer, body...)
	}
	if k.o.Edit != nil {
		answer = k.o.Edit(message[0], answer)
	}
	return answer
}

func (k *Key) do(command byte, params []byte, user func(func(context.Context) error) func() error) (map[int]any, byte) {
	k.mu.Lock()
	k.commands = append(k.commands, command)
	k.mu.Unlock()
	q := map[any]any{}
	if len(params) > 0 {
		var ok bool
		if q, ok = canonical(params); !ok {
			return nil, statusInvalidCBOR
		}
	}
	touch := user(k.o.Touch)
	switch command {
	case cmdGetInfo:
		return k.info(), 0
	case cmdClientPIN:
		builtIn := k.o.BuiltIn
		if builtIn == nil {
			builtIn = k.o.Touch
		}
		return k.clientPIN(q, user(builtIn))
	case cmdGetAssertion:
		return k.getAssertion(q, touch, user)
	case cmdGetNextAssertion:
		return k.getNextAssertion()
	case cmdSelection:
		if k.o.CTAP20 {
			return nil, statusInvalidCommand
		}
		if err := touch(); err != nil {
			return nil, statusOf(err)
		}
		return nil, 0
	}
	return nil, statusInvalidCommand
}

// canonical decodes parameters that are in the canonical form of CTAP2 (8).
func canonical(params []byte) (map[any]any, bool) {
	var q map[any]any
	if cbor.Unmarshal(params, &q) != nil {
		return nil, false
	}
	mode, err := cbor.CTAP2EncOptions().EncMode()
	if err != nil {
		return nil, false
	}
	again, err := mode.Marshal(q)
	return q, err == nil && bytes.Equal(again, params)
}

func (k *Key) info() map[int]any {
	options := map[string]any{"rk": true, "up": true, "plat": false, "clientPin": k.o.PIN != ""}
	if k.o.BuiltIn != nil {
		options["uv"] = true
	}
	versions := []string{"FIDO_2_0"}
	if !k.o.CTAP20 {
		versions = []string{"U2F_V2", "FIDO_2_0", "FIDO_2_1"}
		options["pinUvAuthToken"] = true
	}
	out := map[int]any{1: versions, 3: make([]byte, 16), 4: options, 5: 1200, 6: k.o.Protocols}
	if k.o.MaxCredentials > 0 {
		out[7] = k.o.MaxCredentials
	}
	if k.o.ForcePINChange {
		out[12] = true
	}
	return out
}

// getAssertion is authenticatorGetAssertion (6.2.2).
func (k *Key) getAssertion(q map[any]any, touch func() error, user func(func(context.Context) error) func() error) (map[int]any, byte) {
	rp, _ := q[uint64(1)].(string)
	hash, _ := q[uint64(2)].([]byte)
	list, _ := q[uint64(3)].([]any)
	options, _ := q[uint64(5)].(map[any]any)
	auth, hasAuth := q[uint64(6)].([]byte)
	switch {
	case rp == "" || len(hash) != sha256.Size:
		return nil, statusMissingParameter
	case hasAuth && len(auth) == 0: // to choose this key
		if err := touch(); err != nil {
			return nil, statusOf(err)
		}
		if k.o.PIN == "" {
			return nil, statusPINNotSet
		}
		return nil, statusPINInvalid
	case k.o.MaxCredentials > 0 && len(list) > k.o.MaxCredentials:
		return nil, statusLimitExceeded
	}
	var flags byte
	if hasAuth {
		if !k.verified(integer(q[uint64(7)]), rp, hash, auth) {
			return nil, statusPINAuthInvalid
		}
		flags |= 1 << 2
	} else if uv, _ := options["uv"].(bool); uv {
		if k.o.BuiltIn == nil {
			return nil, statusInvalidParameter
		}
		if err := user(k.o.BuiltIn)(); err != nil {
			return nil, statusOf(err)
		}
		flags |= 1 << 2
	}
	fit := k.find(rp, list, flags != 0)
	if up, said := options["up"].(bool); !said || up {
		if err := touch(); err != nil {
			return nil, statusOf(err)
		}
		flags |= 1
	}
	if len(fit) == 0 {
		return nil, statusNoCredentials
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]found, len(fit))
	for i, c := range fit {
		all[i] = found{c: c, flags: flags, all: len(fit)}
	}
	k.next, k.nextHash = all[1:], hash
	return k.sign(all[0], hash, true), 0
}

// verified checks a pinUvAuthParam.
func (k *Key) verified(protocol int, rp string, hash, auth []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := &k.pin
	if p.tokenFor&permissionAssert == 0 || p.tokenRP != "" && p.tokenRP != rp || !p.check(protocol, hash, auth) {
		return false
	}
	p.tokenRP = rp
	return true
}

// find returns the credentials that may sign: one of the list, or all that are
// discoverable, the newest first.
func (k *Key) find(rp string, list []any, verified bool) (fit []Credential) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.credentials {
		if c.RelyingParty != rp || c.Protected && !verified {
			continue
		}
		if len(list) == 0 {
			if c.Discoverable {
				fit = append([]Credential{c}, fit...)
			}
			continue
		}
		for _, d := range list {
			entry, _ := d.(map[any]any)
			if id, _ := entry["id"].([]byte); entry["type"] == "public-key" && bytes.Equal(id, c.ID) {
				return []Credential{c}
			}
		}
	}
	return fit
}

func (k *Key) getNextAssertion() (map[int]any, byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.next) == 0 {
		return nil, statusNotAllowed
	}
	f := k.next[0]
	k.next = k.next[1:]
	return k.sign(f, k.nextHash, false), 0
}

// sign makes an assertion. The caller holds mu.
func (k *Key) sign(f found, hash []byte, first bool) map[int]any {
	rp := sha256.Sum256([]byte(f.c.RelyingParty))
	k.counter++
	data := binary.BigEndian.AppendUint32(append(rp[:], f.flags), k.counter)
	digest := sha256.Sum256(append(append([]byte{}, data...), hash...))
	sig, err := ecdsa.SignASN1(rand.Reader, f.c.Key, digest[:])
	if err != nil {
		panic(err) // a key on P-256
	}
	out := map[int]any{1: map[string]any{"id": f.c.ID, "type": "public-key"}, 2: data, 3: sig}
	if len(f.c.UserHandle) > 0 {
		u := map[string]any{"id": f.c.UserHandle}
		if f.all > 1 && f.flags&4 != 0 {
			u["name"] = f.c.UserName
		}
		out[4] = u
	}
	if first && f.all > 1 {
		out[5] = f.all
	}
	return out
}
