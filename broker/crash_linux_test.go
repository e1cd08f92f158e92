//go:build amd64 || arm64

package broker_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
	"github.com/prtbroker/prtbroker/internal/stepper"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

const mortalEnv = "PRTBROKER_TEST_MORTAL"

func init() { children[mortalEnv] = func() error { return mortal(context.Background()) } }

// A mortalJob is what the process is told that will be killed.
type mortalJob struct {
	Operation                  string
	Master, TPM                string // a file or a socket
	State, Addr, CA, PersonURL string
	Now                        time.Time
}

// An operation of the crash matrix. It is repeated after each kill, so do is what an
// app or a user would do again.
type operation struct {
	name string
	roll bool // the service sends a new session key with each renewal
	tpm  bool // needs one
	// before makes the state that the operation begins with, of one in which alice is
	// signed in with a Hello key.
	before func(w *world) error
	do     func(ctx context.Context, b *broker.Broker, acct broker.Account) error
	// done reports whether an error says that the killed process had finished.
	done func(error) bool
	// out: afterwards nobody is signed in.
	out bool
}

var operations = []operation{
	{name: "register", before: func(w *world) error { return w.b.UnregisterDevice(w.t.Context()) },
		do: func(ctx context.Context, b *broker.Broker, _ broker.Account) error {
			_, err := b.RegisterDevice(ctx, broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
			return err
		}, out: true},
	{name: "sign in", before: signOut, do: signInByPassword},
	{name: "sign in again", do: signInByPassword},
	{name: "sign in on a page", do: func(ctx context.Context, b *broker.Broker, _ broker.Account) error {
		_, err := b.SignIn(ctx, broker.AuthCode{LoginHint: alice, MFA: true})
		return err
	}},
	{name: "sign in by PIN", do: func(ctx context.Context, b *broker.Broker, _ broker.Account) error {
		_, err := b.SignIn(ctx, broker.HelloPIN{PIN: rightPIN})
		return err
	}},
	{name: "renew", do: renewPRT},
	{name: "key roll", roll: true, do: renewPRT},
	{name: "token", do: func(ctx context.Context, b *broker.Broker, _ broker.Account) error {
		_, err := b.AcquireTokenSilent(ctx, open, broker.WithForceRefresh())
		return err
	}},
	{name: "step-up", before: func(w *world) error {
		return errors.Join(signOut(w), signInByPassword(w.t.Context(), w.b, broker.Account{}))
	},
		do: func(ctx context.Context, b *broker.Broker, _ broker.Account) error {
			_, err := b.AcquireTokenInteractive(ctx, payroll)
			return err
		}},
	{name: "provision Hello", before: func(w *world) error { return removeHello(w) },
		do: func(ctx context.Context, b *broker.Broker, a broker.Account) error {
			return b.ProvisionHello(ctx, a, rightPIN)
		}, done: func(err error) bool { return errors.Is(err, broker.ErrHelloExists) }},
	{name: "unlock", do: unlockWithPIN},
	{name: "lock", tpm: true, do: func(ctx context.Context, b *broker.Broker, a broker.Account) error {
		return errors.Join(unlockWithPIN(ctx, b, a), b.Lock(ctx, a), unlockWithPIN(ctx, b, a))
	}},
	{name: "change PIN", do: func(ctx context.Context, b *broker.Broker, a broker.Account) error {
		if err := b.ChangePIN(ctx, a, rightPIN, otherPIN); err != nil && !errors.Is(err, broker.ErrWrongPIN) {
			return err
		}
		return b.ChangePIN(ctx, a, otherPIN, rightPIN)
	}},
	{name: "reset PIN", do: func(ctx context.Context, b *broker.Broker, a broker.Account) error {
		return b.ResetPIN(ctx, a, rightPIN)
	}},
	{name: "remove Hello", do: func(ctx context.Context, b *broker.Broker, a broker.Account) error { return b.RemoveHello(ctx, a) },
		done: func(err error) bool { return errors.Is(err, broker.ErrNoHello) }},
	{name: "sign out", do: func(ctx context.Context, b *broker.Broker, a broker.Account) error { return b.RemoveAccount(ctx, a) },
		done: func(err error) bool { return errors.Is(err, broker.ErrNoAccount) }, out: true},
	{name: "unregister", do: func(ctx context.Context, b *broker.Broker, _ broker.Account) error { return b.UnregisterDevice(ctx) },
		done: func(err error) bool { return errors.Is(err, broker.ErrDeviceNotRegistered) || gone(err) }, out: true},
}

func signOut(w *world) error {
	accounts, err := w.b.Accounts(w.t.Context())
	for _, a := range accounts {
		err = errors.Join(err, w.b.RemoveAccount(w.t.Context(), a))
	}
	return err
}

func signInByPassword(ctx context.Context, b *broker.Broker, _ broker.Account) error {
	_, err := b.SignIn(ctx, broker.Password{Username: alice, Password: password})
	return err
}

func renewPRT(ctx context.Context, b *broker.Broker, a broker.Account) error {
	return b.RenewPRT(ctx, a)
}

func unlockWithPIN(ctx context.Context, b *broker.Broker, a broker.Account) error {
	_, err := b.Unlock(ctx, a, rightPIN)
	return err
}

func removeHello(w *world) error {
	accounts, err := w.b.Accounts(w.t.Context())
	if err != nil || len(accounts) == 0 {
		return err
	}
	return w.b.RemoveHello(w.t.Context(), accounts[0])
}

// gone reports whether the service no longer knows the device: the killed process had
// removed it and not yet forgotten it here.
func gone(err error) bool {
	return errors.Is(err, broker.ErrDeviceAuth) || errors.Is(err, broker.ErrTransient)
}

// mortal is the process.
func mortal(ctx context.Context) error {
	if err := stepper.Enter(); err != nil {
		return err
	}
	var job mortalJob
	if err := json.Unmarshal([]byte(os.Getenv(mortalEnv)), &job); err != nil {
		return err
	}
	b, keys, err := job.open(ctx)
	if err != nil {
		return err
	}
	if job.Operation == wholeLife {
		return errors.Join(liveWholly(ctx, b), b.Close(), keys.Close())
	}
	accounts, err := b.Accounts(ctx)
	if err != nil {
		return err
	}
	var acct broker.Account
	if len(accounts) > 0 {
		acct = accounts[0]
	}
	for _, op := range operations {
		if op.name != job.Operation {
			continue
		}
		if err := stepper.Mark(1); err != nil {
			return err
		}
		err := op.do(ctx, b, acct)
		return errors.Join(err, stepper.Mark(2), b.Close(), keys.Close())
	}
	return fmt.Errorf("no operation %q", job.Operation)
}

// open opens the machine in the process.
func (j mortalJob) open(ctx context.Context) (*broker.Broker, tpm.KeyStore, error) {
	keys, err := j.keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	files, err := store.NewFile(j.State)
	if err != nil {
		return nil, nil, err
	}
	withCertificate := func(certs ...tls.Certificate) *http.Client {
		way := toEmulator(j.CA, j.Addr, certs...)
		way.TLSClientConfig.MaxVersion = tls.VersionTLS12
		return unfollowed(way)
	}
	cfg := mortalConfig(keys, files, withCertificate(), func() time.Time { return j.Now })
	cfg.Prompter = remotePerson(j.PersonURL)
	cfg.MutualTLS = func(c tls.Certificate) broker.Transport { return withCertificate(c) }
	b, err := broker.New(ctx, cfg)
	return b, keys, err
}

func (j mortalJob) keys(ctx context.Context) (tpm.KeyStore, error) {
	if j.TPM != "" {
		return tpm.Open(ctx, tpm.Swtpm(j.TPM), tpm.Config{})
	}
	return softkeys.Open(softkeys.File(j.Master), softkeys.InsecureFastPINs())
}

// mortalConfig is that of both processes.
func mortalConfig(keys tpm.KeyStore, st store.Store, transport broker.Transport, now func() time.Time) broker.Config {
	_, software := keys.(*softkeys.Store)
	cfg := broker.Config{
		Tenant: "contoso.example", App: broker.App{ClientID: appID}, Keys: keys, Store: st, Transport: transport, Now: now,
		Device:                broker.DeviceInfo{DisplayName: "pc-1", Type: "Linux", OSVersion: "Debian 12"},
		UserAgent:             "prtbroker/1.0 (X11; Linux x86_64)",
		KeepTokens:            true,
		InsecureSoftwareHello: software,
	}
	if !software {
		cfg.Offline = aWeek
	}
	return cfg
}

// A mortalMachine is a machine whose processes are killed.
type mortalMachine struct {
	*world
	job      mortalJob
	emulator *tpmtest.Emulator // nil: software keys
	acct     broker.Account
	master   string
}

func newMortalMachine(t *testing.T, onTPM, roll bool) *mortalMachine {
	dir := t.TempDir()
	m := &mortalMachine{master: filepath.Join(dir, "master")}
	if onTPM {
		m.emulator = tpmtest.Swtpm(t)
	}
	m.world = newWorld(t, func(w *world, o *entratestOptions) {
		o.RollSessionKey = roll
		o.Logf = func(string, ...any) {}
		w.store = fileStore(t, filepath.Join(dir, "state"))
		w.keys = softwareKeys(t) // until wake
	})
	m.job = mortalJob{Master: m.master, State: filepath.Join(dir, "state"), Addr: m.srv.Addr(), CA: string(m.srv.CA()), PersonURL: servePerson(t, m.world).URL}
	if onTPM {
		m.job.Master, m.job.TPM = "", m.emulator.Socket()
	}
	m.sleepNow()
	m.wake()
	return m
}

// sleepNow closes what this process has open, so that another one has the machine.
func (m *mortalMachine) sleepNow() {
	require.NoError(m.t, m.b.Close())
	require.NoError(m.t, m.keys.Close())
}

// wake opens the machine in this process.
func (m *mortalMachine) wake() {
	m.t.Helper()
	m.freeTPM()
	keys, err := m.job.keys(m.t.Context())
	require.NoError(m.t, err)
	m.keys = keys
	cfg := mortalConfig(keys, m.store, m.wire, m.clock.Now)
	cfg.Prompter, cfg.MutualTLS = m.person, m.cfg.MutualTLS
	m.b, err = broker.New(m.t.Context(), cfg)
	require.NoError(m.t, err, "the state opens")
	broker.SetSleep(m.b, m.world.sleep)
}

// freeTPM does what the kernel's resource manager does when a process ends: what it
// had loaded is flushed.
func (m *mortalMachine) freeTPM() {
	if m.emulator == nil {
		return
	}
	for _, first := range []tpm2.TPMHT{tpm2.TPMHTTransient, tpm2.TPMHTLoadedSession} {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: uint32(first) << 24, PropertyCount: 20}.Execute(m.emulator)
		require.NoError(m.t, err)
		handles, err := rsp.CapabilityData.Data.Handles()
		require.NoError(m.t, err)
		for _, h := range handles.Handle {
			_, err := tpm2.FlushContext{FlushHandle: h}.Execute(m.emulator)
			require.NoError(m.t, err)
		}
	}
	// The matrix tries the old PIN and the new one after each kill.
	require.NoError(m.t, m.emulator.ResetLockout())
}

// prepare brings the machine to where an operation begins.
func (m *mortalMachine) prepare(op operation) {
	m.t.Helper()
	ctx := m.t.Context()
	m.join()
	if accounts, err := m.b.Accounts(ctx); err != nil || len(accounts) == 0 {
		require.NoError(m.t, err)
		m.signIn()
	}
	accounts, err := m.b.Accounts(ctx)
	require.NoError(m.t, err)
	require.Len(m.t, accounts, 1)
	m.acct = accounts[0]
	if s, err := m.b.HelloStatus(ctx, m.acct); err != nil || !s.Set {
		require.NoError(m.t, err)
		_, err = m.b.SignIn(ctx, broker.AuthCode{LoginHint: alice, MFA: true})
		require.NoError(m.t, err)
		require.NoError(m.t, m.b.ProvisionHello(ctx, m.acct, rightPIN))
	}
	if op.before != nil {
		require.NoError(m.t, op.before(m.world))
	}
	m.clock.Advance(time.Minute)
}

// killAt lets another process do the operation and kills it before its nth call that
// writes, or a moment after the call before. It reports whether it was killed.
func (m *mortalMachine) killAt(op operation, n int, later time.Duration) (killed bool, calls int) {
	m.t.Helper()
	m.job.Operation, m.job.Now = op.name, m.clock.Now()
	text, err := json.Marshal(m.job)
	require.NoError(m.t, err)
	cmd := exec.CommandContext(m.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), mortalEnv+"="+string(text))
	var stderr lockedBuffer
	cmd.Stderr = &stderr
	begun, first := false, 0
	err = stepper.Run(cmd, func(c stepper.Call) bool {
		switch {
		case c.Mark == 1:
			begun, first = true, c.Number
			return true
		case !begun || c.Mark != 0:
			return true
		}
		calls = c.Number - first + 1
		if calls <= n {
			return true
		}
		for until := time.Now().Add(later); time.Now().Before(until); { //nolint:revive // shorter than a sleep can be
		}
		return false
	})
	if errors.Is(err, stepper.ErrKilled) {
		return true, calls
	}
	require.NoError(m.t, err, "%s without a kill: %s", op.name, stderr.b.String())
	return false, calls
}

// recover opens the machine and checks that nothing is lost, then repeats the
// operation.
func (m *mortalMachine) recovers(op operation, had bool) {
	m.t.Helper()
	ctx := m.t.Context()
	m.wake()
	s, err := m.b.Status(ctx)
	require.NoError(m.t, err)
	require.Empty(m.t, s.Problem)
	require.LessOrEqual(m.t, len(m.srv.Devices()), 1, "a duplicate device")
	if op.name == "lock" { // what is behind the PIN comes back by it
		require.NoError(m.t, unlockWithPIN(ctx, m.b, m.acct))
	}
	if had && !op.out {
		require.NotEqual(m.t, broker.PRTNone, m.status(m.acct).State, "the PRT is lost")
		m.silent(open, broker.WithForceRefresh())
	}
	if err := op.do(ctx, m.b, m.acct); err != nil {
		require.True(m.t, op.done != nil && op.done(err), "the operation again: %v", err)
		if gone(err) && op.name == "unregister" {
			require.Empty(m.t, m.srv.Devices(), "not known here, and known there")
			require.NoError(m.t, m.b.ForgetDevice(ctx))
		}
	}
	require.LessOrEqual(m.t, len(m.srv.Devices()), 1, "a duplicate device")
	if !op.out {
		require.Len(m.t, m.srv.Devices(), 1)
		m.silent(open, broker.WithForceRefresh())
	}
	require.LessOrEqual(m.t, len(m.helloKeys(alice)), 1, "an orphan")
}

// A process is killed before any of the system calls by which an operation writes to
// the disk, to the service or to the TPM. The state opens, no PRT is lost, there is no
// second device, and the operation succeeds when it is tried again.
func TestKilledAtEverySystemCall(t *testing.T) {
	if testing.Short() && os.Getenv(tally.Env) == "" {
		t.Parallel()
	}
	for _, onTPM := range []bool{false, true} {
		name := map[bool]string{false: "software keys", true: "swtpm"}[onTPM]
		t.Run(name, func(t *testing.T) {
			cells := tally.New(t, "crashes", "a process killed at a system call that writes, "+name)
			machines := map[bool]*mortalMachine{}
			var todo []operation
			for _, op := range operations {
				if !op.tpm || onTPM {
					todo = append(todo, op)
				}
				if machines[op.roll] == nil {
					machines[op.roll] = newMortalMachine(t, onTPM, op.roll)
				}
			}
			seed := uint64(time.Now().UnixNano())
			r := rand.New(rand.NewPCG(seed, 0))
			t.Logf("seed %d", seed)
			length := map[string]int{}
			one := func(op operation, point int, later time.Duration) (killed bool) {
				m := machines[op.roll]
				m.prepare(op)
				had := op.name != "sign in" && op.name != "register"
				m.sleepNow()
				killed, calls := m.killAt(op, point, later)
				defer func() {
					if t.Failed() {
						t.Logf("%s, killed at call %d after %v", op.name, point, later)
					}
				}()
				m.recovers(op, had)
				if !killed {
					length[op.name] = calls
				} else {
					cells.Cell(true)
				}
				return killed
			}
			for _, op := range todo { // how many calls there are
				if one(op, 1<<20, 0) {
					t.Fatal("killed without a reason")
				}
				require.Greater(t, length[op.name], 3, op.name)
			}
			t.Logf("calls that write: %v", length)
			deadline := time.Now().Add(tally.Budget() / 2)
			for round := 0; round == 0 || time.Now().Before(deadline); round++ {
				for _, op := range todo {
					// Near the end of an operation it writes to the disk; everywhere else as well.
					point := r.IntN(length[op.name])
					later := time.Duration(0)
					if r.IntN(2) == 0 {
						later = time.Duration(r.IntN(2_000_000))
					}
					one(op, point, later)
				}
			}
			t.Logf("%d kills", cells.Cells())
		})
	}
}
