package tpm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"
)

// What a key can do is in its public area; a salt says that it has a PIN.
func TestKindsOfKeys(t *testing.T) {
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := made.PublicKey.Bytes()
	require.NoError(t, err)
	area := func(change func(*tpm2.TPMAObject)) []byte {
		public, err := new(TPM).template(Sign, P256, false)
		require.NoError(t, err)
		public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
		})
		change(&public.ObjectAttributes)
		return tpm2.Marshal(public)
	}
	signs, decrypts := func(*tpm2.TPMAObject) {}, func(a *tpm2.TPMAObject) { a.SignEncrypt, a.Decrypt = false, true }
	for _, tt := range []struct {
		name   string
		change func(*tpm2.TPMAObject)
		salt   []byte
		want   Key
		says   string
	}{
		{"signs", signs, nil, &signer{}, ""},
		{"signs, empty salt", signs, []byte{}, &signer{}, ""},
		{"signs with a PIN", signs, []byte{1}, &pinSigner{}, ""},
		{"decrypts", decrypts, nil, &key{}, ""},
		{"decrypts with a PIN", decrypts, []byte{1}, &key{}, ""},
		{"restricted", func(a *tpm2.TPMAObject) { a.Restricted = true }, nil, nil, "a restricted key"},
		{"neither", func(a *tpm2.TPMAObject) { a.SignEncrypt = false }, nil, nil, "a key that neither signs nor decrypts"},
	} {
		k, err := new(TPM).newKey(&keyBlob{public: area(tt.change), salt: tt.salt}, nil, nil)
		if tt.want == nil {
			require.ErrorIs(t, err, ErrInvalidBlob, tt.name)
			require.ErrorContains(t, err, tt.says, tt.name)
			continue
		}
		require.NoError(t, err, tt.name)
		require.IsType(t, tt.want, k, tt.name)
		require.Equal(t, &made.PublicKey, k.Public(), tt.name)
	}
}
