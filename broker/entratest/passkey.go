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
// use it; the server needs the public key alone.
type Passkey struct {
	ID     []byte            // credential id
	Public crypto.PublicKey  // *ecdsa.PublicKey (P-256) or *rsa.PublicKey; nil: that of Key
	Key    *ecdsa.PrivateKey // nil: somebody else's authenticator holds it
	AAGUID string            // model of the authenticator; "": unknown
	// UserHandle is what the authenticator tells of the user, so that nobody
	// has to type a name; nil: the object id of the user, as text.
	UserHandle []byte
	// Count is the signature counter. A [Person] counts it up with every use;
	// the server refuses one that does not rise, as that of a cloned
	// authenticator, unless it is zero on both sides. Copy a passkey before
	// somebody signs in with it, not meanwhile.
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

// AddPasskey registers a passkey of a user. A credential id that is registered
// already, by whomever, is an error (WebAuthn Level 2, 7.1, step 22).
func (s *Server) AddPasskey(username string, k Passkey) error {
	return s.dir.AddPasskey(username, directory.PasskeySpec(k))
}
