package entratest_test

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"

	"github.com/stretchr/testify/require"
)

func b64u(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func compact(header, claims any, sign func(input []byte, payload []byte) []byte) string {
	h, err := json.Marshal(header)
	if err != nil {
		panic(err)
	}
	p, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	in := b64u(h) + "." + b64u(p)
	return in + "." + b64u(sign([]byte(in), p))
}

func rs256(key *rsa.PrivateKey) func([]byte, []byte) []byte {
	return func(in, _ []byte) []byte {
		sum := sha256.Sum256(in)
		sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return sig
	}
}

// kdfKey is SP 800-108 in counter mode, written out.
func kdfKey(session, context []byte) []byte {
	m := hmac.New(sha256.New, session)
	_ = binary.Write(m, binary.BigEndian, uint32(1))
	m.Write([]byte("AzureAD-SecureConversation\x00"))
	m.Write(context)
	_ = binary.Write(m, binary.BigEndian, uint32(256))
	return m.Sum(nil)
}

// deviceJWS signs claims with the device key.
func (c *tc) deviceJWS(claims map[string]any) string {
	h := map[string]any{"alg": "RS256", "typ": "JWT", "x5c": base64.StdEncoding.EncodeToString(c.cert)}
	if c.x5cArray {
		h["x5c"] = []string{base64.StdEncoding.EncodeToString(c.cert)}
	}
	if c.kdf == 2 {
		h["kdf_ver"] = 2
	}
	return compact(h, claims, rs256(c.device))
}

// sessionJWS signs claims under the session key.
func (c *tc) sessionJWS(claims map[string]any) string {
	ctx := make([]byte, 24)
	_, _ = rand.Read(ctx)
	h := map[string]any{"alg": "HS256", "typ": "JWT", "ctx": base64.StdEncoding.EncodeToString(ctx)}
	if c.kdf == 2 {
		h["kdf_ver"] = 2
	}
	return compact(h, claims, func(in, payload []byte) []byte {
		context := ctx
		if c.kdf == 2 {
			sum := sha256.Sum256(append(bytes.Clone(ctx), payload...))
			context = sum[:]
		}
		m := hmac.New(sha256.New, kdfKey(c.session, context))
		m.Write(in)
		return m.Sum(nil)
	})
}

// keyBlob is a BCRYPT_RSAKEY_BLOB.
func keyBlob(pub *rsa.PublicKey) []byte {
	b := []byte("RSA1")
	for _, n := range []uint32{2048, 3, 256, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return append(append(b, 1, 0, 1), pub.N.FillBytes(make([]byte, 256))...)
}

func csr(key *rsa.PrivateKey, name string) string {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// unwrap opens session_key_jwe and its dummy body.
func (c *tc) unwrap(jwe string) []byte {
	c.t.Helper()
	parts := strings.Split(jwe, ".")
	require.Len(c.t, parts, 5)
	raw := make([][]byte, 5)
	for i, p := range parts {
		var err error
		raw[i], err = base64.RawURLEncoding.DecodeString(p)
		require.NoError(c.t, err)
	}
	require.JSONEq(c.t, `{"enc":"A256GCM","alg":"RSA-OAEP"}`, string(raw[0]))
	key, err := rsa.DecryptOAEP(sha1.New(), nil, c.transport, raw[1], nil)
	require.NoError(c.t, err)
	require.Len(c.t, key, 32)
	require.Len(c.t, raw[2], 12)
	require.Len(c.t, raw[3], 1)
	require.Len(c.t, raw[4], 16)
	block, err := aes.NewCipher(key)
	require.NoError(c.t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(c.t, err)
	plain, err := gcm.Open(nil, raw[2], append(raw[3], raw[4]...), nil)
	require.NoError(c.t, err)
	require.Equal(c.t, " ", string(plain))
	return key
}

// decrypt opens an encrypted reply in place.
func (c *tc) decrypt(r *reply) *reply {
	c.t.Helper()
	if r.v != nil {
		return r
	}
	parts := strings.Split(string(r.body), ".")
	require.Len(c.t, parts, 5, "%s", r.body)
	require.Empty(c.t, parts[1])
	dec := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		require.NoError(c.t, err)
		return b
	}
	var h struct{ Alg, Enc, Ctx string }
	require.NoError(c.t, json.Unmarshal(dec(parts[0]), &h))
	require.Equal(c.t, "dir", h.Alg)
	require.Equal(c.t, "A256GCM", h.Enc)
	ctx, err := base64.StdEncoding.DecodeString(h.Ctx)
	require.NoError(c.t, err)
	require.Len(c.t, ctx, 24)
	block, err := aes.NewCipher(kdfKey(c.session, ctx))
	require.NoError(c.t, err)
	iv, body, tag := dec(parts[2]), dec(parts[3]), dec(parts[4])
	var plain []byte
	if len(iv) == 16 {
		require.Empty(c.t, tag)
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(body, body)
		plain = body[:len(body)-int(body[len(body)-1])]
	} else {
		gcm, err := cipher.NewGCM(block)
		require.NoError(c.t, err)
		plain, err = gcm.Open(nil, iv, append(body, tag...), []byte(parts[0]))
		require.NoError(c.t, err)
	}
	require.NoError(c.t, json.Unmarshal(plain, &r.v), "%s", plain)
	return r
}
