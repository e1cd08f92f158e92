package tpm_test

import (
	"bytes"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// Each field of a blob has its size, and the parent's name is not optional:
// without it any parent would do.
func TestBlobFields(t *testing.T) {
	fields := func() [][]byte {
		return [][]byte{{0x40, 0, 0, 1}, name(nil), softwareKey(t), {1}, make([]byte, 16)}
	}
	tests := []struct {
		name  string
		field int
		value []byte
		ok    bool
	}{
		{"right", 3, []byte{1}, true},
		{"no PIN", 4, nil, true},
		{"short parent", 0, []byte{0x40, 0, 0}, false},
		{"long parent", 0, []byte{0x40, 0, 0, 1, 0}, false},
		{"no parent", 0, nil, false},
		{"no name of the parent", 1, nil, false},
		{"short name of the parent", 1, name(nil)[:33], false},
		{"no private area", 3, nil, false},
		{"short salt", 4, make([]byte, 15), false},
		{"long salt", 4, make([]byte, 17), false},
		{"no public area", 2, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fields()
			f[tt.field] = tt.value
			blob := envelope.Marshal(envelope.TPM, envelope.Session, f...)
			again, err := tpm.ParseEnvelope(blob, byte(envelope.Session))
			if tt.ok {
				require.NoError(t, err)
				require.Equal(t, blob, again)
			} else {
				require.ErrorIs(t, err, tpm.ErrInvalidBlob)
			}
		})
	}
	// The limits of what a PIN opens have one encoding too.
	limits := append(fields(), make([]byte, 17), name(nil))
	_, _, err := tpm.ParsePINSealed(envelope.Marshal(envelope.TPM, envelope.PINSealed, limits...), nil)
	require.ErrorIs(t, err, tpm.ErrInvalidBlob)
	require.ErrorContains(t, err, "limits")
}

// A name is a hash over bytes, so a public area has one encoding.
func TestParsePublic(t *testing.T) {
	area := softwareKey(t)
	public, err := tpm.ParsePublic(area)
	require.NoError(t, err)
	require.Equal(t, area, tpm2.Marshal(public))
	for n := range area {
		public, _ := tpm.ParsePublic(area[:n])
		require.Nil(t, public, "%d bytes", n)
	}
	for says, bad := range map[string][]byte{
		"type":           {0, 8, 0, 0xb},
		"name algorithm": append([]byte{0, 0x23, 0, 0xc}, area[4:]...),
		"encoding":       append(bytes.Clone(area), 0),
	} {
		_, err := tpm.ParsePublic(bad)
		require.ErrorContains(t, err, says)
	}
}

// A point whose coordinates are too long is refused, also when the bytes too
// many are zero.
func TestP256Point(t *testing.T) {
	key := fixedKey(t, 1)
	x, y := key.X.Bytes(), key.Y.Bytes()
	got, err := tpm.P256Point(x, y)
	require.NoError(t, err)
	require.True(t, key.PublicKey.Equal(got))
	for _, long := range []int{33, 34, 66} {
		_, err := tpm.P256Point(key.X.FillBytes(make([]byte, long)), y)
		require.ErrorContains(t, err, "coordinate size")
		_, err = tpm.P256Point(x, key.Y.FillBytes(make([]byte, long)))
		require.ErrorContains(t, err, "coordinate size")
	}
}
