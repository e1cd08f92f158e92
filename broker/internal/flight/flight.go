// Package flight lets many callers share one piece of work, each within its
// own context.
//
// golang.org/x/sync/singleflight does not let a caller leave before the work
// ends, and binds the work to the context of whoever came first. Here the work
// runs apart from all callers, and ends early only when the last of them has
// left.
package flight

import (
	"context"
	"errors"
	"sync"
)

var (
	// ErrClosed: the group was closed.
	ErrClosed = errors.New("flight: closed")
	// ErrAborted: the work ended without a result (runtime.Goexit).
	ErrAborted = errors.New("flight: the work was aborted")
)

// A Group is a namespace of work. Its zero value is ready. It is safe for
// concurrent use.
type Group[K comparable, V any] struct {
	mu     sync.Mutex // guards the fields below and the waiters of calls
	calls  map[K]*call[V]
	closed bool
	work   sync.WaitGroup // Add under mu, before closed
}

type call[V any] struct {
	waiters int // guarded by the group's mutex
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed when v and err are set
	v       V
	err     error
}

// Do returns what fn returns, running it unless a call with the same key is
// under way, whose result is then shared. fn gets the values of the first
// caller's context, and a cancellation of its own: Do returns when ctx ends,
// and fn's context ends when the last caller has left.
func (g *Group[K, V]) Do(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, shared bool, err error) {
	if err := ctx.Err(); err != nil {
		return v, false, err
	}
	c, shared, err := g.join(ctx, key, fn)
	if err != nil {
		return v, false, err
	}
	select {
	case <-c.done:
		return c.v, shared, c.err
	case <-ctx.Done():
		g.leave(key, c)
		return v, shared, ctx.Err()
	}
}

// Waiters returns how many callers wait for work whose key fits.
func (g *Group[K, V]) Waiters(fits func(K) bool) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, c := range g.calls {
		if fits(k) {
			n += c.waiters
		}
	}
	return n
}

// join returns the call under way, or starts one.
func (g *Group[K, V]) join(ctx context.Context, key K, fn func(context.Context) (V, error)) (*call[V], bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, false, ErrClosed
	}
	if c, ok := g.calls[key]; ok {
		c.waiters++
		return c, true, nil
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c := &call[V]{waiters: 1, cancel: cancel, done: make(chan struct{}), err: ErrAborted}
	if g.calls == nil {
		g.calls = map[K]*call[V]{}
	}
	g.calls[key] = c
	g.work.Go(func() { g.run(ctx, key, c, fn) })
	return c, false, nil
}

func (g *Group[K, V]) run(ctx context.Context, key K, c *call[V], fn func(context.Context) (V, error)) {
	defer func() {
		c.cancel(nil)
		g.remove(key, c)
		close(c.done)
	}()
	v, err := fn(ctx)
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), ErrClosed) {
		err = ErrClosed
	}
	c.v, c.err = v, err
}

// leave removes a caller that gave up. A caller that comes after the last one
// left starts over, since the remaining work is being canceled.
func (g *Group[K, V]) leave(key K, c *call[V]) {
	g.mu.Lock()
	c.waiters--
	last := c.waiters == 0
	if last && g.calls[key] == c {
		delete(g.calls, key)
	}
	g.mu.Unlock()
	if last {
		c.cancel(nil)
	}
}

func (g *Group[K, V]) remove(key K, c *call[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls[key] == c {
		delete(g.calls, key)
	}
}

// Busy reports whether a call of key is under way.
func (g *Group[K, V]) Busy(key K) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.calls[key]
	return ok
}

// Close cancels all work and waits until it has ended. Calls of Do whose work
// ends for that, and later ones, return ErrClosed. It must not be called from the work itself.
func (g *Group[K, V]) Close() {
	g.mu.Lock()
	g.closed = true
	for _, c := range g.calls {
		c.cancel(ErrClosed)
	}
	g.mu.Unlock()
	g.work.Wait()
}
