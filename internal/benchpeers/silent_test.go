package benchpeers

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/cache"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/stretchr/testify/require"
)

// A silentClient serves tokens from its cache.
type silentClient interface {
	Silent(ctx context.Context, i int) (string, error)
}

func newMSAL(tb testing.TB, tokens int, persistent bool) *MSAL {
	tb.Helper()
	var accessor cache.ExportReplace
	if persistent {
		accessor = &MemoryCache{}
	}
	m, err := NewMSAL(tb.Context(), tokens, accessor)
	require.NoError(tb, err)
	return m
}

// newBroker keeps its state in files when it is to be persistent.
func newBroker(tb testing.TB, tokens int, persistent bool) *Broker {
	tb.Helper()
	keys, err := softkeys.Open(softkeys.File(filepath.Join(tb.TempDir(), "master")))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, keys.Close()) })
	var state store.Store = &store.Memory{}
	if persistent {
		state, err = store.NewFile(filepath.Join(tb.TempDir(), "state"))
		require.NoError(tb, err)
	}
	b, err := NewBroker(tb.Context(), entratest.NewTB(tb, Options()), keys, state, tokens)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return b
}

// Every token comes from the cache, each is its own, and no request is made:
// what is timed is a hit and nothing else.
func TestSilentServesFromCache(t *testing.T) {
	const tokens = 100
	for _, persistent := range []bool{false, true} {
		m, b := newMSAL(t, tokens, persistent), newBroker(t, tokens, persistent)
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

// BenchmarkAcquireTokenSilent serves a cached, valid token. The persistent
// cache of MSAL Go is one that only hands back bytes from memory; that of
// prtbroker is its files. x-prtbroker is as in BenchmarkPeers, against
// prtbroker with as many tokens and the same kind of cache.
func BenchmarkAcquireTokenSilent(b *testing.B) {
	for _, c := range []struct {
		name       string
		persistent bool
	}{{"memory", false}, {"persistent", true}} {
		for _, tokens := range []int{1, 100} {
			b.Run(fmt.Sprintf("cache=%s/tokens=%d", c.name, tokens), func(b *testing.B) {
				ours := serve(b, newBroker(b, tokens, c.persistent))
				benchmarkSilent(b, "prtbroker", ours, ours, tokens)
				benchmarkSilent(b, "msal", serve(b, newMSAL(b, tokens, c.persistent)), ours, tokens)
			})
		}
	}
}

func benchmarkSilent(b *testing.B, name string, op, ours func(int), tokens int) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			op(i)
		}
		b.ReportMetric(ratio(op, ours, tokens), "x-prtbroker")
	})
}

func serve(b *testing.B, c silentClient) func(int) {
	ctx := context.Background()
	return func(i int) {
		if _, err := c.Silent(ctx, i); err != nil {
			panic(err)
		}
	}
}
