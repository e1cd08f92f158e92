package tokencache

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever reads or changes the families waits for the mutex. A call that does
// not would come back while the test holds it.
func TestLocked(t *testing.T) {
	k := key(1)
	for name, call := range map[string]func(*Cache[int]){
		"Serve":       func(c *Cache[int]) { c.Serve(&k, Set{graph + "/user.read"}, start) },
		"Get":         func(c *Cache[int]) { c.Get(&k, []string{"USER.READ"}, start) },
		"Put":         func(c *Cache[int]) { c.Put(&k, Set{graph + "/user.read"}, entry(1, time.Hour), start) },
		"Account":     func(c *Cache[int]) { c.Account(k.Account, k.Environment) },
		"DropAccount": func(c *Cache[int]) { c.DropAccount(k.Account, k.Environment) },
		"Clear":       (*Cache[int]).Clear,
		"Len":         func(c *Cache[int]) { c.Len() },
	} {
		t.Run(name, func(t *testing.T) {
			c := New[int](graph, 0)
			c.mu.Lock()
			var begun, done atomic.Bool
			var wg sync.WaitGroup
			wg.Go(func() {
				begun.Store(true)
				call(c)
				done.Store(true)
			})
			for i := 0; i < 1000 || !begun.Load(); i++ {
				runtime.Gosched()
			}
			require.False(t, done.Load())
			c.mu.Unlock()
			wg.Wait()
		})
	}
}

// Lookups that have to normalise run beside writers: each takes the mutex.
func TestServeBesideWriters(t *testing.T) {
	c := New[int](graph, 0)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				k := key(i % 50)
				switch g {
				case 0:
					c.Put(&k, set(t, "User.Read"), entry(i, time.Hour), start)
				case 1:
					c.Serve(&k, set(t, "User.Read"), start)
				case 2:
					c.Get(&k, []string{scramble("user.read", uint64(i))}, start)
				case 3:
					c.Account(k.Account, k.Environment)
					c.Len()
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 50, c.Len())
}

// A reader never misses a token that is being replaced, whatever else is
// written, and never sees one of another key.
func TestReadersNeverMiss(t *testing.T) {
	c := New[int](graph, 0)
	k, s := key(-1), set(t, "User.Read")
	c.Put(&k, s, entry(-1, time.Hour), start)
	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for !stop.Load() {
				e, state := c.Get(&k, []string{"User.Read"}, start)
				if state != Fresh || e.Value >= 0 {
					t.Errorf("state %v", state)
					return
				}
			}
		})
	}
	writers.Go(func() {
		for i := range 2000 {
			c.Put(&k, s, entry(-1-i, time.Hour), start)
		}
	})
	writers.Go(func() {
		for range 2000 {
			c.Change(k.Account, k.Environment, func(v int) int { return v - 1 })
		}
	})
	writers.Go(func() {
		for i := range 2000 {
			other := key(i)
			c.Put(&other, s, entry(i, time.Hour), start)
			if i%3 == 0 {
				c.DropAccount(other.Account, other.Environment)
			}
		}
	})
	writers.Wait()
	stop.Store(true)
	readers.Wait()
}
