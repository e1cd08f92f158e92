package tokencache

import "strings"

// Scopes compare without case in ASCII, which is all they may hold. A hit
// folds them on the way, eight bytes at a time and without allocating.

// lower returns s in lower case.
func lower(s string) string { return strings.ToLower(s) }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// foldWord lowers the ASCII letters of eight bytes at once.
func foldWord(w uint64) uint64 {
	seven := w &^ highs
	fromA := seven + (0x80-'A')*ones
	pastZ := seven + (0x80-'Z'-1)*ones
	upper := (fromA ^ pastZ) & ^w & highs
	return w | upper>>2
}

// word reads eight bytes of s at i, little-endian.
func word(s string, i int) uint64 {
	_ = s[i+7]
	return uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
		uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
}

func foldByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold reports whether s in lower case is lowered.
func equalFold(s, lowered string) bool {
	if len(s) != len(lowered) {
		return false
	}
	i := 0
	for ; i+8 <= len(s); i += 8 {
		if foldWord(word(s, i)) != word(lowered, i) {
			return false
		}
	}
	for ; i < len(s); i++ {
		if foldByte(s[i]) != lowered[i] {
			return false
		}
	}
	return true
}

// isScope reports whether a scope of a request, as the caller wrote it, is the
// canonical one.
func isScope(s, canonicalScope, defaultResource string) bool {
	if equalFold(s, canonicalScope) {
		return true
	}
	n := len(canonicalScope) - len(s)
	return n == len(defaultResource)+1 && canonicalScope[n-1] == '/' &&
		strings.IndexByte(s, '/') < 0 &&
		canonicalScope[:n-1] == defaultResource && equalFold(s, canonicalScope[n:])
}
