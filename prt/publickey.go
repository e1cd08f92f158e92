package prt

import (
	"crypto"
	"crypto/rsa"
	"encoding/binary"
	"math/big"
)

// Layout of a BCRYPT_RSAKEY_BLOB of a public key (the Windows CNG
// documentation): a header of six 32-bit words, little-endian, then the
// exponent and the modulus, big-endian without leading zeros. It contains no
// primes.
const (
	blobMagic      = "RSA1"
	minModulusBits = 2048
	maxModulusBits = 4096
)

// MarshalPublicKey returns the BCRYPT_RSAKEY_BLOB of an RSA key of 2048 to
// 4096 bits: the form in which transport keys and Hello keys are registered,
// 283 bytes for RSA-2048 with the exponent 65537.
func MarshalPublicKey(pub crypto.PublicKey) ([]byte, error) {
	key, ok := pub.(*rsa.PublicKey)
	if !ok || key == nil || key.N == nil {
		return nil, badRequest("the key is not an RSA key")
	}
	if n := key.N.BitLen(); n < minModulusBits || n > maxModulusBits || key.E < 3 || key.E&1 == 0 || key.E > 1<<31-1 {
		return nil, badRequest("an RSA key of an unusual size or exponent")
	}
	exponent, modulus := big.NewInt(int64(key.E)).Bytes(), key.N.Bytes()
	b := []byte(blobMagic)
	for _, n := range []int{key.N.BitLen(), len(exponent), len(modulus), 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	b = append(b, exponent...)
	return append(b, modulus...), nil
}
