package flight

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestThousandCallersOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		var calls atomic.Int32
		open := make(chan struct{})
		var wg sync.WaitGroup
		var shared atomic.Int32
		for range 1000 {
			wg.Go(func() {
				v, s, err := g.Do(t.Context(), "k", func(context.Context) (int, error) {
					calls.Add(1)
					<-open
					return 42, nil
				})
				if err != nil || v != 42 {
					t.Errorf("%d, %v", v, err)
				}
				if s {
					shared.Add(1)
				}
			})
		}
		synctest.Wait()
		require.True(t, g.Busy("k"))
		close(open)
		wg.Wait()
		require.Equal(t, int32(1), calls.Load())
		require.Equal(t, int32(999), shared.Load())
		require.False(t, g.Busy("k"))
	})
}

// The one who asked first may leave: the work goes on for the others.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		open := make(chan struct{})
		fn := func(ctx context.Context) (int, error) {
			select {
			case <-open:
				return 1, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		first, leave := context.WithCancel(t.Context())
		left, stayed := make(chan error, 1), make(chan error, 1)
		go func() { _, _, err := g.Do(first, "k", fn); left <- err }()
		synctest.Wait()
		go func() { _, _, err := g.Do(t.Context(), "k", fn); stayed <- err }()
		synctest.Wait()
		leave()
		require.ErrorIs(t, <-left, context.Canceled)
		var shared bool
		go func() {
			var err error
			_, shared, err = g.Do(t.Context(), "k", fn)
			left <- err
		}()
		synctest.Wait()
		require.Equal(t, 2, g.Waiters(func(string) bool { return true }))
		close(open)
		require.NoError(t, <-stayed)
		require.NoError(t, <-left)
		require.True(t, shared, "who comes later joins the work that goes on")
	})
}

func TestLastOneCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		canceled := make(chan struct{})
		linger := make(chan struct{})
		slow := func(ctx context.Context) (int, error) {
			<-ctx.Done()
			close(canceled)
			<-linger
			return 0, ctx.Err()
		}
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				_, _, err := g.Do(ctx, "k", slow)
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		wg.Wait()
		<-canceled

		// The work that was left has not ended; the next one does not join it.
		v, shared, err := g.Do(t.Context(), "k", func(context.Context) (int, error) { return 2, nil })
		require.NoError(t, err)
		require.False(t, shared)
		require.Equal(t, 2, v)
		close(linger)
		g.Close()
	})
}

func TestValuesOfTheFirst(t *testing.T) {
	type name struct{}
	var g Group[int, any]
	ctx := context.WithValue(t.Context(), name{}, "first")
	v, _, err := g.Do(ctx, 1, func(ctx context.Context) (any, error) {
		_, bound := ctx.Deadline()
		require.False(t, bound)
		return ctx.Value(name{}), nil
	})
	require.NoError(t, err)
	require.Equal(t, "first", v)
}

func TestErrors(t *testing.T) {
	var g Group[int, int]
	want := errors.New("no")
	_, _, err := g.Do(t.Context(), 1, func(context.Context) (int, error) { return 0, want })
	require.ErrorIs(t, err, want)
	_, _, err = g.Do(t.Context(), 1, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
	require.ErrorIs(t, err, ErrAborted)

	_, _, err = g.Do(t.Context(), 1, func(context.Context) (int, error) { return 0, context.Canceled })
	require.ErrorIs(t, err, context.Canceled, "something else was canceled")
	require.NotErrorIs(t, err, ErrClosed)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = g.Do(ended, 1, func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
	require.ErrorIs(t, err, context.Canceled)
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int, int]
		done := make(chan error)
		go func() {
			_, _, err := g.Do(t.Context(), 1, func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			})
			done <- err
		}()
		synctest.Wait()
		go g.Close()
		require.ErrorIs(t, <-done, ErrClosed)
		synctest.Wait()
		_, _, err := g.Do(t.Context(), 1, nil)
		require.ErrorIs(t, err, ErrClosed)
	})
}
