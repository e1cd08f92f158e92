package verify

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"time"
)

// Errors of Hello assertions.
var (
	ErrHelloNonce   = errors.New("Hello assertion without request_nonce")
	ErrHelloExpired = errors.New("Hello assertion outside its validity")
)

// Hello is a Hello (NGC) assertion.
type Hello struct {
	Kid    string // base64 of the SHA-256 of the key blob
	Issuer string // UPN
	Nonce  string
	jws    *JWS
	claims *Claims
}

// ParseHello parses an assertion. Verify checks its signature.
func ParseHello(assertion string) (*Hello, error) {
	j, err := ParseJWS(assertion)
	if err != nil {
		return nil, err
	}
	if j.Header.Use != "ngc" {
		return nil, fmt.Errorf("%w: header use is %.20q instead of ngc", ErrMalformed, j.Header.Use)
	}
	if j.Header.Kid == "" {
		return nil, fmt.Errorf("%w: header kid is missing", ErrMalformed)
	}
	c, err := j.Claims()
	if err != nil {
		return nil, err
	}
	if c.Issuer == "" {
		return nil, fmt.Errorf("%w: claim iss is missing", ErrMalformed)
	}
	return &Hello{Kid: j.Header.Kid, Issuer: c.Issuer, Nonce: c.Nonce, jws: j, claims: c}, nil
}

// Verify checks the signature, the presence of a nonce, and the times, allowing for a
// clock skew of skew.
func (h *Hello) Verify(pub *rsa.PublicKey, now time.Time, skew time.Duration) error {
	if err := h.jws.VerifyRSA(pub); err != nil {
		return err
	}
	if h.Nonce == "" {
		return ErrHelloNonce
	}
	if !h.claims.HasScope("openid") || !h.claims.HasScope("aza") {
		return fmt.Errorf("%w: claim scope does not include openid and aza", ErrMalformed)
	}
	if h.claims.IssuedAt == 0 || h.claims.Expires == 0 {
		return fmt.Errorf("%w: claims iat and exp are needed", ErrMalformed)
	}
	if now.Add(skew).Unix() < h.claims.IssuedAt || now.Add(-skew).Unix() > h.claims.Expires {
		return ErrHelloExpired
	}
	return nil
}
