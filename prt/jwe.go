package prt

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/internal/strictjson"
)

const (
	// MaxReplySize is the size, in bytes, of the largest reply that is read.
	MaxReplySize = 1 << 20

	maxHeaderSize  = 16 << 10
	maxContextSize = 512 // a TPM computes an HMAC over at most 1024 bytes in one command
	gcmIVSize      = 12
	gcmTagSize     = 16

	// WrappedKeySize is the size of a wrapped session key: one RSA-2048 block.
	WrappedKeySize = 256
)

// jwe is a JWE in the compact serialisation (RFC 7516 7.1), decoded.
type jwe struct {
	protected           string // part 1 as sent: the AAD of GCM
	header              *strictjson.Object
	key, iv, data, mark []byte // mark is the authentication tag
}

func parseJWE(s string) (*jwe, error) {
	if len(s) > MaxReplySize {
		return nil, badReply("JWE is too large")
	}
	parts := strings.Split(s, ".")
	if len(parts) != 5 {
		return nil, badReply("JWE does not have five parts")
	}
	j := &jwe{protected: parts[0]}
	head, err := decodeURL(parts[0])
	if err != nil {
		return nil, badReply("JWE header is not base64url")
	}
	if j.header, err = strictjson.Parse(head, maxHeaderSize); err != nil {
		return nil, badReplyErr("JWE header", err)
	}
	for i, p := range []struct {
		name string
		to   *[]byte
	}{{"encrypted key", &j.key}, {"IV", &j.iv}, {"ciphertext", &j.data}, {"tag", &j.mark}} {
		if *p.to, err = decodeURL(parts[i+1]); err != nil {
			return nil, badReply("JWE " + p.name + " is not base64url")
		}
	}
	return j, nil
}

// wrappedSessionKey returns the session key of a session_key_jwe, encrypted to
// the transport key with RSA-OAEP under SHA-1 (MS-OAPXBC 3.2.5.1.2.2). The
// content encryption key IS the session key. The body is a dummy, one space
// under an empty AAD where RFC 7516 wants the header. It is ignored: the key is
// authenticated by the replies that decrypt under it.
func wrappedSessionKey(s string) ([]byte, error) {
	j, err := parseJWE(s)
	if err != nil {
		return nil, err
	}
	if alg := j.header.String("alg"); alg != "RSA-OAEP" {
		return nil, badReply("session_key_jwe is not RSA-OAEP")
	}
	switch {
	case len(j.key) != WrappedKeySize:
		return nil, badReply(fmt.Sprintf("session_key_jwe wraps %d bytes, not %d", len(j.key), WrappedKeySize))
	case len(j.iv) != gcmIVSize, len(j.mark) != gcmTagSize:
		return nil, badReply("session_key_jwe has a truncated body")
	}
	return j.key, nil
}

// open decrypts a reply that the session key encrypts (MS-OAPXBC 3.2.5.1.3.2).
// The IV, not enc, says which cipher it is: 12 bytes and a tag are AES-256-GCM
// with the header as AAD, 16 bytes without a tag are AES-256-CBC with PKCS #7
// padding and no authentication at all. valid decides whether the plaintext is
// acceptable; every failure is [ErrDecrypt].
func (s Session) open(ctx context.Context, j *jwe, valid func([]byte) bool) ([]byte, error) {
	context, err := j.context()
	if err != nil {
		return nil, err
	}
	if s.Key == nil {
		return nil, badRequest("no session key")
	}
	key, err := s.deriveReply(ctx, context)
	if err != nil {
		return nil, fmt.Errorf("prt: deriving the reply key: %w", err)
	}
	defer secret.Wipe(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, ErrDecrypt
	}
	plain, ok := j.decrypt(block)
	if !valid(plain) || !ok {
		secret.Wipe(plain)
		return nil, ErrDecrypt
	}
	return plain, nil
}

func (j *jwe) decrypt(block cipher.Block) (plain []byte, ok bool) {
	if len(j.iv) == aes.BlockSize {
		return decryptCBC(block, j.iv, j.data)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, false
	}
	sealed := append(bytes.Clone(j.data), j.mark...)
	plain, err = gcm.Open(nil, j.iv, sealed, []byte(j.protected))
	return plain, err == nil
}

// context checks what can be checked without a key and returns the ctx header,
// which Entra sends as standard base64.
func (j *jwe) context() ([]byte, error) {
	if alg := j.header.String("alg"); alg != "dir" {
		return nil, badReply("JWE is not for a shared key (alg dir)")
	}
	if len(j.key) != 0 {
		return nil, badReply("JWE has an encrypted key although alg is dir")
	}
	gcm := len(j.iv) == gcmIVSize && len(j.mark) == gcmTagSize
	cbc := len(j.iv) == aes.BlockSize && len(j.mark) == 0 && len(j.data) > 0 && len(j.data)%aes.BlockSize == 0
	if !gcm && !cbc {
		return nil, badReply("JWE is neither AES-GCM nor AES-CBC by its lengths")
	}
	ctx, err := decodeStdOrURL(j.header.String("ctx"))
	switch {
	case err != nil:
		return nil, badReply("JWE ctx is not base64")
	case len(ctx) == 0:
		return nil, badReply("JWE has no ctx")
	case len(ctx) > maxContextSize:
		return nil, badReply(fmt.Sprintf("JWE ctx is longer than %d bytes", maxContextSize))
	}
	return ctx, nil
}

// decryptCBC decrypts and removes the padding without branching on what it
// found. If the padding is bad, plain is the whole plaintext, so that the
// caller does the same work as with good padding.
func decryptCBC(block cipher.Block, iv, data []byte) (plain []byte, ok bool) {
	plain = make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	pad := int(plain[len(plain)-1])
	good := subtle.ConstantTimeLessOrEq(1, pad) & subtle.ConstantTimeLessOrEq(pad, aes.BlockSize)
	for i, b := range plain[len(plain)-aes.BlockSize:] {
		inPad := subtle.ConstantTimeLessOrEq(aes.BlockSize-pad, i)
		good &= subtle.ConstantTimeSelect(inPad, subtle.ConstantTimeByteEq(b, byte(pad)), 1)
	}
	return plain[:len(plain)-subtle.ConstantTimeSelect(good, pad, 0)], good == 1
}

// decodeURL decodes base64url without padding. Unlike encoding/base64 it
// refuses line breaks, so that every value has one encoding only.
func decodeURL(s string) ([]byte, error) {
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	return b64url.DecodeString(s)
}

// decodeStdOrURL decodes base64 in either alphabet, padded or not.
func decodeStdOrURL(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	if strings.ContainsAny(s, "-_") {
		return base64.RawURLEncoding.Strict().DecodeString(s)
	}
	return base64.RawStdEncoding.Strict().DecodeString(s)
}
