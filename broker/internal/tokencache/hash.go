package tokencache

import (
	"encoding/binary"
	"hash/maphash"
	"strings"
)

// hash returns the hash of k with the scopes as the caller wrote them. The
// scopes are added up, so that their order does not matter; a duplicate adds
// nothing. Collisions cost a comparison: equality is checked afterwards.
func (c *Cache[V]) hash(k *Key, scopes []string) uint64 {
	h := c.hashIdentity(k)
	for i, s := range scopes {
		if reserved(s) || repeated(scopes[:i], s, c.defaultResource) {
			continue
		}
		h += c.hashScope(s)
	}
	return h
}

// hashSet is hash for scopes that are normalised already.
func (c *Cache[V]) hashSet(k *Key, set Set) uint64 {
	h := c.hashIdentity(k)
	for _, s := range set {
		h += c.hashScope(s)
	}
	return h
}

func (c *Cache[V]) hashIdentity(k *Key) uint64 {
	h := maphash.String(c.seed, k.Account)
	h = mix(h, maphash.String(c.seed, k.Environment))
	h = mix(h, maphash.String(c.seed, k.Tenant))
	h = mix(h, maphash.String(c.seed, k.Client))
	if k.PoPKey != "" {
		h = mix(h, maphash.String(c.seed, k.PoPKey))
	}
	if k.CAE {
		h = mix(h, 1)
	}
	return mix(h, uint64(k.Scheme))
}

// mix combines two hashes so that their order matters.
func mix(h, x uint64) uint64 {
	h ^= x
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>32
}

// foldBuffer holds every scope of a usual length on the stack.
const foldBuffer = 128

func (c *Cache[V]) hashScope(s string) uint64 {
	var buf [foldBuffer]byte
	n := 0
	if strings.IndexByte(s, '/') < 0 {
		n = len(c.defaultResource) + 1
	}
	if n+len(s) > foldBuffer-8 {
		return maphash.String(c.seed, canonical(s, c.defaultResource))
	}
	if n > 0 {
		copy(buf[:], c.defaultResource)
		buf[n-1] = '/'
	}
	i := 0
	for ; i+8 <= len(s); i += 8 {
		binary.LittleEndian.PutUint64(buf[n+i:], foldWord(word(s, i)))
	}
	for ; i < len(s); i++ {
		buf[n+i] = foldByte(s[i])
	}
	return maphash.Bytes(c.seed, buf[:n+len(s)])
}

// repeated reports whether s is among the scopes before it.
func repeated(before []string, s, defaultResource string) bool {
	for _, b := range before {
		if sameScope(b, s, defaultResource) {
			return true
		}
	}
	return false
}

// sameScope compares two scopes as callers write them.
func sameScope(a, b, defaultResource string) bool {
	if len(a) == len(b) {
		return equalFoldBoth(a, b)
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	n := len(b) - len(a)
	return n == len(defaultResource)+1 && b[n-1] == '/' && strings.IndexByte(a, '/') < 0 &&
		equalFold(b[:n-1], defaultResource) && equalFoldBoth(a, b[n:])
}

func equalFoldBoth(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldByte(a[i]) != foldByte(b[i]) {
			return false
		}
	}
	return true
}
