package store

import (
	"bytes"
	"crypto/sha256"
	"testing"
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
		sum := sha256.Sum256(body)
		value := append(append([]byte(blobMagic), sum[:]...), body...)
		records, err := parseBlob(value)
		if err == nil && !bytes.Equal(encodeBlob(records), value) {
			t.Fatal("another value has the same records")
		}
	})
}
