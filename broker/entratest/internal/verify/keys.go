package verify

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// ErrKey is returned for a key or certificate request that the registration service
// does not accept.
var ErrKey = errors.New("unusable key")

// KeyBlob parses a BCRYPT_RSAKEY_BLOB with an RSA-2048 public key: the magic
// RSA1, five little-endian lengths, the exponent and the modulus big-endian.
// A blob with primes, which is a private key, is refused.
func KeyBlob(blob []byte) (*rsa.PublicKey, error) {
	const header = 24
	if len(blob) < header || string(blob[:4]) != "RSA1" {
		return nil, fmt.Errorf("%w: not a BCRYPT_RSAKEY_BLOB with magic RSA1", ErrKey)
	}
	field := func(i int) int { return int(binary.LittleEndian.Uint32(blob[4+4*i:])) }
	bits, expLen, modLen := field(0), field(1), field(2)
	if field(3) != 0 || field(4) != 0 {
		return nil, fmt.Errorf("%w: the blob contains primes, which a public key does not have", ErrKey)
	}
	if bits != 2048 || modLen != bits/8 || expLen < 1 || expLen > 4 {
		return nil, fmt.Errorf("%w: %d bits, exponent of %d bytes, modulus of %d bytes", ErrKey, bits, expLen, modLen)
	}
	if len(blob) != header+expLen+modLen {
		return nil, fmt.Errorf("%w: %d bytes instead of %d", ErrKey, len(blob), header+expLen+modLen)
	}
	exp, mod := blob[header:header+expLen], blob[header+expLen:]
	if exp[0] == 0 {
		return nil, fmt.Errorf("%w: exponent is not minimal", ErrKey)
	}
	return publicKey(mod, exp)
}

func publicKey(mod, exp []byte) (*rsa.PublicKey, error) {
	n, e := new(big.Int).SetBytes(mod), new(big.Int).SetBytes(exp)
	if n.BitLen() != 2048 || n.Bit(0) == 0 {
		return nil, fmt.Errorf("%w: modulus of %d bits", ErrKey, n.BitLen())
	}
	if !e.IsInt64() || e.Int64() != 65537 {
		return nil, fmt.Errorf("%w: exponent is not 65537", ErrKey)
	}
	return &rsa.PublicKey{N: n, E: 65537}, nil
}

// TransportKey parses the TransportKey of a join request: the base64 of a key
// blob, or of the JSON Web Key that mobile clients send, whose numbers are in
// the standard alphabet.
func TransportKey(field string) (*rsa.PublicKey, error) {
	raw, err := base64.StdEncoding.DecodeString(field)
	if err != nil {
		return nil, fmt.Errorf("%w: transport key is not standard base64", ErrKey)
	}
	if len(raw) == 0 || raw[0] != '{' {
		return KeyBlob(raw)
	}
	return JWK(string(raw))
}

// JWK parses a JSON Web Key with an RSA-2048 public key, its numbers in either
// alphabet of base64.
func JWK(text string) (*rsa.PublicKey, error) {
	var jwk struct {
		KTY string `json:"kty"`
		N   string `json:"n"`
		E   string `json:"e"`
	}
	if err := json.Unmarshal([]byte(text), &jwk); err != nil || jwk.KTY != "RSA" {
		return nil, fmt.Errorf("%w: not a JSON Web Key of RSA", ErrKey)
	}
	n, err := looseBase64(jwk.N)
	if err != nil {
		return nil, fmt.Errorf("%w: modulus is not base64", ErrKey)
	}
	e, err := looseBase64(jwk.E)
	if err != nil {
		return nil, fmt.Errorf("%w: exponent is not base64", ErrKey)
	}
	return publicKey(n, e)
}

// KeyID returns the kid of a Hello assertion for a key blob: the standard
// base64 of its SHA-256.
func KeyID(blob []byte) string {
	sum := sha256.Sum256(blob)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// JoinRequest parses and checks the certificate request of a join: RSA-2048
// with exponent 65537, SHA-256, the constant subject.
func JoinRequest(data string) (*rsa.PublicKey, error) {
	csr, err := CertificateRequest(data)
	if err != nil {
		return nil, err
	}
	if csr.SignatureAlgorithm != x509.SHA256WithRSA {
		return nil, fmt.Errorf("%w: certificate request is signed with %v", ErrKey, csr.SignatureAlgorithm)
	}
	if len(csr.Subject.Names) != 1 || !strings.EqualFold(csr.Subject.CommonName, wire.CSRCommonName) {
		return nil, fmt.Errorf("%w: subject of the certificate request is %q instead of CN=%s", ErrKey, csr.Subject, wire.CSRCommonName)
	}
	pub, ok := csr.PublicKey.(*rsa.PublicKey)
	if !ok || pub.N.BitLen() != 2048 || pub.E != 65537 {
		return nil, fmt.Errorf("%w: key of the certificate request is not RSA-2048 with exponent 65537", ErrKey)
	}
	return pub, nil
}

// CertificateRequest parses a PKCS#10 request and checks its signature.
func CertificateRequest(data string) (*x509.CertificateRequest, error) {
	der, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate request is not standard base64", ErrKey)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate request: %v", ErrKey, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: certificate request: %v", ErrKey, err)
	}
	return csr, nil
}
