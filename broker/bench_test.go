package broker_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// newBenchWorld is a world whose broker takes the time from the system.
func newBenchWorld(b *testing.B) (*world, broker.Account) {
	w := newWorld(b, withMemory, withOptions(func(o *entratest.Options) { o.Clock, o.Logf = nil, func(string, ...any) {} }))
	require.NoError(b, w.b.Close())
	w.cfg.Now = nil
	w.b = w.open()
	w.join()
	return w, w.signIn()
}

// fill puts n tokens into memory, one each for n apps, by way of one that the
// service gave.
func (w *world) fill(n int) {
	w.silent(graph)
	broker.Multiply(w.b, n)
	require.GreaterOrEqual(w.t, broker.CachedTokens(w.b), n)
}

// A hit allocates nothing, with the options that callers use, however many
// tokens are there.
func TestSilentAllocatesNothing(t *testing.T) {
	w := newWorld(t, withMemory)
	w.join()
	acct := w.signIn()
	for _, tokens := range []int{1, 100, 10000} {
		w.fill(tokens)
		for name, call := range map[string]func() (broker.AuthResult, error){
			"the only account": func() (broker.AuthResult, error) { return w.b.AcquireTokenSilent(t.Context(), graph) },
			"an account": func() (broker.AuthResult, error) {
				return w.b.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(acct))
			},
			"account, app and tenant": func() (broker.AuthResult, error) {
				return w.b.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(acct), broker.WithApp(broker.App{ClientID: appID}), broker.WithTenantID(acct.Realm))
			},
			"scopes written in place": func() (broker.AuthResult, error) {
				return w.b.AcquireTokenSilent(t.Context(), []string{"openid", "https://graph.microsoft.com/.default"})
			},
		} {
			t.Run(fmt.Sprintf("%d/%s", tokens, name), func(t *testing.T) {
				require.Zero(t, testing.AllocsPerRun(200, func() {
					r, err := call()
					if err != nil || r.Metadata.Source != broker.SourceCache {
						t.Fatal(r, err)
					}
				}))
			})
		}
	}
}

// BenchmarkAcquireTokenSilent is a token from memory. The clock is the
// system's, as it is in use: BenchmarkNow in internal/tokencache is its share.
func BenchmarkAcquireTokenSilent(b *testing.B) {
	five := []string{"openid", "profile", "offline_access", "User.Read", "https://graph.microsoft.com/User.Read"}
	for _, bb := range []struct {
		tokens int
		scopes []string
	}{{1, graph}, {100, graph}, {10000, graph}, {1, five}, {10000, five}} {
		b.Run(fmt.Sprintf("tokens=%d/scopes=%d", bb.tokens, len(bb.scopes)), func(b *testing.B) {
			w, acct := newBenchWorld(b)
			w.fill(bb.tokens)
			w.silent(bb.scopes)
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				r, err := w.b.AcquireTokenSilent(ctx, bb.scopes, broker.WithAccount(acct))
				if err != nil || r.Metadata.Source != broker.SourceCache {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAcquireTokenSilentParallel is the same from many goroutines.
func BenchmarkAcquireTokenSilentParallel(b *testing.B) {
	w, acct := newBenchWorld(b)
	w.fill(10000)
	ctx := b.Context()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.b.AcquireTokenSilent(ctx, graph, broker.WithAccount(acct)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
