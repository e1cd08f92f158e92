package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Strings of every length, around the eight bytes that are compared at a time, are
// told from those that differ in one byte or in length, and not from those that
// differ in case.
func TestEqualLower(t *testing.T) {
	const text = "abcxyz-09@[`{AZ\x7f\x80\xff-the-rest-of-it-is-longer"
	for n := range len(text) + 1 {
		s := text[:n]
		ascii := s[:min(n, 16)]
		require.Equal(t, strings.ToLower(ascii), lower(ascii))
		require.True(t, equalLower(strings.ToUpper(ascii), lower(ascii)), "%q", ascii)
		require.True(t, equalLower(s, lower(s)), "%q", s)
		require.Equal(t, hashFold(lower(s)), hashFold(s), "%q", s)
		require.False(t, equalLower(s, lower(s)+"a"), "%q is shorter", s)
		require.False(t, equalLower(s+"a", lower(s)), "%q is longer", s)
		for i := range n {
			other := []byte(s)
			other[i] ^= 1
			require.False(t, equalLower(string(other), lower(s)), "%q %q", other, s)
		}
	}
}

// The first and the last letter are folded as the others are.
func TestLower(t *testing.T) {
	for s, want := range map[string]string{"A": "a", "Z": "z", "@": "@", "[": "[", "a": "a", "z": "z", "": "", "Ä": "Ä"} {
		require.Equal(t, want, lower(s))
		require.True(t, equalASCII(s, want), s)
	}
}

// An id that is not known is on no list, not even on one that holds such.
func TestEmptyIDIsOnNoList(t *testing.T) {
	require.True(t, containsID([]string{"", "A"}, "a"))
	require.False(t, containsID([]string{"", "A"}, ""))
}

// A Symbol is another set's by its tag, whatever its number.
func TestForeignSymbols(t *testing.T) {
	ids := newSymbols()
	ids.intern("a")
	ids.seal()
	require.False(t, ids.foreign([]Symbol{ids.tag, ids.tag | 1, ids.tag | symbolNum}))
	for _, s := range []Symbol{0, 1, symbolNum, ids.tag ^ (symbolNum + 1)} {
		require.True(t, ids.foreign([]Symbol{ids.tag, s}), "%x", s)
	}
}

// Of a GUID the hash looks at three eights of bytes. Ids that are alike in those are
// not confused.
func TestIDsOfOneHash(t *testing.T) {
	const one, two, three = "00000000-1111-4000-8000-000000000000", "00000000-2222-4000-8000-000000000000", "00000000-3333-4000-8000-000000000000"
	require.Equal(t, hashFold(one), hashFold(two))
	ids := newSymbols()
	require.Equal(t, []uint32{1, 2, 1}, []uint32{ids.intern(one), ids.intern(two), ids.intern(one)})
	require.Equal(t, []uint32{1, 2, 0}, []uint32{ids.find(one), ids.find(two), ids.find(three)})
}

// The table of ids is at most half full, so that looking for one ends soon, and no
// larger than that takes.
func TestTableOfIDsIsHalfFull(t *testing.T) {
	ids, size := newSymbols(), 64
	require.Zero(t, ids.intern(""), "which is no id")
	for n := 1; n < 1_000; n++ {
		require.EqualValues(t, n, ids.intern(strings.Repeat("x", n)))
		if 2*len(ids.ids) > size {
			size *= 2
		}
		require.Len(t, ids.slots, size, "%d ids", n)
		require.Zero(t, ids.find(""))
	}
}

// Ids of every kind are spread over the table about as well as by chance, which puts
// half as many ids as there are slots into 79 % as many slots.
func TestIDsAreSpread(t *testing.T) {
	const n = 1 << 12
	random := rand.New(rand.NewPCG(1, 2))
	for name, id := range map[string]func(i int) string{
		"GUIDs": func(int) string {
			a, b := random.Uint64(), random.Uint64()
			return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&(1<<48-1))
		},
		"GUIDs in a row":     func(i int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012x", i) },
		"GUIDs that begin":   func(i int) string { return fmt.Sprintf("%08x-0000-0ff1-ce00-000000000000", i) },
		"GUIDs in between":   func(i int) string { return fmt.Sprintf("00000002-0000-%04x-ce00-000000000000", i) },
		"short names":        func(i int) string { return fmt.Sprintf("g%d", i) },
		"eight letters":      func(i int) string { return fmt.Sprintf("grp-%04x", i) },
		"nine letters":       func(i int) string { return fmt.Sprintf("team-%04x", i) },
		"names with numbers": func(i int) string { return fmt.Sprintf("conditional access group %d", i) },
		"numbers with names": func(i int) string { return fmt.Sprintf("%04x of a conditional access group", i) },
		"numbers in between": func(i int) string { return fmt.Sprintf("CA policy %04x excluded persons", i) },
		"sixteen letters":    func(i int) string { return fmt.Sprintf("emergency %06d", i) },
		"lengths":            func(i int) string { return strings.Repeat("x", i) },
	} {
		t.Run(name, func(t *testing.T) {
			slots, hashes := map[uint32]bool{}, map[uint32]bool{}
			for i := range n {
				h := hashFold(id(i))
				hashes[h], slots[h%(2*n)] = true, true
			}
			require.GreaterOrEqual(t, len(hashes), n-8)
			require.GreaterOrEqual(t, len(slots), n*3/4)
		})
	}
}
