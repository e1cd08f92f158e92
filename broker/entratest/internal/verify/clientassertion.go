package verify

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// ClientAssertion is the JWT with which an application authenticates instead of
// with a secret (RFC 7523, 2.2; Microsoft, "Microsoft identity platform application
// authentication certificate credentials"), or a token from another issuer used for
// the same purpose ("Workload identity federation").
type ClientAssertion struct {
	Issuer, Subject string
	Audience        []string
	IssuedAt        time.Time // zero: absent
	NotBefore       time.Time // zero: absent
	Expires         time.Time // zero: absent
	KeyID           string
	SHA1, SHA256    []byte // thumbprint of the signing certificate; nil: absent

	jws *JWS
}

// ParseClientAssertion reads an assertion; Verify and VerifyKey check its signature.
func ParseClientAssertion(text string) (*ClientAssertion, error) {
	j, err := ParseJWS(text)
	if err != nil {
		return nil, err
	}
	a := &ClientAssertion{KeyID: j.Header.Kid, SHA1: j.Header.X5T, SHA256: j.Header.X5T256, jws: j}
	var c struct {
		Issuer   string          `json:"iss"`
		Subject  string          `json:"sub"`
		Audience json.RawMessage `json:"aud"`
		IssuedAt *epoch          `json:"iat"`
		Before   *epoch          `json:"nbf"`
		Expires  *epoch          `json:"exp"`
	}
	if err := json.Unmarshal(j.Payload, &c); err != nil {
		return nil, fmt.Errorf("%w: claims: %v", ErrMalformed, err)
	}
	a.Issuer, a.Subject = c.Issuer, c.Subject
	a.IssuedAt, a.NotBefore, a.Expires = c.IssuedAt.time(), c.Before.time(), c.Expires.time()
	if a.Audience, err = audiences(c.Audience); err != nil {
		return nil, err
	}
	return a, nil
}

func (e *epoch) time() time.Time {
	if e == nil {
		return time.Time{}
	}
	return time.Unix(int64(*e), 0)
}

// audiences reads a string or an array of them.
func audiences(raw json.RawMessage) ([]string, error) {
	if raw == nil {
		return nil, nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%w: claim aud is neither a string nor an array of strings", ErrMalformed)
	}
	return list, nil
}

// Names reports whether the assertion names the certificate by its thumbprint.
func (a *ClientAssertion) Names(cert *x509.Certificate) bool {
	if a.SHA256 != nil {
		sum := sha256.Sum256(cert.Raw)
		return string(a.SHA256) == string(sum[:])
	}
	sum := sha1.Sum(cert.Raw) // x5t is SHA-1 by definition (RFC 7515, 4.1.7)
	return string(a.SHA1) == string(sum[:])
}

// Thumbprint returns the thumbprint by which the assertion names its certificate, in
// the encoding of the header, or "" if it names no certificate.
func (a *ClientAssertion) Thumbprint() string {
	if a.SHA256 != nil {
		return base64.RawURLEncoding.EncodeToString(a.SHA256)
	}
	return base64.RawURLEncoding.EncodeToString(a.SHA1)
}

// Verify checks the signature with the key of a certificate: PS256 or RS256.
func (a *ClientAssertion) Verify(cert *x509.Certificate) error {
	pub, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("%w: the certificate has no RSA key", ErrKey)
	}
	return a.VerifyKey(pub)
}

// VerifyKey checks the signature with a key: PS256 or RS256.
func (a *ClientAssertion) VerifyKey(pub *rsa.PublicKey) error {
	if a.jws.Header.Alg != "PS256" {
		return a.jws.VerifyRSA(pub)
	}
	sum := sha256.Sum256(a.jws.signed)
	if rsa.VerifyPSS(pub, crypto.SHA256, sum[:], a.jws.sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) != nil {
		return ErrSignature
	}
	return nil
}
