package softkeys_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// A key from outside does what one of the store's own does, also when it is
// opened again.
func TestImportKey(t *testing.T) {
	t.Parallel()
	s, ctx := imports(t), t.Context()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("to be signed"))

	imported, err := s.ImportKey(ctx, tpm.KeySpec{Purpose: tpm.Sign}, private)
	require.NoError(t, err)
	again, err := s.OpenKey(ctx, imported.Blob())
	require.NoError(t, err)
	for _, k := range []tpm.Key{imported, again} {
		require.True(t, private.PublicKey.Equal(k.Public()))
		sig, err := k.(tpm.Signer).SignContext(ctx, digest[:], crypto.SHA256)
		require.NoError(t, err)
		require.NoError(t, rsa.VerifyPKCS1v15(&private.PublicKey, crypto.SHA256, digest[:], sig))
	}

	transport, err := s.ImportKey(ctx, tpm.KeySpec{Purpose: tpm.Unwrap}, private)
	require.NoError(t, err)
	_, signs := transport.(crypto.Signer)
	require.False(t, signs, "its purpose is another one")
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &private.PublicKey, make([]byte, 32), nil)
	require.NoError(t, err)
	_, err = s.UnwrapSession(ctx, transport, wrapped)
	require.NoError(t, err)

	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	pinned, err := s.ImportKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: []byte("271828")}, curve)
	require.NoError(t, err)
	wrong, err := s.OpenKey(ctx, pinned.Blob(), tpm.WithPIN([]byte("314159")))
	require.NoError(t, err)
	_, err = wrong.(tpm.Signer).SignContext(ctx, digest[:], crypto.SHA256)
	require.ErrorIs(t, err, tpm.ErrWrongPIN)
	right, err := s.OpenKey(ctx, pinned.Blob(), tpm.WithPIN([]byte("271828")))
	require.NoError(t, err)
	sig, err := right.(tpm.Signer).SignContext(ctx, digest[:], crypto.SHA256)
	require.NoError(t, err)
	require.True(t, ecdsa.VerifyASN1(&curve.PublicKey, digest[:], sig))
}

func TestImportKeyRefusals(t *testing.T) {
	t.Parallel()
	s := imports(t)
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	large, err := rsa.GenerateKey(rand.Reader, 2304)
	require.NoError(t, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	twisted := *good
	twisted.D = new(big.Int).Add(good.D, big.NewInt(2))
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other.PublicKey = p256.PublicKey
	for _, tt := range []struct {
		name string
		spec tpm.KeySpec
		key  crypto.PrivateKey
		says string
	}{
		{"no purpose", tpm.KeySpec{}, good, "neither Sign nor Unwrap"},
		{"no key", tpm.KeySpec{Purpose: tpm.Sign}, nil, "the key to import is a <nil>"},
		{"a public key", tpm.KeySpec{Purpose: tpm.Sign}, good.Public(), "the key to import is a *rsa.PublicKey"},
		{"Ed25519", tpm.KeySpec{Purpose: tpm.Sign}, edwards, "the key to import is a ed25519.PrivateKey"},
		{"too many bits", tpm.KeySpec{Purpose: tpm.Sign}, large, "not of 2048 bits"},
		{"an empty RSA key", tpm.KeySpec{Purpose: tpm.Sign}, &rsa.PrivateKey{}, "not of 2048 bits"},
		{"an empty P-256 key", tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}, &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P256()}}, "the key to import is damaged"},
		{"a public RSA key in a private one", tpm.KeySpec{Purpose: tpm.Sign}, &rsa.PrivateKey{PublicKey: good.PublicKey}, "the key to import is damaged"},
		{"a public P-256 key in a private one", tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}, &ecdsa.PrivateKey{PublicKey: p256.PublicKey}, "the key to import is damaged"},
		{"no key of RSA", tpm.KeySpec{Purpose: tpm.Sign}, (*rsa.PrivateKey)(nil), "the key to import"},
		{"no key of ECDSA", tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}, (*ecdsa.PrivateKey)(nil), "the key to import"},
		{"RSA for P-256", tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}, good, "not of 2048 bits as asked for"},
		{"P-256 for RSA", tpm.KeySpec{Purpose: tpm.Sign}, p256, "not on P-256 as asked for"},
		{"another curve", tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}, p384, "not on P-256"},
		{"a damaged RSA key", tpm.KeySpec{Purpose: tpm.Sign}, &twisted, "the key to import is damaged"},
		{"a damaged P-256 key", tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}, other, "the key to import is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.ImportKey(t.Context(), tt.spec, tt.key)
			require.ErrorContains(t, err, tt.says)
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.ImportKey(ended, tpm.KeySpec{Purpose: tpm.Sign}, good)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Close())
	_, err = s.ImportKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign}, good)
	require.ErrorIs(t, err, tpm.ErrClosed)
}

// What a TPM's keys are worth is that they never were outside.
func TestTPMTakesNoKeys(t *testing.T) {
	t.Parallel()
	_, ok := any((*tpm.TPM)(nil)).(tpm.Importer)
	require.False(t, ok)
	require.ErrorIs(t, tpm.ErrNoImport, errors.ErrUnsupported)
}

func imports(t *testing.T) *softkeys.Store {
	t.Helper()
	s, err := softkeys.Open(softkeys.Secret(make([]byte, 32)), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}
