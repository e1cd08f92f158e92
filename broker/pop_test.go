package broker_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/claims"
)

// signedRequest is what an API reads of a signed HTTP request.
type signedRequest struct {
	header struct{ Alg, Typ, Kid string }
	At     string `json:"at"`
	Time   int64  `json:"ts"`
	Method string `json:"m"`
	Host   string `json:"u"`
	Path   string `json:"p"`
	Nonce  string `json:"nonce"`
	Cnf    struct{ JWK struct{ E, Kty, N string } }
	raw    json.RawMessage
}

// verifySHR checks a signed HTTP request as an API does: the signature under
// the key inside, that the key is the one that the token is bound to, and
// returns both.
func verifySHR(t *testing.T, s string) (signedRequest, *claims.Token) {
	t.Helper()
	part := strings.Split(s, ".")
	require.Len(t, part, 3)
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	var r signedRequest
	r.raw = decode(part[1])
	require.NoError(t, json.Unmarshal(decode(part[0]), &r.header))
	require.NoError(t, json.Unmarshal(r.raw, &r))
	require.Equal(t, "RS256", r.header.Alg)
	require.Equal(t, "pop", r.header.Typ)
	jwk := r.Cnf.JWK
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(decode(jwk.N)), E: int(new(big.Int).SetBytes(decode(jwk.E)).Int64())}
	digest := sha256.Sum256([]byte(part[0] + "." + part[1]))
	require.NoError(t, rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], decode(part[2])))
	thumb := sha256.Sum256([]byte(`{"e":"` + jwk.E + `","kty":"RSA","n":"` + jwk.N + `"}`)) // RFC 7638
	kid := base64.RawURLEncoding.EncodeToString(thumb[:])
	require.Equal(t, kid, r.header.Kid)
	tok, err := claims.Parse(r.At)
	require.NoError(t, err)
	require.Equal(t, kid, tok.ConfirmationKeyID, "the token is bound to the key that signed")
	return r, tok
}

func TestPoP(t *testing.T) {
	t.Parallel()
	keys, commands := softwareTPM(t)
	w := newWorld(t, withMemory, withKeys(keys))
	w.join()
	w.signIn()
	bearer := w.silent(open)

	res := w.silent(open, broker.WithPoP(broker.PoP{Method: "get", URL: "https://api.example/v1/things", Nonce: "n1"}))
	require.Equal(t, "PoP", res.TokenType)
	r, tok := verifySHR(t, res.AccessToken)
	require.Equal(t, "GET", r.Method)
	require.Equal(t, "api.example", r.Host)
	require.Equal(t, "/v1/things", r.Path)
	require.Equal(t, "n1", r.Nonce)
	require.Equal(t, w.clock.Now().Unix(), r.Time)
	require.Equal(t, []string{"api://open"}, tok.Audience)
	kid, err := w.b.PoPKeyID(t.Context())
	require.NoError(t, err)
	require.Equal(t, kid, r.header.Kid)

	// The token inside is cached; each request is signed anew.
	w.wire.take()
	commands.Take()
	again := w.silent(open, broker.WithPoP(broker.PoP{Method: "POST", URL: "https://api.example/v1/things"}))
	r2, _ := verifySHR(t, again.AccessToken)
	require.Equal(t, r.At, r2.At)
	require.Equal(t, "POST", r2.Method)
	require.Empty(t, w.wire.take())
	t.Logf("a signed request: %d commands", len(commands.Take()))

	require.Equal(t, bearer.AccessToken, w.silent(open).AccessToken, "the bearer token is another one")
	require.NotEqual(t, r.At, bearer.AccessToken)

	signed, err := w.b.SignedHTTPRequest(t.Context(), r.At, broker.PoP{URL: "https://api.example/"})
	require.NoError(t, err)
	r3, _ := verifySHR(t, signed)
	require.Equal(t, r.At, r3.At)

	// The key is the machine's: another process uses the same.
	b := w.open()
	other, err := b.PoPKeyID(t.Context())
	require.NoError(t, err)
	require.Equal(t, kid, other)
}

func TestRoundTripperPoP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	a := newAPI(t, contextC1)
	c := &http.Client{Transport: &broker.RoundTripper{Broker: w.b, Scopes: open, PoP: true, Base: a.Client().Transport}}
	res, err := c.Get(a.URL + "/things")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	seen, _ := a.take()
	require.NotEmpty(t, seen)
	value, ok := strings.CutPrefix(seen[0], "PoP ")
	require.True(t, ok)
	r, _ := verifySHR(t, value)
	require.Equal(t, "GET", r.Method)
	require.Equal(t, "/things", r.Path)
}

func TestPoPRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	_, err := w.b.AcquireTokenSilent(t.Context(), open, broker.WithPoP(broker.PoP{URL: "/relative"}))
	require.ErrorContains(t, err, "absolute")
	_, err = w.b.AcquireTokenSilent(t.Context(), open, broker.WithPoP(broker.PoP{Claims: json.RawMessage("{")}))
	require.ErrorContains(t, err, "JSON")
	require.NotErrorIs(t, err, broker.ErrKeyUnusable)
}
