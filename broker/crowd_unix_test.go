//go:build unix

package broker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const crowdEnv = "PRTBROKER_TEST_CROWD"

func init() { children[crowdEnv] = func() error { return crowd(context.Background()) } }

// A crowdJob is what a process of the crowd is told.
type crowdJob struct {
	Master, State, Addr, CA string
	Now                     time.Time
	For                     time.Duration
	Goroutines              int
	Seed                    uint64
}

// A crowdResult is what it says at its end.
type crowdResult struct {
	Calls    int
	Ended    map[string]int // by outcome
	Jumps    int            // of the clock
	Problems []string
}

// Eight processes of 64 goroutines each share a directory, get tokens, renew, sign
// in and out, while they are stopped and go on at random (SIGSTOP, SIGCONT) and their
// clocks jump. Every call ends soon after its deadline at the latest, with a token or
// an error of this package; the state stays whole, there is one device, and the
// account serves afterwards.
func TestCrowd(t *testing.T) {
	processes, goroutines, life := 3, 8, 2*time.Second
	if b := tally.Budget(); b > 0 {
		processes, goroutines, life = 8, 64, b
	} else if testing.Short() {
		life = time.Second
	}
	cells := tally.New(t, "concurrency", fmt.Sprintf("a call of %d processes of %d goroutines on one directory", processes, goroutines))
	dir := t.TempDir()
	master := filepath.Join(dir, "master")
	keys, err := softkeys.Open(softkeys.File(master), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	defer keys.Close()
	st := fileStore(t, filepath.Join(dir, "state"))
	w := newWorld(t, withKeys(keys), func(w *world, o *entratestOptions) {
		w.store = st
		o.Logf = func(string, ...any) {}
	})
	w.join()
	w.signIn()
	w.silent(open)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	outs, errs := make([]bytes.Buffer, processes), make([]bytes.Buffer, processes)
	cmds := make([]*exec.Cmd, processes)
	var over atomic.Bool
	var all, stopping sync.WaitGroup
	var stops atomic.Int64
	failed := make([]error, processes)
	for i := range cmds {
		job, err := json.Marshal(crowdJob{master, st.Dir(), w.srv.Addr(), string(w.srv.CA()), w.clock.Now(), life, goroutines, seed + uint64(i)})
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crowdEnv+"="+string(job))
		cmd.Stdout, cmd.Stderr = &outs[i], &errs[i]
		require.NoError(t, cmd.Start())
		cmds[i] = cmd
		all.Go(func() { failed[i] = cmd.Wait() })
		stopping.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(100+i)))
			for !over.Load() {
				pause(time.Duration(r.IntN(400)) * time.Millisecond)
				if cmd.Process.Signal(syscall.SIGSTOP) != nil {
					return
				}
				pause(time.Duration(r.IntN(300)) * time.Millisecond)
				_ = cmd.Process.Signal(syscall.SIGCONT)
				stops.Add(1)
			}
		})
	}
	all.Wait()
	over.Store(true)
	stopping.Wait()
	ended := map[string]int{}
	jumps := 0
	for i := range cmds {
		require.NoError(t, failed[i], "process %d: %s", i, errs[i].String())
		var r crowdResult
		require.NoError(t, json.Unmarshal(outs[i].Bytes(), &r), "%s", outs[i].String())
		require.Empty(t, r.Problems, "process %d", i)
		require.NotZero(t, r.Calls)
		cells.Add(r.Calls, r.Calls)
		jumps += r.Jumps
		for what, n := range r.Ended {
			ended[what] += n
		}
	}
	t.Logf("%d calls, %d stops, %d jumps of a clock: %v", cells.Cells(), stops.Load(), jumps, ended)
	require.NotZero(t, ended["token"])

	// What they leave behind.
	require.Len(t, w.srv.Devices(), 1)
	require.NoError(t, w.b.Close())
	w.b = w.open()
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.Empty(t, s.Problem)
	require.LessOrEqual(t, len(s.Accounts), 1)
	w.signIn()
	w.silent(open, broker.WithForceRefresh())
}

// A jumping clock is set forward and back.
type jumping struct {
	base  time.Time
	began time.Time
	off   atomic.Int64
	jumps atomic.Int64
}

func (j *jumping) now() time.Time {
	return j.base.Add(time.Since(j.began) + time.Duration(j.off.Load()))
}

func (j *jumping) jump(r *rand.Rand) {
	j.jumps.Add(1)
	switch r.IntN(4) {
	case 0: // asleep over night
		j.off.Store(int64(time.Duration(r.IntN(12*3600)) * time.Second))
	case 1: // set back
		j.off.Store(-int64(time.Duration(r.IntN(3600)) * time.Second))
	case 2:
		j.off.Store(int64(time.Duration(r.IntN(600)) * time.Second))
	default:
		j.off.Store(0)
	}
}

// callTime is how long a call of the crowd may take.
const callTime = 30 * time.Second

// crowd is one of the processes.
func crowd(ctx context.Context) error {
	var job crowdJob
	if err := json.Unmarshal([]byte(os.Getenv(crowdEnv)), &job); err != nil {
		return err
	}
	keys, err := softkeys.Open(softkeys.File(job.Master), softkeys.InsecureFastPINs())
	if err != nil {
		return err
	}
	defer keys.Close()
	st, err := store.NewFile(job.State)
	if err != nil {
		return err
	}
	way := toEmulator(job.CA, job.Addr)
	way.MaxIdleConnsPerHost = 16
	clock := &jumping{base: job.Now, began: time.Now()}
	b, err := broker.New(ctx, broker.Config{
		Tenant: "contoso.example", App: broker.App{ClientID: appID}, Keys: keys, Store: st, Transport: unfollowed(way), Now: clock.now, KeepTokens: true,
	})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	result := crowdResult{Ended: map[string]int{}}
	note := func(what string, problem error) {
		mu.Lock()
		defer mu.Unlock()
		result.Calls++
		result.Ended[what]++
		if problem != nil && len(result.Problems) < 10 {
			result.Problems = append(result.Problems, what+": "+problem.Error())
		}
	}
	var all sync.WaitGroup
	end := time.Now().Add(job.For)
	for g := range job.Goroutines {
		all.Go(func() {
			r := rand.New(rand.NewPCG(job.Seed, uint64(g)))
			for time.Now().Before(end) {
				if r.IntN(200) == 0 {
					clock.jump(r)
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(ctx, callTime)
				what, err := anything(ctx, b, r)
				// A process that was stopped between making a record under a data key that
				// is gone and taking it back shows it until it goes on: no longer.
				for tries := 0; tries < 20 && errors.Is(err, broker.ErrStateDamaged); tries++ {
					note("damaged for a moment", nil)
					pause(500 * time.Millisecond)
					_, err = b.AcquireTokenSilent(ctx, open)
				}
				cancel()
				if took := time.Since(began); took > callTime+20*time.Second {
					note("hang", fmt.Errorf("%s took %v", what, took))
					continue
				}
				note(judged(what, err))
			}
		})
	}
	all.Wait()
	if err := b.Close(); err != nil {
		return err
	}
	result.Jumps = int(clock.jumps.Load())
	return json.NewEncoder(os.Stdout).Encode(result)
}

// judged names the outcome of a call, and returns an error that must not be.
func judged(what string, err error) (string, error) {
	if err == nil {
		return what, nil
	}
	var ours *broker.Error
	switch {
	case errors.Is(err, broker.ErrStateDamaged), errors.Is(err, broker.ErrKeyUnusable), errors.Is(err, broker.ErrDeviceNotRegistered):
		return "lost state", err
	case !errors.As(err, &ours) && !errors.Is(err, context.DeadlineExceeded):
		return "an error without a type", err
	}
	for name, sentinel := range map[string]error{
		"no account": broker.ErrNoAccount, "expired": broker.ErrPRTExpired, "transient": broker.ErrTransient,
		"interaction": broker.ErrInteractionRequired, "out of time": context.DeadlineExceeded,
	} {
		if errors.Is(err, sentinel) {
			return name, nil
		}
	}
	return "another error: " + err.Error(), nil
}

// anything makes one of the calls that apps and users make.
func anything(ctx context.Context, b *broker.Broker, r *rand.Rand) (what string, err error) {
	scopes := [][]string{graph, open}[r.IntN(2)]
	switch n := r.IntN(1000); {
	case n < 700:
		_, err = b.AcquireTokenSilent(ctx, scopes)
		return "token", err
	case n < 780:
		_, err = b.AcquireTokenSilent(ctx, scopes, broker.WithForceRefresh())
		return "new token", err
	case n < 850:
		_, err = b.PRTStatus(ctx, broker.Account{})
		return "PRT status", err
	case n < 890:
		_, err = b.Status(ctx)
		return "status", err
	case n < 930:
		_, err = b.SSOCookies(ctx, "https://login.microsoftonline.com/")
		return "cookie", err
	case n < 960:
		return "renewal", b.RenewPRT(ctx, broker.Account{})
	case n < 990:
		_, err = b.SignIn(ctx, broker.Password{Username: alice, Password: password})
		return "sign-in", err
	case n < 997:
		_, err = b.Accounts(ctx)
		return "accounts", err
	}
	accounts, err := b.Accounts(ctx)
	if err != nil || len(accounts) == 0 {
		return "accounts", err
	}
	return "sign-out", b.RemoveAccount(ctx, accounts[0])
}
