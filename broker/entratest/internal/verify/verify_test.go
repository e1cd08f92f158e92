package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
)

// Signatures computed with Python's hmac and hashlib over the derivation of
// NIST SP 800-108.
const (
	sessionKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	jwsV1      = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImN0eCI6IkFBRUNBd1FGQmdjSUNRb0xEQTBPRHhBUkVoTVVGUllYIn0.eyJhIjoxfQ.KutYIqgCYvGmmmyIlp2TdsoTasF4-y3fLTRRs3BNnGE"
	jwsV2      = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImN0eCI6IkFBRUNBd1FGQmdjSUNRb0xEQTBPRHhBUkVoTVVGUllYIiwia2RmX3ZlciI6Mn0.eyJhIjoxfQ.Vt172nwgPkMu1TN-LbT8B0myJD30CUUhYGa30yEFlo4"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestSessionSignature(t *testing.T) {
	key := unhex(t, sessionKey)
	v1, err := verify.ParseJWS(jwsV1)
	require.NoError(t, err)
	v2, err := verify.ParseJWS(jwsV2)
	require.NoError(t, err)
	require.Equal(t, `{"a":1}`, string(v1.Payload))
	require.Equal(t, 0, v1.Header.KDFVer)
	require.Equal(t, 2, v2.Header.KDFVer)

	require.NoError(t, v1.VerifySession(key, 1))
	require.NoError(t, v2.VerifySession(key, 1))
	require.NoError(t, v2.VerifySession(key, 2))
	require.ErrorIs(t, v1.VerifySession(key, 2), verify.ErrDowngrade)
	require.ErrorIs(t, v2.VerifySession(make([]byte, 32), 2), verify.ErrSignature)
}

// The header's ctx counts in either alphabet, with and without padding.
func TestContextAlphabets(t *testing.T) {
	for _, ctx := range []string{"jgvC3+nEQNiu8Tcv+td9NVEQfUEEthp7", "jgvC3-nEQNiu8Tcv-td9NVEQfUEEthp7", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		h := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","ctx":"` + ctx + `"}`))
		j, err := verify.ParseJWS(h + ".e30.AA")
		require.NoError(t, err, ctx)
		require.GreaterOrEqual(t, len(j.Header.Ctx), 24)
	}
}

func TestParseJWSRefuses(t *testing.T) {
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, text := range map[string]string{
		"two parts":          "e30.e30",
		"four parts":         "e30.e30.e30.e30",
		"padding":            "e30=.e30.AA",
		"standard alphabet":  b64(`{"alg":"??>"}`)[:3] + "+.e30.AA",
		"newline":            "e3\n0.e30.AA",
		"header no object":   b64(`[]`) + ".e30.AA",
		"header twice":       b64(`{}{}`) + ".e30.AA",
		"repeated header":    b64(`{"alg":"RS256","alg":"none"}`) + ".e30.AA",
		"repeated claim":     "e30." + b64(`{"a":1,"a":2}`) + ".AA",
		"payload no object":  "e30." + b64(`1`) + ".AA",
		"kdf_ver text":       b64(`{"kdf_ver":"2"}`) + ".e30.AA",
		"kdf_ver 3":          b64(`{"kdf_ver":3}`) + ".e30.AA",
		"ctx empty":          b64(`{"ctx":""}`) + ".e30.AA",
		"ctx no base64":      b64(`{"ctx":"!"}`) + ".e30.AA",
		"x5c number":         b64(`{"x5c":1}`) + ".e30.AA",
		"x5c empty":          b64(`{"x5c":[]}`) + ".e30.AA",
		"x5c url alphabet":   b64(`{"x5c":"-_-_"}`) + ".e30.AA",
		"crit":               b64(`{"crit":["exp"]}`) + ".e30.AA",
		"longer than 64 KiB": "e30.e30." + strings.Repeat("A", verify.MaxJWS-len("e30.e30.")+2),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verify.ParseJWS(text)
			require.ErrorIs(t, err, verify.ErrMalformed)
		})
	}
}

func TestClaims(t *testing.T) {
	claims := func(s string) (*verify.Claims, error) {
		j, err := verify.ParseJWS("e30." + base64.RawURLEncoding.EncodeToString([]byte(s)) + ".AA")
		require.NoError(t, err)
		return j.Claims()
	}
	c, err := claims(`{"iat":"1741082000","exp":1741085600.0,"aud":["a","b"],"resource":null,"scope":"openid aza ugs","is_primary":"true","group_sids":[]}`)
	require.NoError(t, err)
	require.EqualValues(t, 1741082000, c.IssuedAt)
	require.EqualValues(t, 1741085600, c.Expires)
	require.Equal(t, "a", c.Audience)
	require.Empty(t, c.Resource)
	require.True(t, c.HasScope("aza"))
	require.False(t, c.HasScope("az"))
	for _, bad := range []string{`{"iat":"soon"}`, `{"iat":-1.5}`, `{"aud":1}`, `{"aud":[]}`, `{"scope":1}`} {
		_, err := claims(bad)
		require.ErrorIs(t, err, verify.ErrMalformed, bad)
	}
}

// blob is the published vector: modulus c1 01 02 … ff, exponent 65537.
func blob() []byte {
	b := []byte("RSA1")
	for _, n := range []uint32{2048, 3, 256, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	b = append(b, 1, 0, 1, 0xc1)
	for i := 1; i < 256; i++ {
		b = append(b, byte(i))
	}
	return b
}

func TestKeyBlob(t *testing.T) {
	require.Len(t, blob(), 283)
	require.Equal(t, "efX9sdLz7+Dex0OAu9sCGSLSkn6RwCaNMhnqsxXbASQ=", verify.KeyID(blob()))
	pub, err := verify.KeyBlob(blob())
	require.NoError(t, err)
	require.Equal(t, 65537, pub.E)
	require.Equal(t, new(big.Int).SetBytes(blob()[27:]), pub.N)
}

func TestPKCE(t *testing.T) {
	// RFC 7636, appendix B.
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	require.True(t, verify.Verifier(verifier, challenge, "S256"))
	require.False(t, verify.Verifier(challenge, challenge, "S256"))
	require.True(t, verify.Verifier(challenge, challenge, ""))
	require.False(t, verify.Verifier("short", "short", ""))
	require.True(t, verify.Challenge(strings.Repeat("a", 43)))
	require.True(t, verify.Challenge(strings.Repeat("a", 128)))
	require.False(t, verify.Challenge(strings.Repeat("a", 42)))
	require.False(t, verify.Challenge(strings.Repeat("a", 129)))
	require.False(t, verify.Challenge(strings.Repeat("a", 43)+"+"))
}

// refused reports whether a check ended in one of the errors that it may end in.
func refused(err error) bool {
	return errors.Is(err, verify.ErrSignature) || errors.Is(err, verify.ErrMalformed) || errors.Is(err, verify.ErrDowngrade)
}

// A signed request that was changed anywhere is never accepted.
func FuzzSessionJWS(f *testing.F) {
	f.Add(jwsV1, uint16(10), byte(1))
	f.Add(jwsV2, uint16(200), byte(32))
	key := unhex(f, sessionKey)
	f.Fuzz(func(t *testing.T, text string, at uint16, flip byte) {
		for _, good := range []string{jwsV1, jwsV2} {
			b := []byte(good)
			b[int(at)%len(b)] ^= flip
			j, err := verify.ParseJWS(string(b))
			if flip != 0 && err == nil {
				require.True(t, refused(j.VerifySession(key, 1)), "%s", b)
			}
		}
		j, err := verify.ParseJWS(text)
		if err != nil {
			require.ErrorIs(t, err, verify.ErrMalformed)
			return
		}
		_, _ = j.Claims()
		_, _ = j.Certificate()
		if text != jwsV1 && text != jwsV2 {
			require.True(t, refused(j.VerifySession(key, 1)))
		}
	})
}

// A key blob that parses is exactly the blob of the key it gave.
func FuzzKeyBlob(f *testing.F) {
	f.Add(blob())
	f.Fuzz(func(t *testing.T, b []byte) {
		pub, err := verify.KeyBlob(b)
		if err != nil {
			require.ErrorIs(t, err, verify.ErrKey)
			return
		}
		out := append([]byte{}, blob()[:27]...)
		require.Equal(t, append(out, pub.N.FillBytes(make([]byte, 256))...), b)
	})
}

func FuzzJoinRequest(f *testing.F) {
	f.Add("eA==", `{"kty":"RSA"}`)
	f.Fuzz(func(t *testing.T, csr, key string) {
		if pub, err := verify.JoinRequest(csr); err == nil {
			require.Equal(t, 2048, pub.N.BitLen())
		} else {
			require.ErrorIs(t, err, verify.ErrKey)
		}
		for _, field := range []string{key, base64.StdEncoding.EncodeToString([]byte(key))} {
			if pub, err := verify.TransportKey(field); err == nil {
				require.Equal(t, 2048, pub.N.BitLen())
			} else {
				require.ErrorIs(t, err, verify.ErrKey)
			}
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(jwsV1)
	pub := testkeys.TokenSigning().RSA()
	f.Fuzz(func(t *testing.T, text string) {
		h, err := verify.ParseHello(text)
		if err != nil {
			return
		}
		require.True(t, refused(h.Verify(pub, time.Unix(0, 0), time.Minute)), "nobody holds this key")
	})
}

func FuzzAssertion(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f, err)
	f.Add(assertion(f, other, "webauthn.get", "o", "p", 5, []byte("c")))
	f.Fuzz(func(t *testing.T, text string) {
		a, err := verify.ParseAssertion(text)
		if err != nil {
			require.ErrorIs(t, err, verify.ErrAssertion)
			return
		}
		require.ErrorIs(t, a.Verify(&key.PublicKey, []byte("c"), map[string]string{"o": "p"}), verify.ErrAssertion)
	})
}

func FuzzSAML(f *testing.F) {
	f.Add([]byte(`<saml:Assertion><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo><ds:Reference><ds:DigestValue>x</ds:DigestValue></ds:Reference></ds:SignedInfo><ds:SignatureValue>x</ds:SignatureValue></ds:Signature></saml:Assertion>`))
	pub := &rsa.PublicKey{N: testkeys.TokenSigning().RSA().N, E: 65537}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := verify.ParseSAML(text, pub)
		require.ErrorIs(t, err, verify.ErrSAML)
	})
}
