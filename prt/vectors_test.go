package prt_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwe"
	jwxjws "github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/prt"
)

type sessionVectors struct {
	Signing []struct {
		Name       string `json:"name"`
		SessionKey string `json:"session_key"`
		Ctx        string `json:"ctx"`
		Payload    string `json:"payload"`
		KeyV1      string `json:"key_v1"`
		KeyV2      string `json:"key_v2"`
		JWSV1      string `json:"jws_v1"`
		JWSV2      string `json:"jws_v2"`
	} `json:"signing"`
	Replies []struct {
		Name       string `json:"name"`
		SessionKey string `json:"session_key"`
		Plaintext  string `json:"plaintext"`
		JWE        string `json:"jwe"`
	} `json:"replies"`
}

func TestSigningVectors(t *testing.T) {
	var v sessionVectors
	load(t, "session.json", &v)
	require.Len(t, v.Signing, 3)
	for _, tt := range v.Signing {
		t.Run(tt.Name, func(t *testing.T) {
			ctx := unhex(t, tt.Ctx)
			for version, want := range map[int]struct{ jws, key string }{
				prt.KDFv1: {tt.JWSV1, tt.KeyV1},
				prt.KDFv2: {tt.JWSV2, tt.KeyV2},
			} {
				// Requests carry 24 random bytes; a vector with another length
				// is checked by its key alone.
				if len(ctx) == 24 {
					s := prt.Session{Key: softwareKey(t, tt.SessionKey), KDF: version, Rand: repeat(ctx)}
					got, err := prt.SignSession(s, bg, unhex(t, tt.Payload))
					require.NoError(t, err)
					require.Equal(t, want.jws, got)
				}
				// jwx agrees that the signature is HS256 under the derived key.
				payload, err := jwxjws.Verify([]byte(want.jws), jwxjws.WithKey(jwa.HS256, unhex(t, want.key)))
				require.NoError(t, err)
				require.Equal(t, unhex(t, tt.Payload), payload)
			}
			sum := kdf.ContextV2(ctx, unhex(t, tt.Payload))
			for want, context := range map[string][]byte{tt.KeyV1: ctx, tt.KeyV2: sum[:]} {
				key, err := softwareKey(t, tt.SessionKey).Derive(bg, []byte(kdf.Label), context)
				require.NoError(t, err)
				require.Equal(t, want, hex.EncodeToString(key[:]))
			}
		})
	}
}

func TestReplyVectors(t *testing.T) {
	var v sessionVectors
	load(t, "session.json", &v)
	require.Len(t, v.Replies, 4)
	for _, tt := range v.Replies {
		t.Run(tt.Name, func(t *testing.T) {
			// The version of the session does not matter for replies.
			for _, version := range []int{0, prt.KDFv1, prt.KDFv2} {
				r, err := prt.ParseReply(bg, []byte(tt.JWE), prt.Session{Key: softwareKey(t, tt.SessionKey), KDF: version})
				require.NoError(t, err)
				require.True(t, r.Encrypted)
				require.Contains(t, tt.Plaintext, `"`+r.AccessToken.Reveal()+`"`)
			}
		})
	}
	// GCM is RFC 7516 to the letter, so jwx reads it; CBC it refuses.
	key := unhex(t, v.Signing[0].KeyV1)
	plain, err := jwe.Decrypt([]byte(v.Replies[0].JWE), jwe.WithKey(jwa.DIRECT, key))
	require.NoError(t, err)
	require.Equal(t, v.Replies[0].Plaintext, string(plain))
	_, err = jwe.Decrypt([]byte(v.Replies[1].JWE), jwe.WithKey(jwa.DIRECT, key))
	require.ErrorContains(t, err, "failed to decrypt")
}

// jwx makes the reply, prt reads it.
func TestReadsJWXReplies(t *testing.T) {
	s := session(t)
	ctx := unhex(t, ctxHex)
	key := kdf.Derive(s.Key.(*prt.SoftwareKey)[:], []byte(kdf.Label), ctx)
	h := jwe.NewHeaders()
	require.NoError(t, h.Set("ctx", base64.StdEncoding.EncodeToString(ctx)))
	msg, err := jwe.Encrypt([]byte(`{"access_token":"from jwx"}`), jwe.WithKey(jwa.DIRECT, key[:]),
		jwe.WithContentEncryption(jwa.A256GCM), jwe.WithProtectedHeaders(h))
	require.NoError(t, err)
	r, err := prt.ParseReply(bg, msg, s)
	require.NoError(t, err)
	require.Equal(t, "from jwx", r.AccessToken.Reveal())
}

func TestSessionKeyVector(t *testing.T) {
	text, wrapped, key := sessionKeyJWE(t)
	got, err := prt.WrappedSessionKey(text)
	require.NoError(t, err)
	require.Equal(t, wrapped, got)
	unwrapped, err := rsa.DecryptOAEP(sha1.New(), rand.Reader, signer(t, "transport.pem").key, got, nil)
	require.NoError(t, err)
	require.Equal(t, key, hex.EncodeToString(unwrapped))
	_, err = jwe.Decrypt([]byte(text), jwe.WithKey(jwa.RSA_OAEP, signer(t, "transport.pem").key))
	require.ErrorContains(t, err, "failed to decrypt", "the body is not what RFC 7516 wants, which is why it is not read")
}

func TestHelloVector(t *testing.T) {
	var v struct {
		Modulus  string `json:"modulus"`
		Exponent int    `json:"exponent"`
		Blob     string `json:"blob"`
		Kid      string `json:"kid"`
	}
	load(t, "hello_kid.json", &v)
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(unhex(t, v.Modulus)), E: v.Exponent}
	blob, err := prt.MarshalPublicKey(key)
	require.NoError(t, err)
	require.Len(t, blob, 283)
	require.Equal(t, v.Blob, hex.EncodeToString(blob))
	kid, err := prt.HelloKeyID(key)
	require.NoError(t, err)
	require.Equal(t, "efX9sdLz7+Dex0OAu9sCGSLSkn6RwCaNMhnqsxXbASQ=", kid)
	require.Equal(t, v.Kid, kid)
	sum := sha256.Sum256(blob)
	require.Equal(t, "79f5fdb1d2f3efe0dec74380bbdb021922d2927e91c0268d3219eab315db0124", hex.EncodeToString(sum[:]))
	back, err := prt.ParsePublicKey(blob)
	require.NoError(t, err)
	require.True(t, key.Equal(back))
}

func TestGUIDAndSIDVectors(t *testing.T) {
	for _, tt := range []struct{ guid, bytes, sid string }{
		{"d03994c9-24f8-41ba-a156-1805998d6dc7", "c99439d0f824ba41a1561805998d6dc7", "S-1-12-1-3493434569-1102718200-85481121-3345845657"},
		{"00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000", "S-1-12-1-0-0-0-0"},
		{"ffffffff-ffff-ffff-ffff-ffffffffffff", "ffffffffffffffffffffffffffffffff", "S-1-12-1-4294967295-4294967295-4294967295-4294967295"},
		{"00112233-4455-6677-8899-aabbccddeeff", "33221100554477668899aabbccddeeff", "S-1-12-1-1122867-1719092309-3148519816-4293844428"},
	} {
		g, err := prt.ParseGUID(tt.guid)
		require.NoError(t, err)
		require.Equal(t, tt.bytes, hex.EncodeToString(g[:]))
		require.Equal(t, tt.guid, g.String())
		require.Equal(t, tt.sid, g.SID())
		back, err := prt.ParseSID(tt.sid)
		require.NoError(t, err)
		require.Equal(t, g, back)
	}
	upper, err := prt.ParseGUID("D03994C9-24F8-41BA-A156-1805998D6DC7")
	require.NoError(t, err)
	require.Equal(t, deviceID, upper.String())
	for _, bad := range []string{"", "d03994c9", "d03994c924f841baa1561805998d6dc7", "{03994c9-24f8-41ba-a156-1805998d6dc7", "g03994c9-24f8-41ba-a156-1805998d6dc7", "d03994c9-24f8-41ba-a156-1805998d6dc7 ", "d03994c9-24f8-41ba-a15-61805998d6dc7", "d03994c9-24f8-41ba-a156-1805998d6d--"} {
		_, err := prt.ParseGUID(bad)
		require.ErrorIs(t, err, prt.ErrReply, bad)
	}
	for _, bad := range []string{"", "S-1-5-32-544", "S-1-12-1-1-2-3", "S-1-12-1-1-2-3-4-5", "S-1-12-1-01-2-3-4", "S-1-12-1-4294967296-2-3-4", "S-1-12-1--1-2-3-4", "S-1-12-1-1-2-3-x"} {
		_, err := prt.ParseSID(bad)
		require.ErrorIs(t, err, prt.ErrReply, bad)
	}
}
