package prt_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/prt"
)

var (
	bg  = context.Background()
	now = time.Date(2025, 3, 4, 10, 11, 12, 0, time.UTC)
)

const (
	tenantID = "11223344-5566-7788-99aa-bbccddeeff00"
	userID   = "01234567-89ab-cdef-0123-456789abcdef"
	deviceID = "d03994c9-24f8-41ba-a156-1805998d6dc7"
	thePRT   = "0.AXoA-canary-prt-5d1c.AgABAAEAAAD"
	theNonce = "AwABAAEAAAACAOz_BAD0_nonce"
)

// softSigner is an RSA key in memory.
type softSigner struct{ key *rsa.PrivateKey }

func (s softSigner) Public() crypto.PublicKey { return s.key.Public() }

func (s softSigner) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.key.Sign(rand.Reader, digest, opts)
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

func load(t testing.TB, name string, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(testdata(t, name), v))
}

var keys sync.Map

func signer(t testing.TB, name string) softSigner {
	t.Helper()
	if k, ok := keys.Load(name); ok {
		return k.(softSigner)
	}
	block, _ := pem.Decode(testdata(t, name))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	s := softSigner{key.(*rsa.PrivateKey)}
	keys.Store(name, s)
	return s
}

func device(t testing.TB) prt.DeviceProof {
	return prt.DeviceProof{Key: signer(t, "device.pem"), Certificate: testdata(t, "device.cer")}
}

func softwareKey(t testing.TB, s string) *prt.SoftwareKey {
	t.Helper()
	return (*prt.SoftwareKey)(unhex(t, s))
}

const (
	sessionKeyHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	ctxHex        = "000102030405060708090a0b0c0d0e0f1011121314151617"
)

// session is a session whose randomness is one ctx, over and over.
func session(t testing.TB) prt.Session {
	return prt.Session{Key: softwareKey(t, sessionKeyHex), Rand: repeat(unhex(t, ctxHex))}
}

type repeat []byte

func (r repeat) Read(b []byte) (int, error) {
	for n := 0; n < len(b); n += copy(b[n:], r) {
	}
	return len(b), nil
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func b64u(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jws is a decoded JWS.
type jws struct {
	header, payload  map[string]any
	rawHeader, body  []byte
	input, signature []byte
}

func decodeJWS(t testing.TB, s string) (j jws) {
	t.Helper()
	parts := strings.Split(s, ".")
	require.Len(t, parts, 3)
	var err error
	j.rawHeader, err = base64.RawURLEncoding.DecodeString(parts[0])
	require.NoError(t, err)
	j.body, err = base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	j.signature, err = base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(j.rawHeader, &j.header))
	require.NoError(t, json.Unmarshal(j.body, &j.payload))
	j.input = []byte(parts[0] + "." + parts[1])
	return j
}

// sealed is a reply of the service, built apart from the code under test.
func sealed(t testing.TB, key *prt.SoftwareKey, ctx, iv, plain []byte) string {
	t.Helper()
	head := b64u([]byte(`{"alg":"dir","enc":"A256GCM","ctx":"` + base64.StdEncoding.EncodeToString(ctx) + `"}`))
	k := kdf.Derive(key[:], []byte(kdf.Label), ctx)
	block, err := aes.NewCipher(k[:])
	require.NoError(t, err)
	if len(iv) == aes.BlockSize {
		pad := aes.BlockSize - len(plain)%aes.BlockSize
		padded := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
		return head + ".." + b64u(iv) + "." + b64u(encryptCBC(block, iv, padded)) + "."
	}
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	out := gcm.Seal(nil, iv, plain, []byte(head))
	data, tag := out[:len(out)-16], out[len(out)-16:]
	return head + ".." + b64u(iv) + "." + b64u(data) + "." + b64u(tag)
}

func encryptCBC(block cipher.Block, iv, padded []byte) []byte {
	out := make([]byte, len(padded))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, padded)
	return out
}

// idToken is an unsigned token as PRT replies hold one.
func idToken(claims string) string {
	return b64u([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + b64u([]byte(claims)) + "."
}

func sessionKeyJWE(t testing.TB) (jwe string, wrapped []byte, key string) {
	t.Helper()
	var v struct {
		SessionKey    string `json:"session_key"`
		Wrapped       string `json:"wrapped"`
		SessionKeyJWE string `json:"session_key_jwe"`
	}
	load(t, "session_key_jwe.json", &v)
	return v.SessionKeyJWE, unhex(t, v.Wrapped), v.SessionKey
}
