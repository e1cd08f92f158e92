package entratest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
)

// random is the seeded source of everything that the server makes up, except
// the keys of its TLS certificates and the padding of RSA-OAEP.
type random struct {
	seed uint64
	mu   sync.Mutex // guards src
	src  *rand.ChaCha8
}

func newRandom(seed uint64) *random {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	copy(key[8:], "entratest")
	return &random{seed: seed, src: rand.NewChaCha8(key)}
}

func (r *random) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.Read(p)
}

func (r *random) bytes(n int) []byte {
	b := make([]byte, n)
	_, _ = r.Read(b) // ChaCha8 does not fail
	return b
}

func (r *random) guid() string {
	b := r.bytes(16)
	return formatGUID([16]byte(b))
}

// number returns a number in [0, n).
func (r *random) number(n int) int {
	return int(binary.LittleEndian.Uint64(r.bytes(8)) % uint64(n))
}

// derived returns an identifier that depends on the seed and the name alone,
// so that the order in which users are added does not matter.
func (r *random) derived(kind, name string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s", r.seed, kind, name))
	return formatGUID([16]byte(sum[:16]))
}

// formatGUID prints 16 random bytes as a version 4 GUID (RFC 9562, 5.4).
func formatGUID(b [16]byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
