package mint

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
)

// Keys holds the keys with which the service signs. They are the same for every
// server, so a process makes them once. They must not be modified.
type Keys struct {
	token     *testkeys.Key
	tokenCert []byte // DER, self-signed
	kid       string // also x5t: base64url of the SHA-1 of tokenCert
	header    string // of a signed JWT, base64url with its dot
	Device    *deviceAuthority
	users     func() *userAuthority // made on first use
}

var fixedKeys = sync.OnceValue(makeKeys)

// NewKeys returns the keys.
func NewKeys() Keys { return fixedKeys() }

func makeKeys() Keys {
	k := Keys{token: testkeys.TokenSigning(), users: sync.OnceValue(newUserAuthority)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "accounts.accesscontrol.windows.net"},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.token.Public(), k.token)
	if err != nil {
		panic("entratest: " + err.Error()) // a fixed template and key
	}
	sum := sha1.Sum(der) // x5t is SHA-1 by definition (RFC 7515, 4.1.7)
	k.tokenCert, k.kid = der, base64.RawURLEncoding.EncodeToString(sum[:])
	k.header = jwtHeader(fmt.Sprintf(`{"alg":"RS256","kid":%q,"typ":"JWT","x5t":%q}`, k.kid, k.kid))
	k.Device = newDeviceAuthority()
	return k
}

// Sign returns an RS256 JWT of the claims.
func (k *Keys) Sign(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic("entratest: " + err.Error()) // claims are plain values
	}
	return compact(k.header, payload, k.token)
}

// jwtHeader encodes the header of a JWT, with its dot.
func jwtHeader(header string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "."
}

// compact signs with RS256 (RFC 7515, 3.1), which is most of the emulator's work.
func compact(header string, payload []byte, key *testkeys.Key) string {
	b64 := base64.RawURLEncoding
	out := make([]byte, 0, len(header)+b64.EncodedLen(len(payload))+1+b64.EncodedLen(key.RSA().Size()))
	out = b64.AppendEncode(append(out, header...), payload)
	sum := sha256.Sum256(out)
	sig, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		panic("entratest: " + err.Error()) // a SHA-256 digest
	}
	return string(b64.AppendEncode(append(out, '.'), sig))
}

// unsigned returns the JWT with alg none that PRT replies carry as id_token.
func unsigned(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic("entratest: " + err.Error())
	}
	return jwtHeader(`{"typ":"JWT","alg":"none"}`) + base64.RawURLEncoding.EncodeToString(payload) + "."
}

// jwk is an entry of the key set.
type jwk struct {
	KTY    string   `json:"kty"`
	Use    string   `json:"use"`
	Alg    string   `json:"alg"`
	Kid    string   `json:"kid"`
	X5T    string   `json:"x5t"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X5C    []string `json:"x5c"`
	Issuer string   `json:"issuer"`
}

// JWKS is the key set that the service publishes.
func (k *Keys) JWKS(issuer string) map[string][]jwk {
	return map[string][]jwk{"keys": {{
		KTY: "RSA", Use: "sig", Alg: "RS256", Kid: k.kid, X5T: k.kid,
		N:      base64.RawURLEncoding.EncodeToString(k.Public().N.Bytes()),
		E:      base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.Public().E)).Bytes()),
		X5C:    []string{base64.StdEncoding.EncodeToString(k.tokenCert)},
		Issuer: issuer,
	}}}
}

// verifyOwn checks a JWT that this server signed and decodes its claims.
func (k *Keys) verifyOwn(token string, claims any) error {
	payload, err := jws.Verify([]byte(token), jws.WithKey(jwa.RS256, k.token.Public()))
	if err != nil {
		return err
	}
	return json.Unmarshal(payload, claims)
}

// Pairwise returns the sub claim of a user for a client.
func Pairwise(user, client string) string {
	sum := sha256.Sum256([]byte(user + "\x00" + client))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// SignXML makes the signature of canonical XML.
func (k *Keys) SignXML(id, signed string) string {
	info := verify.SignedInfoSum(id, []byte(signed))
	sig, err := k.token.Sign(nil, info[:], crypto.SHA256)
	if err != nil {
		panic("entratest: " + err.Error()) // a SHA-256 digest
	}
	return verify.XMLSignature(id, []byte(signed), sig, k.tokenCert)
}

// Public returns the key that verifies the service's signatures.
func (k *Keys) Public() *rsa.PublicKey { return k.token.RSA() }
