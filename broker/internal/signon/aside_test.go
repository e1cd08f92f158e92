package signon_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

// A write on the side of a call that already has its answer: where the store hangs, it
// holds up one call for a moment and then none for a minute. After a store that fails at
// once, or a caller who went away, the next call writes again.
func TestAside(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		trouble func(s *watched, cancel func())
		pauses  bool
	}{
		"hangs":       {func(s *watched, _ func()) { s.hangs = true }, true},
		"fails":       {func(s *watched, _ func()) { s.onPut = s.fails }, false},
		"caller left": {func(s *watched, cancel func()) { s.hangs = true; cancel() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t)
			s := l.store
			a := l.signIn()
			renewed, err := l.Renew(t.Context(), a, prt.ByPassword, true)
			require.NoError(t, err)
			answered := func(ctx context.Context) (tried bool) {
				before := s.puts
				l.Answered(ctx, a, renewed, "contoso.example", nil)
				return s.puts > before
			}
			unproved := func() bool { return a.Record().PRT(prt.ByPassword).Previous != nil }

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tt.trouble(s, cancel)
			answered(ctx)
			require.True(t, unproved())
			s.hangs, s.onPut = false, nil
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
