package testkeys_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	"crypto/sha256"
	_ "crypto/sha512"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
)

var keys = map[string]func() *testkeys.Key{
	"tokens": testkeys.TokenSigning, "devices": testkeys.DeviceAuthority, "users": testkeys.UserAuthority, "others": testkeys.OutsideIssuer,
}

// To crypto/rsa a key is one of RSA-2048 and its signatures are RSASSA-PKCS1-v1_5.
func TestSignaturesVerify(t *testing.T) {
	t.Parallel()
	moduli := map[string]bool{}
	for name, key := range keys {
		t.Run(name, func(t *testing.T) {
			k := key()
			require.Same(t, k, key())
			require.Equal(t, 2048, k.RSA().N.BitLen())
			moduli[k.RSA().N.String()] = true
			for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA512} {
				for range 20 {
					digest := make([]byte, h.Size())
					_, _ = rand.Read(digest)
					sig, err := k.Sign(nil, digest, h)
					require.NoError(t, err)
					require.Len(t, sig, 256)
					require.NoError(t, rsa.VerifyPKCS1v15(k.RSA(), h, digest, sig))
					digest[0] ^= 1
					require.ErrorIs(t, rsa.VerifyPKCS1v15(k.RSA(), h, digest, sig), rsa.ErrVerification)
				}
			}
		})
	}
	require.Len(t, moduli, len(keys), "each its own")
}

func TestNotSigned(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256(nil)
	for name, opts := range map[string]crypto.SignerOpts{
		"PSS": &rsa.PSSOptions{Hash: crypto.SHA256}, "a hash without a prefix": crypto.SHA384, "no hash": crypto.Hash(0),
	} {
		_, err := testkeys.TokenSigning().Sign(nil, sum[:], opts)
		require.ErrorContains(t, err, "only PKCS #1 v1.5", name)
	}
	_, err := testkeys.TokenSigning().Sign(nil, sum[:31], crypto.SHA256)
	require.ErrorContains(t, err, "31 bytes")
}

func BenchmarkSign(b *testing.B) {
	sum := sha256.Sum256(nil)
	two, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(b, err)
	for name, k := range map[string]crypto.Signer{"testkeys": testkeys.TokenSigning(), "crypto/rsa": two} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Keys of a roll-over are keys like the first, and each their own.
func TestLaterKeys(t *testing.T) {
	t.Parallel()
	moduli := map[string]bool{testkeys.TokenSigning().RSA().N.String(): true}
	for n := 1; n <= 4; n++ {
		k := testkeys.LaterTokenSigning(n)
		require.Equal(t, 2048, k.RSA().N.BitLen())
		require.Equal(t, k.RSA().N, testkeys.LaterTokenSigning(n).RSA().N, "repeatable")
		digest := sha256.Sum256([]byte{byte(n)})
		sig, err := k.Sign(nil, digest[:], crypto.SHA256)
		require.NoError(t, err)
		require.NoError(t, rsa.VerifyPKCS1v15(k.RSA(), crypto.SHA256, digest[:], sig))
		moduli[k.RSA().N.String()] = true
	}
	require.Len(t, moduli, 5)
}
