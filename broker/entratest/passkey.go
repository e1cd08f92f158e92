package entratest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// Passkey is a FIDO2 credential. With Key it can also sign, and a [Person] can
// use it; the server needs only the public key.
type Passkey struct {
	ID     []byte            // credential id
	Public crypto.PublicKey  // *ecdsa.PublicKey (P-256) or *rsa.PublicKey; nil: that of Key
	Key    *ecdsa.PrivateKey // nil: held by an authenticator elsewhere
	AAGUID string            // model of the authenticator; "": unknown
	// UserHandle identifies the user in an assertion, so that the user need not
	// type a name; nil: the object id of the user, as text.
	UserHandle []byte
	// Count is the signature counter. A [Person] increments it with every use.
	// The server refuses a counter that does not increase, as a sign of a cloned
	// authenticator, unless it is zero on both sides. Do not copy a Passkey while
	// a sign-in uses it.
	Count uint32
}

// NewPasskey makes a passkey with a P-256 key.
func NewPasskey() (*Passkey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("entratest: %w", err)
	}
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("entratest: %w", err)
	}
	return &Passkey{ID: id, Key: key}, nil
}

// AddPasskey registers a passkey for a user. It is an error if any user has
// already registered the credential id (WebAuthn Level 2, 7.1, step 22).
func (s *Server) AddPasskey(username string, k Passkey) error {
	return s.world().dir.AddPasskey(username, directory.PasskeySpec(k))
}
