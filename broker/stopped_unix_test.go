//go:build unix

package broker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

func init() {
	stopSelf = func() {
		// Another thread may be the one that takes the signal, and this one goes on
		// until then: it waits here.
		goOn := make(chan os.Signal, 1)
		signal.Notify(goOn, syscall.SIGCONT)
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-goOn
	}
}

// impatient is a store whose leases are not waited for, if at all for a bounded
// time.
type impatient struct {
	*store.File
	t *testing.T
}

func (s impatient) Lease(ctx context.Context, name string) (func(), error) {
	end, bounded := ctx.Deadline()
	if !bounded || time.Until(end) > 2*time.Minute {
		s.t.Errorf("the wait for the lease %s has no bound", name)
	}
	return s.File.Lease(&atOnce{Context: ctx}, name)
}

// atOnce is a context whose deadline passes as soon as somebody waits for it.
type atOnce struct {
	context.Context
	passed atomic.Bool
}

func (c *atOnce) Done() <-chan struct{} {
	c.passed.Store(true)
	done := make(chan struct{})
	close(done)
	return done
}

func (c *atOnce) Err() error {
	if c.passed.Load() {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

// A process that was stopped (SIGSTOP) inside a renewal, with the lease of the
// account in its hands, stops nobody else: the PRT that is there serves, users
// sign in, lock and leave. When it goes on it does no harm.
func TestStoppedProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	master := filepath.Join(dir, "master")
	keys, err := softkeys.Open(softkeys.File(master), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	defer keys.Close()
	st := fileStore(t, filepath.Join(dir, "state"))
	w := newWorld(t, withKeys(keys), func(w *world, _ *entratestOptions) { w.store = impatient{st, t} })
	w.join()
	acct := w.signIn()
	w.clock.Advance(prt.RenewAfter + time.Minute)

	job, err := json.Marshal(renewJob{Master: master, State: st.Dir(), Addr: w.srv.Addr(), CA: string(w.srv.CA()), Now: w.clock.Now(), Count: 1, Stop: true})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), renewerEnv+"="+string(job))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // a stopped one does not end by itself
	var status syscall.WaitStatus
	_, err = syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped())

	before := w.status(acct)
	require.Equal(t, broker.PRTNeedsRenewal, before.State)
	w.silent(graph)
	require.Equal(t, before, w.status(acct), "the PRT that was there served")
	require.ErrorIs(t, w.b.RenewPRT(t.Context(), acct), broker.ErrTransient)
	require.ErrorContains(t, w.b.RenewPRT(t.Context(), acct), "it may have been stopped")

	w.clock.Advance(15 * 24 * time.Hour)
	require.Equal(t, broker.PRTExpired, w.status(acct).State)
	_, err = w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrPRTExpired, "the service was asked for a renewal, and said so")
	require.Equal(t, acct, w.signIn())
	w.silent(open)
	fresh := w.status(acct)
	require.Equal(t, broker.PRTFresh, fresh.State)

	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	werr := cmd.Wait()
	t.Logf("the process went on and ended with %v: %s", werr, out.Bytes())
	w.silent(graph)
	require.Equal(t, fresh.IssuedOn, w.status(acct).IssuedOn, "the newer PRT stays")
	require.NoError(t, w.b.RemoveAccount(t.Context(), acct))
}
