package nonce

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/flight"
	"github.com/prtbroker/prtbroker/internal/clock/clocktest"
)

const host = "login.microsoftonline.com"

// service counts the nonces it hands out.
type service struct{ asked atomic.Int32 }

func (s *service) fetch(context.Context) (string, error) {
	return strconv.Itoa(int(s.asked.Add(1))), nil
}

func TestLife(t *testing.T) {
	var c Cache
	var s service
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	get := func(environment string) string {
		n, err := c.Get(t.Context(), environment, func() time.Time { return now }, s.fetch)
		require.NoError(t, err)
		return n
	}
	require.Equal(t, "1", get(host))
	now = now.Add(Life - 1)
	require.Equal(t, "1", get(host))
	require.Equal(t, "2", get("login.microsoftonline.us"))
	now = now.Add(1)
	require.Equal(t, "3", get(host))
	now = now.Add(-time.Hour)
	require.Equal(t, "4", get(host), "the clock was set back")
	c.Refuse(host, "3")
	require.Equal(t, "4", get(host), "another one is there by now")
	c.Refuse(host, "4")
	require.Equal(t, "5", get(host))
}

func TestSuspendEndsANonce(t *testing.T) {
	var c Cache
	var s service
	now := time.Now()
	get := func() string {
		n, err := c.Get(t.Context(), host, func() time.Time { return now }, s.fetch)
		require.NoError(t, err)
		return n
	}
	require.Equal(t, "1", get())
	require.Equal(t, "1", get())
	now = clocktest.Apart(t, now, 3600)
	require.Equal(t, "2", get())
	now = clocktest.Apart(t, now, -3600).Add(Life)
	require.Equal(t, "3", get(), "the clock was set back")
}

// The life of a nonce begins before the request, however slow it is.
func TestSlowService(t *testing.T) {
	var c Cache
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	n := 0
	slow := func(context.Context) (string, error) {
		n++
		now = now.Add(2 * time.Minute)
		return strconv.Itoa(n), nil
	}
	got, err := c.Get(t.Context(), host, clock, slow)
	require.NoError(t, err)
	require.Equal(t, "1", got)
	now = now.Add(time.Minute)
	got, err = c.Get(t.Context(), host, clock, slow)
	require.NoError(t, err)
	require.Equal(t, "2", got)
}

func TestOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Cache
		var s service
		open := make(chan struct{})
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				n, err := c.Get(t.Context(), host, time.Now, func(ctx context.Context) (string, error) {
					<-open
					return s.fetch(ctx)
				})
				if n != "1" || err != nil {
					t.Error(n, err)
				}
			})
		}
		synctest.Wait()
		close(open)
		wg.Wait()
		require.Equal(t, int32(1), s.asked.Load())
	})
}

func TestFailure(t *testing.T) {
	var c Cache
	var s service
	want := errors.New("no")
	_, err := c.Get(t.Context(), host, time.Now, func(context.Context) (string, error) { return "", want })
	require.ErrorIs(t, err, want)
	_, err = c.Get(t.Context(), host, time.Now, s.fetch)
	require.NoError(t, err, "a failure is not kept")
	c.Close()
	c.Refuse(host, "1")
	_, err = c.Get(t.Context(), host, time.Now, s.fetch)
	require.ErrorIs(t, err, flight.ErrClosed)
}
