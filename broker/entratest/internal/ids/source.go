// Package ids generates the identifiers of the emulator from a seed, so that equal
// runs have equal identifiers, and converts Entra's GUIDs and SIDs.
package ids

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
)

// Source is the seeded source of everything that the server generates, except
// the keys of its TLS certificates and the padding of RSA-OAEP.
type Source struct {
	Seed uint64 // never changes

	mu  sync.Mutex // guards src
	src *rand.ChaCha8
}

// NewSource returns the source of a seed.
func NewSource(seed uint64) *Source {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	copy(key[8:], "entratest")
	return &Source{Seed: seed, src: rand.NewChaCha8(key)}
}

// Read fills p. It never fails.
func (r *Source) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.Read(p)
}

// State returns the state for [Source.Restore], which continues without repeating an
// identifier.
func (r *Source) State() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.MarshalBinary()
}

// Restore continues from a state that another source returned.
func (r *Source) Restore(state []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.UnmarshalBinary(state)
}

// Bytes returns n random bytes.
func (r *Source) Bytes(n int) []byte {
	b := make([]byte, n)
	_, _ = r.Read(b) // ChaCha8 does not fail
	return b
}

// GUID returns a random GUID.
func (r *Source) GUID() string {
	b := r.Bytes(16)
	return formatGUID([16]byte(b))
}

// Number returns a random number in [0, n).
func (r *Source) Number(n int) int {
	return int(binary.LittleEndian.Uint64(r.Bytes(8)) % uint64(n))
}

// Derived returns an identifier that depends on the seed and the name alone,
// so that the order in which users are added does not matter.
func (r *Source) Derived(kind, name string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s", r.Seed, kind, name))
	return formatGUID([16]byte(sum[:16]))
}

// formatGUID prints 16 random bytes as a version 4 GUID (RFC 9562, 5.4).
func formatGUID(b [16]byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
