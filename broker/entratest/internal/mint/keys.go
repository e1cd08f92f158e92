package mint

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
)

// Keys holds the keys with which the service signs. Those of a new server are the same
// each time; the signing keys of tokens can be rolled over. It is safe for concurrent
// use.
type Keys struct {
	Device *deviceAuthority
	users  func() *userAuthority // made on first use
	first  *signer               // of a new server, and of the federation server always

	mu   sync.Mutex // guards changes of ring
	ring atomic.Pointer[ring]
}

var (
	firstSigner     = sync.OnceValue(func() *signer { return newSigner(0, testkeys.TokenSigning()) })
	secondSigner    = sync.OnceValue(func() *signer { return newSigner(1, testkeys.LaterTokenSigning(1)) })
	fixedDevices    = sync.OnceValue(newDeviceAuthority)
	fixedUserIssuer = sync.OnceValue(newUserAuthority)
)

// NewKeys returns the keys of a new server.
func NewKeys() *Keys {
	k := &Keys{Device: fixedDevices(), users: fixedUserIssuer, first: firstSigner()}
	k.ring.Store(&ring{published: []*signer{k.first, secondSigner()}})
	return k
}

// Sign returns an RS256 JWT of the claims.
func (k *Keys) Sign(claims map[string]any) string {
	s := k.ring.Load().current()
	return compact(s.header, marshal(claims), s.key)
}

// SignNonced returns an RS256 JWT whose header has a nonce, as access tokens for
// Microsoft Graph do: the signature covers a header with the nonce's SHA-256 in its
// place, so that only a service that knows this can verify the token
// (AzureAD/azure-activedirectory-identitymodel-extensions-for-dotnet issue 609, 2017;
// justinlettau/azure-ad-verify-token issue 5, 2020).
func (k *Keys) SignNonced(claims map[string]any, nonce string) string {
	s := k.ring.Load().current()
	header := func(nonce string) string {
		return jwtHeader(fmt.Sprintf(`{"typ":"JWT","nonce":%q,"alg":"RS256","x5t":%q,"kid":%q}`, nonce, s.kid, s.kid))
	}
	_, rest, _ := strings.Cut(compact(header(hashedNonce(nonce)), marshal(claims), s.key), ".")
	return header(nonce) + rest
}

func hashedNonce(nonce string) string {
	sum := sha256.Sum256([]byte(nonce))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func marshal(claims map[string]any) []byte {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic("entratest: " + err.Error()) // claims are plain values
	}
	return payload
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
	return jwtHeader(`{"typ":"JWT","alg":"none"}`) + base64.RawURLEncoding.EncodeToString(marshal(claims)) + "."
}

// jwk is an entry of the key set.
type jwk struct {
	KTY    string   `json:"kty"`
	Use    string   `json:"use"`
	Alg    string   `json:"alg,omitempty"`
	Kid    string   `json:"kid"`
	X5T    string   `json:"x5t"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X5C    []string `json:"x5c"`
	Issuer string   `json:"issuer"`
}

// JWKS is the key set that the service publishes. Entra's has no alg
// (auth0/jwks-rsa-java issue 6, 2017; agentgateway issue 477, 2025); withAlg adds it.
// The newest key comes first, so that a program that takes any key but that of the kid
// fails here.
func (k *Keys) JWKS(issuer string, withAlg bool) map[string][]jwk {
	list := []jwk{}
	for _, s := range slices.Backward(k.ring.Load().published) {
		e := jwk{KTY: "RSA", Use: "sig", Kid: s.kid, X5T: s.kid,
			N:      base64.RawURLEncoding.EncodeToString(s.key.RSA().N.Bytes()),
			E:      base64.RawURLEncoding.EncodeToString(big.NewInt(int64(s.key.RSA().E)).Bytes()),
			X5C:    []string{base64.StdEncoding.EncodeToString(s.cert)},
			Issuer: issuer,
		}
		if withAlg {
			e.Alg = "RS256"
		}
		list = append(list, e)
	}
	return map[string][]jwk{"keys": list}
}

// verifyOwn checks a JWT that this server signed with a key that is still published,
// and decodes its claims.
func (k *Keys) verifyOwn(token string, claims any) error {
	head, rest, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	var h struct{ Kid, Nonce string }
	if err := json.Unmarshal(raw, &h); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	s := k.ring.Load().find(h.Kid)
	if s == nil {
		return fmt.Errorf("key %q is not published", h.Kid)
	}
	if h.Nonce != "" {
		raw = bytes.Replace(raw, []byte(h.Nonce), []byte(hashedNonce(h.Nonce)), 1)
		token = base64.RawURLEncoding.EncodeToString(raw) + "." + rest
	}
	payload, err := jws.Verify([]byte(token), jws.WithKey(jwa.RS256, s.key.Public()))
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

// SignXML makes the federation server's signature of canonical XML.
func (k *Keys) SignXML(id, signed string) string {
	info := verify.SignedInfoSum(id, []byte(signed))
	sig, err := k.first.key.Sign(nil, info[:], crypto.SHA256)
	if err != nil {
		panic("entratest: " + err.Error()) // a SHA-256 digest
	}
	return verify.XMLSignature(id, []byte(signed), sig, k.first.cert)
}

// Public returns the key that verifies the signatures of a new server, and those of
// its federation server.
func (k *Keys) Public() *rsa.PublicKey { return k.first.key.RSA() }
