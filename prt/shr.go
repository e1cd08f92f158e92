package prt

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// jwk is an RSA public key as RFC 7638 hashes it: these members, in this
// order.
type jwk struct {
	E   string `json:"e"`
	Kty string `json:"kty"`
	N   string `json:"n"`
}

func publicJWK(pub crypto.PublicKey) (jwk, error) {
	key, ok := pub.(*rsa.PublicKey)
	if !ok || key == nil || key.N == nil {
		return jwk{}, badRequest("the key is not an RSA key")
	}
	return jwk{
		E:   b64url.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		Kty: "RSA",
		N:   b64url.EncodeToString(key.N.Bytes()),
	}, nil
}

func (k jwk) thumbprint() (string, error) {
	b, err := marshal(k)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return b64url.EncodeToString(sum[:]), nil
}

// KeyThumbprint returns the JWK thumbprint of an RSA key (RFC 7638): the kid
// of tokens that are bound to it.
func KeyThumbprint(pub crypto.PublicKey) (string, error) {
	k, err := publicJWK(pub)
	if err != nil {
		return "", err
	}
	return k.thumbprint()
}

// KeyConfirmation returns the req_cnf of a token request: base64url of
// {"kid": thumbprint}. The access token is then bound to the key and is sent
// inside a [SignedRequest].
func KeyConfirmation(pub crypto.PublicKey) (string, error) {
	kid, err := KeyThumbprint(pub)
	if err != nil {
		return "", err
	}
	b, err := marshal(struct {
		Kid string `json:"kid"`
	}{kid})
	return base64.RawURLEncoding.EncodeToString(b), err
}

// A SignedRequest is a signed HTTP request (SHR, after
// draft-ietf-oauth-signed-http-request-03 and as MSAL makes it): proof that the
// client that sends a bound access token to an API holds its key. It goes into
// the header "Authorization: PoP <value>".
type SignedRequest struct {
	AccessToken Secret          // bound to the key; zero: the request alone is signed
	Method      string          // of the request, such as "GET"; empty: not bound
	URL         string          // of the request, absolute; empty: not bound
	Nonce       string          // what the API asked for, or a fresh random value; empty: not sent
	Claims      json.RawMessage // client_claims, JSON; nil: not sent
	Now         time.Time       // required
}

type shrPayload struct {
	AccessToken string          `json:"at,omitempty"`
	Time        int64           `json:"ts"`
	Method      string          `json:"m,omitempty"`
	Host        string          `json:"u,omitempty"`
	Path        string          `json:"p,omitempty"`
	Query       []any           `json:"q,omitempty"`
	Nonce       string          `json:"nonce,omitempty"`
	Claims      string          `json:"client_claims,omitempty"`
	Cnf         map[string]*jwk `json:"cnf"`
}

// Sign makes the value: one signature.
func (r SignedRequest) Sign(ctx context.Context, key Signer) (Secret, error) {
	if r.Now.IsZero() || key == nil {
		return Secret{}, badRequest("a signed HTTP request needs a key and a time")
	}
	public, err := publicJWK(key.Public())
	if err != nil {
		return Secret{}, err
	}
	kid, err := public.thumbprint()
	if err != nil {
		return Secret{}, err
	}
	p := shrPayload{
		AccessToken: r.AccessToken.Reveal(),
		Time:        r.Now.Unix(),
		Method:      strings.ToUpper(r.Method),
		Nonce:       r.Nonce,
		Claims:      string(r.Claims),
		Cnf:         map[string]*jwk{"jwk": &public},
	}
	if r.Claims != nil && strictjson.Check(r.Claims, maxClaimsSize) != nil {
		return Secret{}, badRequest("the client claims are not JSON")
	}
	if err := p.bind(r.URL); err != nil {
		return Secret{}, err
	}
	body, err := marshal(p)
	if err != nil {
		return Secret{}, err
	}
	defer secret.Wipe(body)
	value, err := signRS256(ctx, key, header{Typ: "pop", Kid: kid}, body)
	return NewSecret(value), err
}

// bind binds the address: host, path, and the parameters of the query by name
// and by a hash over name=value pairs in the order of the names.
func (p *shrPayload) bind(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return badRequest("the address of the request is not absolute")
	}
	p.Host, p.Path = u.Host, first(u.EscapedPath(), "/")
	if u.RawQuery == "" {
		return nil
	}
	var names []string
	var pairs []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		names, pairs = append(names, name), append(pairs, pair)
	}
	sum := sha256.Sum256([]byte(strings.Join(pairs, "&")))
	p.Query = []any{names, b64url.EncodeToString(sum[:])}
	return nil
}
