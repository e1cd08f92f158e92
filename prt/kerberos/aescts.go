package kerberos

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
)

// aes256-cts-hmac-sha1-96 (RFC 3961 section 5.3 and RFC 3962), decryption of
// one message. It is here because a Kerberos library is a large dependency for
// one AS-REP.

const (
	etypeAES256    = 18
	keySize        = 32
	usageASRep     = 3 // key usage of the AS-REP's encrypted part (RFC 4120 7.5.1)
	checksumSize   = 12
	confounderSize = aes.BlockSize
)

var errKerberos = errors.New("kerberos: the ticket does not decrypt")

// decryptKerberos returns the plaintext without its confounder.
func decryptKerberos(key []byte, usage uint32, message []byte) ([]byte, error) {
	if len(key) != keySize || len(message) < confounderSize+checksumSize {
		return nil, errKerberos
	}
	sealed, sum := message[:len(message)-checksumSize], message[len(message)-checksumSize:]
	ke, err := deriveKerberos(key, usage, 0xaa)
	if err != nil {
		return nil, err
	}
	ki, err := deriveKerberos(key, usage, 0x55)
	if err != nil {
		return nil, err
	}
	defer clear(ke)
	defer clear(ki)
	block, err := aes.NewCipher(ke)
	if err != nil {
		return nil, errKerberos
	}
	plain := decryptCTS(block, sealed)
	mac := hmac.New(sha1.New, ki)
	mac.Write(plain)
	if !hmac.Equal(mac.Sum(nil)[:checksumSize], sum) {
		clear(plain)
		return nil, errKerberos
	}
	return plain[confounderSize:], nil
}

// deriveKerberos is DK of RFC 3961 5.1 with AES-256: two blocks of CBC over
// the folded constant.
func deriveKerberos(key []byte, usage uint32, kind byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errKerberos
	}
	constant := nfold(append(binary.BigEndian.AppendUint32(nil, usage), kind), aes.BlockSize)
	out := make([]byte, 2*aes.BlockSize)
	block.Encrypt(out[:aes.BlockSize], constant)
	block.Encrypt(out[aes.BlockSize:], out[:aes.BlockSize])
	return out, nil
}

// nfold stretches or shrinks in to size bytes (RFC 3961 5.1): copies of in,
// each rotated 13 bits further, are added in ones' complement.
func nfold(in []byte, size int) []byte {
	n, k := size, len(in)
	lcm := n * k / gcd(n, k)
	sum := make([]byte, n)
	carry := 0
	for i := lcm - 1; i >= 0; i-- {
		// Which bit of in is the most significant one of byte i of the
		// concatenation of the rotated copies.
		bit := (8*k - 1 + (8*k+13)*(i/k) + 8*(k-i%k)) % (8 * k)
		high := int(in[(2*k-1-bit>>3)%k])
		low := int(in[(2*k-bit>>3)%k])
		carry += (high<<8|low)>>(uint(bit&7)+1)&0xff + int(sum[i%n])
		sum[i%n] = byte(carry)
		carry >>= 8
	}
	for i := n - 1; i >= 0; i-- {
		carry += int(sum[i])
		sum[i] = byte(carry)
		carry >>= 8
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// decryptCTS is CBC with ciphertext stealing and a zero IV, the last two
// blocks always swapped (RFC 3962 5).
func decryptCTS(block cipher.Block, in []byte) []byte {
	const size = aes.BlockSize
	out := make([]byte, len(in))
	if len(in) == size {
		block.Decrypt(out, in)
		return out
	}
	tail := (len(in)-1)%size + 1 // bytes in the last, possibly short, block
	head := len(in) - tail - size
	last := make([]byte, size)
	iv := make([]byte, size)
	if head > 0 {
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(out[:head], in[:head])
		copy(iv, in[head-size:head])
	}
	// Decrypting the last but one block gives the last plaintext, padded with
	// the ciphertext that was stolen.
	mixed := make([]byte, size)
	block.Decrypt(mixed, in[head:head+size])
	short := in[head+size:]
	copy(last, short)
	copy(last[tail:], mixed[tail:])
	for i := range tail {
		out[head+size+i] = mixed[i] ^ short[i]
	}
	block.Decrypt(mixed, last)
	for i := range size {
		out[head+i] = mixed[i] ^ iv[i]
	}
	return out
}
