package testkeys

import (
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"strings"
)

// LaterTokenSigning returns the n-th key after [TokenSigning], counted from 1, for a
// service that rolls its signing key over. Equal n give equal keys. Making one takes a
// few milliseconds.
func LaterTokenSigning(n int) *Key {
	var primes strings.Builder
	for i := range primesOfKey {
		primes.WriteString(derivedPrime(n, i).Text(16))
	}
	return newKey(primes.String())
}

const primesOfKey = 16

// derivedPrime searches upwards from a hash for a prime of 128 bits. Its highest byte
// is 0xff, so that the product of sixteen has 2048 bits.
func derivedPrime(key, index int) *big.Int {
	seed := binary.BigEndian.AppendUint64([]byte("token signing"), uint64(key)<<8|uint64(index))
	sum := sha256.Sum256(seed)
	sum[0] = 0xff
	p := new(big.Int).SetBytes(sum[:primeDigits/2])
	p.SetBit(p, 0, 1)
	one, e := big.NewInt(1), big.NewInt(exponent)
	for {
		if p.ProbablyPrime(20) && new(big.Int).GCD(nil, nil, e, new(big.Int).Sub(p, one)).Cmp(one) == 0 {
			return p
		}
		p.Add(p, big.NewInt(2))
	}
}
