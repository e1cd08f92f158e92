package browser

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
	"sync/atomic"
)

// Relying party and origin of Entra's passkeys.
const (
	relyingParty = "login.microsoft.com"
	fidoOrigin   = "https://login.microsoft.com"
)

// Passkey is a passkey that a person holds, with its private key.
type Passkey struct {
	ID         []byte
	Public     crypto.PublicKey
	Key        *ecdsa.PrivateKey
	AAGUID     string
	UserHandle []byte
	Count      uint32
}

// sign signs the challenge of a page as an authenticator would.
func (b *browser) sign(pg *page) (string, error) {
	k := b.person.Passkey
	if k == nil || k.Key == nil {
		return "", &PageError{Page: "passkey", Text: "the person has no passkey"}
	}
	_, text, ok := strings.Cut(pg.config, "$Config=")
	end := strings.LastIndex(text, "}")
	var cfg struct {
		Challenge string `json:"sFidoChallenge"`
	}
	if !ok || end < 0 || json.Unmarshal([]byte(text[:end+1]), &cfg) != nil || cfg.Challenge == "" {
		return "", &PageError{Page: "passkey", Text: "the page has no challenge"}
	}
	clientData, err := json.Marshal(map[string]any{
		"type": "webauthn.get", "challenge": base64.RawURLEncoding.EncodeToString([]byte(cfg.Challenge)), "origin": fidoOrigin, "crossOrigin": false,
	})
	if err != nil {
		return "", err
	}
	party := sha256.Sum256([]byte(relyingParty))
	authData := append(party[:], 0x05) // user present and verified
	authData = binary.BigEndian.AppendUint32(authData, atomic.AddUint32(&k.Count, 1))
	cdHash := sha256.Sum256(clientData)
	sum := sha256.Sum256(append(append([]byte{}, authData...), cdHash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, k.Key, sum[:])
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	out, err := json.Marshal(map[string]string{"id": b64.EncodeToString(k.ID), "clientDataJSON": b64.EncodeToString(clientData),
		"authenticatorData": b64.EncodeToString(authData), "signature": b64.EncodeToString(sig), "userHandle": b64.EncodeToString(k.UserHandle)})
	return string(out), err
}
