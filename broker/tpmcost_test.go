package broker_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// A platform is how the TPM is reached: with the storage root key that an
// operating system left or one that is made when it is needed, over a connection
// of one's own or behind a resource manager, which swaps what each descriptor has
// loaded around every command.
type platform struct {
	persistent, managed bool
}

func (p platform) String() string {
	srk, manager := "transient", "no"
	if p.persistent {
		srk = "persistent"
	}
	if p.managed {
		manager = "yes"
	}
	return "srk=" + srk + "/manager=" + manager
}

var platforms = []platform{{true, false}, {false, false}, {true, true}, {false, true}}

// A cost is the commands of one operation, as package tpm sends them and as
// they reach the chip.
type cost struct {
	op           string
	sent, atChip []tpm2.TPMCC
	requests     []string
}

// A costing runs the operations of a laptop's life one by one and counts.
type costing struct {
	*laptop
	tb        testing.TB
	platform  platform
	app, chip *tpmtest.Counting
	report    func(cost)
}

func newCosting(tb testing.TB, e *tpmtest.Emulator, p platform, report func(cost)) *costing {
	tb.Helper()
	if p.persistent {
		persistSRK(tb, e)
	}
	c := &costing{laptop: &laptop{tpm: e}, tb: tb, platform: p, chip: tpmtest.NewCounting(e.Opener()), report: report}
	o := c.chip.Opener()
	if p.managed {
		m := tpmtest.NewManaged(o)
		tb.Cleanup(func() { _ = m.Close() })
		o = m.Opener()
	}
	c.app = tpmtest.NewCounting(o)
	return c
}

// of counts an operation.
func (c *costing) of(op string, do func()) {
	c.app.Take()
	c.chip.Take()
	if c.laptop.world != nil {
		c.wire.take()
	}
	do()
	x := cost{op: op, sent: c.app.Take(), atChip: c.chip.Take()}
	if c.laptop.world != nil {
		x.requests = c.wire.take()
	}
	c.report(x)
}

func (c *costing) openTPM() tpm.KeyStore {
	keys, err := tpm.Open(c.tb.Context(), c.app.Opener(), tpm.Config{})
	require.NoError(c.tb, err)
	c.tb.Cleanup(func() { _ = keys.Close() })
	return keys
}

// process begins a new process.
func (c *costing) process() {
	c.keys = c.openTPM()
	c.cfg.Keys = c.keys
	c.b = c.open()
}

func (c *costing) end() {
	require.NoError(c.tb, c.b.Close())
	require.NoError(c.tb, c.keys.Close())
	c.clock.Advance(time.Minute)
}

func (c *costing) online() { require.False(c.tb, c.unlock(rightPIN).Offline) }

// run is the life: every operation that performance depends on.
func (c *costing) run() {
	var keys tpm.KeyStore
	c.of("open", func() { keys = c.openTPM() })
	c.world = newWorld(c.tb, func(w *world, _ *entratestOptions) {
		w.keys = keys
		w.store = fileStore(c.tb, filepath.Join(c.tb.TempDir(), "state"))
	})
	c.cfg.Offline = aWeek
	c.b = c.open()
	c.join()
	ctx := c.tb.Context()
	res, err := c.b.SignIn(ctx, broker.AuthCode{LoginHint: c.person.Username, MFA: true})
	require.NoError(c.tb, err)
	c.acct = res.Account
	c.of("provision", func() { require.NoError(c.tb, c.b.ProvisionHello(ctx, c.acct, rightPIN)) })
	c.online()
	c.silent(payroll)

	c.end()
	c.keys = c.openTPM()
	c.cfg.Keys = c.keys
	c.of("new", func() { c.b = c.open() })
	c.of("silent-cold", func() { c.silent(ledger) })
	c.of("silent", func() { c.silent(ledger, broker.WithForceRefresh()) })
	c.of("cookie", func() {
		_, err := c.b.SSOCookies(ctx, "https://login.microsoftonline.com/common/oauth2/authorize?sso_nonce=AwABnonce")
		require.NoError(c.tb, err)
	})
	c.clock.Advance(5 * time.Hour)
	c.silent(ledger) // its session key is loaded
	prts := 1 + len(c.status(c.acct).Others)
	c.of("renew-all", func() { require.NoError(c.tb, c.b.RenewPRT(ctx, c.acct)) })
	require.Equal(c.tb, 2, prts, "of the browser sign-in and of the Hello key")
	c.of("renew-again", func() { require.NoError(c.tb, c.b.RenewPRT(ctx, c.acct)) })
	c.of("signin", func() { c.signIn() })

	c.online()
	c.clock.Advance(time.Hour)
	c.of("unlock", c.online)
	c.of("lock", func() { require.NoError(c.tb, c.b.Lock(ctx, c.acct)) })
	c.of("unlock-locked", c.online)
	c.silent(payroll)
	c.silent(graph)
	c.end()
	c.clock.Advance(time.Hour)
	c.of("unlock-process", func() { c.process(); c.online() })
	c.of("changepin", func() { require.NoError(c.tb, c.b.ChangePIN(ctx, c.acct, rightPIN, otherPIN)) })
	require.NoError(c.tb, c.b.ChangePIN(ctx, c.acct, otherPIN, rightPIN))
	c.end()
	c.cut()
	c.of("unlock-offline", func() { c.process(); require.True(c.tb, c.unlock(rightPIN).Offline) })
}

// The budgets of package broker, in commands of the TPM: on either emulator, on
// a bare connection and behind a resource manager.
func TestTPMBudget(t *testing.T) {
	t.Parallel()
	type budget struct{ persistent, transient, persistentAtChip, transientAtChip int }
	budgets := map[string]budget{
		"open":        {2, 2, 0, 0},
		"new":         {4, 4, 0, 0},
		"silent-cold": {4, 6, 19, 35},
		"silent":      {2, 2, 12, 12},
		"cookie":      {1, 1, 6, 6},
		// With a Flush of one of the two session keys that the renewals left loaded.
		"signin":         {8, 8, 37, 61},
		"unlock":         {12, 13, 54, 100},
		"lock":           {1, 1, 4, 4}, // of a session key that is loaded
		"unlock-locked":  {19, 20, 0, 0},
		"unlock-process": {25, 26, 130, 180},
		// More where the PIN opened something before: behind a resource manager
		// the session ended with that, and the primary went.
		"changepin":      {8, 9, 0, 0},
		"provision":      {7, 9, 0, 0},
		"unlock-offline": {14, 16, 0, 0},
		// Two commands a PRT, and Load for the one whose session key is not loaded.
		"renew-all":   {5, 5, 29, 38},
		"renew-again": {4, 4, 24, 30}, // two loaded session keys
	}
	for _, p := range platforms {
		for emulator, start := range map[string]func(testing.TB) *tpmtest.Emulator{"swtpm": tpmtest.Swtpm, "simulator": tpmtest.Simulator} {
			t.Run(p.String()+"/"+emulator, func(t *testing.T) {
				// None of the pool's, whose keys are under another parent.
				newCosting(t, start(t), p, func(c cost) {
					b, ok := budgets[c.op]
					require.True(t, ok, c.op)
					t.Logf("%-15s %2d, %3d at the chip: %s", c.op, len(c.sent), len(c.atChip), commandNames(c.sent))
					most, atChip := b.persistent, b.persistentAtChip
					if !p.persistent {
						most, atChip = b.transient, b.transientAtChip
					}
					if len(c.sent) > most {
						t.Errorf("%s: %d commands, budget %d", c.op, len(c.sent), most)
					}
					if p.managed && atChip > 0 && len(c.atChip) > atChip {
						t.Errorf("%s: %d commands at the chip, budget %d", c.op, len(c.atChip), atChip)
					}
					switch c.op {
					case "unlock", "unlock-process":
						require.Equal(t, []string{"nonce", "token"}, c.requests)
					case "unlock-offline":
						require.NotContains(t, c.requests, "token")
					}
				}).run()
			})
		}
	}
}

// What the PIN opens offline is sealed anew when an eighth of Config.Offline is
// over, when the TPM was reset, and under other limits; else it lasts.
func TestOfflineSealedWhenDue(t *testing.T) {
	t.Parallel()
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		count := tpmtest.NewCounting(e.Opener())
		l := &laptop{tpm: e}
		openTPM := func() tpm.KeyStore {
			keys, err := tpm.Open(t.Context(), count.Opener(), tpm.Config{})
			require.NoError(t, err)
			t.Cleanup(func() { _ = keys.Close() })
			return keys
		}
		l.prepare(t, e.Store(openTPM().(*tpm.TPM)), aWeek)
		sealed := func() bool {
			count.Take()
			require.False(t, l.unlock(rightPIN).Offline)
			return slices.Contains(count.Take(), tpm2.TPMCCGetTime)
		}
		restart := func(happens func() error) {
			require.NoError(t, l.b.Close())
			require.NoError(t, l.keys.Close())
			if happens != nil {
				require.NoError(t, happens())
			}
			l.keys = e.Store(openTPM().(*tpm.TPM))
			l.cfg.Keys = l.keys
			l.b = l.open()
		}
		require.False(t, sealed(), "just sealed")
		l.clock.Advance(20 * time.Hour)
		require.False(t, sealed(), "an eighth is not over")
		l.clock.Advance(2 * time.Hour)
		require.True(t, sealed(), "an eighth is over")
		require.False(t, sealed())
		l.clock.Advance(-time.Hour)
		require.True(t, sealed(), "a clock that was set back says nothing")

		restart(nil)
		require.False(t, sealed(), "another process asks the TPM")
		restart(e.Reset)
		require.True(t, sealed(), "a reset was used up")
		require.False(t, sealed())
		l.cfg.Offline.Time /= 2
		restart(nil)
		require.True(t, sealed(), "nobody keeps more than is configured")
		l.cfg.Offline = tpm.Limit{Time: l.cfg.Offline.Time, Resets: 0, Restarts: -1}
		restart(nil)
		require.True(t, sealed(), "fewer resets")
		l.cfg.Offline.Restarts = 3
		restart(nil)
		require.True(t, sealed(), "fewer restarts")
		require.False(t, sealed())
	})
}

// Whether to seal anew is asked without proof. Whoever changes the answer gets
// no longer time by it and stops no unlock.
func TestTamperedClockAtUnlock(t *testing.T) {
	t.Parallel()
	e := tpms.Swtpm(t)
	faulty := tpmtest.NewFaulty(e.Opener())
	keys, err := tpm.Open(t.Context(), faulty.Opener(), tpm.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	l := &laptop{tpm: e}
	l.prepare(t, e.Store(keys), aWeek)
	const response = 10 + 25 // the header and TPMS_TIME_INFO
	for at := range response {
		faulty.Inject(tpmtest.Fault{On: tpm2.TPMCCReadClock, Tamper: func(rsp []byte) []byte {
			require.Len(t, rsp, response)
			rsp[at] ^= 1
			return rsp
		}})
		require.False(t, l.unlock(rightPIN).Offline, "byte %d", at)
		faulty.Clear()
	}
	require.GreaterOrEqual(t, faulty.Injected(), response)
	l.cut()
	u := l.unlock(rightPIN)
	require.True(t, u.Offline)
	require.LessOrEqual(t, u.Left.Time, aWeek.Time)
	require.LessOrEqual(t, u.Left.Resets, aWeek.Resets)
}

// BenchmarkTPM prints what each operation asks of a TPM, and how long a slow, a
// middling and a fast chip take for it by the model of tpmtest.Chips. Nothing is
// timed: run it with -benchtime 1x.
func BenchmarkTPM(b *testing.B) {
	for _, p := range platforms {
		var all []cost
		c := newCosting(b, tpmtest.Swtpm(b), p, func(c cost) { all = append(all, c) })
		c.run()
		for _, x := range all {
			b.Run(fmt.Sprintf("%v/op=%s", p, x.op), func(b *testing.B) {
				for b.Loop() {
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(len(x.sent)), "commands")
				b.ReportMetric(float64(len(x.atChip)), "chip-commands")
				for _, chip := range tpmtest.Chips {
					b.ReportMetric(chip.Time(x.atChip).Seconds(), chip.Name+"-sec")
				}
			})
		}
	}
}

// persistSRK makes a persistent storage root key, as an operating system does.
func persistSRK(tb testing.TB, e *tpmtest.Emulator) {
	tb.Helper()
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(e)
	require.NoError(tb, err)
	_, err = tpm2.EvictControl{
		Auth:             tpm2.TPMRHOwner,
		ObjectHandle:     &tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name},
		PersistentHandle: 0x81000001,
	}.Execute(e)
	require.NoError(tb, err)
	_, err = tpm2.FlushContext{FlushHandle: rsp.ObjectHandle}.Execute(e)
	require.NoError(tb, err)
}
