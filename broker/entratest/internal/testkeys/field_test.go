package testkeys

import (
	"crypto/rand"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// The field computes what math/big does.
func TestFieldAgainstBig(t *testing.T) {
	t.Parallel()
	limit := new(big.Int).Lsh(big.NewInt(1), 128)
	for _, k := range []*Key{TokenSigning(), DeviceAuthority(), UserAuthority(), OutsideIssuer()} {
		require.Len(t, k.factors, 16)
		for _, f := range k.factors {
			require.True(t, f.prime.ProbablyPrime(20))
			require.Equal(t, 128, f.prime.BitLen())
			last := new(big.Int).Sub(f.prime, big.NewInt(1))
			for _, x := range []*big.Int{big.NewInt(0), big.NewInt(1), big.NewInt(2), last, random(t, f.prime), random(t, f.prime)} {
				for _, e := range []*big.Int{big.NewInt(0), big.NewInt(1), last, new(big.Int).Sub(limit, big.NewInt(1)), random(t, limit)} {
					got := new(big.Int)
					f.field.exp(limbsOf(x), limbsOf(e)).into(got)
					require.Equal(t, new(big.Int).Exp(x, e, f.prime).String(), got.String(), "%v^%v mod %v", x, e, f.prime)
				}
			}
		}
	}
}

func random(t *testing.T, below *big.Int) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, below)
	require.NoError(t, err)
	return n
}
