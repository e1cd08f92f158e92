package tpmtest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

func (s *suite) unwrapCases() []testCase {
	refuses := func(name string, want error, wrapped func(t *testing.T) (tpm.Key, []byte)) testCase {
		return testCase{name, func(t *testing.T) {
			k, w := wrapped(t)
			_, err := s.store.UnwrapSession(ctx(t), k, w)
			require.ErrorIs(t, err, want)
		}}
	}
	public := func() *rsa.PublicKey { return s.transport.Public().(*rsa.PublicKey) }
	cases := []testCase{
		{"32 bytes", func(t *testing.T) { s.derives(t, s.unwrap(t, s.secret), s.secret) }},
		{"32 bytes beginning and ending with zeros", func(t *testing.T) {
			secret := make([]byte, 32)
			secret[16] = 1
			s.derives(t, s.unwrap(t, secret), secret)
		}},
		refuses("OAEP with SHA-256", tpm.ErrDecrypt, func(t *testing.T) (tpm.Key, []byte) {
			w, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public(), s.secret, nil)
			require.NoError(t, err)
			return s.transport, w
		}),
		refuses("random ciphertext", tpm.ErrDecrypt, func(t *testing.T) (tpm.Key, []byte) {
			w := make([]byte, 256)
			_, err := rand.Read(w[1:])
			require.NoError(t, err)
			return s.transport, w
		}),
		refuses("ciphertext changed in the last bit", tpm.ErrDecrypt, func(t *testing.T) (tpm.Key, []byte) {
			w := Wrap(t, public(), s.secret)
			w[255] ^= 1
			return s.transport, w
		}),
		refuses("truncated ciphertext", tpm.ErrDecrypt, func(t *testing.T) (tpm.Key, []byte) {
			return s.transport, Wrap(t, public(), s.secret)[:255]
		}),
		refuses("ciphertext with a byte too many", tpm.ErrDecrypt, func(t *testing.T) (tpm.Key, []byte) {
			return s.transport, append(Wrap(t, public(), s.secret), 0)
		}),
		refuses("empty ciphertext", tpm.ErrDecrypt, func(*testing.T) (tpm.Key, []byte) {
			return s.transport, nil
		}),
		refuses("device key instead of transport key", tpm.ErrPurpose, func(t *testing.T) (tpm.Key, []byte) {
			return s.rsa, Wrap(t, s.rsa.Public(), s.secret)
		}),
		refuses("another store's transport key", tpm.ErrPurpose, func(t *testing.T) (tpm.Key, []byte) {
			k := foreignStore(t).transport
			return k, Wrap(t, k.Public(), s.secret)
		}),
		refuses("no transport key", tpm.ErrPurpose, func(t *testing.T) (tpm.Key, []byte) {
			return nil, Wrap(t, public(), s.secret)
		}),
		refuses("closed transport key", tpm.ErrClosed, func(t *testing.T) (tpm.Key, []byte) {
			k, err := s.store.OpenKey(ctx(t), s.transport.Blob())
			require.NoError(t, err)
			require.NoError(t, k.Close())
			return k, Wrap(t, public(), s.secret)
		}),
		{"the store works after refusals", func(t *testing.T) { s.derives(t, s.unwrap(t, s.secret), s.secret) }},
	}
	for _, n := range []int{0, 16, 31, 33, 64} {
		cases = append(cases, refuses(fmt.Sprintf("session key of %d bytes", n), tpm.ErrDecrypt, func(t *testing.T) (tpm.Key, []byte) {
			return s.transport, Wrap(t, public(), make([]byte, n))
		}))
	}
	return cases
}

// derives checks that k is the session key secret.
func (s *suite) derives(t *testing.T, k tpm.SessionKey, secret []byte) {
	t.Helper()
	ctx24 := make([]byte, 24)
	_, err := rand.Read(ctx24)
	require.NoError(t, err)
	got, err := k.Derive(ctx(t), []byte(kdf.Label), ctx24)
	require.NoError(t, err)
	require.Equal(t, kdf.Derive(secret, []byte(kdf.Label), ctx24), got)
}

// Vectors of the KDF: computed with Python's hmac, and equal to the KBKDFHMAC
// of Python's cryptography and to OpenSSL's KBKDF.
var vectors = []struct{ sessionKey, context1, key1, payload, key2 string }{
	{
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"000102030405060708090a0b0c0d0e0f1011121314151617",
		"70296b4334bf08f7bc6953575e6b6c18959dbcad6adb263fb625939d099456b3",
		`{"a":1}`,
		"3e008a7d6d8481944185380e8e88b7a8c6d76209dd1450da4b39eb8bba6cabb6",
	},
	{
		"1d1cfd2cbabd251a30655af32c745a4a73f74d00eee3dfeab8e570137b9ab356",
		"8e0bc2dfe9c440d8aef1372ffad77d3551107d4104b61a7b",
		"90f31fdaf01d94faafb6e86eaa83e9d5a9c32079f07da958a41e3d45936b2673",
		`{"refresh_token":"0.AXtest.prt","is_primary":"true","request_nonce":"AwABnonce"}`,
		"fc4a40bda1a7fadf6f6e95dcbba62bfe32ebe4d5efafac44a0cc67cc8d2351a5",
	},
	{
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"014f648a7b1aaf149f6a840e18fcd14279cd9df7e147c73cc2d66672631c9398",
		"{\"grant_type\":\"refresh_token\",\"scope\":\"openid aza\",\"win_ver\":\"Ubuntu 24.04 \u2013 LTS\"}",
		"24e8eb8e4ae79babff931f54e3b2aa17a4f2a8fc05470b7160d5e5f859bdde41",
	},
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *suite) deriveCases() []testCase {
	var cases []testCase
	for i, v := range vectors {
		cases = append(cases,
			testCase{fmt.Sprintf("vector %d, KDF version 1", i+1), func(t *testing.T) {
				key, err := s.unwrap(t, unhex(v.sessionKey)).Derive(ctx(t), []byte(kdf.Label), unhex(v.context1))
				require.NoError(t, err)
				require.Equal(t, v.key1, hex.EncodeToString(key[:]))
			}},
			testCase{fmt.Sprintf("vector %d, KDF version 2", i+1), func(t *testing.T) {
				context := kdf.ContextV2(unhex(v.context1), []byte(v.payload))
				key, err := s.unwrap(t, unhex(v.sessionKey)).Derive(ctx(t), []byte(kdf.Label), context[:])
				require.NoError(t, err)
				require.Equal(t, v.key2, hex.EncodeToString(key[:]))
			}})
	}
	equal := func(name string, label, context []byte) testCase {
		return testCase{name, func(t *testing.T) {
			key, err := s.session.Derive(ctx(t), label, context)
			require.NoError(t, err)
			require.Equal(t, kdf.Derive(s.secret, label, context), key)
		}}
	}
	return append(cases,
		equal("empty context", []byte(kdf.Label), nil),
		equal("empty label", nil, []byte("context")),
		equal("both empty", nil, nil),
		equal("context of 900 bytes", []byte(kdf.Label), bytes.Repeat([]byte{7}, 900)),
		testCase{"reopened", func(t *testing.T) {
			s.reopen(t)
			s.derives(t, s.session, s.secret)
		}},
		testCase{"two session keys in turn", func(t *testing.T) {
			other := bytes.Repeat([]byte{9}, 32)
			k := s.unwrap(t, other)
			for range 3 {
				s.derives(t, k, other)
				s.derives(t, s.session, s.secret)
			}
			require.NoError(t, k.Close())
			s.derives(t, s.session, s.secret)
		}},
		testCase{"one blob opened twice", func(t *testing.T) {
			a, err := s.store.OpenSession(ctx(t), s.session.Blob())
			require.NoError(t, err)
			b, err := s.store.OpenSession(ctx(t), s.session.Blob())
			require.NoError(t, err)
			require.NoError(t, a.Close())
			s.derives(t, b, s.secret)
		}},
		testCase{"closed", func(t *testing.T) {
			k, err := s.store.OpenSession(ctx(t), s.session.Blob())
			require.NoError(t, err)
			require.NoError(t, k.Close())
			require.NoError(t, k.Close())
			_, err = k.Derive(ctx(t), nil, nil)
			require.ErrorIs(t, err, tpm.ErrClosed)
		}},
		testCase{"the blob does not hold the key", func(t *testing.T) {
			require.False(t, bytes.Contains(s.session.Blob(), s.secret[:8]))
		}},
	)
}

func (s *suite) sealCases() []testCase {
	round := func(name string, plaintext, aad []byte) testCase {
		return testCase{name, func(t *testing.T) {
			sealed, err := s.store.Seal(ctx(t), plaintext, aad)
			require.NoError(t, err)
			if len(plaintext) > 8 {
				require.False(t, bytes.Contains(sealed, plaintext[:8]))
			}
			got, err := s.store.Unseal(ctx(t), sealed, aad)
			require.NoError(t, err)
			require.Equal(t, plaintext, got)
		}}
	}
	otherAAD := func(name string, aad []byte) testCase {
		return testCase{name, func(t *testing.T) {
			_, err := s.store.Unseal(ctx(t), s.sealed, aad)
			require.ErrorIs(t, err, tpm.ErrInvalidBlob)
		}}
	}
	refuses := func(name string, n int) testCase {
		return testCase{name, func(t *testing.T) {
			_, err := s.store.Seal(ctx(t), make([]byte, n), aad)
			require.Error(t, err)
		}}
	}
	return []testCase{
		round("1 byte", []byte{0}, aad),
		round("32 bytes", data, aad),
		round("128 bytes", bytes.Repeat([]byte("12345678"), 16), aad),
		round("no aad", data, nil),
		round("aad of 10,000 bytes", data, make([]byte, 10000)),
		refuses("0 bytes are refused", 0),
		refuses("129 bytes are refused", 129),
		otherAAD("no aad is another aad", nil),
		otherAAD("a prefix is another aad", aad[:len(aad)-1]),
		otherAAD("an extension is another aad", append(append([]byte(nil), aad...), 0)),
		otherAAD("same length is another aad", bytes.ToUpper(aad)),
		{"nil aad is empty aad", func(t *testing.T) {
			sealed, err := s.store.Seal(ctx(t), data, nil)
			require.NoError(t, err)
			got, err := s.store.Unseal(ctx(t), sealed, []byte{})
			require.NoError(t, err)
			require.Equal(t, data, got)
		}},
		{"sealing twice gives two blobs", func(t *testing.T) {
			again, err := s.store.Seal(ctx(t), data, aad)
			require.NoError(t, err)
			require.NotEqual(t, s.sealed, again)
		}},
		{"the plaintext is left alone", func(t *testing.T) {
			plaintext := bytes.Clone(data)
			_, err := s.store.Seal(ctx(t), plaintext, aad)
			require.NoError(t, err)
			require.Equal(t, data, plaintext)
		}},
		{"reopened", func(t *testing.T) {
			s.reopen(t)
			got, err := s.store.Unseal(ctx(t), s.sealed, aad)
			require.NoError(t, err)
			require.Equal(t, data, got)
		}},
	}
}

// foreign is a key store that cannot be the one under test.
type foreign struct {
	store             *softkeys.Store
	transport         tpm.Key
	key, session, box []byte
}

func foreignStore(t testing.TB) foreign {
	t.Helper()
	secret := make([]byte, 32)
	_, err := rand.Read(secret)
	require.NoError(t, err)
	store, err := softkeys.Open(softkeys.Secret(secret))
	require.NoError(t, err)
	f := foreign{store: store}
	f.transport, err = store.GenerateKey(ctx(t), tpm.KeySpec{Purpose: tpm.Unwrap})
	require.NoError(t, err)
	f.key = f.transport.Blob()
	k, err := store.UnwrapSession(ctx(t), f.transport, Wrap(t, f.transport.Public(), secret))
	require.NoError(t, err)
	f.session = k.Blob()
	f.box, err = store.Seal(ctx(t), data, aad)
	require.NoError(t, err)
	return f
}
