package broker_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// onEmulators runs a test on each software TPM.
func onEmulators(t *testing.T, run func(t *testing.T, e *tpmtest.Emulator)) {
	t.Helper()
	for _, e := range []struct {
		name  string
		start func(testing.TB) *tpmtest.Emulator
	}{{"swtpm", tpms.Swtpm}, {"simulator", tpmtest.Simulator}} {
		t.Run(e.name, func(t *testing.T) { run(t, e.start(t)) })
	}
}

// A laptop is a world whose keys are in a TPM, whose state is on a disk, and
// whose network can be cut.
type laptop struct {
	*world
	tpm  *tpmtest.Emulator
	dir  string
	acct broker.Account
}

// newLaptop provisions a Hello key, unlocks once with a network, and gets
// tokens for two apps.
func newLaptop(t *testing.T, e *tpmtest.Emulator, limit tpm.Limit) *laptop {
	t.Helper()
	l := &laptop{tpm: e}
	l.prepare(t, l.openTPM(t), limit)
	return l
}

func (l *laptop) prepare(t testing.TB, keys tpm.KeyStore, limit tpm.Limit) {
	t.Helper()
	l.dir = filepath.Join(t.TempDir(), "state")
	l.world = newWorld(t, func(w *world, _ *entratestOptions) {
		w.keys = keys
		w.store = fileStore(t, l.dir)
	})
	l.cfg.Offline = limit
	l.reopen()
	l.join()
	l.acct = l.hello()
	l.unlock(rightPIN)
	l.silent(payroll)
	l.silent(graph)
}

func (l *laptop) openTPM(t testing.TB) *tpmtest.Store {
	t.Helper()
	keys, err := tpm.Open(t.Context(), l.tpm.Opener(), tpm.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	return l.tpm.Store(keys)
}

func (l *laptop) unlock(pin broker.PIN) broker.Unlocked {
	l.t.Helper()
	u, err := l.b.Unlock(l.t.Context(), l.acct, pin)
	require.NoError(l.t, err)
	return u
}

var errCut = errors.New("the network is cut")

func (l *laptop) cut()     { l.wire.set(func(*http.Request) error { return errCut }, nil) }
func (l *laptop) connect() { l.wire.set(nil, nil) }

// restart ends the process, starts the machine anew and opens the state.
func (l *laptop) restart(happens func() error) {
	l.t.Helper()
	require.NoError(l.t, l.b.Close())
	require.NoError(l.t, l.keys.Close())
	if happens != nil {
		require.NoError(l.t, happens())
	}
	l.keys = l.openTPM(l.t)
	l.cfg.Keys = l.keys
	l.b = l.open()
}

var aWeek = tpm.Limit{Time: 7 * 24 * time.Hour, Resets: 2, Restarts: -1}

// Without a network the PIN proves the user against the TPM and opens what the
// account has cached, in a new process too.
func TestOfflineUnlock(t *testing.T) {
	t.Parallel()
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		l := newLaptop(t, e, aWeek)
		mfa := l.status(l.acct).MFA
		l.restart(e.Reset)
		l.cut()
		_, err := l.b.AcquireTokenSilent(t.Context(), payroll)
		require.ErrorIs(t, err, broker.ErrTransient, "before the unlock no token is there")

		u := l.unlock(rightPIN)
		require.True(t, u.Offline)
		require.Equal(t, l.acct, u.Account)
		require.Equal(t, mfa, u.MFA, "offline proves nothing to the service")
		require.Equal(t, 1, u.Left.Resets)
		require.InDelta(t, aWeek.Time, u.Left.Time, float64(time.Hour))
		for _, scopes := range [][]string{payroll, graph} {
			require.Equal(t, broker.SourceCache, l.silent(scopes).Metadata.Source)
		}
		_, err = l.b.AcquireTokenSilent(t.Context(), ledger)
		require.ErrorIs(t, err, broker.ErrTransient, "what was never there is not there")
		require.Equal(t, broker.PRTFresh, l.status(l.acct).State)

		// Tokens end by their own time.
		l.clock.Advance(2 * time.Hour)
		l.unlock(rightPIN)
		_, err = l.b.AcquireTokenSilent(t.Context(), payroll)
		require.ErrorIs(t, err, broker.ErrTransient)

		l.connect()
		l.clock.Advance(time.Hour) // circuits close
		u = l.unlock(rightPIN)
		require.False(t, u.Offline)
		require.Equal(t, l.clock.Now(), u.MFA.At)
		l.silent(ledger)
	})
}

// Wrong PIN, foreign TPM, cleared TPM, and the end of the time: each is
// refused with its own error, and none of them deletes anything.
func TestOfflineRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		pin     broker.PIN
		happens func(*laptop) error
		want    []error
		not     []error
	}{
		{name: "wrong PIN", pin: wrongPIN, want: []error{broker.ErrWrongPIN, broker.ErrBadCredential, tpm.ErrWrongPIN}, not: []error{broker.ErrKeyUnusable, broker.ErrTransient}},
		{name: "no PIN at all", pin: nil, want: []error{broker.ErrWrongPIN}},
		{name: "the time is over", pin: rightPIN, happens: func(l *laptop) error { return l.tpm.AdvanceClock(aWeek.Time) },
			want: []error{broker.ErrOfflineExpired, broker.ErrTransient, tpm.ErrExpired}, not: []error{broker.ErrWrongPIN}},
		{name: "the time is over, with a wrong PIN", pin: wrongPIN, happens: func(l *laptop) error { return l.tpm.AdvanceClock(aWeek.Time) },
			want: []error{broker.ErrOfflineExpired}, not: []error{broker.ErrWrongPIN}},
		{name: "started too often", pin: rightPIN, happens: func(l *laptop) error {
			for range 3 {
				if err := errors.Join(l.tpm.Reset(), l.openTPM(l.t).Close()); err != nil {
					return err
				}
			}
			return nil
		}, want: []error{broker.ErrOfflineExpired}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				l := newLaptop(t, e, aWeek)
				l.restart(func() error {
					if tt.happens == nil {
						return nil
					}
					return tt.happens(l)
				})
				l.cut()
				before := records(t, l.dir)
				_, err := l.b.Unlock(t.Context(), l.acct, tt.pin)
				for _, want := range tt.want {
					require.ErrorIs(t, err, want)
				}
				for _, not := range tt.not {
					require.NotErrorIs(t, err, not)
				}
				require.Subset(t, records(t, l.dir), before)
				_, err = l.b.AcquireTokenSilent(t.Context(), payroll)
				require.ErrorIs(t, err, broker.ErrTransient, "nothing was opened")

				l.connect()
				l.clock.Advance(time.Hour)
				require.False(t, l.unlock(rightPIN).Offline)
				l.cut()
				require.True(t, l.unlock(rightPIN).Offline, "the time begins anew")
			})
		})
	}
}

// records are the names of the records in a directory.
func records(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// The TPM of this machine was cleared, or is not this machine's: two errors,
// of the process that is running and of the next, and nothing is deleted.
func TestOfflineOnAnotherTPM(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		happens   func(*tpmtest.Emulator) error
		want, not error
	}{
		{"cleared", (*tpmtest.Emulator).Clear, tpm.ErrCleared, tpm.ErrTPMChanged},
		{"another", (*tpmtest.Emulator).Wipe, tpm.ErrTPMChanged, tpm.ErrCleared},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				keys := &exchangeable{}
				l := &laptop{tpm: e}
				keys.Store = l.openTPM(t)
				l.prepare(t, keys, aWeek)
				before := records(t, l.dir)
				l.cut()
				require.NoError(t, keys.Close())
				require.NoError(t, tt.happens(e))
				keys.Store = l.openTPM(t)

				_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
				require.ErrorIs(t, err, broker.ErrKeyUnusable)
				require.ErrorIs(t, err, tt.want)
				require.NotErrorIs(t, err, tt.not)
				require.NotErrorIs(t, err, broker.ErrWrongPIN)
				require.NoError(t, l.b.Close())
				_, err = broker.New(t.Context(), l.cfg)
				require.ErrorIs(t, err, broker.ErrKeyUnusable)
				require.ErrorIs(t, err, tt.want)
				require.NotErrorIs(t, err, tt.not)
				require.Subset(t, records(t, l.dir), before)
			})
		})
	}
}

// exchangeable is a TPM in whose place a test puts another one.
type exchangeable struct{ *tpmtest.Store }

// What the service said for certain before, the PIN does not undo offline; what
// it says in doubt does not count.
func TestOfflineAfterRefusal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		said func(*laptop) error
		undo func(*laptop) error
		want error // nil: it opens
	}{
		{"user disabled", func(l *laptop) error { return l.srv.DisableUser(alice) }, func(l *laptop) error { return l.srv.EnableUser(alice) }, broker.ErrUserDisabled},
		{"device disabled", func(l *laptop) error { return l.srv.DisableDevice(l.status(l.acct).DeviceID) },
			func(l *laptop) error { return l.srv.EnableDevice(l.status(l.acct).DeviceID) }, broker.ErrDeviceDisabled},
		{"key removed", func(l *laptop) error {
			err := l.srv.RemoveHelloKey(alice, l.helloKeys(alice)[0])
			_, uerr := l.b.Unlock(l.t.Context(), l.acct, rightPIN)
			require.ErrorIs(l.t, uerr, broker.ErrInteractionRequired)
			return err
		}, nil, broker.ErrInteractionRequired},
		{"sessions revoked", func(l *laptop) error { return l.srv.Revoke(alice) }, nil, nil},
		{"password changed", func(l *laptop) error { return l.srv.ChangePassword(alice, "new") }, nil, nil},
		{"the device is in doubt", func(l *laptop) error { // AADSTS50155 has many causes
			l.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 50155, Times: 1})
			return nil
		}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLaptop(t, tpms.Swtpm(t), aWeek)
			require.NoError(t, tt.said(l))
			l.clock.Advance(time.Hour)
			_, _ = l.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh()) // the service says it
			l.restart(nil)
			l.cut()
			u, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
			if tt.want == nil {
				require.NoError(t, err)
				require.True(t, u.Offline)
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.NotErrorIs(t, err, broker.ErrTransient)
			_, err = l.b.AcquireTokenSilent(t.Context(), graph)
			require.ErrorIs(t, err, broker.ErrTransient)
			if tt.undo == nil {
				return
			}
			require.NoError(t, tt.undo(l))
			l.connect()
			l.clock.Advance(time.Hour)
			require.False(t, l.unlock(rightPIN).Offline)
			l.cut()
			require.True(t, l.unlock(rightPIN).Offline)
		})
	}
}

// An older state put back opens with its own, older limit, and no longer.
func TestOldStatePutBack(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	require.NoError(t, l.b.Close())
	old := filepath.Join(t.TempDir(), "old")
	require.NoError(t, os.CopyFS(old, os.DirFS(l.dir)))
	l.b = l.open()
	require.NoError(t, l.tpm.AdvanceClock(6*24*time.Hour))
	l.unlock(rightPIN)
	require.NoError(t, l.tpm.AdvanceClock(2*24*time.Hour))
	l.restart(nil)
	l.cut()
	require.True(t, l.unlock(rightPIN).Offline)

	require.NoError(t, l.b.Close())
	files, err := os.ReadDir(old)
	require.NoError(t, err)
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(old, f.Name()))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(l.dir, f.Name()), raw, 0o600))
	}
	l.b = l.open()
	_, err = l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrOfflineExpired)
}

// A changed PIN is the one that opens offline, and its limit is the old one.
func TestChangePINOffline(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	l.restart(nil)
	l.cut()
	require.NoError(t, l.tpm.AdvanceClock(6*24*time.Hour))
	require.NoError(t, l.b.ChangePIN(t.Context(), l.acct, rightPIN, otherPIN))
	_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrWrongPIN)
	u := l.unlock(otherPIN)
	require.True(t, u.Offline)
	require.Less(t, u.Left.Time, 25*time.Hour)
	require.NoError(t, l.tpm.AdvanceClock(2*24*time.Hour))
	_, err = l.b.Unlock(t.Context(), l.acct, otherPIN)
	require.ErrorIs(t, err, broker.ErrOfflineExpired)

	// A PIN may be changed when nothing can be opened offline any more.
	require.NoError(t, l.b.ChangePIN(t.Context(), l.acct, otherPIN, rightPIN))
	l.connect()
	l.clock.Advance(time.Hour)
	require.False(t, l.unlock(rightPIN).Offline)
}

// A sign-in that comes between the two halves of a change of the PIN seals what the
// PIN opens anew: it is then changed once more, and nothing opens with the old PIN.
func TestChangePINWhileAnotherProcessSignsIn(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	other := l.open()
	require.NoError(t, l.b.Close())
	trap := &trapped{Store: l.store}
	l.cfg.Store = trap
	l.b = l.open()
	l.clock.Advance(2 * 24 * time.Hour) // so that the sign-in renews the limits
	require.NoError(t, l.tpm.AdvanceClock(2*24*time.Hour))
	signedIn := false
	trap.on(".state", func() { // the try is counted
		_, err := other.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
		require.NoError(t, err)
		signedIn = true
	})
	require.NoError(t, l.b.ChangePIN(t.Context(), l.acct, rightPIN, otherPIN))
	require.True(t, signedIn)
	l.cut()
	_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrWrongPIN)
	u := l.unlock(otherPIN)
	require.True(t, u.Offline)
	require.Greater(t, u.Left.Time, 6*24*time.Hour, "what the sign-in renewed stays")
}

// The TPM locks out too, says for how long, and the keys without a PIN go on.
func TestTPMLocksOut(t *testing.T) {
	t.Parallel()
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		l := newLaptop(t, e, aWeek)
		for left := 2; left >= 0; left-- {
			_, err := l.b.Unlock(t.Context(), l.acct, wrongPIN)
			require.ErrorIs(t, err, broker.ErrWrongPIN)
			var wrong *tpm.WrongPINError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, left, wrong.TriesLeft)
		}
		for _, cut := range []bool{false, true} {
			if cut {
				l.cut()
				l.clock.Advance(time.Hour) // the nonce is old: the service is not reached
			}
			_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
			require.ErrorIs(t, err, broker.ErrPINLocked)
			require.NotErrorIs(t, err, broker.ErrWrongPIN)
			var e *broker.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, 1000*time.Second, e.RetryAfter)
		}
		h, err := l.b.HelloStatus(t.Context(), l.acct)
		require.NoError(t, err)
		require.Equal(t, 3, h.WrongPINs, "what the TPM does not try is no try")
		l.connect()
		l.clock.Advance(time.Hour)
		l.silent(ledger)
	})
}

// A service that never answers does not keep the user out.
func TestUnlockDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	require.NoError(t, l.b.Close())
	l.cfg.Transport = neverAnswers{over}
	l.b = l.open()
	broker.SetOnlineWait(l.b, 50*time.Millisecond)
	u := l.unlock(rightPIN)
	require.True(t, u.Offline)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := l.b.Unlock(ctx, l.acct, rightPIN)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, claims.Yes, u.MFA.MFA)
}

// Without Config.Offline no token is kept on disk, and what is wrong is the
// network.
func TestOfflineIsOptional(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), tpm.Limit{})
	require.NoError(t, l.b.Close())
	for _, f := range records(t, l.dir) {
		require.False(t, strings.Contains(f, ".pin") || strings.Contains(f, ".offline"), f)
	}
	l.b = l.open()
	l.cut()
	_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrTransient)
	require.ErrorIs(t, err, errCut)
}

// Another process that unlocked later has made a new key; what this one writes
// at its end does not replace it.
func TestOfflineOfTwoProcesses(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	other := l.open()
	_, err := other.Unlock(t.Context(), l.acct, rightPIN)
	require.NoError(t, err)
	_, err = other.AcquireTokenSilent(t.Context(), ledger)
	require.NoError(t, err)
	require.NoError(t, other.Lock(t.Context(), l.acct))
	require.NoError(t, l.b.Close())
	l.b = l.open()
	l.cut()
	require.True(t, l.unlock(rightPIN).Offline)
	l.silent(ledger)
	require.Len(t, l.status(l.acct).Others, 1)
}

// A process that still has the offline key brings back, at a sign-in with the PIN,
// what another process put away.
func TestSignInAfterAnotherProcessLocked(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	other := l.open()
	_, err := other.Unlock(t.Context(), l.acct, rightPIN)
	require.NoError(t, err)
	require.NoError(t, other.Lock(t.Context(), l.acct))
	_, err = l.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.NoError(t, err)
	require.Len(t, l.status(l.acct).Others, 1, "the PRT of the page is back beside that of the key")
	l.silent(payroll)
}
