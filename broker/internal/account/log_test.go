package account

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
)

// The log keeps the last observations, those that are written and those that
// are not yet, and another process reads it.
func TestLog(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	for i := range maxObservations + 40 {
		require.Equal(t, i >= flushEvery-1, a.Note(Observation{Code: i, Claims: string(make([]byte, i*100))}))
	}
	all, err := a.Log(ctx)
	require.NoError(t, err)
	require.Len(t, all, maxObservations)
	require.Equal(t, 40, all[0].Code)
	require.Len(t, all[0].Claims, 4000)
	require.Empty(t, all[1].Claims, "a claims request that is too long is left out")
	require.NoError(t, a.Flush(ctx))

	b, _, err := openBook(t, keys, s, "").Find(ctx, Identity{})
	require.NoError(t, err)
	again, err := b.Log(ctx)
	require.NoError(t, err)
	require.Equal(t, all, again)
}

// Entries that come while others are being written stay, also when they push some of
// those out.
func TestLogBesideAWriter(t *testing.T) {
	t.Parallel()
	var l signInLog
	code := 0
	note := func(n int) {
		for range n {
			code++
			l.note(Observation{Code: code})
		}
	}
	note(maxObservations + 4)
	_, upTo := l.peek()
	note(10)
	l.written(upTo)
	left, _ := l.peek()
	require.Len(t, left, 10)
	require.Equal(t, maxObservations+5, left[0].Code)
}

// A log that is damaged is not worth a failure: it begins anew.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	s, ctx := &store.Memory{}, t.Context()
	a, err := openBook(t, testKeys(t), s, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	a.Note(Observation{Code: 1})
	require.NoError(t, a.Flush(ctx))
	overwrite(t, s, a.Name()+logSuffix)
	a.Note(Observation{Code: 2})
	all, err := a.Log(ctx)
	require.ErrorIs(t, err, store.ErrDamaged)
	require.Len(t, all, 1, "and what is not written yet is there")
	require.NoError(t, a.Flush(ctx))
	all, err = a.Log(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, 2, all[0].Code)
}

// A claims request of exactly the limit is kept, and one byte more is not.
func TestLogClaims(t *testing.T) {
	t.Parallel()
	a, err := openBook(t, testKeys(t), &store.Memory{}, "").Put(t.Context(), person("alice"), nil)
	require.NoError(t, err)
	longest := strings.Repeat("c", 4<<10)
	a.Note(Observation{Claims: longest})
	a.Note(Observation{Claims: longest + "c"})
	all, err := a.Log(t.Context())
	require.NoError(t, err)
	require.Equal(t, longest, all[0].Claims)
	require.Empty(t, all[1].Claims)
}

// A store that fails for a while.
type failing struct {
	store.Store
	puts atomic.Bool
}

func (s *failing) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if s.puts.Load() {
		return 0, errFull
	}
	return s.Store.Put(ctx, name, data, old)
}

// What a store does not take stays for the next time.
func TestLogKeepsWhatCouldNotBeWritten(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &failing{Store: &store.Memory{}}, t.Context()
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	codes := func(a *Account) (out []int) {
		all, err := a.Log(ctx)
		require.NoError(t, err)
		for _, o := range all {
			out = append(out, o.Code)
		}
		return out
	}
	a.Note(Observation{Code: 1})
	s.puts.Store(true)
	require.ErrorIs(t, a.Flush(ctx), errFull)
	a.Note(Observation{Code: 2})
	require.ErrorIs(t, a.Flush(ctx), errFull)
	require.Equal(t, []int{1, 2}, codes(a))
	s.puts.Store(false)
	require.NoError(t, a.Flush(ctx))
	require.NoError(t, a.Flush(ctx))
	require.Equal(t, []int{1, 2}, codes(a), "once")
	b, _, err := openBook(t, keys, s, "").Find(ctx, Identity{})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, codes(b))

	s.puts.Store(true) // and no more than the log holds
	for i := range maxObservations + 10 {
		a.Note(Observation{Code: i})
		_ = a.Flush(ctx)
	}
	s.puts.Store(false)
	require.NoError(t, a.Flush(ctx))
	require.Len(t, codes(b), maxObservations)
	require.Equal(t, codes(a), codes(b))
	require.Equal(t, 10, codes(b)[0])

	s.puts.Store(true)
	require.NoError(t, a.Flush(ctx), "there is nothing to write")
}
