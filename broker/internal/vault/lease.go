package vault

import (
	"context"
	"sync/atomic"

	"github.com/prtbroker/prtbroker/broker/store"
)

// Lease holds a name among all processes that share the store. A store that
// lends none leaves the exclusion to compare-and-swap.
func Lease(ctx context.Context, s store.Store, name string) (release func(), err error) {
	l, ok := s.(store.Leaser)
	if !ok {
		return func() {}, nil
	}
	return l.Lease(ctx, name)
}

// Shared makes a lease end when the last of its holders is done: the caller
// by leave, and work that may outlive the caller by what keep returns.
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
