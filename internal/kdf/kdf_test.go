package kdf_test

import (
	"encoding/base64"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
)

// The expected values were computed with Python's hmac and hashlib and agree
// with the KBKDFHMAC of Python's cryptography package.
func TestDerive(t *testing.T) {
	tests := []struct {
		name                  string
		sessionKey, ctx       string
		payload               string
		contextV2, key1, key2 string
	}{
		{
			name:       "ascending key, 24-byte ctx",
			sessionKey: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			ctx:        "000102030405060708090a0b0c0d0e0f1011121314151617",
			payload:    `{"a":1}`,
			key1:       "70296b4334bf08f7bc6953575e6b6c18959dbcad6adb263fb625939d099456b3",
			contextV2:  "de735c25d1adb3f50e42c846cdb24cce3e7046aa25b7dbbf2a91c1bfe3b68c67",
			key2:       "3e008a7d6d8481944185380e8e88b7a8c6d76209dd1450da4b39eb8bba6cabb6",
		},
		{
			name:       "ctx with + in base64",
			sessionKey: "1d1cfd2cbabd251a30655af32c745a4a73f74d00eee3dfeab8e570137b9ab356",
			ctx:        "8e0bc2dfe9c440d8aef1372ffad77d3551107d4104b61a7b",
			payload:    `{"refresh_token":"0.AXtest.prt","is_primary":"true","request_nonce":"AwABnonce"}`,
			key1:       "90f31fdaf01d94faafb6e86eaa83e9d5a9c32079f07da958a41e3d45936b2673",
			contextV2:  "6dfb765de59ba13974cd8fbbf5f55a6710b297bcf9439af9f5d5bdfe217f5122",
			key2:       "fc4a40bda1a7fadf6f6e95dcbba62bfe32ebe4d5efafac44a0cc67cc8d2351a5",
		},
		{
			name:       "32-byte ctx, non-ASCII payload",
			sessionKey: "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
			ctx:        "0000000000000000000000000000000000000000000000000000000000000000",
			payload:    "{\"grant_type\":\"refresh_token\",\"scope\":\"openid aza\",\"win_ver\":\"Ubuntu 24.04 \u2013 LTS\"}",
			key1:       "014f648a7b1aaf149f6a840e18fcd14279cd9df7e147c73cc2d66672631c9398",
			contextV2:  "5cb5b0d6b39d86cd3fc34ba2acaee11130f9955056c0762c1f054a253d2e7e02",
			key2:       "24e8eb8e4ae79babff931f54e3b2aa17a4f2a8fc05470b7160d5e5f859bdde41",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, ctx := unhex(t, tt.sessionKey), unhex(t, tt.ctx)
			v1 := kdf.Derive(key, []byte(kdf.Label), ctx)
			require.Equal(t, tt.key1, hex.EncodeToString(v1[:]))

			context := kdf.ContextV2(ctx, []byte(tt.payload))
			require.Equal(t, tt.contextV2, hex.EncodeToString(context[:]))
			v2 := kdf.Derive(key, []byte(kdf.Label), context[:])
			require.Equal(t, tt.key2, hex.EncodeToString(v2[:]))
		})
	}
}

func TestMessage(t *testing.T) {
	ctx, err := base64.StdEncoding.DecodeString("AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")
	require.NoError(t, err)
	require.Equal(t,
		"00000001417a75726541442d536563757265436f6e766572736174696f6e00000102030405060708090a0b0c0d0e0f101112131415161700000100",
		hex.EncodeToString(kdf.Message([]byte(kdf.Label), ctx)))
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}
