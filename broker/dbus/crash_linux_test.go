//go:build amd64 || arm64

package dbus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/bustest"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
	"github.com/prtbroker/prtbroker/internal/stepper"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const mortalEnv = "PRTBROKER_TEST_MORTAL_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(mortalEnv) == "" {
		os.Exit(m.Run())
	}
	if err := mortal(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A mortalService is what the process is told that serves the bus and will be killed.
type mortalService struct {
	Bus, Master, State, Addr, CA string
	Now                          time.Time
}

// mortal is the process.
func mortal() error {
	if err := stepper.Enter(); err != nil {
		return err
	}
	var job mortalService
	if err := json.Unmarshal([]byte(os.Getenv(mortalEnv)), &job); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, err := job.config()
	if err != nil {
		return err
	}
	b, err := broker.New(ctx, cfg)
	if err != nil {
		return err
	}
	now := func() time.Time { return job.Now }
	s := &dbus.Service{Handler: &dbus.Handler{Broker: dbus.OwnUser(b), Now: now}, Address: job.Bus, Ready: func() { _ = stepper.Mark(1) }}
	if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.Join(b.Close(), cfg.Keys.Close())
}

// config is that of the machine, in either process.
func (j mortalService) config() (broker.Config, error) {
	keys, err := softkeys.Open(softkeys.File(j.Master), softkeys.InsecureFastPINs())
	if err != nil {
		return broker.Config{}, err
	}
	files, err := store.NewFile(j.State)
	if err != nil {
		return broker.Config{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(j.CA))
	way := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, j.Addr)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return broker.Config{
		Tenant: "contoso.example", App: broker.App{ClientID: appID}, Keys: keys, Store: files, Transport: way, KeepTokens: true,
		Prompter: &person{Person: entratest.Person{Username: alice, Password: password, TOTPSecret: totp}, client: way},
		Device:   broker.DeviceInfo{DisplayName: "pc-1", OSVersion: "Debian 12"}, Now: func() time.Time { return j.Now },
	}, nil
}

// busCalls are the calls that change something, or hand something out.
var busCalls = []struct {
	name string
	do   func(context.Context, *dbus.Client, broker.Account) error
}{
	{"token", func(ctx context.Context, c *dbus.Client, a broker.Account) error {
		_, err := c.AcquireTokenSilent(ctx, []string{graphScope}, broker.WithAccount(a), broker.WithForceRefresh())
		return err
	}},
	{"token on a page", func(ctx context.Context, c *dbus.Client, a broker.Account) error {
		_, err := c.AcquireTokenInteractive(ctx, []string{graphScope}, broker.WithAccount(a), broker.WithNewSignIn())
		return err
	}},
	{"cookie", func(ctx context.Context, c *dbus.Client, a broker.Account) error {
		_, err := c.SSOCookies(ctx, "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?client_id="+appID, broker.WithAccount(a))
		return err
	}},
	{removeCall, func(ctx context.Context, c *dbus.Client, a broker.Account) error { return c.RemoveAccount(ctx, a) }},
}

const removeCall = "remove"

// A mortalMachine has a bus and a service on it that is killed.
type mortalMachine struct {
	*world
	bus *bustest.Bus
	job mortalService
}

func newMortalMachine(t *testing.T) *mortalMachine {
	dir := t.TempDir()
	m := &mortalMachine{bus: bustest.Start(t)}
	m.job = mortalService{Bus: m.bus.Address, Master: filepath.Join(dir, "master"), State: filepath.Join(dir, "state")}
	m.world = newWorld(t, func(c *broker.Config) {
		mine, err := m.job.config()
		require.NoError(t, err)
		c.Keys, c.Store, c.KeepTokens = mine.Keys, mine.Store, true
	})
	m.job.Addr, m.job.CA = m.srv.Addr(), string(m.srv.CA())
	require.NoError(t, errors.Join(m.b.Close(), m.cfg.Keys.Close()))
	return m
}

// machine opens the machine in this process for the time of f.
func (m *mortalMachine) machine(f func(b *broker.Broker)) {
	m.t.Helper()
	cfg := m.cfg
	mine, err := m.job.config()
	require.NoError(m.t, err)
	cfg.Keys, cfg.Store = mine.Keys, mine.Store
	b, err := broker.New(m.t.Context(), cfg)
	require.NoError(m.t, err, "the state opens")
	f(b)
	require.NoError(m.t, errors.Join(b.Close(), cfg.Keys.Close()))
}

// killAt lets the service answer a call and kills it before its nth system call that
// writes. It reports whether it was killed, and what came of the call.
func (m *mortalMachine) killAt(do func(context.Context, *dbus.Client) error, n int) (killed bool, calls int, outcome error) {
	m.t.Helper()
	m.job.Now = m.clock.Now()
	text, err := json.Marshal(m.job)
	require.NoError(m.t, err)
	cmd := exec.CommandContext(m.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), mortalEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	ready, ended := make(chan struct{}), make(chan error, 1)
	first := -1
	go func() {
		ended <- stepper.Run(cmd, func(c stepper.Call) bool {
			switch {
			case c.Mark != 0:
				first = c.Number
				close(ready)
				return true
			case first < 0:
				return true
			}
			calls = c.Number - first + 1
			return calls <= n
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(m.t, err, "the service ended before it was ready")
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	c, err := dbus.Dial(ctx, dbus.Options{Address: m.bus.Address, App: broker.App{ClientID: appID}})
	outcome = err
	if err == nil {
		outcome = do(ctx, c)
		require.NoError(m.t, c.Close())
	}
	require.NoError(m.t, ctx.Err(), "the call does not end with the service")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	err = <-ended
	if errors.Is(err, stepper.ErrKilled) {
		return true, calls, outcome
	}
	require.NoError(m.t, err)
	return false, calls, outcome
}

// A service is killed before any of the system calls by which it answers a call of the
// bus. The client is told soon, another service takes over, nothing is lost, and the
// call succeeds when it is made again.
func TestServiceKilledAtEverySystemCall(t *testing.T) {
	cells := tally.New(t, "crashes", "a service of the bus killed at a system call that writes")
	m := newMortalMachine(t)
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	one := func(name string, do func(context.Context, *dbus.Client, broker.Account) error, point int) (calls int) {
		m.machine(func(b *broker.Broker) {
			if accounts, err := b.Accounts(t.Context()); err != nil || len(accounts) == 0 {
				require.NoError(t, err)
				_, err = b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
				require.NoError(t, err)
			}
		})
		m.clock.Advance(time.Minute)
		killed, calls, outcome := m.killAt(func(ctx context.Context, c *dbus.Client) error { return do(ctx, c, m.acct) }, point)
		defer func() {
			if t.Failed() {
				t.Logf("%s, killed at call %d: %v", name, point, outcome)
			}
		}()
		if !killed {
			require.NoError(t, outcome)
		} else if outcome != nil && !errors.Is(outcome, dbus.ErrNoBroker) {
			require.ErrorIs(t, outcome, broker.ErrTransient, "the client is told that the broker went away")
		}
		m.clock.Advance(time.Minute)
		m.machine(func(b *broker.Broker) {
			s, err := b.Status(t.Context())
			require.NoError(t, err)
			require.Empty(t, s.Problem)
			require.Len(t, m.srv.Devices(), 1)
			if name != removeCall {
				_, err = b.AcquireTokenSilent(t.Context(), []string{graphScope}, broker.WithAccount(m.acct), broker.WithForceRefresh())
				require.NoError(t, err, "the PRT serves")
			}
			stop := serve(t, &dbus.Service{Handler: &dbus.Handler{Broker: dbus.OwnUser(b), Now: m.clock.Now}, Address: m.bus.Address})
			c, err := dbus.Dial(t.Context(), dbus.Options{Address: m.bus.Address, App: broker.App{ClientID: appID}})
			require.NoError(t, err)
			require.NoError(t, do(t.Context(), c, m.acct), "the call again")
			require.NoError(t, c.Close())
			require.ErrorIs(t, stop(), context.Canceled)
		})
		if killed {
			cells.Cell(true)
		}
		return calls
	}
	length := map[string]int{}
	for _, call := range busCalls {
		length[call.name] = one(call.name, call.do, 1<<20)
		require.Greater(t, length[call.name], 5, call.name)
	}
	t.Logf("calls that write: %v", length)
	deadline := time.Now().Add(tally.Budget())
	for round := 0; round == 0 || time.Now().Before(deadline); round++ {
		for _, call := range busCalls {
			one(call.name, call.do, r.IntN(length[call.name]))
		}
	}
	t.Logf("%d kills", cells.Cells())
}
