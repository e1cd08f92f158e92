package ctap2

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
)

// Subcommands of authenticatorClientPIN (CTAP 2.1, 6.5.5).
const (
	pinRetries         = 0x01
	pinKeyAgreement    = 0x02
	pinTokenLegacy     = 0x05
	pinTokenByBuiltIn  = 0x06
	pinTokenByPIN      = 0x09
	permissionToAssert = 0x02
)

type pinRequest struct {
	Protocol     int      `cbor:"1,keyasint"`
	Subcommand   int      `cbor:"2,keyasint"`
	KeyAgreement *coseKey `cbor:"3,keyasint,omitempty"`
	PINHash      []byte   `cbor:"6,keyasint,omitempty"`
	Permissions  int      `cbor:"9,keyasint,omitempty"`
	RelyingParty string   `cbor:"10,keyasint,omitempty"`
}

type pinReply struct {
	KeyAgreement *coseKey `cbor:"1,keyasint"`
	Token        []byte   `cbor:"2,keyasint"`
	Retries      *int     `cbor:"3,keyasint"`
}

// A coseKey is a public key on P-256 for key agreement (6.5.6).
type coseKey struct {
	Type      int    `cbor:"1,keyasint"`
	Algorithm int    `cbor:"3,keyasint"`
	Curve     int    `cbor:"-1,keyasint"`
	X         []byte `cbor:"-2,keyasint"`
	Y         []byte `cbor:"-3,keyasint"`
}

// COSE (RFC 9053). The specification prescribes this algorithm, and notes that it is
// not the one that is actually used.
const (
	coseEC2       = 2
	coseECDHES256 = -25
	coseP256      = 1

	coordinate = 32 // bytes
)

func (k *coseKey) public() (*ecdh.PublicKey, error) {
	if k == nil || k.Type != coseEC2 || k.Curve != coseP256 || len(k.X) != coordinate || len(k.Y) != coordinate {
		return nil, ErrMalformed
	}
	p, err := ecdh.P256().NewPublicKey(slices.Concat([]byte{4}, k.X, k.Y))
	if err != nil {
		return nil, ErrMalformed // not on the curve
	}
	return p, nil
}

func coseOf(p *ecdh.PublicKey) *coseKey {
	b := p.Bytes()
	return &coseKey{Type: coseEC2, Algorithm: coseECDHES256, Curve: coseP256, X: b[1 : 1+coordinate], Y: b[1+coordinate:]}
}

// A protocol is a PIN/UV auth protocol, of version 1 or 2 (6.5.6, 6.5.7).
type protocol int

// protocolOf chooses the best protocol that both sides know.
func protocolOf(i *Info) (protocol, error) {
	switch {
	case slices.Contains(i.Protocols, 2):
		return 2, nil
	case slices.Contains(i.Protocols, 1), len(i.Protocols) == 0:
		return 1, nil
	}
	return 0, errors.New("the security key supports no PIN protocol that this package supports")
}

// keys derives the key that authenticates and the one that encrypts from the shared
// point.
func (p protocol) keys(z []byte) (auth, enc []byte, err error) {
	if p == 1 {
		sum := sha256.Sum256(z)
		return sum[:], sum[:], nil
	}
	salt := make([]byte, sha256.Size)
	if auth, err = hkdf.Key(sha256.New, z, salt, "CTAP2 HMAC key", 32); err != nil {
		return nil, nil, err
	}
	enc, err = hkdf.Key(sha256.New, z, salt, "CTAP2 AES key", 32)
	return auth, enc, err
}

// encrypt encrypts whole blocks with AES-256-CBC. Version 1 uses a zero IV; in
// version 2 the IV is random and comes first.
func (p protocol) encrypt(key, plain []byte) ([]byte, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	iv := make([]byte, aes.BlockSize)
	var before []byte
	if p == 2 {
		_, _ = rand.Read(iv) // it never fails
		before = iv
	}
	out := make([]byte, len(plain))
	cipher.NewCBCEncrypter(b, iv).CryptBlocks(out, plain)
	return slices.Concat(before, out), nil
}

// decrypt is the inverse of encrypt.
func (p protocol) decrypt(key, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, ErrMalformed
	}
	iv := make([]byte, aes.BlockSize)
	if p == 2 {
		iv, sealed = sealed[:aes.BlockSize], sealed[aes.BlockSize:]
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(b, iv).CryptBlocks(out, sealed)
	return out, nil
}

// authenticate returns the MAC of a message, of which version 1 sends half.
func (p protocol) authenticate(key, message []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(message)
	if p == 1 {
		return m.Sum(nil)[:16]
	}
	return m.Sum(nil)
}

// tokenSize reports whether a token may have n bytes (6.5.6: 16 or 32; 6.5.7: 32).
func (p protocol) tokenSize(n int) bool { return n == 32 || p == 1 && n == 16 }

// A Token proves to the key that its user was verified. Clear it after use.
type Token struct {
	protocol protocol
	secret   []byte
}

// Clear overwrites the token.
func (t *Token) Clear() {
	if t != nil {
		clear(t.secret)
	}
}

// String does not show the token.
func (*Token) String() string { return "[redacted]" }

// GoString does not show it either.
func (*Token) GoString() string { return "[redacted]" }

// Retries asks how many wrong PINs the key allows before it blocks permanently.
func Retries(ctx context.Context, t Transport, i *Info) (int, error) {
	p, err := protocolOf(i)
	if err != nil {
		return 0, err
	}
	var out pinReply
	if err := send(ctx, t, commandClientPIN, pinRequest{Protocol: int(p), Subcommand: pinRetries}, &out, nil); err != nil {
		return 0, err
	}
	if out.Retries == nil || *out.Retries < 0 {
		return 0, ErrMalformed
	}
	return *out.Retries, nil
}

// TokenByPIN sends the PIN to the key, once, and gets a token that may be used for
// assertions to the relying party. The PIN is NFC, in UTF-8; the caller clears it.
func TokenByPIN(ctx context.Context, t Transport, i *Info, pin []byte, relyingParty string) (*Token, error) {
	sum := sha256.Sum256(pin)
	defer clear(sum[:])
	q := pinRequest{Subcommand: pinTokenLegacy}
	if i.Has("pinUvAuthToken") {
		q.Subcommand, q.Permissions, q.RelyingParty = pinTokenByPIN, permissionToAssert, relyingParty
	}
	return token(ctx, t, i, q, sum[:16], nil)
}

// TokenByBuiltIn has the key verify its user by itself, such as by a fingerprint.
func TokenByBuiltIn(ctx context.Context, t Transport, i *Info, relyingParty string, touch func() error) (*Token, error) {
	q := pinRequest{Subcommand: pinTokenByBuiltIn, Permissions: permissionToAssert, RelyingParty: relyingParty}
	return token(ctx, t, i, q, nil, touch)
}

// token agrees on a key and asks for a token under it.
func token(ctx context.Context, t Transport, i *Info, q pinRequest, pinHash []byte, touch func() error) (*Token, error) {
	p, err := protocolOf(i)
	if err != nil {
		return nil, err
	}
	q.Protocol = int(p)
	enc, ours, err := agree(ctx, t, p)
	if err != nil {
		return nil, err
	}
	defer clear(enc)
	q.KeyAgreement = ours
	if pinHash != nil {
		if q.PINHash, err = p.encrypt(enc, pinHash); err != nil {
			return nil, err
		}
	}
	var out pinReply
	if err := send(ctx, t, commandClientPIN, q, &out, touch); err != nil {
		return nil, err
	}
	secret, err := p.decrypt(enc, out.Token)
	if err != nil {
		return nil, err
	}
	if !p.tokenSize(len(secret)) {
		clear(secret)
		return nil, ErrMalformed
	}
	return &Token{protocol: p, secret: secret}, nil
}

// agree gets the key's public key, makes one of ours, and derives the encryption key
// that both share.
func agree(ctx context.Context, t Transport, p protocol) (enc []byte, ours *coseKey, err error) {
	var out pinReply
	if err := send(ctx, t, commandClientPIN, pinRequest{Protocol: int(p), Subcommand: pinKeyAgreement}, &out, nil); err != nil {
		return nil, nil, err
	}
	theirs, err := out.KeyAgreement.public()
	if err != nil {
		return nil, nil, err
	}
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	z, err := private.ECDH(theirs)
	if err != nil {
		return nil, nil, err
	}
	defer clear(z)
	auth, enc, err := p.keys(z)
	if err != nil {
		return nil, nil, err
	}
	if p == 2 {
		clear(auth) // nothing here is sent under it
	}
	return enc, coseOf(private.PublicKey()), nil
}
