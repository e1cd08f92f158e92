package benchpeers

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/cache"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// A silentClient serves tokens from its cache.
type silentClient interface {
	Silent(ctx context.Context, i int) (string, error)
	Fill(ctx context.Context, tokens int) error
}

func newMSAL(tb testing.TB, persistent bool) *MSAL {
	tb.Helper()
	var accessor cache.ExportReplace
	if persistent {
		accessor = &MemoryCache{}
	}
	m, err := NewMSAL(accessor)
	require.NoError(tb, err)
	return m
}

// newBroker keeps its state in files when it is to be persistent, and tokens too
// when it is to keep them.
func newBroker(tb testing.TB, persistent, keep bool) *Broker {
	tb.Helper()
	keys, err := softkeys.Open(softkeys.File(filepath.Join(tb.TempDir(), "master")))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, keys.Close()) })
	var state store.Store = &store.Memory{}
	if persistent {
		state, err = store.NewFile(filepath.Join(tb.TempDir(), "state"))
		require.NoError(tb, err)
	}
	b, err := NewBroker(tb.Context(), entratest.NewTB(tb, Options()), keys, state, keep)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return b
}

// Every token comes from the cache, each is its own, and no request is made:
// what is timed is a hit and nothing else.
func TestSilentServesFromCache(t *testing.T) {
	const tokens = 100
	for _, persistent := range []bool{false, true} {
		m, b := newMSAL(t, persistent), newBroker(t, persistent, persistent)
		require.NoError(t, m.Fill(t.Context(), tokens))
		require.NoError(t, b.Fill(t.Context(), tokens))
		asked, requested := m.service.requests, b.requests.Load()
		for name, c := range map[string]silentClient{"msal": m, "prtbroker": b} {
			seen := map[string]bool{}
			for i := range tokens {
				token, err := c.Silent(t.Context(), i)
				require.NoError(t, err)
				seen[token] = true
			}
			require.Len(t, seen, tokens, name)
		}
		require.Equal(t, asked, m.service.requests)
		require.Equal(t, requested, b.requests.Load())
	}
}

// BenchmarkSilent serves a cached, valid token. The persistent cache of MSAL Go
// is one that only hands back bytes from memory; that of prtbroker is its files,
// with Config.KeepTokens up to 1,000 tokens: it keeps 256 at most. One operation
// of two goroutines is one token, whichever of them gets it.
func BenchmarkSilent(b *testing.B) {
	for _, cached := range []string{"memory", "persistent"} {
		persistent := cached == "persistent"
		ours, theirs := newBroker(b, persistent, persistent), newMSAL(b, persistent)
		for _, tokens := range []int{1, 10, 100, 1000, 10000} {
			if persistent && tokens > 1000 {
				ours = newBroker(b, persistent, false)
			}
			for _, c := range []struct {
				name string
				silentClient
			}{{"prtbroker", ours}, {"msal", theirs}} {
				require.NoError(b, c.Fill(b.Context(), tokens))
				for _, goroutines := range []int{1, 2} {
					b.Run(fmt.Sprintf("cache=%s/tokens=%d/goroutines=%d/client=%s", cached, tokens, goroutines, c.name), func(b *testing.B) {
						serve(b, c, tokens, goroutines)
					})
				}
			}
		}
	}
}

func serve(b *testing.B, c silentClient, tokens, goroutines int) {
	ctx := context.Background()
	runtime.GC() // what filling the caches left is not the client's that is timed
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := g; i < b.N; i += goroutines {
				if _, err := c.Silent(ctx, i%tokens); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
