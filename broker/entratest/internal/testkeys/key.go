package testkeys

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync/atomic"
)

// A Key is an RSA-2048 key of sixteen primes (multi-prime RSA, RFC 8017, 3.2). Its
// public half looks like any other, and its signatures verify as usual. Signing takes
// less than a tenth of the time that it takes with two primes, and the emulator spent
// most of its time signing. Such small primes can be found by factoring, which would
// break a secret key, but the primes of these keys are published anyway.
//
// A Key is safe for concurrent use. It is a [crypto.Signer].
type Key struct {
	public  rsa.PublicKey
	factors []factor
	signed  atomic.Int64
}

// A factor is a prime with its values for the Chinese remainder theorem
// (RFC 8017, 3.2, second representation).
type factor struct {
	field       field
	prime       *big.Int
	exponent    limbs    // the private exponent modulo prime-1
	product     *big.Int // of the preceding primes
	coefficient *big.Int // the inverse of product modulo prime
}

const (
	primeDigits = 32 // of a prime of 128 bits, in hexadecimal
	size        = 256
	exponent    = 65537
)

func newKey(primes string) *Key {
	k := &Key{public: rsa.PublicKey{E: exponent}}
	e, one, product := big.NewInt(exponent), big.NewInt(1), big.NewInt(1)
	for ; len(primes) >= primeDigits; primes = primes[primeDigits:] {
		p, ok := new(big.Int).SetString(primes[:primeDigits], 16)
		if !ok {
			panic("testkeys: not a number: " + primes[:primeDigits])
		}
		k.factors = append(k.factors, factor{
			field:       newField(p),
			prime:       p,
			exponent:    limbsOf(new(big.Int).ModInverse(e, new(big.Int).Sub(p, one))),
			product:     product,
			coefficient: new(big.Int).ModInverse(product, p),
		})
		product = new(big.Int).Mul(product, p)
	}
	k.public.N = product
	return k
}

// Public returns the *rsa.PublicKey.
func (k *Key) Public() crypto.PublicKey { return &k.public }

// RSA returns the public key.
func (k *Key) RSA() *rsa.PublicKey { return &k.public }

// Signatures returns how many signatures the key has made. They are most of the cost
// of a sign-in.
func (k *Key) Signatures() int64 { return k.signed.Load() }

// prefixes begin the DigestInfo of RFC 8017, 9.2, note 1.
var prefixes = map[crypto.Hash]string{
	crypto.SHA1:   "\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
	crypto.SHA256: "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
	crypto.SHA512: "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
}

// Sign makes the 256 bytes of a signature by RSASSA-PKCS1-v1_5 (RFC 8017, 8.2.1). It
// takes digests of SHA-1, SHA-256 and SHA-512, and uses no randomness.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	prefix, known := prefixes[opts.HashFunc()]
	if _, pss := opts.(*rsa.PSSOptions); pss || !known {
		return nil, errors.New("testkeys: only PKCS #1 v1.5 with SHA-1, SHA-256 and SHA-512")
	}
	if len(digest) != opts.HashFunc().Size() {
		return nil, fmt.Errorf("testkeys: a digest of %d bytes", len(digest))
	}
	k.signed.Add(1)
	var message [size]byte
	end := size - len(prefix) - len(digest)
	message[1] = 1
	for i := 2; i < end-1; i++ {
		message[i] = 0xff
	}
	copy(message[end:], prefix)
	copy(message[end+len(prefix):], digest)
	return k.power(new(big.Int).SetBytes(message[:])).FillBytes(message[:]), nil
}

// power raises m to the private exponent (RFC 8017, 5.2.1, 2b).
func (k *Key) power(m *big.Int) *big.Int {
	s, part, quotient := new(big.Int), new(big.Int), new(big.Int)
	for i := range k.factors {
		f := &k.factors[i]
		quotient.QuoRem(m, f.prime, part)
		f.field.exp(limbsOf(part), f.exponent).into(part)
		part.Sub(part, s)
		part.Mul(part, f.coefficient)
		quotient.DivMod(part, f.prime, part)
		s.Add(s, part.Mul(part, f.product))
	}
	return s
}
