package signon_test

import (
	"context"
	"io/fs"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
)

// sluggish is a store that hangs, or fails, while it should.
type sluggish struct {
	store.Store
	hangs, fails atomic.Bool
	writes       atomic.Int32
}

func (s *sluggish) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	s.writes.Add(1)
	switch {
	case s.fails.Load():
		return 0, fs.ErrPermission
	case s.hangs.Load():
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return s.Store.Put(ctx, name, data, old)
}

// What is written on the side of a call that has its answer holds up one call for a
// moment where the store hangs, and for a minute none. A store that fails at once, or a
// caller who went away, is no reason to wait.
func TestAside(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		trouble func(s *sluggish, cancel func())
		pauses  bool
	}{
		"hangs":       {func(s *sluggish, _ func()) { s.hangs.Store(true) }, true},
		"fails":       {func(s *sluggish, _ func()) { s.fails.Store(true) }, false},
		"caller left": {func(s *sluggish, cancel func()) { s.hangs.Store(true); cancel() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sluggish{}
			l := newLaptop(t, func(inner store.Store) store.Store { s.Store = inner; return s })
			a := l.signIn()
			renewed, err := l.Renew(t.Context(), a, prt.ByPassword, true)
			require.NoError(t, err)
			answered := func(ctx context.Context) (tried bool) {
				before := s.writes.Load()
				l.Answered(ctx, a, renewed, "contoso.example", nil)
				return s.writes.Load() > before
			}
			unproved := func() bool { return a.Record().PRT(prt.ByPassword).Previous != nil }

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tt.trouble(s, cancel)
			answered(ctx)
			require.True(t, unproved())
			s.hangs.Store(false)
			s.fails.Store(false)
			if !tt.pauses {
				require.True(t, answered(t.Context()))
				require.False(t, unproved())
				return
			}
			require.False(t, answered(t.Context()), "at once")
			l.clock.Advance(time.Minute - time.Second)
			require.False(t, answered(t.Context()), "a second too early")
			require.True(t, unproved())
			l.clock.Advance(time.Second)
			require.True(t, answered(t.Context()))
			require.False(t, unproved())
		})
	}
}
