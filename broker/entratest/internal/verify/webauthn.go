package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ErrAssertion is returned for an invalid WebAuthn assertion.
var ErrAssertion = errors.New("unusable WebAuthn assertion")

// Assertion is a WebAuthn assertion as the sign-in page posts it.
type Assertion struct {
	ID         string // base64url of the credential id
	UserHandle []byte
	clientData []byte
	authData   []byte
	signature  []byte
}

// ParseAssertion parses the JSON of the form field assertion.
func ParseAssertion(text string) (*Assertion, error) {
	var in struct {
		ID         string `json:"id"`
		ClientData string `json:"clientDataJSON"`
		AuthData   string `json:"authenticatorData"`
		Signature  string `json:"signature"`
		UserHandle string `json:"userHandle"`
	}
	if len(text) > MaxJWS || json.Unmarshal([]byte(text), &in) != nil {
		return nil, fmt.Errorf("%w: not a JSON object", ErrAssertion)
	}
	a := &Assertion{ID: strings.TrimRight(in.ID, "=")}
	for _, f := range []struct {
		name, text string
		to         *[]byte
	}{
		{"clientDataJSON", in.ClientData, &a.clientData}, {"authenticatorData", in.AuthData, &a.authData},
		{"signature", in.Signature, &a.signature}, {"userHandle", in.UserHandle, &a.UserHandle},
	} {
		raw, err := looseBase64(f.text)
		if err != nil {
			return nil, fmt.Errorf("%w: %s is not base64", ErrAssertion, f.name)
		}
		*f.to = raw
	}
	if a.ID == "" {
		return nil, fmt.Errorf("%w: id is missing", ErrAssertion)
	}
	return a, nil
}

// Flags of authenticator data (WebAuthn Level 2, 6.1).
const (
	flagUserPresent  = 1 << 0
	flagUserVerified = 1 << 2
)

// Verify checks the assertion (WebAuthn Level 2, 7.2) against a challenge. Parties
// maps the permitted origins to their relying party ids.
func (a *Assertion) Verify(pub crypto.PublicKey, challenge []byte, parties map[string]string) error {
	var cd struct {
		Type      string `json:"type"`
		Challenge string `json:"challenge"`
		Origin    string `json:"origin"`
	}
	if err := json.Unmarshal(a.clientData, &cd); err != nil {
		return fmt.Errorf("%w: clientDataJSON: %v", ErrAssertion, err)
	}
	if cd.Type != "webauthn.get" {
		return fmt.Errorf("%w: type is %.40q", ErrAssertion, cd.Type)
	}
	if cd.Challenge != base64.RawURLEncoding.EncodeToString(challenge) {
		return fmt.Errorf("%w: wrong challenge", ErrAssertion)
	}
	party, ok := parties[cd.Origin]
	if !ok {
		return fmt.Errorf("%w: origin %.80q", ErrAssertion, cd.Origin)
	}
	if len(a.authData) < 37 {
		return fmt.Errorf("%w: authenticatorData of %d bytes", ErrAssertion, len(a.authData))
	}
	if sum := sha256.Sum256([]byte(party)); !bytes.Equal(a.authData[:32], sum[:]) {
		return fmt.Errorf("%w: authenticatorData is for another relying party than %s", ErrAssertion, party)
	}
	if f := a.authData[32]; f&flagUserPresent == 0 || f&flagUserVerified == 0 {
		return fmt.Errorf("%w: the user was not verified (flags %#02x)", ErrAssertion, f)
	}
	return a.verifySignature(pub)
}

// Count returns the signature counter of an assertion that Verify accepted.
func (a *Assertion) Count() uint32 { return binary.BigEndian.Uint32(a.authData[33:37]) }

func (a *Assertion) verifySignature(pub crypto.PublicKey) error {
	cdHash := sha256.Sum256(a.clientData)
	sum := sha256.Sum256(append(bytes.Clone(a.authData), cdHash[:]...))
	ok := false
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(pub, sum[:], a.signature)
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], a.signature) == nil
	}
	if !ok {
		return fmt.Errorf("%w: signature does not verify", ErrAssertion)
	}
	return nil
}
