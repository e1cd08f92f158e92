package tokencache

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Scopes that are written as before cost no allocation, be it one or five.
func TestGetAllocatesNothing(t *testing.T) {
	for name, scopes := range benchScopes {
		t.Run(name, func(t *testing.T) {
			c := New[int](graph, 0)
			k := key(1)
			c.Put(&k, set(t, scopes...), entry(1, time.Hour), start)
			require.Zero(t, testing.AllocsPerRun(1000, func() {
				if _, s := c.Get(&k, scopes, start); s != Fresh {
					t.Fatal(s)
				}
			}))
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []string{"1", "3", "5"} {
		scopes := benchScopes[n]
		for _, tokens := range []int{1, 10000} {
			b.Run(fmt.Sprintf("scopes=%s/tokens=%d", n, tokens), func(b *testing.B) {
				c := New[int](graph, 0)
				for i := range tokens {
					k := key(i)
					c.Put(&k, set(b, scopes...), entry(i, time.Hour), start)
					c.Get(&k, scopes, start)
				}
				k := key(tokens / 2)
				b.ReportAllocs()
				for b.Loop() {
					if _, s := c.Get(&k, scopes, start); s != Fresh {
						b.Fatal(s)
					}
				}
			})
		}
	}
}

// BenchmarkNow is what a hit is measured against.
func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		_ = time.Now()
	}
}
