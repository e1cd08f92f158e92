package tpmtest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
)

func (s *suite) eachOperation(suffix string, run func(t *testing.T, op func(context.Context) error)) []testCase {
	var cases []testCase
	for _, name := range operationNames {
		cases = append(cases, testCase{name + " " + suffix, func(t *testing.T) {
			op, ok := s.operations(t)[name]
			require.True(t, ok)
			run(t, op)
		}})
	}
	return cases
}

var operationNames = []string{
	"GenerateKey", "OpenKey", "SignContext", "UnwrapSession", "OpenSession", "Derive", "Seal", "Unseal",
}

func (s *suite) contextCases() []testCase {
	cases := s.eachOperation("with a cancelled context", func(t *testing.T, op func(context.Context) error) {
		cancelled, cancel := context.WithCancel(ctx(t))
		cancel()
		require.ErrorIs(t, op(cancelled), context.Canceled)
		require.NoError(t, op(ctx(t)), "the operation works afterwards")
	})
	cases = append(cases, s.eachOperation("past its deadline", func(t *testing.T, op func(context.Context) error) {
		late, cancel := context.WithDeadline(ctx(t), time.Unix(1, 0))
		defer cancel()
		require.ErrorIs(t, op(late), context.DeadlineExceeded)
	})...)
	return append(cases, testCase{"cancelled while queued", s.cancelledWhileQueued})
}

// cancelledWhileQueued keeps the store busy and gives up waiting for it.
func (s *suite) cancelledWhileQueued(t *testing.T) {
	var busy sync.WaitGroup
	background, stop := context.WithCancel(ctx(t))
	ops := s.operations(t)
	for range 8 {
		busy.Go(func() {
			for background.Err() == nil {
				_ = ops["SignContext"](background)
			}
		})
	}
	for range 20 {
		impatient, cancel := context.WithCancel(ctx(t))
		result := make(chan error, 1)
		go func() { result <- ops["Derive"](impatient) }()
		cancel()
		if err := <-result; err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
	}
	stop()
	busy.Wait()
	require.NoError(t, ops["Derive"](ctx(t)))
}

// goroutines is how many use a store at once.
const goroutines = 16

func (s *suite) concurrentCases() []testCase {
	together := func(name string, n int, ops ...string) testCase {
		return testCase{name, func(t *testing.T) {
			all := s.operations(t)
			errs := make(chan error, goroutines*n)
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					for i := range n {
						errs <- all[ops[(g+i)%len(ops)]](ctx(t))
					}
				})
			}
			wg.Wait()
			close(errs)
			for err := range errs {
				require.NoError(t, err)
			}
		}}
	}
	return []testCase{
		together("Derive from 16 goroutines", 20, "Derive"),
		together("SignContext from 16 goroutines", 3, "SignContext"),
		together("Unseal from 16 goroutines", 3, "Unseal"),
		together("everything from 16 goroutines", 4, operationNames...),
		{"16 goroutines get the right keys", func(t *testing.T) {
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					secret := make([]byte, 32)
					secret[0] = byte(g)
					k, err := s.store.UnwrapSession(ctx(t), s.transport, Wrap(t, s.transport.Public(), secret))
					if err == nil {
						s.derives(t, k, secret)
						err = k.Close()
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}},
	}
}

func (s *suite) closeCases() []testCase {
	cases := []testCase{{"during use", func(t *testing.T) {
		ops := s.operations(t)
		names := slices.Sorted(maps.Keys(ops))
		started := make(chan struct{}, goroutines)
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				for i := 0; ; i++ {
					err := ops[names[(g+i)%len(names)]](context.Background())
					if i == 0 {
						started <- struct{}{}
					}
					if err != nil {
						if !errors.Is(err, tpm.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		<-started
		require.NoError(t, s.store.Close())
		wg.Wait()
	}}}
	cases = append(cases, s.eachOperation("after Close", func(t *testing.T, op func(context.Context) error) {
		require.ErrorIs(t, op(ctx(t)), tpm.ErrClosed)
	})...)
	return append(cases,
		testCase{"twice", func(t *testing.T) { require.NoError(t, s.store.Close()) }},
		testCase{"keys close after their store", func(t *testing.T) {
			require.NoError(t, s.rsa.Close())
			require.NoError(t, s.session.Close())
		}},
		testCase{"a new store opens the blobs", func(t *testing.T) {
			s.store = s.open(t)
			k, err := s.store.OpenSession(ctx(t), s.session.Blob())
			require.NoError(t, err)
			s.derives(t, k, s.secret)
		}},
	)
}
