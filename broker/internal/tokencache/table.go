package tokencache

import (
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/internal/clock"
)

// The methods of this file need the mutex.

// find returns the node of exactly this set.
func (c *Cache[V]) find(k *Key, set Set) *node[V] {
	h := c.hashSet(k, set)
	for n := c.table.Load().chain(h).Load(); n != nil; n = n.next.Load() {
		if n.hash == h && n.key == *k && slices.Equal(n.set, set) {
			return n
		}
	}
	return nil
}

// put links a node, in place of the one of the same set. The new one comes
// first in the chain before the old one goes, so that no reader misses both.
func (c *Cache[V]) put(n *node[V], now time.Time) {
	n.hash = c.hashSet(&n.key, n.set)
	c.makeRoom(now)
	if n.alias != nil {
		// Making room copies nodes, and may have dropped this one.
		if n.alias = c.find(&n.alias.key, n.alias.set); n.alias == nil {
			return
		}
	}
	old := c.find(&n.key, n.set)
	c.link(n)
	if old != nil {
		c.drop(old)
	}
}

func (c *Cache[V]) link(n *node[V]) {
	head := c.table.Load().chain(n.hash)
	n.next.Store(head.Load())
	head.Store(n)
	f := family{n.key, n.set.Resource()}
	c.families[f] = append(c.families[f], n)
	c.count++
}

// drop unlinks a node and the subsets that it serves.
func (c *Cache[V]) drop(n *node[V]) {
	f := family{n.key, n.set.Resource()}
	c.families[f] = slices.DeleteFunc(c.families[f], func(o *node[V]) bool {
		if o != n && o.alias != n {
			return false
		}
		c.unlink(o)
		return true
	})
	if len(c.families[f]) == 0 {
		delete(c.families, f)
	}
}

// unlink takes a node out of its chain. Readers that stand on it go on.
func (c *Cache[V]) unlink(n *node[V]) {
	at := c.table.Load().chain(n.hash)
	for o := at.Load(); o != nil; o = at.Load() {
		if o == n {
			at.Store(n.next.Load())
			c.count--
			return
		}
		at = &o.next
	}
}

// makeRoom grows the table before its chains get long, and forgets expired
// tokens when it does. At the limit it drops an eighth, those that expire
// first.
func (c *Cache[V]) makeRoom(now time.Time) {
	size := len(c.table.Load().chains)
	if c.count < size && c.count < c.limit {
		return
	}
	alive := func(n *node[V]) bool { return clock.Left(n.entry.ExpiresOn, now) > 0 }
	living := c.living(alive)
	if len(living) >= c.limit {
		slices.SortFunc(living, func(a, b time.Time) int { return a.Compare(b) })
		last := living[len(living)/8]
		alive = func(n *node[V]) bool { return n.entry.ExpiresOn.After(last) }
		living = c.living(alive)
		if len(living) == 0 {
			c.rebuild(size, func(*node[V]) bool { return false })
			return
		}
	}
	for size < 2*len(living) {
		size *= 2
	}
	c.rebuild(size, alive)
}

func (c *Cache[V]) living(alive func(*node[V]) bool) (ends []time.Time) {
	for _, nodes := range c.families {
		for _, n := range nodes {
			if alive(n) {
				ends = append(ends, n.entry.ExpiresOn)
			}
		}
	}
	return ends
}

// rebuild makes a new table of the nodes to keep. Nodes are copied, because
// readers may still follow the old links. A subset goes with what serves it:
// they share the entry, and so what keep decides by.
func (c *Cache[V]) rebuild(size int, keep func(*node[V]) bool) {
	old := c.families
	c.families = make(map[family][]*node[V], len(old))
	c.count = 0
	t := newTable[V](size)
	copies := map[*node[V]]*node[V]{}
	for _, nodes := range old {
		for _, n := range nodes {
			if keep(n) {
				copies[n] = &node[V]{hash: n.hash, key: n.key, set: n.set, entry: n.entry, have: n.have}
			}
		}
	}
	for n, m := range copies {
		m.alias = copies[n.alias]
		head := t.chain(m.hash)
		m.next.Store(head.Load())
		head.Store(m)
		f := family{m.key, m.set.Resource()}
		c.families[f] = append(c.families[f], m)
		c.count++
	}
	c.table.Store(t)
}
