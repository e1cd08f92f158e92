package tokencache

import (
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"
	"strings"
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

// A Key is what a token is kept under, apart from its scopes.
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
	// Closing: valid, but so near its end that callers should wait for the next
	// one; if none is to be had, it is still served.
	Closing
	// Stale: valid, and due for a refresh that callers need not wait for.
	Stale
	// Fresh: valid.
	Fresh
)

// Margin is how long before its end a token counts as closing. It allows for
// the time that a request may be under way, and for the clocks of client and
// resource to differ.
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

// A token is what is kept. All but spellings is immutable.
type token[V any] struct {
	key       Key
	set       Set // it was asked for
	have      Set // granted scopes and those asked for
	entry     *Entry[V]
	spellings []*spelling[V] // that lead here; at most maxSpellings
	gone      bool
}

// maxSpellings is how many ways to write its scopes a token remembers. A
// program has its scopes in a variable or two.
const maxSpellings = 8

// A spelling is a way in which a caller wrote a set that a token serves. It is
// immutable.
type spelling[V any] struct {
	hash   uint64
	key    Key
	scopes []string
	set    Set
	token  *token[V]
}

type shard[V any] = map[uint64][]*spelling[V]

// family is all that tokens must share for one to serve another's scopes.
type family struct {
	key      Key
	resource string
}

// DefaultLimit is how many tokens a cache keeps when its limit is 0.
const DefaultLimit = 1 << 16

// shards bounds what a write copies.
const shards = 256

// A Cache keeps tokens. Make one with [New]. It is safe for concurrent use.
type Cache[V any] struct {
	defaultResource string
	limit           int

	// shards are maps by hash that are replaced, never changed, as are the
	// slices in them: they are read without the mutex.
	shards [shards]atomic.Pointer[shard[V]]

	mu       sync.Mutex // guards the fields below, and every change of shards
	families map[family][]*token[V]
	count    int
	sweepAt  int // the count at which expired tokens are looked for
}

const minSweep = 64 // the least value of sweepAt

// New returns an empty cache. Scopes without a resource belong to
// defaultResource. Beyond limit tokens (0: [DefaultLimit]) those that expire
// first are dropped.
func New[V any](defaultResource string, limit int) *Cache[V] {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Cache[V]{
		defaultResource: strings.ToLower(defaultResource),
		limit:           limit,
		families:        map[family][]*token[V]{},
		sweepAt:         min(minSweep, limit),
	}
}

// Get returns a token for scopes, as the caller wrote them, and what it is good
// for at now. The entry is immutable; it is nil when the state is Missing.
//
// Scopes that are written as they were before are found by their bytes,
// without a lock and without allocating. Else Get normalises them, looks as
// [Cache.Serve] does, and remembers the spelling.
func (c *Cache[V]) Get(k *Key, scopes []string, now time.Time) (*Entry[V], State) {
	h := hash(k, scopes)
	if m := c.shards[h%shards].Load(); m != nil {
		for _, s := range (*m)[h] {
			if s.key != *k || !slices.Equal(s.scopes, scopes) {
				continue
			}
			if state := s.token.entry.state(now); state != Missing {
				return s.token.entry, state
			}
		}
	}
	return c.learn(h, k, scopes, now)
}

// hash tells most requests from each other, at a glance: it reads three words
// of three strings. The rest is compared.
func hash(k *Key, scopes []string) uint64 {
	h := glance(k.Account) ^ bits.RotateLeft64(glance(k.Client), 21) ^ uint64(len(scopes))
	if len(scopes) > 0 {
		h ^= bits.RotateLeft64(glance(scopes[0]), 42)
	}
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>32
}

func glance(s string) uint64 {
	n := len(s)
	if n < 8 {
		return uint64(n)
	}
	at := func(i int) uint64 { return binary.LittleEndian.Uint64([]byte(s[i : i+8])) }
	return at(0)*3 ^ at((n-8)/2)*5 ^ at(n-8)*7 ^ uint64(n)
}

func (c *Cache[V]) learn(h uint64, k *Key, scopes []string, now time.Time) (*Entry[V], State) {
	set, err := Normalize(scopes, c.defaultResource)
	if err != nil {
		return nil, Missing
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t, state := c.find(k, set, now)
	if t == nil {
		return nil, Missing
	}
	written := make([]string, len(scopes))
	for i, s := range scopes {
		written[i] = strings.Clone(s) // a copy, not a part of something larger
	}
	c.publish(&spelling[V]{hash: h, key: t.key, scopes: written, set: set, token: t}, true)
	return t.entry, state
}

// Serve is Get for a normalised set: it returns the token that was asked for
// with this set, or one that was granted all of it.
func (c *Cache[V]) Serve(k *Key, set Set, now time.Time) (*Entry[V], State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, state := c.find(k, set, now); t != nil {
		return t.entry, state
	}
	return nil, Missing
}

// Put keeps a token, which came at now, under the set it was asked with,
// replacing the token that was there and everything else that it served.
func (c *Cache[V]) Put(k *Key, set Set, e Entry[V], now time.Time) {
	e.ExpiresOn, e.RefreshOn = clock.On(e.ExpiresOn, now), clock.On(e.RefreshOn, now)
	t := &token[V]{key: *k, set: slices.Clone(set), entry: &e}
	t.have = t.set
	if e.Granted != nil {
		t.have = granted(e.Granted, set.Resource(), c.defaultResource)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeRoom(now)
	f := family{*k, set.Resource()}
	kept := []*token[V]{t}
	for _, old := range c.families[f] {
		replaced := slices.Equal(old.set, set)
		c.handOver(old, t, replaced)
		if !replaced {
			kept = append(kept, old)
		}
	}
	c.count += len(kept) - len(c.families[f])
	c.families[f] = kept
}

// Kept is a token with what it is kept under.
type Kept[V any] struct {
	Key   Key
	Set   Set
	Entry *Entry[V]
}

// Account returns every token of an account, in no order.
func (c *Cache[V]) Account(account, environment string) (out []Kept[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f, tokens := range c.families {
		if f.key.Account != account || f.key.Environment != environment {
			continue
		}
		for _, t := range tokens {
			out = append(out, Kept[V]{t.key, slices.Clone(t.set), t.entry})
		}
	}
	return out
}

// Change replaces the value of each token of an account.
func (c *Cache[V]) Change(account, environment string, change func(V) V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f, tokens := range c.families {
		if f.key.Account != account || f.key.Environment != environment {
			continue
		}
		changed := slices.Clone(tokens)
		for i, old := range tokens {
			e := *old.entry
			e.Value = change(e.Value)
			changed[i] = &token[V]{key: old.key, set: old.set, have: old.have, entry: &e}
			for _, s := range slices.Clone(old.spellings) {
				c.publish(&spelling[V]{s.hash, s.key, s.scopes, s.set, changed[i]}, true)
			}
		}
		c.families[f] = changed
	}
}

// DropAccount forgets every token of an account.
func (c *Cache[V]) DropAccount(account, environment string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(func(t *token[V]) bool { return t.key.Account == account && t.key.Environment == environment })
}

// Clear forgets every token.
func (c *Cache[V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(func(*token[V]) bool { return true })
}

// Len returns how many tokens are kept, expired ones that were not swept yet
// included.
func (c *Cache[V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// The functions below need the mutex.

// find returns the token of exactly this set, or one that covers it; nil when
// there is none that is valid.
func (c *Cache[V]) find(k *Key, set Set, now time.Time) (best *token[V], state State) {
	for _, t := range c.families[family{*k, set.Resource()}] {
		exact := slices.Equal(t.set, set)
		if !exact && (best != nil || set.IsDefault() || !set.Within(t.have)) {
			continue
		}
		if s := t.entry.state(now); s != Missing {
			best, state = t, s
			if exact {
				break
			}
		}
	}
	return best, state
}

// publish puts a spelling where readers look, replacing the one with the same
// bytes; unless listed, it only removes that one. Beyond maxSpellings, a
// token's oldest spelling is forgotten.
func (c *Cache[V]) publish(s *spelling[V], listed bool) {
	if known := s.token.spellings; listed && len(known) == maxSpellings {
		c.publish(known[0], false)
	}
	at := &c.shards[s.hash%shards]
	m := shard[V]{}
	if old := at.Load(); old != nil {
		m = maps.Clone(*old)
	}
	var chain []*spelling[V]
	for _, o := range m[s.hash] {
		if o.key == s.key && slices.Equal(o.scopes, s.scopes) {
			o.token.spellings = slices.DeleteFunc(o.token.spellings, func(x *spelling[V]) bool { return x == o })
			continue
		}
		chain = append(chain, o)
	}
	if listed {
		chain = append(chain, s)
		s.token.spellings = append(s.token.spellings, s)
	}
	if m[s.hash] = chain; chain == nil {
		delete(m, s.hash)
	}
	at.Store(&m)
}

// handOver makes the spellings of a new token's set lead to it, each in one
// step, so that no reader misses both. What else a replaced token served is
// learnt again.
func (c *Cache[V]) handOver(from, to *token[V], replaced bool) {
	for _, s := range slices.Clone(from.spellings) {
		if same := slices.Equal(s.set, to.set); same || replaced {
			c.publish(&spelling[V]{s.hash, s.key, s.scopes, s.set, to}, same)
		}
	}
}

// makeRoom forgets expired tokens now and then. At the limit it drops an
// eighth, those that expire first.
func (c *Cache[V]) makeRoom(now time.Time) {
	if c.count < c.sweepAt {
		return
	}
	c.forget(func(t *token[V]) bool { return clock.Left(t.entry.ExpiresOn, now) <= 0 })
	if c.count >= c.limit {
		var ends []time.Time
		for _, tokens := range c.families {
			for _, t := range tokens {
				ends = append(ends, t.entry.ExpiresOn)
			}
		}
		slices.SortFunc(ends, time.Time.Compare)
		c.forget(func(t *token[V]) bool { return !t.entry.ExpiresOn.After(ends[len(ends)/8]) })
	}
	c.sweepAt = min(max(2*c.count, minSweep), c.limit)
}

// forget drops tokens and every spelling that leads to them.
func (c *Cache[V]) forget(which func(*token[V]) bool) {
	for f, tokens := range c.families {
		left := slices.DeleteFunc(tokens, func(t *token[V]) bool {
			t.gone = which(t)
			return t.gone
		})
		c.count -= len(tokens) - len(left)
		if c.families[f] = left; len(left) == 0 {
			delete(c.families, f)
		}
	}
	for i := range c.shards {
		old := c.shards[i].Load()
		if old == nil {
			continue
		}
		m := make(shard[V], len(*old))
		for h, chain := range *old {
			for _, s := range chain {
				if !s.token.gone {
					m[h] = append(m[h], s)
				}
			}
		}
		c.shards[i].Store(&m)
	}
}
