package policy

import (
	"hash/fnv"
	"math/bits"
)

// symbols numbers the ids that a Set mentions, from 1. Ids compare without
// regard to ASCII case. A Symbol carries a tag made of all ids in order, so
// that a Symbol of a Set with another numbering is recognised.
//
// The table is open-addressed and folds case while it hashes and compares,
// eight bytes at a time: callers' ids come in any casing, and folding them
// first would need memory.
type symbols struct {
	slots []slot   // a power of two, at most half full
	ids   []string // by number, as first written
	lower []string // by number, in lower case
	tag   Symbol
}

type slot struct {
	hash uint32
	num  uint32 // 0: empty
}

const (
	symbolNum = 1<<32 - 1
	guidLen   = 36
)

func newSymbols() *symbols {
	return &symbols{slots: make([]slot, 64), ids: []string{""}, lower: []string{""}}
}

// intern numbers an id; "" has the number 0.
func (t *symbols) intern(id string) uint32 {
	if id == "" {
		return 0
	}
	if n := t.find(id); n != 0 {
		return n
	}
	n := uint32(len(t.ids))
	t.ids, t.lower = append(t.ids, id), append(t.lower, lower(id))
	if 2*len(t.ids) > len(t.slots) {
		t.slots = make([]slot, 2*len(t.slots))
		for n := 1; n < len(t.ids); n++ {
			t.place(uint32(n))
		}
		return n
	}
	t.place(n)
	return n
}

func (t *symbols) place(n uint32) {
	h := hashFold(t.lower[n])
	i := h & uint32(len(t.slots)-1)
	for t.slots[i].num != 0 {
		i = (i + 1) & uint32(len(t.slots)-1)
	}
	t.slots[i] = slot{h, n}
}

// seal computes the tag, after the last id is interned.
func (t *symbols) seal() {
	h := fnv.New32a()
	for _, id := range t.lower {
		_, _ = h.Write([]byte(id))
		_, _ = h.Write([]byte{0})
	}
	t.tag = Symbol(h.Sum32()|1) << 32
}

// find returns the number of an id, 0 when the Set does not mention it. It
// does not allocate.
func (t *symbols) find(id string) uint32 {
	h := hashFold(id)
	mask := uint32(len(t.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch s := t.slots[i]; {
		case s.num == 0:
			return 0
		case s.hash == h && equalLower(id, t.lower[s.num]):
			return s.num
		}
	}
}

// load8 is eight bytes of a string.
func load8(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// fold8 turns upper case into lower case in eight bytes.
func fold8(x uint64) uint64 {
	const ones = 0x0101010101010101
	low := x &^ (0x80 * ones)
	// The high bit of each byte: set in the first sum from 'A' on, in the second
	// after 'Z'.
	upper := (low + (0x80-'A')*ones) &^ (low + (0x7f-'Z')*ones) &^ x & (0x80 * ones)
	return x | upper>>2
}

// hashFold hashes a string in lower case.
func hashFold(s string) uint32 {
	const m1, m2 = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93
	h := uint64(len(s)) * m1
	if len(s) == guidLen { // most are, and their bits are even
		h = (h ^ fold8(load8(s, 0))) * m2
		h = (bits.RotateLeft64(h, 29) ^ fold8(load8(s, 14)) ^ bits.RotateLeft64(fold8(load8(s, guidLen-8)), 7)) * m2
		h ^= h >> 32
		return uint32((h * m1) >> 32)
	}
	i := 0
	for ; i+8 <= len(s); i += 8 {
		h = (bits.RotateLeft64(h, 29) ^ fold8(load8(s, i))) * m2
	}
	if i < len(s) {
		var tail uint64
		if len(s) >= 8 {
			tail = fold8(load8(s, len(s)-8))
		} else {
			for i := range len(s) {
				tail = tail<<8 | uint64(lowerByte(s[i]))
			}
		}
		h = (bits.RotateLeft64(h, 29) ^ tail) * m2
	}
	h ^= h >> 32
	return uint32((h * m1) >> 32)
}

// equalLower says whether a string in lower case is folded.
func equalLower(s, folded string) bool {
	if len(s) != len(folded) {
		return false
	}
	i := 0
	for ; i+8 <= len(s); i += 8 {
		if fold8(load8(s, i)) != load8(folded, i) {
			return false
		}
	}
	if n := len(s); i < n && n >= 8 {
		return fold8(load8(s, n-8)) == load8(folded, n-8)
	}
	for ; i < len(s); i++ {
		if lowerByte(s[i]) != folded[i] {
			return false
		}
	}
	return true
}

// number returns the number in a Symbol of this table; ok is false for one of
// another.
func (t *symbols) number(s Symbol) (n uint32, ok bool) {
	return uint32(s & symbolNum), s&^symbolNum == t.tag
}

// foreign says whether a Symbol of another table is among some.
func (t *symbols) foreign(list []Symbol) bool {
	var differ Symbol
	for _, sym := range list {
		differ |= sym ^ t.tag
	}
	return differ > symbolNum
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func hasUpper(s string) bool {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return true
		}
	}
	return false
}

// lower folds ASCII letters, and only them.
func lower(s string) string {
	if !hasUpper(s) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		b[i] = lowerByte(c)
	}
	return string(b)
}

// equalASCII compares without regard to ASCII case.
func equalASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

// containsID says whether a list names an id; none names "".
func containsID(list []string, id string) bool {
	if id == "" {
		return false
	}
	for _, s := range list {
		if equalASCII(s, id) {
			return true
		}
	}
	return false
}

// Symbol returns the symbol of an id of any kind. It does not allocate. The
// symbol of an id that no policy mentions is not zero: it still names the Set.
func (s *Set) Symbol(id string) Symbol { return s.ids.tag | Symbol(s.ids.find(id)) }

// Symbols appends the symbols of ids to dst and returns it. Callers that sign
// the same principals in again and again keep the symbols, or better a Subject.
func (s *Set) Symbols(dst []Symbol, ids []string) []Symbol {
	for _, id := range ids {
		dst = append(dst, s.Symbol(id))
	}
	return dst
}
