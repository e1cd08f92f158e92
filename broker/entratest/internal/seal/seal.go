// Package seal makes the opaque tokens of the emulator: JSON records encrypted with
// AES-256-GCM and bound to their kind. As with the real service, the state of a
// session lives in the token, so that the server's memory does not grow with
// the tokens it has issued.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Kind names what a token is. It is also the prefix of the token's text.
type Kind string

// MaxSize limits a token, in bytes of text.
const MaxSize = 16 << 10

// ErrInvalid is returned for a token that this Box did not seal as this kind.
var ErrInvalid = errors.New("seal: not a token of this kind from this server")

// Box seals and opens tokens. It is safe for concurrent use when its source
// of randomness is.
type Box struct {
	aead cipher.AEAD
	rand io.Reader
}

// New returns a Box for a 32-byte key.
func New(key []byte, rand io.Reader) *Box {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("seal: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("seal: " + err.Error())
	}
	return &Box{aead: aead, rand: rand}
}

// Seal returns the token for v.
func (b *Box) Seal(k Kind, v any) string {
	plain, err := json.Marshal(v)
	if err != nil {
		panic("seal: " + err.Error()) // records are plain structs
	}
	nonce := make([]byte, b.aead.NonceSize(), b.aead.NonceSize()+len(plain)+b.aead.Overhead())
	if _, err := io.ReadFull(b.rand, nonce); err != nil {
		panic("seal: " + err.Error())
	}
	return string(k) + base64.RawURLEncoding.EncodeToString(b.aead.Seal(nonce, nonce, plain, []byte(k)))
}

// Open decrypts a token into v.
func (b *Box) Open(k Kind, token string, v any) error {
	text, ok := strings.CutPrefix(token, string(k))
	if !ok || len(token) > MaxSize {
		return ErrInvalid
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < b.aead.NonceSize() {
		return ErrInvalid
	}
	plain, err := b.aead.Open(nil, raw[:b.aead.NonceSize()], raw[b.aead.NonceSize():], []byte(k))
	if err != nil {
		return ErrInvalid
	}
	return json.Unmarshal(plain, v)
}
