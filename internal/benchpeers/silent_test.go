package benchpeers

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every token comes from the cache, and each is that of its resource.
func TestMSALServesFromCache(t *testing.T) {
	for name, accessor := range map[string]*MemoryCache{"memory": nil, "persistent": {}} {
		t.Run(name, func(t *testing.T) {
			m := newMSAL(t, 100, accessor)
			asked := m.service.requests
			for i := range 100 {
				token, err := m.Silent(t.Context(), i)
				require.NoError(t, err)
				require.Contains(t, token, resource(i)[0])
			}
			require.Equal(t, asked, m.service.requests, "a cached token needs no request")
		})
	}
}

func newMSAL(tb testing.TB, tokens int, accessor *MemoryCache) *MSAL {
	tb.Helper()
	if accessor == nil { // not a nil in an interface
		m, err := NewMSAL(tb.Context(), tokens, nil)
		require.NoError(tb, err)
		return m
	}
	m, err := NewMSAL(tb.Context(), tokens, accessor)
	require.NoError(tb, err)
	return m
}

// BenchmarkAcquireTokenSilent serves a cached, valid token; the benchmark of
// the same name in package broker is what it is set beside.
func BenchmarkAcquireTokenSilent(b *testing.B) {
	for _, c := range []struct {
		cache    string
		accessor *MemoryCache
	}{{"memory", nil}, {"persistent", &MemoryCache{}}} {
		for _, tokens := range []int{1, 100} {
			b.Run(fmt.Sprintf("msal/cache=%s/tokens=%d", c.cache, tokens), func(b *testing.B) {
				if c.accessor != nil {
					c.accessor = &MemoryCache{}
				}
				m := newMSAL(b, tokens, c.accessor)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, err := m.Silent(b.Context(), i); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
