package verify_test

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
)

func TestKeyBlobRefused(t *testing.T) {
	// with returns the vector with another length, exponent or modulus.
	with := func(field int, length uint32) []byte {
		b := blob()
		binary.LittleEndian.PutUint32(b[4+4*field:], length)
		return b
	}
	exponent := func(e ...byte) []byte {
		b := with(1, uint32(len(e)))
		return slices.Concat(b[:24], e, b[27:])
	}
	modulus := func(at int, to byte) []byte {
		b := blob()
		b[27+at] = to
		return b
	}
	for name, c := range map[string]struct {
		blob []byte
		why  string
	}{
		"empty":                     {nil, "magic RSA1"},
		"the magic alone":           {[]byte("RSA1"), "magic RSA1"},
		"cut short in the header":   {blob()[:23], "magic RSA1"},
		"a header of zeros":         {append([]byte("RSA1"), make([]byte, 20)...), "0 bits, exponent of 0 bytes, modulus of 0 bytes"},
		"the magic of private keys": {append([]byte("RSA2"), blob()[4:]...), "magic RSA1"},
		"another length in bits":    {with(0, 2049), "2049 bits"},
		"a shorter modulus":         {with(2, 255), "modulus of 255 bytes"},
		"the first prime":           {with(3, 128), "contains primes"},
		"the second prime":          {with(4, 128), "contains primes"},
		"no exponent":               {exponent(), "exponent of 0 bytes"},
		"an exponent of 5 bytes":    {exponent(1, 0, 0, 0, 1), "exponent of 5 bytes"},
		"exponent 3":                {exponent(3), "exponent is not 65537"},
		"an exponent of 4 bytes":    {exponent(1, 0, 0, 1), "exponent is not 65537"},
		"an exponent with a zero":   {exponent(0, 1, 0, 1), "exponent is not minimal"},
		"cut short":                 {blob()[:282], "282 bytes instead of 283"},
		"longer":                    {append(blob(), 0), "284 bytes instead of 283"},
		"a modulus of 2047 bits":    {modulus(0, 0x41), "modulus of 2047 bits"},
		"an even modulus":           {modulus(255, 0xfe), "modulus of 2048 bits"},
	} {
		_, err := verify.KeyBlob(c.blob)
		require.ErrorIs(t, err, verify.ErrKey, name)
		require.ErrorContains(t, err, c.why, name)
	}
}

// The transport key of a join is a key blob, or the JSON Web Key of mobile clients.
func TestTransportKey(t *testing.T) {
	jwk := func(n, e []byte) string {
		return `{"kty":"RSA","n":"` + base64.StdEncoding.EncodeToString(n) + `","e":"` + base64.StdEncoding.EncodeToString(e) + `"}`
	}
	mod := blob()[27:]
	for name, field := range map[string][]byte{"key blob": blob(), "JSON Web Key": []byte(jwk(mod, []byte{1, 0, 1}))} {
		pub, err := verify.TransportKey(base64.StdEncoding.EncodeToString(field))
		require.NoError(t, err, name)
		require.Equal(t, &rsa.PublicKey{N: new(big.Int).SetBytes(mod), E: 65537}, pub, name)
	}
	for name, c := range map[string]struct{ field, why string }{
		"no base64": {"!", "not standard base64"},
		"empty":     {"", "magic RSA1"},
		// Its last 64 bits are 65537.
		"an exponent of 65 bits": {base64.StdEncoding.EncodeToString([]byte(jwk(mod, []byte{1, 0, 0, 0, 0, 0, 1, 0, 1}))), "exponent is not 65537"},
	} {
		_, err := verify.TransportKey(c.field)
		require.ErrorIs(t, err, verify.ErrKey, name)
		require.ErrorContains(t, err, c.why, name)
	}
}

// The key of a certificate request is RSA-2048 with exponent 65537. The requests are
// OpenSSL's (openssl req -new -sha256, genrsa -3 for the second).
func TestJoinRequestKey(t *testing.T) {
	for file, ok := range map[string]bool{"request-2048.pem": true, "request-exponent-3.pem": false, "request-3072.pem": false} {
		text, err := os.ReadFile("testdata/" + file)
		require.NoError(t, err)
		block, _ := pem.Decode(text)
		require.NotNil(t, block, file)
		_, err = verify.JoinRequest(base64.StdEncoding.EncodeToString(block.Bytes))
		if ok {
			require.NoError(t, err, file)
			continue
		}
		require.ErrorIs(t, err, verify.ErrKey, file)
		require.ErrorContains(t, err, "not RSA-2048 with exponent 65537", file)
	}
}
