// Package envelope is the outer form of the blobs that are not TSS2 private
// keys: which store made it, what it holds, and its fields.
//
// The form is "prtbroker" 0x00, one byte each of version, store and kind, the
// number of fields, and each field after its length as a big-endian uint16.
// Every value has exactly one encoding, and nothing may follow it.
package envelope

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the version this package writes and reads.
const Version = 1

// MaxSize bounds a blob, in bytes; a TPM's largest object is under 2 KB.
const MaxSize = 8 << 10

// A Store says which kind of store made a blob.
type Store byte

// The stores.
const (
	TPM      Store = 1
	SoftKeys Store = 2
)

// A Kind says what a blob holds.
type Kind byte

// The kinds.
const (
	Key       Kind = 1
	Session   Kind = 2
	Sealed    Kind = 3
	AK        Kind = 4
	PINSealed Kind = 5
)

var (
	// ErrMalformed means that the bytes are not an envelope of this version.
	ErrMalformed = errors.New("malformed envelope")
	// ErrStore means that another kind of store made the blob.
	ErrStore = errors.New("made by another store")
)

// TSS2 is the PEM type of the other form, which only a TPM opens.
const TSS2 = "TSS2 PRIVATE KEY"

// IsTSS2 reports whether b holds a TSS2 private key in PEM.
func IsTSS2(b []byte) bool { return bytes.Contains(b, []byte("-----BEGIN "+TSS2+"-----")) }

var magic = []byte("prtbroker\x00")

// Has reports whether b begins like an envelope.
func Has(b []byte) bool { return bytes.HasPrefix(b, magic) }

// Marshal encodes the fields, each under 64 KB and at most 255 of them.
func Marshal(s Store, k Kind, fields ...[]byte) []byte {
	b := append([]byte(nil), magic...)
	b = append(b, Version, byte(s), byte(k), byte(len(fields)))
	for _, f := range fields {
		b = binary.BigEndian.AppendUint16(b, uint16(len(f)))
		b = append(b, f...)
	}
	return b
}

// Unmarshal returns exactly n fields of an envelope that store s made for kind
// k. The fields alias b.
func Unmarshal(b []byte, s Store, k Kind, n int) ([][]byte, error) {
	if len(b) > MaxSize || len(b) < len(magic)+4 || !Has(b) {
		return nil, ErrMalformed
	}
	head, rest := b[len(magic):len(magic)+4], b[len(magic)+4:]
	if head[0] != Version {
		return nil, fmt.Errorf("%w: version %d", ErrMalformed, head[0])
	}
	if Store(head[1]) != s {
		if head[1] != byte(TPM) && head[1] != byte(SoftKeys) {
			return nil, fmt.Errorf("%w: unknown store %d", ErrMalformed, head[1])
		}
		return nil, ErrStore
	}
	if Kind(head[2]) != k {
		return nil, fmt.Errorf("%w: kind %d instead of %d", ErrMalformed, head[2], k)
	}
	if int(head[3]) != n {
		return nil, fmt.Errorf("%w: %d fields instead of %d", ErrMalformed, head[3], n)
	}
	fields := make([][]byte, n)
	for i := range fields {
		if len(rest) < 2 {
			return nil, fmt.Errorf("%w: truncated", ErrMalformed)
		}
		size := int(binary.BigEndian.Uint16(rest))
		if rest = rest[2:]; len(rest) < size {
			return nil, fmt.Errorf("%w: truncated", ErrMalformed)
		}
		fields[i], rest = rest[:size:size], rest[size:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(rest))
	}
	return fields, nil
}
