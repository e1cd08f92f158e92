package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// A value is either refused or the only one for its records. The checksum, which
// no mutation finds, is put on by the test.
func FuzzParseBlob(f *testing.F) {
	two := encodeBlob(map[string]memoryRecord{"a": {[]byte("one"), 1}, "b.state": {nil, 1 << 63}})
	f.Add(two[blobHeader:])
	f.Add([]byte{})
	f.Add([]byte{0})
	f.Add([]byte("\x01a\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		value := withChecksum(body)
		records, err := parseBlob(value)
		if err == nil && !bytes.Equal(encodeBlob(records), value) {
			t.Fatal("another value has the same records")
		}
	})
}

// A value with the right checksum is refused too if Put cannot have made its records.
func TestParseBlobRecords(t *testing.T) {
	t.Parallel()
	record := func(name string, v uint64, size uint32, data []byte) []byte {
		b := append([]byte{byte(len(name))}, name...)
		b = binary.BigEndian.AppendUint64(b, v)
		return append(binary.BigEndian.AppendUint32(b, size), data...)
	}
	a, b := record("a", 1, 3, []byte("one")), record("b", 1, 0, nil)
	records, err := parseBlob(withChecksum(append(bytes.Clone(a), b...)))
	require.NoError(t, err)
	require.Len(t, records, 2)
	for name, body := range map[string][]byte{
		"out of order":   append(bytes.Clone(b), a...),
		"a name twice":   append(bytes.Clone(a), a...),
		"a path as name": record("../a", 1, 3, []byte("one")),
		"no version":     record("a", 0, 3, []byte("one")),
		"too large":      record("a", 1, MaxRecord+1, make([]byte, MaxRecord+1)),
		"data missing":   record("a", 1, 4, []byte("one")),
	} {
		_, err := parseBlob(withChecksum(body))
		require.ErrorIs(t, err, ErrDamaged, name)
	}
}

func withChecksum(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(append([]byte(blobMagic), sum[:]...), body...)
}
