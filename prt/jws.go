package prt

import (
	"bytes"
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/internal/wire"
)

var b64url = base64.RawURLEncoding.Strict()

// header is the JOSE header of everything that is signed here. ctx and x5c are
// standard base64 with padding inside the JSON, which is then base64url.
type header struct {
	Alg string `json:"alg"`
	Typ string `json:"typ"`
	Ctx []byte `json:"ctx,omitempty"`
	KDF int    `json:"kdf_ver,omitempty"` // a number; absent in version 1
	X5C certs  `json:"x5c,omitempty"`
	Kid string `json:"kid,omitempty"`
	Use string `json:"use,omitempty"`
}

// certs is the certificate chain of a header: an array of strings (RFC 7515
// 4.1.6, and the example of MS-OAPXBC 4.2). Entra takes a bare string too, which
// is what ROADtools sends.
type certs [][]byte

// marshal serialises once: the bytes that are signed are the bytes that are
// sent and that KDFv2 hashes.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("prt: encoding a request: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// signingInput returns header.payload.
func signingInput(h header, payload []byte) ([]byte, error) {
	head, err := marshal(h)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, 4096) // most requests fit, with their signature
	out = append(b64url.AppendEncode(out, head), '.')
	return b64url.AppendEncode(out, payload), nil
}

func appendSignature(input, signature []byte) string {
	return string(b64url.AppendEncode(append(input, '.'), signature))
}

// sign signs payload with a key derived from the session key
// (MS-OAPXBC 3.2.5.1.3.1).
func (s Session) sign(ctx context.Context, payload []byte) (string, error) {
	if s.Key == nil {
		return "", badRequest("no session key")
	}
	version, err := s.version()
	if err != nil {
		return "", err
	}
	context, err := s.random(wire.ContextSize)
	if err != nil {
		return "", err
	}
	h := header{Alg: "HS256", Typ: "JWT", Ctx: context}
	if version == KDFv2 {
		h.KDF = KDFv2
	}
	input, err := signingInput(h, payload)
	if err != nil {
		return "", err
	}
	key, err := s.deriveRequest(ctx, version, context, payload)
	if err != nil {
		return "", fmt.Errorf("prt: deriving the signing key: %w", err)
	}
	defer secret.Wipe(key[:])
	mac := hmac.New(sha256.New, key[:])
	mac.Write(input)
	return appendSignature(input, mac.Sum(nil)), nil
}

// signRS256 signs payload with an RSA key.
func signRS256(ctx context.Context, key Signer, h header, payload []byte) (string, error) {
	pub, ok := key.Public().(*rsa.PublicKey)
	if !ok {
		return "", badRequest("the key is not an RSA key")
	}
	h.Alg, h.Typ = "RS256", first(h.Typ, "JWT")
	input, err := signingInput(h, payload)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(input)
	signature, err := key.SignContext(ctx, digest[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("prt: signing: %w", err)
	}
	if len(signature) != pub.Size() {
		return "", fmt.Errorf("prt: signing: a signature of %d bytes from a key of %d", len(signature), pub.Size())
	}
	return appendSignature(input, signature), nil
}

// sign signs payload with the device key under the device certificate. kdf is
// the version of the key derivation that the device declares, 0 for none.
func (d DeviceProof) sign(ctx context.Context, kdf int, payload []byte) (string, error) {
	switch {
	case d.Key == nil:
		return "", badRequest("no device key")
	case len(d.Certificate) == 0:
		return "", badRequest("no device certificate")
	}
	return signRS256(ctx, d.Key, header{X5C: certs{d.Certificate}, KDF: kdf}, payload)
}
