// Package canary finds secrets in bytes where they must not be: logs, state on
// disk, recorded traffic, a process's memory.
//
// A secret that leaks is often encoded. A [Set] therefore looks for it not only as
// it is, but also in base64 at each of the three alignments and in both alphabets,
// in hexadecimal, as UTF-16, escaped for URLs, quoted as Go and JSON do, as a list
// of decimal bytes, and with its bytes reversed as a whole and within words of 2, 4
// and 8 bytes. Of a longer secret, a part is enough: its first, middle and last 16
// bytes are each searched for separately.
package canary

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// MinSize is the size of the shortest secret that a [Set] accepts, in bytes.
// Shorter ones would be found by chance.
const MinSize = 10

// piece is how many bytes of a longer secret are enough to find it.
const piece = 16

// prefix is how many bytes of a pattern the search compares first.
const prefix = 8

// mask keeps a search of this process's memory from finding the set itself.
const mask = 0xa5

const maskWord = 0xa5a5a5a5a5a5a5a5

// A Found is a secret in a place where it must not be.
type Found struct {
	Name   string // as given to Add
	Form   string // how it was encoded
	Offset int    // of its first byte
}

// String returns, for example, "the PIN (hex) at 42". It does not show the secret.
func (f Found) String() string { return fmt.Sprintf("%s (%s) at %d", f.Name, f.Form, f.Offset) }

// A Set is a set of secrets to search for. It keeps them masked. The zero value
// is an empty set. It is not safe for concurrent use while secrets are added.
type Set struct {
	names    []string
	patterns map[uint64][]pattern // by the first 8 bytes, masked
	filter   [1 << 12]uint64      // bits of the keys' hashes
	longest  int
}

type pattern struct {
	masked     []byte
	name, form string
}

// Add adds a secret under a name, by which it is reported when it is found. A secret
// of fewer than [MinSize] bytes is a mistake of the test, and panics.
func (s *Set) Add(name string, secret []byte) {
	if len(secret) < MinSize {
		panic(fmt.Sprintf("canary: %s has %d bytes, and fewer than %d are found by chance", name, len(secret), MinSize))
	}
	if s.patterns == nil {
		s.patterns = map[uint64][]pattern{}
	}
	s.names = append(s.names, name)
	for _, p := range pieces(secret) {
		for _, f := range forms {
			encoded := f.encode(p)
			s.add(name, f.name, encoded)
			clear(encoded)
		}
		clear(p)
	}
}

// AddString is Add for a string.
func (s *Set) AddString(name, secret string) {
	b := []byte(secret)
	s.Add(name, b)
	clear(b)
}

// Names returns the names of what was added, in that order.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Longest is the size of the longest pattern, in bytes: chunks of a stream that overlap
// by as much can be searched in place of the whole.
func (s *Set) Longest() int { return s.longest }

// pieces returns copies of the parts of a secret, each of which is enough to find it.
func pieces(secret []byte) [][]byte {
	if len(secret) <= piece {
		return [][]byte{slices.Clone(secret)}
	}
	middle := (len(secret) - piece) / 2
	var parts [][]byte
	for _, at := range []int{0, middle, len(secret) - piece} {
		parts = append(parts, slices.Clone(secret[at:at+piece]))
	}
	return parts
}

func (s *Set) add(name, form string, encoded []byte) {
	if len(encoded) < prefix {
		return
	}
	masked := make([]byte, len(encoded))
	for i, c := range encoded {
		masked[i] = c ^ mask
	}
	key := binary.LittleEndian.Uint64(masked)
	for _, p := range s.patterns[key] {
		if p.name == name && string(p.masked) == string(masked) {
			return // two forms of it are the same
		}
	}
	s.patterns[key] = append(s.patterns[key], pattern{masked, name, form})
	h := hash(key)
	s.filter[h>>6] |= 1 << (h & 63)
	s.longest = max(s.longest, len(masked))
}

// hash returns 18 bits.
func hash(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> 46 }

// Search returns the secrets that are in data, by offset. Of each secret in each form,
// only the first occurrence is reported.
func (s *Set) Search(data []byte) (found []Found) {
	seen := map[[2]string]bool{}
	for i := 0; i+prefix <= len(data); i++ {
		key := binary.LittleEndian.Uint64(data[i:]) ^ maskWord
		h := hash(key)
		if s.filter[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, p := range s.patterns[key] {
			if id := [2]string{p.name, p.form}; !seen[id] && p.at(data[i:]) {
				seen[id] = true
				found = append(found, Found{p.name, p.form, i})
			}
		}
	}
	return found
}

func (p pattern) at(data []byte) bool {
	if len(data) < len(p.masked) {
		return false
	}
	for i, c := range p.masked {
		if data[i]^mask != c {
			return false
		}
	}
	return true
}

// A form is one way to write a secret.
type form struct {
	name   string
	encode func(secret []byte) []byte
}

var forms = []form{
	{"plain", slices.Clone[[]byte]},
	{"base64", func(b []byte) []byte { return base64At(base64.RawStdEncoding, b, 0) }},
	{"base64 after 1 byte", func(b []byte) []byte { return base64At(base64.RawStdEncoding, b, 1) }},
	{"base64 after 2 bytes", func(b []byte) []byte { return base64At(base64.RawStdEncoding, b, 2) }},
	{"base64url", func(b []byte) []byte { return base64At(base64.RawURLEncoding, b, 0) }},
	{"base64url after 1 byte", func(b []byte) []byte { return base64At(base64.RawURLEncoding, b, 1) }},
	{"base64url after 2 bytes", func(b []byte) []byte { return base64At(base64.RawURLEncoding, b, 2) }},
	{"hex", func(b []byte) []byte { return hex.AppendEncode(nil, b) }},
	{"upper-case hex", func(b []byte) []byte { return []byte(strings.ToUpper(hex.EncodeToString(b))) }},
	{"hex with spaces", func(b []byte) []byte { return fmt.Appendf(nil, "% x", b) }},
	{"hex as Go", func(b []byte) []byte { return listOf(b, ", ", func(c byte) string { return fmt.Sprintf("0x%x", c) }) }},
	{"decimal", func(b []byte) []byte { return listOf(b, " ", decimal) }},
	{"decimal with commas", func(b []byte) []byte { return listOf(b, ",", decimal) }},
	{"UTF-16", func(b []byte) []byte { return utf16Of(b, binary.LittleEndian) }},
	{"big-endian UTF-16", func(b []byte) []byte { return utf16Of(b, binary.BigEndian) }},
	{"URL", func(b []byte) []byte { return []byte(url.QueryEscape(string(b))) }},
	{"URL path", func(b []byte) []byte { return []byte(url.PathEscape(string(b))) }},
	{"URL twice", func(b []byte) []byte { return []byte(url.QueryEscape(url.QueryEscape(string(b)))) }},
	{"quoted as Go", func(b []byte) []byte { q := strconv.Quote(string(b)); return []byte(q[1 : len(q)-1]) }},
	{"quoted as JSON", func(b []byte) []byte { q, _ := json.Marshal(string(b)); return q[1 : len(q)-1] }},
	{"reversed", func(b []byte) []byte { return reversed(b, len(b)) }},
	{"reversed in words of 2", func(b []byte) []byte { return reversed(b, 2) }},
	{"reversed in words of 4", func(b []byte) []byte { return reversed(b, 4) }},
	{"reversed in words of 8", func(b []byte) []byte { return reversed(b, 8) }},
}

// Forms returns the names of the ways in which a secret is searched for.
func Forms() (names []string) {
	for _, f := range forms {
		names = append(names, f.name)
	}
	return names
}

// base64At returns the digits that depend on secret alone when lead bytes of a
// group of three stand before it.
func base64At(e *base64.Encoding, secret []byte, lead int) []byte {
	b := append(make([]byte, lead, lead+len(secret)), secret...)
	defer clear(b)
	from := (lead*8 + 5) / 6 // the first digit without bits of what stands before
	to := (len(b) * 8) / 6   // behind the last digit without bits of what follows
	return e.AppendEncode(nil, b)[from:to]
}

func decimal(c byte) string { return strconv.Itoa(int(c)) }

func listOf(b []byte, sep string, digit func(byte) string) []byte {
	var out []byte
	for i, c := range b {
		if i > 0 {
			out = append(out, sep...)
		}
		out = append(out, digit(c)...)
	}
	return out
}

func utf16Of(b []byte, order binary.AppendByteOrder) (out []byte) {
	for _, u := range utf16.Encode([]rune(string(b))) {
		out = order.AppendUint16(out, u)
	}
	return out
}

// reversed reverses the bytes within each word of size bytes.
func reversed(b []byte, size int) []byte {
	out := slices.Clone(b)
	for word := range slices.Chunk(out, size) {
		slices.Reverse(word)
	}
	return out
}
