package broker_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// A token that is due for a refresh is handed out, and a service in trouble
// does not take it away.
func TestRefreshInTheBackground(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	first := w.silent(graph, broker.WithCAE())
	require.Equal(t, 24*time.Hour, first.ExpiresOn.Sub(w.clock.Now()))
	require.Equal(t, 12*time.Hour, first.Metadata.RefreshOn.Sub(w.clock.Now()))

	w.clock.Advance(13 * time.Hour)
	remove := w.srv.AddFault(entratest.Fault{Kind: entratest.Status, Times: -1})
	w.wire.take()
	for range 10 {
		require.Equal(t, first.AccessToken, w.silent(graph, broker.WithCAE()).AccessToken)
	}
	broker.WaitBackground(w.b)
	require.Len(t, w.wire.take(), 6, "one refresh, not one a call: three tries to renew the PRT, three to use it as it is")
	remove()

	w.clock.Advance(10 * time.Minute)
	require.Equal(t, first.AccessToken, w.silent(graph, broker.WithCAE()).AccessToken, "nobody waits for a refresh")
	broker.WaitBackground(w.b)
	second := w.silent(graph, broker.WithCAE())
	require.NotEqual(t, first.AccessToken, second.AccessToken)
	require.Equal(t, broker.SourceCache, second.Metadata.Source)
}

// A refresh in the background that the service put off is not begun again
// before then, which may be later than after another failure.
func TestRefreshWaitsAsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	first := w.silent(graph, broker.WithCAE())
	w.clock.Advance(13 * time.Hour)
	remove := w.srv.AddFault(entratest.Fault{Kind: entratest.Throttle, Endpoint: entratest.EndpointToken, RetryAfter: 20 * time.Minute, Times: -1})
	asked := func() int {
		t.Helper()
		w.wire.take()
		require.Equal(t, first.AccessToken, w.silent(graph, broker.WithCAE()).AccessToken)
		broker.WaitBackground(w.b)
		return len(w.wire.take())
	}
	require.Positive(t, asked())
	remove()
	w.clock.Advance(10 * time.Minute)
	require.Zero(t, asked(), "the service said 20 minutes")
	w.clock.Advance(11 * time.Minute)
	require.Positive(t, asked())
}

// After a failure a refresh is begun again when a minute is over, and not sooner, however
// long the attempt took.
func TestRefreshPauses(t *testing.T) {
	t.Parallel()
	for name, took := range map[string]time.Duration{"failed at once": 0, "failed after a while": 2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			w.join()
			w.signIn()
			w.silent(graph, broker.WithCAE())
			w.clock.Advance(13 * time.Hour)
			w.srv.AddFault(entratest.Fault{Kind: entratest.AADSTS, Endpoint: entratest.EndpointToken, Code: 50076, Times: -1})
			asked := func() int {
				t.Helper()
				w.wire.take()
				w.silent(graph, broker.WithCAE())
				broker.WaitBackground(w.b)
				return len(w.wire.take())
			}
			var once sync.Once
			w.wire.set(nil, func(*http.Request) error { once.Do(func() { w.clock.Advance(took) }); return nil })
			require.Positive(t, asked())
			require.Zero(t, asked())
			w.clock.Advance(time.Minute - time.Second)
			require.Zero(t, asked())
			w.clock.Advance(time.Second)
			require.Positive(t, asked())
		})
	}
}

// A refresh that is found due when the broker is closed is not begun.
func TestNoRefreshAfterClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	begun := begunOperations{}
	w.cfg.Tracer = &begun
	b := w.open()
	broker.Refresh(b)
	broker.WaitBackground(b)
	require.EqualValues(t, 1, begun.n.Load())
	require.NoError(t, b.Close())
	broker.Refresh(b)
	broker.WaitBackground(b)
	require.EqualValues(t, 1, begun.n.Load())
}

// begunOperations counts what a tracer is told of.
type begunOperations struct{ n atomic.Int32 }

func (o *begunOperations) Start(ctx context.Context, _ string) (context.Context, func(error)) {
	o.n.Add(1)
	return ctx, func(error) {}
}

// A token that comes to its end while another is asked for is not served.
func TestTokenEndsMeanwhile(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]time.Duration{"a second is left": time.Second, "none": 0} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			w.join()
			w.signIn()
			tok := w.silent(graph)
			w.clock.Advance(tok.ExpiresOn.Add(-2 * time.Second).Sub(w.clock.Now()))
			broker.SetSleep(w.b, func(ctx context.Context, _ time.Duration) error { return ctx.Err() })
			w.wire.set(func(*http.Request) error {
				w.clock.Advance(tok.ExpiresOn.Add(-left).Sub(w.clock.Now()))
				return errCut
			}, nil)
			res, err := w.b.AcquireTokenSilent(t.Context(), graph)
			if left > 0 {
				require.NoError(t, err)
				require.Equal(t, tok.AccessToken, res.AccessToken)
				return
			}
			require.ErrorIs(t, err, broker.ErrTransient)
		})
	}
}
