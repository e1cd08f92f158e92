package signing_test

import (
	"crypto"
	"crypto/rsa"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm/internal/signing"
)

// ECDSA in software would sign a digest of any length.
func TestCheck(t *testing.T) {
	pss := func(salt int) *rsa.PSSOptions { return &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: salt} }
	tests := []struct {
		name string
		size int
		opts crypto.SignerOpts
		says string // empty: accepted
	}{
		{"SHA-256", 32, crypto.SHA256, ""},
		{"SHA-384", 48, crypto.SHA384, ""},
		{"SHA-512", 64, crypto.SHA512, ""},
		{"PSS, salt like the hash", 32, pss(rsa.PSSSaltLengthEqualsHash), ""},
		{"PSS, automatic salt", 32, pss(rsa.PSSSaltLengthAuto), ""},
		{"PSS, salt as a number", 32, pss(32), ""},
		{"PSS, another salt", 32, pss(20), "salt of 20 bytes"},
		{"no options", 32, nil, "no hash given"},
		{"no hash", 32, crypto.Hash(0), "is not SHA-256"},
		{"SHA-1", 20, crypto.SHA1, "is not SHA-256"},
		{"short digest", 31, crypto.SHA256, "digest of 31 bytes"},
		{"long digest", 33, crypto.SHA256, "digest of 33 bytes"},
		{"digest of another hash", 48, crypto.SHA256, "digest of 48 bytes"},
		{"no digest", 0, crypto.SHA256, "digest of 0 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := signing.Check(make([]byte, tt.size), tt.opts)
			if tt.says == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.says)
			}
		})
	}
}
