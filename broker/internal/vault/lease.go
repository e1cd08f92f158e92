package vault

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker/store"
)

// How long to wait for a lease: a process that was stopped while it holds one
// must not stop the others. Making keys in a hardware TPM, under the long one,
// takes up to 15 seconds each.
const (
	ShortWait = 10 * time.Second
	LongWait  = 2 * time.Minute
)

// ErrHeld: another process holds the lease and did not let go of it in time.
var ErrHeld = errors.New("broker: another process holds the state")

// Lease holds a name exclusively among all processes that share the store, and
// waits for it no longer than wait. If the store has no leases, the exclusion
// is left to compare-and-swap.
func Lease(ctx context.Context, s store.Store, name string, wait time.Duration) (release func(), err error) {
	l, ok := s.(store.Leaser)
	if !ok {
		return func() {}, nil
	}
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	release, err = l.Lease(bounded, name)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, ErrHeld
	}
	return release, err
}

// TryLease is Lease for ShortWait, and after that goes on without one: it is
// for changes that compare-and-swap protects, where a lease only saves work.
func TryLease(ctx context.Context, s store.Store, name string) (release func(), err error) {
	release, err = Lease(ctx, s, name, ShortWait)
	if errors.Is(err, ErrHeld) {
		return func() {}, nil
	}
	return release, err
}

// Shared makes a lease end when the last of its holders is done: the caller
// with leave, and work that may outlive the caller with the function that keep
// returns.
func Shared(release func()) (leave func(), keep func() func()) {
	var holders atomic.Int32
	holders.Store(1)
	done := func() {
		if holders.Add(-1) == 0 {
			release()
		}
	}
	return done, func() func() {
		holders.Add(1)
		return done
	}
}
