package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/cert"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
)

// What clients sign is made by jwx here, which knows nothing of this package.

var signedAt = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// The key of the client, and one that is not its own.
var clientKey, otherKey = sync.OnceValue(newKey), sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // it does not fail
	}
	return key
}

// sign signs claims with the client's key.
func sign(t *testing.T, alg jwa.SignatureAlgorithm, header map[string]any, claims string) string {
	t.Helper()
	h := jws.NewHeaders()
	for k, v := range header {
		if list, ok := v.([]string); ok {
			var chain cert.Chain
			for _, der := range list {
				require.NoError(t, chain.AddString(der))
			}
			v = &chain
		}
		require.NoError(t, h.Set(k, v))
	}
	out, err := jws.Sign([]byte(claims), jws.WithKey(alg, clientKey(), jws.WithProtectedHeaders(h)))
	require.NoError(t, err)
	return string(out)
}

// The example of RFC 7515, A.2: the signature that another wrote.
func TestRS256Vector(t *testing.T) {
	const (
		token = "eyJhbGciOiJSUzI1NiJ9." +
			"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ." +
			"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
		modulus = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
	)
	n, err := base64.RawURLEncoding.DecodeString(modulus)
	require.NoError(t, err)
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	j, err := verify.ParseJWS(token)
	require.NoError(t, err)
	require.NoError(t, j.VerifyRSA(pub))
	require.ErrorIs(t, j.VerifyRSA(&clientKey().PublicKey), verify.ErrSignature)

	key, err := verify.JWK(`{"kty":"RSA","n":"` + modulus + `","e":"AQAB"}`)
	require.NoError(t, err)
	require.True(t, key.Equal(pub))
	for name, text := range map[string]string{
		"not JSON":                "{",
		"a key of a curve":        `{"kty":"EC","n":"` + modulus + `","e":"AQAB"}`,
		"modulus in no alphabet":  `{"kty":"RSA","n":"!","e":"AQAB"}`,
		"exponent in no alphabet": `{"kty":"RSA","n":"` + modulus + `","e":"!"}`,
		"a short modulus":         `{"kty":"RSA","n":"AQAB","e":"AQAB"}`,
		"another exponent":        `{"kty":"RSA","n":"` + modulus + `","e":"Aw"}`,
	} {
		_, err := verify.JWK(text)
		require.ErrorIs(t, err, verify.ErrKey, name)
	}
}

func TestClientAssertion(t *testing.T) {
	cert := certificate(t, &clientKey().PublicKey, clientKey())
	short, long := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	b64 := base64.RawURLEncoding.EncodeToString
	const claims = `{"iss":"app","sub":"app","aud":"https://login.microsoftonline.com/t/v2.0","iat":1772442000,"nbf":1772442000,"exp":1772442600}`
	for name, c := range map[string]struct {
		alg    jwa.SignatureAlgorithm
		header map[string]any
		print  string
	}{
		"RS256, x5t":                 {jwa.RS256, map[string]any{"x5t": b64(short[:]), "kid": "1"}, b64(short[:])},
		"PS256, x5t#S256":            {jwa.PS256, map[string]any{"x5t#S256": b64(long[:]), "kid": "1"}, b64(long[:])},
		"both: SHA-256 is looked at": {jwa.PS256, map[string]any{"x5t": "AAAA", "x5t#S256": b64(long[:]), "kid": "1"}, b64(long[:])},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := verify.ParseClientAssertion(sign(t, c.alg, c.header, claims))
			require.NoError(t, err)
			require.Equal(t, "app", a.Issuer)
			require.Equal(t, "app", a.Subject)
			require.Equal(t, []string{"https://login.microsoftonline.com/t/v2.0"}, a.Audience)
			require.True(t, signedAt.Equal(a.IssuedAt))
			require.True(t, signedAt.Equal(a.NotBefore))
			require.True(t, signedAt.Add(10*time.Minute).Equal(a.Expires))
			require.Equal(t, "1", a.KeyID)
			require.Equal(t, c.print, a.Thumbprint())
			require.True(t, a.Names(cert))
			require.NoError(t, a.Verify(cert))
			require.ErrorIs(t, a.VerifyKey(&otherKey().PublicKey), verify.ErrSignature)

			other := certificate(t, &otherKey().PublicKey, otherKey())
			require.False(t, a.Names(other))
			require.ErrorIs(t, a.Verify(other), verify.ErrSignature)
		})
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a, err := verify.ParseClientAssertion(sign(t, jwa.RS256, nil, claims))
	require.NoError(t, err)
	require.ErrorIs(t, a.Verify(certificate(t, &curve.PublicKey, curve)), verify.ErrKey)
}

func TestClientAssertionClaims(t *testing.T) {
	for name, c := range map[string]struct {
		claims   string
		audience []string
		why      string
	}{
		"several audiences": {`{"aud":["a","b"]}`, []string{"a", "b"}, ""},
		"no claim at all":   {`{}`, nil, ""},
		"audience a number": {`{"aud":1}`, nil, "claim aud is neither a string nor an array of strings"},
		"time in words":     {`{"exp":"soon"}`, nil, "is not a number of seconds"},
		"issuer a number":   {`{"iss":1}`, nil, "claims"},
	} {
		a, err := verify.ParseClientAssertion(sign(t, jwa.RS256, nil, c.claims))
		if c.why != "" {
			require.ErrorIs(t, err, verify.ErrMalformed, name)
			require.ErrorContains(t, err, c.why, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.audience, a.Audience, name)
		require.True(t, a.IssuedAt.IsZero() && a.NotBefore.IsZero() && a.Expires.IsZero(), name)
	}
	_, err := verify.ParseClientAssertion("x")
	require.ErrorIs(t, err, verify.ErrMalformed)
}

// MS-OAPXBC 3.2.5.1.2.1.3: the assertion of a Windows Hello for Business key.
func TestHello(t *testing.T) {
	const claims = `{"iss":"alice@contoso.example","request_nonce":"n","scope":"openid aza ugs","iat":"1772442000","exp":"1772442600"}`
	ngc := map[string]any{"use": "ngc", "kid": "kid"}
	for name, c := range map[string]struct {
		header map[string]any
		claims string
		is     error // nil: good
		why    string
	}{
		"good":              {ngc, claims, nil, ""},
		"another use":       {map[string]any{"use": "sig", "kid": "kid"}, claims, verify.ErrMalformed, "instead of ngc"},
		"no kid":            {map[string]any{"use": "ngc"}, claims, verify.ErrMalformed, "kid is missing"},
		"no issuer":         {ngc, `{}`, verify.ErrMalformed, "iss is missing"},
		"claims of no type": {ngc, `{"iss":1}`, verify.ErrMalformed, "claims"},
		"no nonce":          {ngc, `{"iss":"a","scope":"openid aza","iat":1772442000,"exp":1772442600}`, verify.ErrHelloNonce, ""},
		"scope without aza": {ngc, `{"iss":"a","request_nonce":"n","scope":"openid","iat":1772442000,"exp":1772442600}`, verify.ErrMalformed, "openid and aza"},
		"scope of aza only": {ngc, `{"iss":"a","request_nonce":"n","scope":"aza","iat":1772442000,"exp":1772442600}`, verify.ErrMalformed, "openid and aza"},
		"no times":          {ngc, `{"iss":"a","request_nonce":"n","scope":"openid aza"}`, verify.ErrMalformed, "iat and exp"},
		"no iat":            {ngc, `{"iss":"a","request_nonce":"n","scope":"openid aza","exp":1772442600}`, verify.ErrMalformed, "iat and exp"},
		"no exp":            {ngc, `{"iss":"a","request_nonce":"n","scope":"openid aza","iat":1772442000}`, verify.ErrMalformed, "iat and exp"},
		"over in the skew":  {ngc, `{"iss":"a","request_nonce":"n","scope":"openid aza","iat":1772441000,"exp":1772441700}`, nil, ""},
		"of the future":     {ngc, `{"iss":"a","request_nonce":"n","scope":"openid aza","iat":1772442301,"exp":1772442600}`, verify.ErrHelloExpired, ""},
		"within the skew":   {ngc, `{"iss":"a","request_nonce":"n","scope":"openid aza","iat":1772442300,"exp":1772442600}`, nil, ""},
		"of the past":       {ngc, `{"iss":"a","request_nonce":"n","scope":"openid aza","iat":1772441000,"exp":1772441699}`, verify.ErrHelloExpired, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := verify.ParseHello(sign(t, jwa.RS256, c.header, c.claims))
			if err == nil {
				require.Equal(t, "kid", h.Kid)
				require.ErrorIs(t, h.Verify(&otherKey().PublicKey, signedAt, 5*time.Minute), verify.ErrSignature)
				err = h.Verify(&clientKey().PublicKey, signedAt, 5*time.Minute)
			}
			if c.is == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.why)
		})
	}
	_, err := verify.ParseHello("x.y.z")
	require.ErrorIs(t, err, verify.ErrMalformed)
	h, err := verify.ParseHello(sign(t, jwa.PS256, ngc, claims))
	require.NoError(t, err)
	require.ErrorContains(t, h.Verify(&clientKey().PublicKey, signedAt, 0), "instead of RS256")
}

// MS-OAPXBC 3.2.5.1.2.1.4: the assertion of a user certificate.
func TestUserAssertion(t *testing.T) {
	cert := certificate(t, &clientKey().PublicKey, clientKey())
	x5c := map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(cert.Raw)}}
	for name, c := range map[string]struct {
		header map[string]any
		claims string
		is     error
		why    string
	}{
		"good":             {x5c, `{"iss":"alice","aud":"t","request_nonce":"n","iat":1772442000,"exp":1772442600}`, nil, ""},
		"an array as aud":  {x5c, `{"iss":"alice","aud":["t"],"iat":1772442000,"exp":1772442600}`, nil, ""},
		"no certificate":   {nil, `{"iss":"alice"}`, verify.ErrMalformed, "x5c is missing"},
		"not DER":          {map[string]any{"x5c": []string{"AAAA"}}, `{"iss":"alice"}`, verify.ErrMalformed, "x5c"},
		"no issuer":        {x5c, `{"aud":"t"}`, verify.ErrMalformed, "iss is missing"},
		"no audience":      {x5c, `{"iss":"alice","iat":1772442000,"exp":1772442600}`, verify.ErrMalformed, "aud, iat and exp"},
		"an empty aud":     {x5c, `{"iss":"alice","aud":[],"iat":1772442000,"exp":1772442600}`, verify.ErrMalformed, "aud is neither"},
		"no times":         {x5c, `{"iss":"alice","aud":"t"}`, verify.ErrMalformed, "aud, iat and exp"},
		"no iat":           {x5c, `{"iss":"alice","aud":"t","exp":1772442600}`, verify.ErrMalformed, "aud, iat and exp"},
		"no exp":           {x5c, `{"iss":"alice","aud":"t","iat":1772442000}`, verify.ErrMalformed, "aud, iat and exp"},
		"of the past":      {x5c, `{"iss":"alice","aud":"t","iat":1772441000,"exp":1772441699}`, verify.ErrAssertionExpired, ""},
		"over in the skew": {x5c, `{"iss":"alice","aud":"t","iat":1772441000,"exp":1772441700}`, nil, ""},
		"within the skew":  {x5c, `{"iss":"alice","aud":"t","iat":1772442300,"exp":1772442600}`, nil, ""},
		"of the future":    {x5c, `{"iss":"alice","aud":"t","iat":1772442301,"exp":1772442600}`, verify.ErrAssertionExpired, ""},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := verify.ParseJWS(sign(t, jwa.RS256, c.header, c.claims))
			require.NoError(t, err)
			a, err := verify.ParseUserAssertion(j)
			if err == nil {
				require.Equal(t, "alice", a.Issuer)
				err = a.Verify(signedAt, 5*time.Minute)
			}
			if c.is == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.why)
		})
	}
	// The certificate of somebody else beside the signature.
	other := certificate(t, &otherKey().PublicKey, otherKey())
	j, err := verify.ParseJWS(sign(t, jwa.RS256, map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(other.Raw)}}, `{"iss":"alice","aud":"t","iat":1772442000,"exp":1772442600}`))
	require.NoError(t, err)
	a, err := verify.ParseUserAssertion(j)
	require.NoError(t, err)
	require.ErrorIs(t, a.Verify(signedAt, 0), verify.ErrSignature)

	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other = certificate(t, &curve.PublicKey, curve)
	j, err = verify.ParseJWS(sign(t, jwa.RS256, map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(other.Raw)}}, `{"iss":"alice"}`))
	require.NoError(t, err)
	a, err = verify.ParseUserAssertion(j)
	require.NoError(t, err)
	require.ErrorContains(t, a.Verify(signedAt, 0), "the key of the certificate is not RSA")
}

func TestPKeyAuth(t *testing.T) {
	for name, c := range map[string]struct {
		claims string
		want   *verify.Claims
		why    string
	}{
		"good":     {`{"aud":"https://login","nonce":"n","iat":"1772442000"}`, &verify.Claims{Audience: "https://login", Nonce: "n", IssuedAt: 1772442000}, ""},
		"no time":  {`{"aud":"https://login","nonce":"n"}`, nil, "iat is missing"},
		"bad time": {`{"iat":-0.5}`, nil, "is not a number of seconds"},
	} {
		j, err := verify.ParseJWS(sign(t, jwa.RS256, nil, c.claims))
		require.NoError(t, err, name)
		got, err := j.PKeyAuth()
		if c.why != "" {
			require.ErrorIs(t, err, verify.ErrMalformed, name)
			require.ErrorContains(t, err, c.why, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
}

func TestJoinRequest(t *testing.T) {
	request := func(subject pkix.Name, alg x509.SignatureAlgorithm, key any) string {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, SignatureAlgorithm: alg}, key)
		require.NoError(t, err)
		return base64.StdEncoding.EncodeToString(der)
	}
	constant := pkix.Name{CommonName: "7E980AD9-B86D-4306-9425-9AC066FB014A"} // MS-DVRJ 3.1.5.1.1.1
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	good := request(constant, x509.SHA256WithRSA, clientKey())
	pub, err := verify.JoinRequest(good)
	require.NoError(t, err)
	require.True(t, pub.Equal(&clientKey().PublicKey))

	der, err := base64.StdEncoding.DecodeString(good)
	require.NoError(t, err)
	der[len(der)-1] ^= 1
	for name, c := range map[string]struct{ data, why string }{
		"not base64":       {"!", "not standard base64"},
		"not DER":          {"AAAA", "certificate request"},
		"broken signature": {base64.StdEncoding.EncodeToString(der), "verification error"},
		"another hash":     {request(constant, x509.SHA384WithRSA, clientKey()), "SHA384-RSA"},
		"another subject":  {request(pkix.Name{CommonName: "me"}, x509.SHA256WithRSA, clientKey()), "subject of the certificate request"},
		"a longer subject": {request(pkix.Name{CommonName: constant.CommonName, Country: []string{"DE"}}, x509.SHA256WithRSA, clientKey()), "subject of the certificate request"},
		"a curve":          {request(constant, x509.ECDSAWithSHA256, curve), "ECDSA-SHA256"},
	} {
		_, err := verify.JoinRequest(c.data)
		require.ErrorIs(t, err, verify.ErrKey, name)
		require.ErrorContains(t, err, c.why, name)
	}
}

func certificate(t *testing.T, pub, by any) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: signedAt, NotAfter: signedAt.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, by)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}
