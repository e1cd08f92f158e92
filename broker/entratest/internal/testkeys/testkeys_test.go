package testkeys_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
)

func TestKeys(t *testing.T) {
	seen := map[string]string{}
	for name, get := range map[string]func() *rsa.PrivateKey{
		"token signing":    testkeys.TokenSigning,
		"device authority": testkeys.DeviceAuthority,
		"user authority":   testkeys.UserAuthority,
		"outside issuer":   testkeys.OutsideIssuer,
	} {
		k := get()
		require.NoError(t, k.Validate(), name)
		require.Equal(t, 2048, k.N.BitLen(), name)
		require.Equal(t, 65537, k.E, name)
		for i, p := range k.Primes {
			require.Truef(t, p.ProbablyPrime(20), "%s: prime %d", name, i)
		}
		require.Same(t, k, get(), "%s: the same one each time", name)
		require.Empty(t, seen[k.N.String()], "%s is also %s", name, seen[k.N.String()])
		seen[k.N.String()] = name

		sum := sha256.Sum256([]byte(name))
		sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		require.NoError(t, err, name)
		require.NoError(t, rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, sum[:], sig), name)
	}
}
