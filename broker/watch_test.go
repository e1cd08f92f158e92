package broker_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// What another process removes is served no longer: at the next miss, and
// within a second under Run.
func TestAnotherProcessRemovesTheAccount(t *testing.T) {
	t.Parallel()
	for name, running := range map[string]bool{"under Run": true, "at the next miss": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			w.join()
			acct := w.signIn()
			other := w.open()
			res, err := other.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(acct))
			require.NoError(t, err)
			require.Equal(t, broker.SourcePRT, res.Metadata.Source)
			if running {
				broker.SetSleep(other, func(ctx context.Context, _ time.Duration) error { <-ctx.Done(); return ctx.Err() })
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- other.Run(ctx) }()
				defer func() { cancel(); require.ErrorIs(t, <-done, context.Canceled) }()
			}
			require.NoError(t, w.b.RemoveAccount(t.Context(), acct))
			if !running {
				_, err := other.AcquireTokenSilent(t.Context(), open)
				require.ErrorIs(t, err, broker.ErrNoAccount)
			}
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				_, err := other.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(acct))
				assert.ErrorIs(c, err, broker.ErrNoAccount)
			}, time.Minute, 50*time.Millisecond)
		})
	}
}

// tracer writes down what begins inside what.
type tracer struct {
	mu     sync.Mutex // guards all below
	spans  []string
	failed []string
}

type spanName struct{}

func (r *tracer) Start(ctx context.Context, operation string) (context.Context, func(error)) {
	name := operation
	if outer, ok := ctx.Value(spanName{}).(string); ok {
		name = outer + "/" + operation
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, name)
	return context.WithValue(ctx, spanName{}, name), func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil {
			r.failed = append(r.failed, name)
		}
	}
}

func (r *tracer) take() (spans, failed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	spans, failed, r.spans, r.failed = r.spans, r.failed, nil, nil
	slices.Sort(spans)
	return slices.Compact(spans), failed
}

func TestTracer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	r := &tracer{}
	w.cfg.Tracer = r
	w.b = w.open()
	w.join()
	w.signIn()
	spans, _ := r.take()
	require.Equal(t, []string{"register device", "register device/request", "request", "sign in", "sign in/request"}, spans)
	w.silent(graph)
	w.clock.Advance(5 * time.Hour)
	w.silent(graph)
	w.silent(graph)
	spans, failed := r.take()
	require.Equal(t, []string{"acquire token", "acquire token/renew PRT", "acquire token/renew PRT/request", "acquire token/request"}, spans)
	require.Empty(t, failed)
	w.wire.set(nil, nil)
	_, err := w.b.AcquireTokenSilent(t.Context(), payroll)
	require.True(t, errors.Is(err, broker.ErrInteractionRequired))
	_, failed = r.take()
	require.Equal(t, []string{"acquire token"}, failed)
}
