package broker

import (
	"context"
	"encoding/base64"
	"regexp"
)

// keyFor returns the key that a token is to be bound to.
func (b *Broker) keyFor(ctx context.Context, p PoP) (*proofKey, error) {
	if p.KeyID == "" {
		return b.proofKey(ctx)
	}
	return foreignKey(p)
}

// keyIDPattern is what a thumbprint looks like: a SHA-256, base64url. The
// length is left open, for other hashes.
var keyIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{20,128}$`)

// foreignKey is a key of the caller's own, of which only the thumbprint is
// known here.
func foreignKey(p PoP) (*proofKey, error) {
	if !keyIDPattern.MatchString(p.KeyID) {
		return nil, &Error{kind: ErrAppConfig, detail: "PoP.KeyID is not a thumbprint in base64url"}
	}
	if p.Method != "" || p.URL != "" || p.Nonce != "" || p.Claims != nil {
		return nil, &Error{kind: ErrAppConfig, detail: "a token for a key of the caller's own is not put into a request here: PoP has a KeyID and more"}
	}
	return &proofKey{
		thumbprint:   p.KeyID,
		confirmation: base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"` + p.KeyID + `"}`)),
	}, nil
}
