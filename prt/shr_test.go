package prt_test

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	jwxjws "github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

func TestKeyThumbprint(t *testing.T) {
	// RFC 7638 3.1.
	key, err := jwk.ParseKey([]byte(`{"kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}`))
	require.NoError(t, err)
	pub, err := jwk.PublicRawKeyOf(key)
	require.NoError(t, err)
	thumb, err := prt.KeyThumbprint(pub)
	require.NoError(t, err)
	require.Equal(t, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", thumb)

	// jwx agrees on another key.
	other, err := jwk.FromRaw(signer(t, "device.pem").Public())
	require.NoError(t, err)
	want, err := other.Thumbprint(crypto.SHA256)
	require.NoError(t, err)
	thumb, err = prt.KeyThumbprint(signer(t, "device.pem").Public())
	require.NoError(t, err)
	require.Equal(t, b64u(want), thumb)

	cnf, err := prt.KeyConfirmation(signer(t, "device.pem").Public())
	require.NoError(t, err)
	b, err := base64.RawURLEncoding.DecodeString(cnf)
	require.NoError(t, err)
	require.Equal(t, `{"kid":"`+thumb+`"}`, string(b))
}

func TestSignedRequest(t *testing.T) {
	key := signer(t, "device.pem")
	r := prt.SignedRequest{AccessToken: prt.NewSecret("at"), Method: "get", URL: "https://api.example:8443/a%20b/c?x=1&y=2", Nonce: "n",
		Claims: json.RawMessage(`{"z":1}`), Now: now}
	v, err := r.Sign(bg, key)
	require.NoError(t, err)
	payload, err := jwxjws.Verify([]byte(v.Reveal()), jwxjws.WithKey(jwa.RS256, key.Public()))
	require.NoError(t, err)
	j := decodeJWS(t, v.Reveal())
	thumb, err := prt.KeyThumbprint(key.Public())
	require.NoError(t, err)
	require.Equal(t, map[string]any{"alg": "RS256", "typ": "pop", "kid": thumb}, j.header)
	hash := sha256.Sum256([]byte("x=1&y=2"))
	cnf := j.payload["cnf"].(map[string]any)["jwk"].(map[string]any)
	require.Equal(t, "RSA", cnf["kty"])
	delete(j.payload, "cnf")
	rest, err := json.Marshal(j.payload)
	require.NoError(t, err)
	require.JSONEq(t, `{"at":"at","ts":1741083072,"m":"GET","u":"api.example:8443","p":"/a%20b/c","q":[["x","y"],"`+b64u(hash[:])+`"],"nonce":"n","client_claims":"{\"z\":1}"}`, string(rest))

	// The key in cnf is the key that signed.
	b, err := json.Marshal(cnf)
	require.NoError(t, err)
	k, err := jwk.ParseKey(b)
	require.NoError(t, err)
	again, err := jwxjws.Verify([]byte(v.Reveal()), jwxjws.WithKey(jwa.RS256, k))
	require.NoError(t, err)
	require.Equal(t, payload, again)

	v, err = prt.SignedRequest{AccessToken: prt.NewSecret("at"), Now: now}.Sign(bg, key)
	require.NoError(t, err)
	p := decodeJWS(t, v.Reveal()).payload
	require.Len(t, p, 3, "at, ts and cnf")
	v, err = prt.SignedRequest{AccessToken: prt.NewSecret("at"), URL: "https://api.example", Now: now}.Sign(bg, key)
	require.NoError(t, err)
	p = decodeJWS(t, v.Reveal()).payload
	require.Equal(t, "/", p["p"], "as the request line has it")
	require.NotContains(t, p, "q", "no query, nothing to bind")
}

// A request that is signed without a token has no member for one.
func TestSignedRequestWithoutToken(t *testing.T) {
	v, err := prt.SignedRequest{Method: "GET", URL: "https://api.example/a", Now: now}.Sign(bg, signer(t, "device.pem"))
	require.NoError(t, err)
	require.NotContains(t, decodeJWS(t, v.Reveal()).payload, "at")
}

func TestSignedRequestRefusals(t *testing.T) {
	key := signer(t, "device.pem")
	ok := prt.SignedRequest{AccessToken: prt.NewSecret("at"), Now: now}
	for name, change := range map[string]func(*prt.SignedRequest){
		"no time":      func(r *prt.SignedRequest) { *r = prt.SignedRequest{AccessToken: r.AccessToken} },
		"relative URL": func(r *prt.SignedRequest) { r.URL = "/a" },
		"broken URL":   func(r *prt.SignedRequest) { r.URL = "https://[" },
		"claims":       func(r *prt.SignedRequest) { r.Claims = json.RawMessage(`{"a":1,"a":2}`) },
	} {
		r := ok
		change(&r)
		_, err := r.Sign(bg, key)
		require.ErrorIs(t, err, prt.ErrRequest, name)
	}
	_, err := ok.Sign(bg, nil)
	require.ErrorIs(t, err, prt.ErrRequest)
	_, err = ok.Sign(bg, oddKey{pub: 5})
	require.ErrorIs(t, err, prt.ErrRequest)
}
