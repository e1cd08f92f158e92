package broker

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tokenCache keeps access tokens. Reads take no lock and allocate nothing;
// writers exclude each other. A lookup costs the same at 1 and at 10,000
// tokens.
//
// It is a hash table whose buckets are chains that are never changed: a writer
// replaces a chain, or the whole table when it grows.
type tokenCache struct {
	table atomic.Pointer[cacheTable]

	mu    sync.Mutex // serialises writers
	count int        // nodes; guarded by mu
}

type cacheTable struct {
	seed    maphash.Seed
	buckets []atomic.Pointer[cacheNode] // a power of two
}

// cacheNode maps one spelling of a key to its slot.
type cacheNode struct {
	hash   uint64
	scopes []string // as asked for, or normalised
	slot   *cacheSlot
	next   *cacheNode
}

// cacheSlot is a token and its key without the scopes. Several spellings of
// the scopes share it, so that a new token replaces the old one for all.
type cacheSlot struct {
	key        cacheKey
	result     atomic.Pointer[AuthResult]
	refreshing atomic.Bool
}

// cacheKey is what a token was issued for, but for its scopes.
type cacheKey struct {
	home, environment, tenant, client string
}

// expirySkew is how long before its end a token is not handed out any more
// without an attempt to get a new one.
const expirySkew = 5 * time.Minute

// cacheHit is what a lookup found.
type cacheHit uint8

const (
	cacheMiss  cacheHit = iota
	cacheFresh          // hand it out
	cacheDue            // hand it out and get a new one meanwhile
	cacheLate           // valid, and near its end: get a new one first
)

func (c *tokenCache) get(key *cacheKey, scopes []string, now time.Time) (*cacheSlot, *AuthResult, cacheHit) {
	t := c.table.Load()
	if t == nil {
		return nil, nil, cacheMiss
	}
	hash := t.hash(key, scopes)
	for n := t.bucket(hash).Load(); n != nil; n = n.next {
		if n.hash != hash || n.slot.key != *key || !sameSet(n.scopes, scopes) {
			continue
		}
		r := n.slot.result.Load()
		if r == nil {
			return n.slot, nil, cacheMiss
		}
		return n.slot, r, r.freshness(now)
	}
	return nil, nil, cacheMiss
}

func (r *AuthResult) freshness(now time.Time) cacheHit {
	left := r.ExpiresOn.Sub(now)
	switch {
	case left <= 0:
		return cacheMiss
	case left <= expirySkew:
		return cacheLate
	case !r.Metadata.RefreshOn.IsZero() && !now.Before(r.Metadata.RefreshOn):
		return cacheDue
	}
	return cacheFresh
}

// put keeps a token under every given spelling of its scopes.
func (c *tokenCache) put(key cacheKey, r *AuthResult, spellings ...[]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := c.slot(&key, spellings)
	if slot == nil {
		slot = &cacheSlot{key: key}
	}
	for _, scopes := range spellings {
		c.link(slot, scopes)
	}
	slot.result.Store(r)
}

// alias makes slot found by another spelling too.
func (c *tokenCache) alias(slot *cacheSlot, scopes []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link(slot, scopes)
}

func (c *tokenCache) slot(key *cacheKey, spellings [][]string) *cacheSlot {
	for _, scopes := range spellings {
		if slot, _, _ := c.get(key, scopes, time.Time{}); slot != nil {
			return slot
		}
	}
	return nil
}

// maxNodes bounds the cache; the whole of it is dropped beyond.
const maxNodes = 1 << 17

func (c *tokenCache) link(slot *cacheSlot, scopes []string) {
	if c.count >= maxNodes {
		c.reset()
	}
	t := c.grow()
	hash := t.hash(&slot.key, scopes)
	head := t.bucket(hash)
	for n := head.Load(); n != nil; n = n.next {
		if n.hash == hash && n.slot.key == slot.key && sameSet(n.scopes, scopes) {
			if n.slot == slot {
				return
			}
			c.unlink(head, n)
			break
		}
	}
	head.Store(&cacheNode{hash: hash, scopes: slices.Clone(scopes), slot: slot, next: head.Load()})
	c.count++
}

// unlink replaces the chain by one without n.
func (c *tokenCache) unlink(head *atomic.Pointer[cacheNode], n *cacheNode) {
	var chain *cacheNode
	for o := head.Load(); o != nil; o = o.next {
		if o != n {
			chain = &cacheNode{o.hash, o.scopes, o.slot, chain}
		}
	}
	head.Store(chain)
	c.count--
}

// grow returns the table, doubled when it is full.
func (c *tokenCache) grow() *cacheTable {
	old := c.table.Load()
	if old != nil && c.count < len(old.buckets) {
		return old
	}
	size, seed := 64, maphash.MakeSeed()
	if old != nil {
		size, seed = 2*len(old.buckets), old.seed
	}
	t := &cacheTable{seed: seed, buckets: make([]atomic.Pointer[cacheNode], size)}
	if old != nil {
		for i := range old.buckets {
			for n := old.buckets[i].Load(); n != nil; n = n.next {
				head := t.bucket(n.hash)
				head.Store(&cacheNode{n.hash, n.scopes, n.slot, head.Load()})
			}
		}
	}
	c.table.Store(t)
	return t
}

func (c *tokenCache) reset() {
	c.table.Store(nil)
	c.count = 0
}

func (c *tokenCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
}

// dropAccount forgets the tokens of an account.
func (c *tokenCache) dropAccount(home, environment string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table.Load()
	if t == nil {
		return
	}
	for i := range t.buckets {
		var chain *cacheNode
		removed := 0
		for n := t.buckets[i].Load(); n != nil; n = n.next {
			if n.slot.key.home == home && n.slot.key.environment == environment {
				n.slot.result.Store(nil)
				removed++
				continue
			}
			chain = &cacheNode{n.hash, n.scopes, n.slot, chain}
		}
		if removed > 0 {
			t.buckets[i].Store(chain)
			c.count -= removed
		}
	}
}

func (t *cacheTable) bucket(hash uint64) *atomic.Pointer[cacheNode] {
	return &t.buckets[hash&uint64(len(t.buckets)-1)]
}

// hash does not depend on the order of the scopes.
func (t *cacheTable) hash(key *cacheKey, scopes []string) uint64 {
	const mix = 0x9e3779b97f4a7c15
	h := maphash.String(t.seed, key.home)
	h = h*mix + maphash.String(t.seed, key.client)
	h = h*mix + maphash.String(t.seed, key.tenant)
	var set uint64
	for _, s := range scopes {
		set += maphash.String(t.seed, s)
	}
	h = h*mix + set
	return h ^ h>>32
}

// sameSet compares small sets.
func sameSet(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, s := range a {
		if b[i] != s && !slices.Contains(b, s) {
			return false
		}
	}
	for i, s := range b {
		if a[i] != s && !slices.Contains(a, s) {
			return false
		}
	}
	return true
}
