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

func newSalt() ([]byte, error) {
	salt := make([]byte, saltSize)
	_, err := rand.Read(salt)
	return salt, err
}

// authValue turns secrets of any form into the auth value of an object: 32
// characters of base64url. It has no zero byte, which go-tpm and firmwares
// treat differently (google/go-tpm#446, canonical/go-tpm2#3), and says nothing
// of a PIN to who watches it being set.
func authValue(info string, salt []byte, secrets ...[]byte) []byte {
	var secret []byte
	for _, s := range secrets {
		secret = binary.BigEndian.AppendUint32(secret, uint32(len(s)))
		secret = append(secret, s...)
	}
	key, err := hkdf.Key(sha256.New, secret, salt, info, 24)
	if err != nil {
		panic(fmt.Sprintf("tpm: HKDF: %v", err)) // only for lengths out of range
	}
	return base64.RawURLEncoding.AppendEncode(nil, key)
}

// keyAuth returns the auth value of objects without a PIN: nothing unless the
// app gave a secret of its own.
func (t *TPM) keyAuth() []byte {
	if t.appAuth.IsZero() {
		return nil
	}
	return authValue("prtbroker key auth", nil, t.appAuth.Bytes())
}

func (t *TPM) pinAuth(pin, salt []byte) []byte {
	return authValue("prtbroker pin", salt, pin, t.appAuth.Bytes())
}

// pinSealAuth is for what [TPM.SealPIN] seals.
func (t *TPM) pinSealAuth(pin, salt, aad []byte) []byte {
	return authValue("prtbroker pin seal", salt, pin, aad, t.appAuth.Bytes())
}

// sealAuth binds a sealed object to its aad, and to the attestation key that
// its blob names: the TPM unseals only for who proves to know them.
func (t *TPM) sealAuth(aad, ak []byte) []byte {
	return authValue("prtbroker seal", ak, aad, t.appAuth.Bytes())
}
