package mint

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"

	"github.com/prtbroker/prtbroker/internal/kdf"
)

// contextSize is the length of the random ctx of a reply, in bytes.
const contextSize = 24

// WrapSessionKey makes session_key_jwe: the session key is the content
// encryption key, wrapped with RSA-OAEP under SHA-1. The body is a dummy, a
// single space, and deviates from RFC 7516 as Entra's does: its additional
// authenticated data is empty.
func (m *Mint) WrapSessionKey(transport *rsa.PublicKey, key []byte) (string, error) {
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, transport, key, nil)
	if err != nil {
		return "", err
	}
	gcm := mustGCM(key)
	iv := m.Keeper.Rand.Bytes(gcm.NonceSize())
	sealed := gcm.Seal(nil, iv, []byte(" "), nil)
	return compactJWE([]byte(`{"enc":"A256GCM","alg":"RSA-OAEP"}`), wrapped, iv, sealed[:1], sealed[1:]), nil
}

// EncryptReply encrypts a reply under a key derived from the session key, with
// version 1 of the derivation whatever the request used. The header always
// says A256GCM; a 16-byte IV and an empty tag indicate AES-256-CBC.
func (m *Mint) EncryptReply(sessionKey []byte, gcmAsked *bool, v any) any {
	if m.PlainReplies {
		return v
	}
	useGCM := m.GCMReplies
	if gcmAsked != nil && *gcmAsked {
		useGCM = true
	}
	plain, err := json.Marshal(v)
	if err != nil {
		panic("entratest: " + err.Error()) // replies are plain maps
	}
	ctx := m.Keeper.Rand.Bytes(contextSize)
	key := kdf.Derive(sessionKey, []byte(kdf.Label), ctx)
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Enc string `json:"enc"`
		Ctx string `json:"ctx"`
	}{"dir", "A256GCM", base64.StdEncoding.EncodeToString(ctx)})
	if err != nil {
		panic("entratest: " + err.Error())
	}
	if useGCM {
		gcm := mustGCM(key[:])
		iv := m.Keeper.Rand.Bytes(gcm.NonceSize())
		aad := base64.RawURLEncoding.EncodeToString(header)
		sealed := gcm.Seal(nil, iv, plain, []byte(aad))
		tag := len(sealed) - gcm.Overhead()
		return compactJWE(header, nil, iv, sealed[:tag], sealed[tag:])
	}
	iv := m.Keeper.Rand.Bytes(aes.BlockSize)
	return compactJWE(header, nil, iv, cbc(key[:], iv, plain), nil)
}

func cbc(key, iv, plain []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("entratest: " + err.Error()) // the key has 32 bytes
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	out := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, out)
	return out
}

func mustGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("entratest: " + err.Error()) // the key has 32 bytes
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("entratest: " + err.Error())
	}
	return gcm
}

func compactJWE(parts ...[]byte) string {
	var b bytes.Buffer
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(base64.RawURLEncoding.EncodeToString(p))
	}
	return b.String()
}
