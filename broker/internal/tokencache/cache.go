package tokencache

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/internal/clock"
)

// A Scheme is how a token is presented.
type Scheme uint8

// Schemes.
const (
	Bearer Scheme = iota
	PoP           // bound to Key.PoPKey
)

// A Key is what a token is kept under, but for its scopes.
type Key struct {
	Account     string // home account id
	Environment string
	Tenant      string
	Client      string
	Scheme      Scheme
	PoPKey      string // thumbprint of the key; empty for bearer tokens
	CAE         bool
}

// An Entry is a token with what the cache must know about it.
type Entry[V any] struct {
	Value     V
	ExpiresOn time.Time
	RefreshOn time.Time // when the service wants it refreshed; zero: it did not say
	Granted   []string  // as the service said; nil: what was asked for
}

// A State is what an entry is good for.
type State uint8

const (
	// Missing: there is no token, or it has expired.
	Missing State = iota
	// Closing: valid, and so near its end that a caller had better wait for
	// the next one; if none is to be had it still serves.
	Closing
	// Stale: valid, and due for a refresh that nobody needs to wait for.
	Stale
	// Fresh: valid.
	Fresh
)

// Margin is how long before its end a token counts as closing: what a request
// may take on its way, and what the clocks of client and resource may differ.
const Margin = 5 * time.Minute

func (e *Entry[V]) state(now time.Time) State {
	left := clock.Left(e.ExpiresOn, now)
	switch {
	case left <= 0:
		return Missing
	case left <= Margin:
		return Closing
	case !e.RefreshOn.IsZero() && clock.Left(e.RefreshOn, now) <= 0:
		return Stale
	}
	return Fresh
}

// node is a link of a chain. Only next changes.
type node[V any] struct {
	hash  uint64
	key   Key
	set   Set
	entry *Entry[V]
	have  Set      // granted scopes and those asked for; nil for an alias
	alias *node[V] // the node whose entry serves this subset; nil for itself
	next  atomic.Pointer[node[V]]
}

func (n *node[V]) is(k *Key, scopes []string, defaultResource string) bool {
	return n.key == *k && sameSet(n.set, scopes, defaultResource)
}

// sameSet reports whether scopes, as the caller wrote them, are the set.
func sameSet(set Set, scopes []string, defaultResource string) bool {
	found := 0
	for i, s := range scopes {
		if reserved(s) || repeated(scopes[:i], s, defaultResource) {
			continue
		}
		if !slices.ContainsFunc(set, func(have string) bool { return isScope(s, have, defaultResource) }) {
			return false
		}
		found++
	}
	return found == len(set)
}

// table is a power of two of chains.
type table[V any] struct {
	chains []atomic.Pointer[node[V]]
}

func newTable[V any](size int) *table[V] {
	return &table[V]{chains: make([]atomic.Pointer[node[V]], size)}
}

func (t *table[V]) chain(hash uint64) *atomic.Pointer[node[V]] {
	return &t.chains[hash&uint64(len(t.chains)-1)]
}

// family is all that tokens must share for one to serve another's scopes.
type family struct {
	key      Key
	resource string
}

// DefaultLimit is how many tokens a cache keeps when its limit is 0.
const DefaultLimit = 1 << 16

// A Cache keeps tokens. Make one with [New]. It is safe for concurrent use.
type Cache[V any] struct {
	seed            maphash.Seed
	defaultResource string
	limit           int

	table atomic.Pointer[table[V]] // read without the mutex

	mu       sync.Mutex // guards the fields below, and every change of table
	families map[family][]*node[V]
	count    int
}

// New returns an empty cache. Scopes without a resource belong to
// defaultResource. Beyond limit tokens (0: [DefaultLimit]) those that expire
// first are dropped.
func New[V any](defaultResource string, limit int) *Cache[V] {
	if limit <= 0 {
		limit = DefaultLimit
	}
	c := &Cache[V]{
		seed:            maphash.MakeSeed(),
		defaultResource: lower(defaultResource),
		limit:           limit,
		families:        map[family][]*node[V]{},
	}
	c.table.Store(newTable[V](minChains))
	return c
}

const minChains = 16

// Get returns the token for scopes, as the caller wrote them, and what it is
// good for at now. The entry is immutable; it is nil when the state is
// Missing. Get takes no lock and allocates nothing.
func (c *Cache[V]) Get(k *Key, scopes []string, now time.Time) (*Entry[V], State) {
	if len(scopes) > MaxScopes {
		return nil, Missing
	}
	h := c.hash(k, scopes)
	for n := c.table.Load().chain(h).Load(); n != nil; n = n.next.Load() {
		if n.hash == h && n.is(k, scopes, c.defaultResource) {
			return n.entry.at(now)
		}
	}
	return nil, Missing
}

func (e *Entry[V]) at(now time.Time) (*Entry[V], State) {
	s := e.state(now)
	if s == Missing {
		return nil, Missing
	}
	return e, s
}

// Serve is Get for a set that was not found: it looks for a token that was
// granted all of it, and remembers what it found for the next Get.
func (c *Cache[V]) Serve(k *Key, set Set, now time.Time) (*Entry[V], State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.find(k, set); n != nil {
		if e, s := n.entry.at(now); s != Missing {
			return e, s
		}
	}
	if set.IsDefault() {
		return nil, Missing
	}
	for _, n := range c.families[family{*k, set.Resource()}] {
		if n.alias != nil || !set.Within(n.have) {
			continue
		}
		if e, s := n.entry.at(now); s != Missing {
			c.put(&node[V]{key: *k, set: set, entry: n.entry, alias: n}, now)
			return e, s
		}
	}
	return nil, Missing
}

// Put keeps a token, which came at now, under the set it was asked with, in
// place of the one that was there and of the subsets that that one served.
func (c *Cache[V]) Put(k *Key, set Set, e Entry[V], now time.Time) {
	e.ExpiresOn, e.RefreshOn = clock.On(e.ExpiresOn, now), clock.On(e.RefreshOn, now)
	have := set
	if e.Granted != nil {
		have = granted(e.Granted, set.Resource(), c.defaultResource)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(&node[V]{key: *k, set: slices.Clone(set), entry: &e, have: have}, now)
}

// Drop forgets the token for a set, if e is still it, and what it served.
func (c *Cache[V]) Drop(k *Key, set Set, e *Entry[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.find(k, set); n != nil && n.entry == e {
		if n.alias != nil {
			n = n.alias
		}
		c.drop(n)
	}
}

// Kept is a token with what it is kept under.
type Kept[V any] struct {
	Key   Key
	Set   Set
	Entry *Entry[V]
}

// Account returns every token of an account, in no order. Subsets that a token
// also serves are not listed.
func (c *Cache[V]) Account(account, environment string) (out []Kept[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f, nodes := range c.families {
		if f.key.Account != account || f.key.Environment != environment {
			continue
		}
		for _, n := range nodes {
			if n.alias == nil {
				out = append(out, Kept[V]{n.key, slices.Clone(n.set), n.entry})
			}
		}
	}
	return out
}

// DropAccount forgets every token of an account.
func (c *Cache[V]) DropAccount(account, environment string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rebuild(len(c.table.Load().chains), func(n *node[V]) bool {
		return n.key.Account != account || n.key.Environment != environment
	})
}

// Clear forgets every token.
func (c *Cache[V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rebuild(minChains, func(*node[V]) bool { return false })
}

// Len returns how many tokens are kept, expired ones that were not swept yet
// and subsets included.
func (c *Cache[V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}
