package mint

import (
	"bytes"
	"encoding/base64"
	"math/big"
	"strings"
)

// origin returns the claim rh of a token, which is opaque to clients and begins with the
// mark of the world.
func (m *Mint) origin() string {
	return "1." + base64.RawURLEncoding.EncodeToString(m.marked(12)) + "."
}

// marked returns n random bytes that begin with the mark of the world.
func (m *Mint) marked(n int) []byte {
	b := m.Keeper.Rand.Bytes(n)
	copy(b, m.World)
	return b
}

// fromThisWorld refuses a claim rh of another world. A token without one has claims that a
// test chose.
func (m *Mint) fromThisWorld(origin string) error {
	if origin == "" {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.Trim(strings.TrimPrefix(origin, "1"), "."))
	if err != nil || !bytes.HasPrefix(b, m.World) {
		return ErrFormerWorld
	}
	return nil
}

// serialSize is the size of the serial number of a user certificate, in bytes.
const serialSize = 16

// Issued reports whether a user certificate with this serial number is of this world.
func (m *Mint) Issued(serial *big.Int) bool {
	return serial.Sign() > 0 && serial.BitLen() <= 8*serialSize && bytes.HasPrefix(serial.FillBytes(make([]byte, serialSize)), m.World)
}
