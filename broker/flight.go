package broker

import (
	"context"
	"sync"
)

// flights runs work once for all who ask for it at the same time. Work has a
// context of its own, so that one caller who gives up does not fail the
// others; it ends when nobody waits for it any more, or at Close.
type flights struct {
	base       context.Context
	background *sync.WaitGroup

	mu  sync.Mutex // guards all below; not held while work runs
	all map[string]*flight
}

type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int // guarded by flights.mu
	value   any
	err     error
}

func (f *flights) init(base context.Context, background *sync.WaitGroup) {
	f.base, f.background, f.all = base, background, map[string]*flight{}
}

// do returns the result of work under key, joining the flight that is under
// way. It returns within ctx.
func do[T any](ctx context.Context, f *flights, key string, work func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	fl, err := f.join(ctx, key, func(ctx context.Context) (any, error) { return work(ctx) })
	if err != nil {
		return zero, err
	}
	select {
	case <-fl.done:
		if fl.err != nil {
			return zero, fl.err
		}
		return fl.value.(T), nil
	case <-ctx.Done():
		f.leave(key, fl)
		return zero, ctx.Err()
	}
}

func (f *flights) join(ctx context.Context, key string, work func(context.Context) (any, error)) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.base.Err() != nil {
		return nil, ErrClosed
	}
	if fl, ok := f.all[key]; ok {
		fl.waiters++
		return fl, nil
	}
	// The values of the first caller's context stay, its end does not.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(f.base, cancel)
	fl := &flight{done: make(chan struct{}), cancel: cancel, waiters: 1}
	f.all[key] = fl
	f.background.Add(1)
	go func() {
		defer f.background.Done()
		defer stop()
		defer cancel()
		fl.value, fl.err = work(run)
		f.mu.Lock()
		if f.all[key] == fl {
			delete(f.all, key)
		}
		f.mu.Unlock()
		close(fl.done)
	}()
	return fl, nil
}

// leave ends the work when the last caller has gone.
func (f *flights) leave(key string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.waiters--
	if fl.waiters == 0 {
		if f.all[key] == fl {
			delete(f.all, key)
		}
		fl.cancel()
	}
}
