package prt

import (
	"context"
	"crypto/rsa"
	"encoding/binary"
	"math/big"
)

// What the tests in package prt_test check against vectors.
var (
	SignSession       = Session.sign
	WrappedSessionKey = wrappedSessionKey
	ExtensionValue    = extensionValue
)

// OpenJWE is what ParseReply does with an encrypted reply.
func OpenJWE(ctx context.Context, s Session, text string, valid func([]byte) bool) ([]byte, error) {
	j, err := parseJWE(text)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, j, valid)
}

// ReadExtension reads one extension of a device certificate for a device.
func ReadExtension(oid string, value []byte, device GUID) (DeviceCertificate, error) {
	var c DeviceCertificate
	err := c.extension(oid, value, device)
	return c, err
}

var HelloKeyID = helloKeyID

const blobHeaderSize = 24

// ParsePublicKey reads what [MarshalPublicKey] writes, and nothing else: the
// encoding of a key is unique.
func ParsePublicKey(blob []byte) (*rsa.PublicKey, error) {
	if len(blob) < blobHeaderSize || string(blob[:4]) != blobMagic {
		return nil, badReply("not a BCRYPT_RSAKEY_BLOB of a public key")
	}
	word := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(blob[4*i:])) }
	bits, exponentLen, modulusLen := word(1), word(2), word(3)
	body := blob[blobHeaderSize:]
	switch {
	case word(4) != 0 || word(5) != 0:
		return nil, badReply("BCRYPT_RSAKEY_BLOB has primes")
	case exponentLen == 0 || exponentLen > 4 || uint64(len(body)) != exponentLen+modulusLen:
		return nil, badReply("BCRYPT_RSAKEY_BLOB has wrong lengths")
	case body[0] == 0 || modulusLen == 0 || body[exponentLen] == 0:
		return nil, badReply("BCRYPT_RSAKEY_BLOB has leading zeros")
	}
	n := new(big.Int).SetBytes(body[exponentLen:])
	e := new(big.Int).SetBytes(body[:exponentLen]).Int64()
	if uint64(n.BitLen()) != bits || bits < minModulusBits || bits > maxModulusBits || e < 3 || e&1 == 0 || e > 1<<31-1 {
		return nil, badReply("BCRYPT_RSAKEY_BLOB of an unusual size or exponent")
	}
	return &rsa.PublicKey{N: n, E: int(e)}, nil
}
