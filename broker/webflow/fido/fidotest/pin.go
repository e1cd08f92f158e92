package fidotest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
)

// How many wrong PINs a key allows: in total, and in a row until it is unplugged
// (CTAP 2.1, 6.5.5.7).
const (
	maxRetries = 8
	maxInARow  = 3
)

// pinState is what a key remembers of its PIN.
type pinState struct {
	retries, wrong int
	agreement      *ecdh.PrivateKey
	token          []byte
	tokenRP        string // the relying party that the token is bound to; "": none yet
	tokenFor       int    // permissions
}

func (p *pinState) powerUp() {
	p.wrong, p.token = 0, nil
	p.newAgreement()
}

func (p *pinState) newAgreement() {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // it never fails
	}
	p.agreement = key
}

// shared derives the keys that both sides share: the MAC key and the encryption
// key.
func shared(protocol int, ours *ecdh.PrivateKey, x, y []byte) (macKey, aesKey []byte, ok bool) {
	theirs, err := ecdh.P256().NewPublicKey(append(append([]byte{4}, x...), y...))
	if err != nil {
		return nil, nil, false
	}
	z, err := ours.ECDH(theirs)
	if err != nil {
		return nil, nil, false
	}
	if protocol == 1 {
		h := sha256.Sum256(z)
		return h[:], h[:], true
	}
	zero := make([]byte, 32)
	macKey, err = hkdf.Key(sha256.New, z, zero, "CTAP2 HMAC key", 32)
	if err != nil {
		return nil, nil, false
	}
	aesKey, err = hkdf.Key(sha256.New, z, zero, "CTAP2 AES key", 32)
	return macKey, aesKey, err == nil
}

func open(protocol int, key, sealed []byte) ([]byte, bool) {
	iv := make([]byte, 16)
	if protocol == 2 {
		if len(sealed) < 16 {
			return nil, false
		}
		iv, sealed = sealed[:16], sealed[16:]
	}
	if len(sealed) == 0 || len(sealed)%16 != 0 {
		return nil, false
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	out := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(b, iv).CryptBlocks(out, sealed)
	return out, true
}

func seal(protocol int, key, plain []byte) []byte {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	iv, out := make([]byte, 16), []byte(nil)
	if protocol == 2 {
		_, _ = rand.Read(iv)
		out = append(out, iv...)
	}
	sealed := make([]byte, len(plain))
	cipher.NewCBCEncrypter(b, iv).CryptBlocks(sealed, plain)
	return append(out, sealed...)
}

// check compares a MAC of the token.
func (p *pinState) check(protocol int, message, mac []byte) bool {
	if p.token == nil {
		return false
	}
	h := hmac.New(sha256.New, p.token)
	h.Write(message)
	want := h.Sum(nil)
	if protocol == 1 {
		want = want[:16]
	}
	return subtle.ConstantTimeCompare(want, mac) == 1
}

// clientPIN is authenticatorClientPIN (6.5.5).
func (k *Key) clientPIN(q map[any]any, wait func() error) (map[int]any, byte) {
	protocol, sub := integer(q[uint64(1)]), integer(q[uint64(2)])
	k.mu.Lock()
	defer k.mu.Unlock()
	k.commands = append(k.commands, byte(sub))
	known := false
	for _, p := range k.o.Protocols {
		known = known || p == protocol
	}
	if !known {
		return nil, statusInvalidParameter
	}
	switch sub {
	case 0x01:
		return map[int]any{3: k.pin.retries}, 0
	case 0x02:
		b := k.pin.agreement.PublicKey().Bytes()
		return map[int]any{1: map[int]any{1: 2, 3: -25, -1: 1, -2: b[1:33], -3: b[33:]}}, 0
	case 0x05, 0x09:
		if (sub == 0x09) == k.o.CTAP20 {
			if k.o.CTAP20 {
				return nil, statusInvalidSubcommand
			}
			return nil, statusMissingParameter // this key requires permissions
		}
		return k.tokenByPIN(protocol, sub, q)
	case 0x06:
		return k.tokenByBuiltIn(protocol, q, wait)
	}
	return nil, statusInvalidSubcommand
}

func (k *Key) tokenByPIN(protocol, sub int, q map[any]any) (map[int]any, byte) {
	p := &k.pin
	switch {
	case k.o.PIN == "":
		return nil, statusPINNotSet
	case p.retries == 0:
		return nil, statusPINBlocked
	case p.wrong >= maxInARow:
		return nil, statusPINAuthBlocked
	case sub == 0x09 && integer(q[uint64(9)]) == 0:
		return nil, statusMissingParameter
	}
	aesKey, status := k.agreed(protocol, q)
	if status != 0 {
		return nil, status
	}
	sealed, _ := q[uint64(6)].([]byte)
	hash, ok := open(protocol, aesKey, sealed)
	if !ok {
		return nil, statusInvalidParameter
	}
	p.retries--
	want := sha256.Sum256([]byte(k.o.PIN))
	if subtle.ConstantTimeCompare(hash, want[:16]) != 1 {
		p.newAgreement()
		p.wrong++
		switch {
		case p.retries == 0:
			return nil, statusPINBlocked
		case p.wrong >= maxInARow:
			return nil, statusPINAuthBlocked
		}
		return nil, statusPINInvalid
	}
	p.retries, p.wrong = maxRetries, 0
	if k.o.ForcePINChange {
		return nil, statusPINPolicyViolation
	}
	return k.newToken(protocol, aesKey, q), 0
}

func (k *Key) tokenByBuiltIn(protocol int, q map[any]any, wait func() error) (map[int]any, byte) {
	if k.o.BuiltIn == nil || k.o.CTAP20 {
		return nil, statusInvalidSubcommand
	}
	k.mu.Unlock()
	err := wait()
	k.mu.Lock()
	if err != nil {
		return nil, statusOf(err)
	}
	aesKey, status := k.agreed(protocol, q)
	if status != 0 {
		return nil, status
	}
	return k.newToken(protocol, aesKey, q), 0
}

// agreed returns the encryption key that the program and the key agreed on.
func (k *Key) agreed(protocol int, q map[any]any) ([]byte, byte) {
	cose, _ := q[uint64(3)].(map[any]any)
	x, _ := cose[int64(-2)].([]byte)
	y, _ := cose[int64(-3)].([]byte)
	_, aesKey, ok := shared(protocol, k.pin.agreement, x, y)
	if !ok || integer(cose[uint64(1)]) != 2 || integer(cose[uint64(3)]) != -25 || integer(cose[int64(-1)]) != 1 {
		return nil, statusInvalidParameter
	}
	return aesKey, 0
}

func (k *Key) newToken(protocol int, aesKey []byte, q map[any]any) map[int]any {
	p := &k.pin
	p.token = make([]byte, 32)
	_, _ = rand.Read(p.token)
	p.tokenFor = integer(q[uint64(9)])
	if k.o.CTAP20 {
		p.tokenFor = permissionAssert
	}
	p.tokenRP, _ = q[uint64(10)].(string)
	return map[int]any{2: seal(protocol, aesKey, p.token)}
}
