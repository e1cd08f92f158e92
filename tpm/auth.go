package tpm

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

const saltSize = 16

// strictKeySize is how many bytes the key of an HMAC has to have under
// GODEBUG=fips140=only, which panics or fails otherwise: 112 bits.
const strictKeySize = 14

func newSalt() ([]byte, error) {
	salt := make([]byte, saltSize)
	_, err := rand.Read(salt)
	return salt, err
}

// authValue turns secrets of any form into the auth value of an object: 32
// characters of base64url. It has no zero byte, which go-tpm and firmwares
// treat differently (google/go-tpm#446, canonical/go-tpm2#3), and tells an
// observer who sees it being set nothing about a PIN.
func authValue(info string, salt []byte, secrets ...[]byte) []byte {
	size := 0
	for _, s := range secrets {
		size += 4 + len(s)
	}
	secret := make([]byte, 0, max(strictKeySize, size)) // growing it would leave copies behind
	defer func() { clear(secret) }()
	for _, s := range secrets {
		secret = binary.BigEndian.AppendUint32(secret, uint32(len(s)))
		secret = append(secret, s...)
	}
	for len(secret) < strictKeySize {
		secret = append(secret, 0xff) // no secret is that long
	}
	key, err := hkdf.Key(sha256.New, secret, salt, info, 24)
	if err != nil {
		panic(fmt.Sprintf("tpm: HKDF: %v", err)) // only for lengths out of range
	}
	return base64.RawURLEncoding.AppendEncode(nil, key)
}

// keyAuth returns the auth value of objects without a PIN: empty unless the app
// gave a secret of its own.
func (t *TPM) keyAuth() []byte {
	if t.appAuth.IsZero() {
		return nil
	}
	return authValue("prtbroker key auth", nil, t.appAuth.Bytes())
}

// newAuth returns the auth value of a new key, with the salt of its PIN if it
// has one.
func (t *TPM) newAuth(pin []byte) (value, salt []byte, err error) {
	if pin == nil {
		return t.keyAuth(), nil, nil
	}
	if salt, err = newSalt(); err != nil {
		return nil, nil, err
	}
	return t.pinAuth(pin, salt), salt, nil
}

func (t *TPM) pinAuth(pin, salt []byte) []byte {
	return authValue("prtbroker pin", salt, pin, t.appAuth.Bytes())
}

// pinSealAuth is for what [TPM.SealPIN] seals.
func (t *TPM) pinSealAuth(pin, salt, aad []byte) []byte {
	return authValue("prtbroker pin seal", salt, pin, aad, t.appAuth.Bytes())
}

// sealAuth binds a sealed object to its aad, and to the attestation key that
// its blob names: the TPM unseals only with proof that the caller knows both.
func (t *TPM) sealAuth(aad, ak []byte) []byte {
	return authValue("prtbroker seal", ak, aad, t.appAuth.Bytes())
}
