package policy

import "hash/fnv"

// symbols numbers the ids that a Set mentions, from 1. Ids compare without
// regard to ASCII case. A Symbol carries a tag made of all ids in order, so
// that a Symbol of a Set with another numbering is recognised.
type symbols struct {
	index map[string]uint32 // by id in lower case
	long  map[string]uint32 // those longer than maxFold
	ids   []string          // by number, as first written
	tag   Symbol
}

const (
	maxFold   = 128 // bytes of an id that can be folded on the stack
	symbolNum = 1<<32 - 1
)

func newSymbols() *symbols {
	return &symbols{index: map[string]uint32{}, long: map[string]uint32{}, ids: []string{""}}
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
	t.ids = append(t.ids, id)
	if len(id) > maxFold {
		t.long[lower(id)] = n
	} else {
		t.index[lower(id)] = n
	}
	return n
}

// seal computes the tag, after the last id is interned.
func (t *symbols) seal() {
	h := fnv.New32a()
	for _, id := range t.ids {
		_, _ = h.Write([]byte(lower(id)))
		_, _ = h.Write([]byte{0})
	}
	t.tag = Symbol(h.Sum32()|1) << 32
}

// find returns the number of an id, 0 when the Set does not mention it. It
// does not allocate.
func (t *symbols) find(id string) uint32 {
	if len(id) > maxFold {
		return t.findLong(id)
	}
	if !hasUpper(id) {
		return t.index[id]
	}
	var buf [maxFold]byte
	for i := range len(id) {
		buf[i] = lowerByte(id[i])
	}
	return t.index[string(buf[:len(id)])]
}

func (t *symbols) findLong(id string) uint32 {
	for l, n := range t.long {
		if equalASCII(id, l) {
			return n
		}
	}
	return 0
}

// number returns the number in a Symbol of this table; ok is false for one of
// another.
func (t *symbols) number(s Symbol) (n uint32, ok bool) {
	return uint32(s & symbolNum), s&^symbolNum == t.tag
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
