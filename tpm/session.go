package tpm

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// A direction says which first parameter of a command is encrypted. The TPM
// takes it per command: Unseal has nothing to encrypt on the way in, Sign
// nothing on the way out, and asking for it is TPM_RC_ATTRIBUTES.
type direction uint8

const (
	clearText  direction = 0
	encryptIn  direction = 1 << 0
	encryptOut direction = 1 << 1
	encryptAll           = encryptIn | encryptOut
)

const nonceSize = 16

// errForged means that a response does not carry the session's HMAC: it does
// not come from the TPM that the session was salted to.
var errForged = errors.New("the response is not authenticated by the TPM")

// A session is an HMAC or policy session (TPM 2.0 Library, Part 1, 19), salted to a
// storage key whose public area is pinned, so that only the TPM that holds it
// can answer or read what is encrypted.
//
// It differs from the sessions of go-tpm in that the auth value and the
// direction are given with each command, so that one session serves them all,
// and in that an auth value keeps its inner zero bytes (google/go-tpm#446).
type session struct {
	handle   tpm2.TPMHandle
	anchor   string // name of the key it is salted to; empty: not salted
	key      []byte
	nonceTPM []byte
}

var aes128CFB = tpm2.TPMTSymDef{
	Algorithm: tpm2.TPMAlgAES,
	KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
	Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
}

// startSession costs one command. A zero handle makes a session without salt,
// which proves an auth value and protects nothing else.
func startSession(t transport.TPM, kind tpm2.TPMSE, handle tpm2.TPMHandle, anchor *storageKey) (*session, error) {
	nonceCaller := make([]byte, nonceSize)
	if _, err := rand.Read(nonceCaller); err != nil {
		return nil, err
	}
	cmd := tpm2.StartAuthSession{
		TPMKey:      tpm2.TPMRHNull,
		Bind:        tpm2.TPMRHNull,
		NonceCaller: tpm2.TPM2BNonce{Buffer: nonceCaller},
		SessionType: kind,
		Symmetric:   aes128CFB,
		AuthHash:    tpm2.TPMAlgSHA256,
	}
	s := &session{}
	var salt []byte
	if anchor != nil {
		pub, err := tpm2.ImportEncapsulationKey(&anchor.public)
		if err != nil {
			return nil, err
		}
		var secret []byte
		if salt, secret, err = tpm2.CreateEncryptedSalt(rand.Reader, pub); err != nil {
			return nil, err
		}
		cmd.TPMKey = handle
		cmd.EncryptedSalt = tpm2.TPM2BEncryptedSecret{Buffer: secret}
		s.anchor = string(anchor.name)
	}
	rsp, err := cmd.Execute(t)
	if err != nil {
		return nil, err
	}
	s.handle = tpm2.TPMHandle(rsp.SessionHandle.HandleValue())
	s.nonceTPM = rsp.NonceTPM.Buffer
	if salt != nil {
		s.key = tpm2.KDFa(crypto.SHA256, salt, "ATH", s.nonceTPM, nonceCaller, 256)
	}
	return s, nil
}

// mac computes the authorisation HMAC of a command or a response.
func (s *session) mac(auth, pHash, newer, older, extra []byte, attributes byte) []byte {
	// HMAC fills a short key up with zeros. Where they are there already, an auth value
	// of the owner's may be short under GODEBUG=fips140=only.
	value := trimAuth(auth)
	key := make([]byte, max(strictKeySize, len(s.key)+len(value)))
	copy(key[copy(key, s.key):], value)
	h := hmac.New(sha256.New, key)
	h.Write(pHash)
	h.Write(newer)
	h.Write(older)
	h.Write(extra)
	h.Write([]byte{attributes})
	return h.Sum(nil)
}

// crypt encrypts or decrypts a parameter in place.
func (s *session) crypt(auth, parameter, newer, older []byte, decrypt bool) error {
	value := append(append([]byte(nil), s.key...), trimAuth(auth)...)
	keyIV := tpm2.KDFa(crypto.SHA256, value, "CFB", newer, older, (16+aes.BlockSize)*8)
	block, err := aes.NewCipher(keyIV[:16])
	if err != nil {
		return fmt.Errorf("tpm: %w", err)
	}
	cfb(block, keyIV[16:], parameter, decrypt)
	return nil
}

// cfb is what the TPM encrypts parameters with (Part 1, 21.3), authenticated
// by the session's HMAC. crypto/cipher has it too, deprecated, and refuses it
// under GODEBUG=fips140=only. It overwrites iv.
func cfb(block cipher.Block, iv, data []byte, decrypt bool) {
	var stream [aes.BlockSize]byte
	for len(data) > 0 {
		block.Encrypt(stream[:], iv)
		n := min(len(data), len(stream))
		if decrypt {
			copy(iv, data[:n])
		}
		subtle.XORBytes(data[:n], data[:n], stream[:n])
		if !decrypt {
			copy(iv, data[:n])
		}
		data = data[n:]
	}
	clear(stream[:])
}

// trimAuth drops trailing zero bytes, as the TPM does (Part 1, 19.6.5), and
// only those.
func trimAuth(auth []byte) []byte {
	for len(auth) > 0 && auth[len(auth)-1] == 0 {
		auth = auth[:len(auth)-1]
	}
	return auth
}
