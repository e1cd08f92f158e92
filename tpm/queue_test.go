package tpm_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

const minute = time.Minute

// A call returns within its context though the TPM never answers.
func TestHangingTPM(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		for _, op := range m.operations() {
			ctx, cancel := context.WithCancel(t.Context())
			wait := make(chan struct{})
			f.Inject(tpmtest.Fault{Wait: wait})
			result := make(chan error, 1)
			go func() { result <- op.run(t, ctx) }()
			<-f.Hung()

			// Another waits in the queue and gives up.
			queued, giveUp := context.WithCancel(t.Context())
			other := make(chan error, 1)
			go func() { other <- m.derive(t, queued, m.session) }()
			giveUp()
			require.ErrorIs(t, <-other, context.Canceled, op.name)

			cancel()
			require.ErrorIs(t, <-result, context.Canceled, op.name)
			close(wait)
			require.NoError(t, m.derive(t, t.Context(), m.session), "after %s was given up", op.name)
		}
		m.all(t)
	})
}

// An operation that was given up leaves nothing loaded.
func TestGivenUpLeavesNothing(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		s, err := tpm.Open(t.Context(), f.Opener(), tpm.Config{})
		require.NoError(t, err)
		m := newMaterial(t, s)
		for _, op := range m.operations() {
			for skip := range 6 {
				ctx, cancel := context.WithCancel(t.Context())
				wait := make(chan struct{})
				f.Inject(tpmtest.Fault{Wait: wait, Skip: skip})
				result := make(chan error, 1)
				go func() { result <- op.run(t, ctx) }()
				select {
				case <-f.Hung():
					cancel()
					require.ErrorIs(t, <-result, context.Canceled)
				case err := <-result: // it has no such command
					require.NoError(t, err)
				}
				close(wait)
				f.Clear()
				cancel()
			}
		}
		m.all(t)
		require.NoError(t, s.Close())
		require.Zero(t, loaded(t, e.Opener()))
	})
}

// Closing a store cuts off a TPM that does not answer, and is not held up by
// it forever.
func TestCloseHangingTPM(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		inBubble(t, func(t *testing.T) {
			f := tpmtest.NewFaulty(e.Opener())
			s, err := tpm.Open(t.Context(), f.Opener(), tpm.Config{Idle: -1})
			require.NoError(t, err)
			t.Cleanup(func() { // a bubble ends when its goroutines do, also when a check below fails
				f.Clear()
				_ = s.Close()
			})
			m := newMaterial(t, s)
			f.Inject(tpmtest.Fault{Hang: true, Times: -1})
			result := make(chan error, 1)
			go func() { result <- m.derive(t, context.Background(), m.session) }()
			<-f.Hung()
			start := time.Now()
			require.ErrorIs(t, s.Close(), tpm.ErrBusy)
			require.Less(t, time.Since(start), minute)
			require.ErrorIs(t, <-result, tpm.ErrClosed)
			require.ErrorIs(t, m.derive(t, context.Background(), m.session), tpm.ErrClosed)
		})
	})
}

// The session key and the session leave the TPM when nothing happens, since
// slots are scarce, and come back by themselves.
func TestIdle(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
		tests := []struct {
			name       string
			idle, rest time.Duration
			flushed    bool
		}{
			{"default, before", 0, minute - time.Second, false},
			{"default, after", 0, minute + time.Second, true},
			{"5 s", 5 * time.Second, 6 * time.Second, true},
			{"never", -1, 24 * time.Hour, false},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					count := tpmtest.NewCounting(e.Opener())
					s := open(t, count.Opener(), tpm.Config{Idle: tt.idle}) // closed also when a check below fails
					m := ownMaterial(t, s)
					require.NoError(t, m.derive(t, t.Context(), m.session))
					count.Take()
					time.Sleep(tt.rest) // of the bubble's clock
					synctest.Wait()
					if !tt.flushed {
						require.Empty(t, count.Take())
						require.NoError(t, m.derive(t, t.Context(), m.session))
						require.Equal(t, commands{hmacCommand}, count.Take())
					} else {
						require.Equal(t, commands{flush, flush}, count.Take())
						require.NoError(t, m.derive(t, t.Context(), m.session))
						require.Equal(t, commands{startSession, load, hmacCommand}, count.Take())
					}
				})
			})
		}
	})
}

// Use puts the idle time off.
func TestUsePutsIdleOff(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		inBubble(t, func(t *testing.T) {
			count := tpmtest.NewCounting(e.Opener())
			s := open(t, count.Opener(), tpm.Config{})
			m := newMaterial(t, s)
			require.NoError(t, m.derive(t, t.Context(), m.session))
			count.Take()
			for range 5 {
				time.Sleep(minute - time.Second) // of the bubble's clock
				require.NoError(t, m.derive(t, t.Context(), m.session))
				require.Equal(t, commands{hmacCommand}, count.Take())
			}
		})
	})
}

// What a connection says after it failed may be the answer to an earlier command: in
// the same operation nothing more is sent.
func TestNothingIsSentOnALostConnection(t *testing.T) {
	c := &failsOnce{}
	require.ErrorContains(t, tpm.SendAfterLoss(c), "connection lost")
	require.Equal(t, 1, c.sent)
}

// failsOnce fails at the first command and answers the others.
type failsOnce struct{ sent int }

func (c *failsOnce) Send([]byte) ([]byte, error) {
	if c.sent++; c.sent == 1 {
		return nil, io.ErrUnexpectedEOF
	}
	return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0}, nil
}

func (c *failsOnce) Close() error { return nil }
