//go:build linux && !race

// The race detector maps terabytes that nobody searches.

package broker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/canary"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

const forgetterEnv = "PRTBROKER_TEST_FORGETTER"

func init() { children[forgetterEnv] = func() error { return forget(context.Background()) } }

// A forgetJob is what the process is told whose memory is searched. Secrets come
// over standard input, since the environment stays in memory.
type forgetJob struct {
	State, TPM, Addr, CA, Person string
	Now                          time.Time
}

// After a user has signed out, and after an account was locked, nothing in the
// process refers to the secrets any more: not to the password, the PIN, PRTs,
// tokens nor cookies. Go cannot clear the strings that it has copied, so what is
// searched is what the garbage collector kept: it overwrites everything else
// (GODEBUG=clobberfree=1). The root key stays, since it opens the registration; the
// derived key of a request may stay on a stack until that is used again.
func TestSecretsAreForgotten(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it searches 130 MB nine times")
	}
	if _, err := exec.LookPath("swtpm"); err != nil {
		tpms.Swtpm(t) // skips, or fails
	}
	w := newWorld(t)
	person := servePerson(t, w)
	dir := t.TempDir()
	job, err := json.Marshal(forgetJob{filepath.Join(dir, "state"), filepath.Join(dir, "tpm"), w.srv.Addr(), string(w.srv.CA()), person.URL, w.clock.Now()})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), forgetterEnv+"="+string(job), "GODEBUG=clobberfree=1")
	cmd.Stdin = strings.NewReader(password + "\n" + canaryPIN + "\n")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	var results []forgotten
	require.NoError(t, json.Unmarshal(out, &results), "%s", out)
	require.Len(t, results, 3)
	cells := tally.New(t, "secrets", "a secret and the memory of a process that is done with it")
	for _, r := range results {
		t.Logf("%s: %d secrets, %d bytes, found %v", r.When, len(r.Kinds), r.Bytes, r.Found)
		require.Greater(t, r.Bytes, 1<<20)
		for _, kind := range []string{"password", "PIN", "PRT", "access token", "cookie", "derived key", "refresh_token", "bearer token"} {
			require.True(t, slices.ContainsFunc(r.Kinds, func(k string) bool { return strings.HasPrefix(k, kind) }), "no %s passed: %v", kind, r.Kinds)
		}
		if r.When == "signed in" { // the control: what is in use is found
			require.Contains(t, strings.Join(r.Found, "\n"), "access token")
			require.Contains(t, strings.Join(r.Found, "\n"), "PRT")
			continue
		}
		require.Empty(t, slices.DeleteFunc(r.Found, func(f string) bool {
			return strings.HasPrefix(f, "root key") || strings.HasPrefix(f, "derived key")
		}), r.When)
		cells.Add(len(r.Kinds), len(r.Kinds))
	}
}

// forgotten is what was found in memory at one moment.
type forgotten struct {
	When         string
	Kinds, Found []string
	Bytes        int
}

// forget is the process.
func forget(ctx context.Context) error {
	var job forgetJob
	if err := json.Unmarshal([]byte(os.Getenv(forgetterEnv)), &job); err != nil {
		return err
	}
	cage := &birdcage{}
	l, err := beginForgetting(ctx, job, cage)
	if err != nil {
		return err
	}
	defer l.emulator.Close()
	defer l.keys.Close()
	defer l.b.Close()
	var results []forgotten
	look := func(when string) {
		l.idle()
		results = append(results, lookForAll(when, cage))
	}
	if err := l.live(ctx, "to sign out"); err != nil {
		return err
	}
	look("signed in")
	if err := l.b.RemoveAccount(ctx, l.acct); err != nil {
		return err
	}
	look("signed out")
	if err := l.live(ctx, "to lock"); err != nil {
		return err
	}
	if err := l.b.Lock(ctx, l.acct); err != nil {
		return err
	}
	look("locked")
	return json.NewEncoder(os.Stdout).Encode(results)
}

// lookForAll searches the memory three times when it finds something: what a
// signal or the scheduler left in a register or on a stack is gone by then.
func lookForAll(when string, cage *birdcage) forgotten {
	r := forgotten{When: when, Kinds: cage.set.Names()}
	for range 3 {
		churn()
		for range 3 {
			runtime.GC()
		}
		r.Found, r.Bytes = nil, 0
		searchMemory(&cage.set, &r)
		if len(r.Found) == 0 {
			break
		}
	}
	return r
}

// churn overwrites stacks that were used before, also those of goroutines that
// have ended, which wait for new ones.
func churn() {
	var all sync.WaitGroup
	goOn := make(chan struct{})
	overwriteStack(64)
	for i := range 300 {
		all.Go(func() {
			overwriteStack(i % 16)
			<-goOn // until all have a stack of their own
		})
	}
	close(goOn)
	all.Wait()
}

func overwriteStack(depth int) byte {
	var frame [1024]byte
	for i := range frame {
		frame[i] = byte(depth)
	}
	if depth == 0 {
		return frame[17]
	}
	return overwriteStack(depth-1) + frame[depth]
}

func searchMemory(set *canary.Set, r *forgotten) {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	defer maps.Close()
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		panic(err)
	}
	defer mem.Close()
	buf := make([]byte, 1<<20)
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil {
			panic(err)
		}
		if !strings.HasPrefix(mode, "rw") {
			continue
		}
		for at := from; at < to; at += uint64(len(buf) - set.Longest()) {
			n, err := mem.ReadAt(buf[:min(uint64(len(buf)), to-at)], int64(at))
			if err != nil {
				break
			}
			r.Bytes += n
			for _, f := range set.Search(buf[:n]) {
				r.Found = append(r.Found, fmt.Sprintf("%s (%s) at %#x", f.Name, f.Form, at+uint64(f.Offset)))
			}
			clear(buf)
		}
	}
}

// A lifeToForget is a machine in the process.
type lifeToForget struct {
	b        *broker.Broker
	keys     tpm.KeyStore
	emulator *tpmtest.Emulator
	cage     *birdcage
	idle     func()
	acct     broker.Account
	password func() string
	pin      func() broker.PIN
}

func beginForgetting(ctx context.Context, job forgetJob, cage *birdcage) (*lifeToForget, error) {
	e, err := tpmtest.StartSwtpm(ctx, job.TPM)
	if err != nil {
		return nil, err
	}
	opened, err := tpm.Open(ctx, e.Opener(), tpm.Config{})
	if err != nil {
		return nil, err
	}
	st := e.Store(opened)
	keys := spiedTPM{st, spied{st, cage}}
	files, err := store.NewFile(job.State)
	if err != nil {
		return nil, err
	}
	way := toEmulator(job.CA, job.Addr)
	b, err := broker.New(ctx, broker.Config{
		Tenant: "contoso.example", Keys: keys, Store: files, Transport: tapped{unfollowed(way), cage}, Prompter: remotePerson(job.Person),
		Now: func() time.Time { return job.Now }, App: broker.App{ClientID: appID}, KeepTokens: true, Offline: aWeek,
	})
	if err != nil {
		return nil, err
	}
	l := &lifeToForget{b: b, keys: opened, emulator: e, cage: cage, idle: way.CloseIdleConnections}
	return l, l.readSecrets()
}

// readSecrets keeps the password and the PIN masked.
func (l *lifeToForget) readSecrets() error {
	var masked [2][]byte
	one := make([]byte, 1)
	for i := range masked {
		for {
			if _, err := os.Stdin.Read(one); err != nil {
				return err
			}
			if one[0] == '\n' {
				break
			}
			masked[i] = append(masked[i], ^one[0])
		}
	}
	plain := func(m []byte) []byte {
		b := make([]byte, len(m))
		for i, c := range m {
			b[i] = ^c
		}
		return b
	}
	l.password = func() string { return string(plain(masked[0])) }
	l.pin = func() broker.PIN { return plain(masked[1]) }
	l.cage.keep("password", plain(masked[0]))
	l.cage.keep("PIN", plain(masked[1]))
	return nil
}

// live does what users and apps do.
func (l *lifeToForget) live(ctx context.Context, _ string) error {
	if _, err := l.b.RegisterDevice(ctx, broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: l.password()}}); err != nil {
		return err
	}
	res, err := l.b.SignIn(ctx, broker.Password{Username: alice, Password: l.password()})
	if err != nil {
		return err
	}
	l.acct = res.Account
	if res, err = l.b.SignIn(ctx, broker.AuthCode{LoginHint: alice, MFA: true}); err != nil {
		return err
	}
	if err := l.b.ProvisionHello(ctx, l.acct, l.pin()); err != nil && !errors.Is(err, broker.ErrHelloExists) {
		return err
	}
	if _, err := l.b.Unlock(ctx, l.acct, l.pin()); err != nil {
		return err
	}
	for _, scopes := range [][]string{graph, payroll} {
		res, err := l.b.AcquireTokenSilent(ctx, scopes)
		if err != nil {
			return err
		}
		l.cage.keep("access token", []byte(res.AccessToken))
		l.cage.keep("id_token", []byte(res.IDToken))
	}
	cookies, err := l.b.SSOCookies(ctx, "https://login.microsoftonline.com/")
	if err != nil {
		return err
	}
	l.cage.keep("cookie", []byte(cookies[0].Value))
	return l.b.RenewPRT(ctx, l.acct)
}
