package store

import (
	"bytes"
	"testing"
)

// A file of the store is either refused or what was written.
func FuzzParseFile(f *testing.F) {
	f.Add([]byte(fileMagic + "\x00\x00\x00\x00\x00\x00\x00\x01data"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		data, v, err := parseFile("x", raw)
		if err == nil && (v == 0 || !bytes.Equal(raw[fileHeader:], data)) {
			t.Fatal("neither refused nor what was written")
		}
	})
}
