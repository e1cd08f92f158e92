package broker_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// patient is a person who signs in when told to.
type patient struct {
	*person
	opened atomic.Int32
	may    chan struct{} // closed when the person begins
}

func (p *patient) Authorize(ctx context.Context, url, prefix string) (string, error) {
	p.opened.Add(1)
	select {
	case <-p.may:
		return p.person.Authorize(ctx, url, prefix)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// stepUps is a world in which n calls ask for the user at the same time.
type stepUps struct {
	*world
	*patient
	calls sync.WaitGroup
	errs  []error
}

func newStepUps(t *testing.T, ask ...func(*broker.Broker) error) *stepUps {
	t.Helper()
	w := newWorld(t)
	w.join()
	w.signIn()
	p := &patient{person: w.person, may: make(chan struct{})}
	w.cfg.Prompter = p
	w.b = w.open()
	s := &stepUps{world: w, patient: p, errs: make([]error, len(ask))}
	for i, f := range ask {
		s.calls.Go(func() { s.errs[i] = f(w.b) })
	}
	return s
}

// wait until so many calls wait for a step-up.
func (s *stepUps) wait(n int) {
	require.Eventually(s.t, func() bool { return broker.SteppingUp(s.b) == n }, time.Minute, time.Millisecond, "calls that wait")
}

func (s *stepUps) done() []error {
	close(s.may)
	s.calls.Wait()
	return s.errs
}

func want(ctx context.Context, scopes []string, opts ...broker.CallOption) func(*broker.Broker) error {
	return func(b *broker.Broker) error {
		_, err := b.AcquireTokenInteractive(ctx, scopes, opts...)
		return err
	}
}

// A step-up is of the PRT: calls that need the same one share one prompt.
func TestCallsShareAPrompt(t *testing.T) {
	t.Parallel()
	ask := make([]func(*broker.Broker) error, 12)
	for i := range ask {
		ask[i] = want(t.Context(), [][]string{payroll, ledger}[i%2])
	}
	s := newStepUps(t, ask...)
	s.wait(len(ask))
	for _, err := range s.done() {
		require.NoError(t, err)
	}
	require.Equal(t, int32(1), s.opened.Load(), "prompts of 12 calls")
	s.silent(payroll)
	s.silent(ledger)
}

// A caller who gives up leaves the prompt to the others.
func TestGivingUpLeavesThePromptToOthers(t *testing.T) {
	t.Parallel()
	ctx, giveUp := context.WithCancel(t.Context())
	s := newStepUps(t, want(ctx, payroll), want(t.Context(), payroll))
	s.wait(2)
	giveUp()
	s.wait(1)
	errs := s.done()
	require.ErrorIs(t, errs[0], context.Canceled)
	require.NoError(t, errs[1])
	require.Equal(t, int32(1), s.opened.Load())
}

// What is not the same step-up has a prompt of its own.
func TestPromptsThatAreNotShared(t *testing.T) {
	t.Parallel()
	const older = `{"access_token":{"amr":{"essential":true,"values":["mfa"]}}}`
	const fresh = `{"access_token":{"amr":{"essential":true,"values":["ngcmfa"]}}}`
	for name, ask := range map[string]func(ctx context.Context) func(*broker.Broker) error{
		"other claims": func(ctx context.Context) func(*broker.Broker) error {
			return want(ctx, payroll, broker.WithLoginHint(alice), broker.WithClaims(fresh))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepUps(t, want(t.Context(), payroll, broker.WithLoginHint(alice), broker.WithClaims(older)), ask(t.Context()))
			s.wait(2)
			s.done()
			require.Equal(t, int32(2), s.opened.Load())
		})
	}
	t.Run("a new sign-in", func(t *testing.T) {
		s := newStepUps(t, want(t.Context(), open, broker.WithNewSignIn()), want(t.Context(), open, broker.WithNewSignIn()))
		for _, err := range s.done() {
			require.NoError(t, err)
		}
		require.Equal(t, int32(2), s.opened.Load())
	})
}
