package broker_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// steppedKeys are keys of a TPM where a test steps in at what a PIN seals.
type steppedKeys struct {
	*tpmtest.Store

	mu         sync.Mutex // guards all below
	onSeal     func() error
	onUnseal   func() error
	onUnsealed func() error
}

// at sets what happens once after the next sealing or question whether one is
// due, or before or after the next
// opening. Its error is what the caller gets.
func (k *steppedKeys) at(point *func() error, what func() error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*point = what
}

func (k *steppedKeys) step(point *func() error) error {
	k.mu.Lock()
	what := *point
	*point = nil
	k.mu.Unlock()
	if what == nil {
		return nil
	}
	return what()
}

func (k *steppedKeys) SealPIN(ctx context.Context, plain, aad, pin []byte, l tpm.Limit) ([]byte, error) {
	sealed, err := k.TPM.SealPIN(ctx, plain, aad, pin, l)
	return sealed, errors.Join(err, k.step(&k.onSeal))
}

// Left is asked where sealing anew may not be due.
func (k *steppedKeys) Left(ctx context.Context, sealed, aad []byte) (tpm.Limit, error) {
	left, err := k.TPM.Left(ctx, sealed, aad)
	return left, errors.Join(err, k.step(&k.onSeal))
}

func (k *steppedKeys) UnsealPIN(ctx context.Context, sealed, aad, pin []byte) ([]byte, error) {
	if err := k.step(&k.onUnseal); err != nil {
		return nil, err
	}
	plain, err := k.TPM.UnsealPIN(ctx, sealed, aad, pin)
	return plain, errors.Join(err, k.step(&k.onUnsealed))
}

// newSteppedLaptop has PRTs of three credentials.
func newSteppedLaptop(t *testing.T) (*laptop, *steppedKeys) {
	t.Helper()
	l := &laptop{tpm: tpms.Swtpm(t)}
	keys := &steppedKeys{Store: l.openTPM(t)}
	l.prepare(t, keys, aWeek)
	l.signIn()
	require.Len(t, l.status(l.acct).Others, 2)
	return l, keys
}

// another opens the state in another process, which has the PIN too.
func (l *laptop) another() *broker.Broker {
	l.t.Helper()
	b := l.open()
	_, err := b.Unlock(l.t.Context(), l.acct, rightPIN)
	require.NoError(l.t, err)
	l.clock.Advance(time.Minute)
	return b
}

// An account that is locked while it is unlocked loses no PRT, in whatever
// order that comes.
func TestLockDuringUnlock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		offline bool
		another bool
		locked  bool // before
		due     bool // an eighth of the limit is over
	}{
		{name: "online"}, {name: "online, another process", another: true},
		{name: "offline", offline: true}, {name: "offline, another process", offline: true, another: true},
		{name: "offline, locked before", offline: true, another: true, locked: true},
		{name: "online, sealed anew", due: true}, {name: "online, sealed anew, another process", due: true, another: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, keys := newSteppedLaptop(t)
			if tt.due {
				l.clock.Advance(24 * time.Hour)
			}
			locker := l.b
			if tt.another {
				locker = l.another()
			}
			if tt.locked {
				require.NoError(t, l.b.Lock(t.Context(), l.acct))
			}
			lock := func() error { return locker.Lock(t.Context(), l.acct) }
			if tt.offline {
				l.cut()
				keys.at(&keys.onUnseal, lock)
			} else {
				keys.at(&keys.onSeal, lock)
			}
			_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
			if err != nil {
				require.ErrorIs(t, err, broker.ErrLocked)
			}
			l.reopen()
			l.cut()
			require.True(t, l.unlock(rightPIN).Offline)
			require.Len(t, l.status(l.acct).Others, 2)
			l.reopen()
			require.Len(t, l.status(l.acct).Others, 2)
		})
	}
}

// A sign-in by the PIN that is overtaken by a change of the PIN or of the key
// undoes nothing of it.
func TestHelloKeyChangesDuringSignIn(t *testing.T) {
	t.Parallel()
	type change struct {
		name   string
		change func(*laptop, *broker.Broker) error
		opens  broker.PIN // nil: nothing
		due    bool       // an eighth of the limit is over
	}
	var all []change
	for _, c := range []change{
		{"a new PIN", func(l *laptop, b *broker.Broker) error {
			return b.ChangePIN(l.t.Context(), l.acct, rightPIN, otherPIN)
		}, otherPIN, false},
		{"a new key", func(l *laptop, b *broker.Broker) error {
			return b.ResetPIN(l.t.Context(), l.acct, otherPIN)
		}, otherPIN, false},
		{"no key", func(l *laptop, b *broker.Broker) error { return b.RemoveHello(l.t.Context(), l.acct) }, nil, false},
	} {
		all = append(all, c)
		c.name, c.due = c.name+", sealed anew", true
		all = append(all, c)
	}
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			l, keys := newSteppedLaptop(t)
			if tt.due {
				l.clock.Advance(24 * time.Hour)
			}
			other := l.another()
			_, err := l.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true}) // fresh enough for a new key
			require.NoError(t, err)
			keys.at(&keys.onSeal, func() error { return tt.change(l, other) })
			_, err = l.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
			require.NoError(t, err)
			if tt.opens == nil {
				require.ErrorIs(t, l.b.Lock(t.Context(), l.acct), errors.ErrUnsupported, "nothing would open it")
				l.silent(ledger)
				return
			}
			l.cut()
			l.clock.Advance(time.Hour)
			_, err = l.b.Unlock(t.Context(), l.acct, rightPIN)
			require.ErrorIs(t, err, broker.ErrWrongPIN)
			require.True(t, l.unlock(tt.opens).Offline)
		})
	}
}

// After a reset the forgotten PIN opens nothing, whatever became of the
// preparation for the new one.
func TestResetPINEndsTheOldOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		prepare func(*laptop, *steppedKeys)
		opens   bool // the new one, without the service
	}{
		{"prepared", func(*laptop, *steppedKeys) {}, true},
		{"not prepared", func(_ *laptop, k *steppedKeys) {
			k.at(&k.onSeal, func() error { return errors.New("tpm: busy") })
		}, false},
		{"by a process that prepares nothing", func(l *laptop, _ *steppedKeys) {
			l.cfg.Offline = tpm.Limit{}
			l.reopen()
		}, false},
		{"of a locked account", func(l *laptop, _ *steppedKeys) { require.NoError(l.t, l.b.Lock(l.t.Context(), l.acct)) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, keys := newSteppedLaptop(t)
			tt.prepare(l, keys)
			require.NoError(t, l.b.ResetPIN(t.Context(), l.acct, otherPIN))
			l.cfg.Offline = aWeek
			l.reopen()
			l.silent(ledger)
			l.cut()
			l.clock.Advance(time.Hour)
			_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
			if !tt.opens {
				require.ErrorIs(t, err, broker.ErrTransient)
				_, err = l.b.Unlock(t.Context(), l.acct, otherPIN)
				require.ErrorIs(t, err, broker.ErrTransient)
				require.NotErrorIs(t, err, broker.ErrWrongPIN)
				return
			}
			require.ErrorIs(t, err, broker.ErrWrongPIN)
			require.True(t, l.unlock(otherPIN).Offline)
			require.NoError(t, l.b.Lock(t.Context(), l.acct))
			require.True(t, l.unlock(otherPIN).Offline)
		})
	}
}

// What Lock put away stays where it is when the TPM cannot tell for the moment,
// and is given up only when the TPM says that its time is over.
func TestWhatWasPutAway(t *testing.T) {
	t.Parallel()
	l, keys := newSteppedLaptop(t)
	require.NoError(t, l.b.Lock(t.Context(), l.acct))
	keys.at(&keys.onUnseal, func() error { return errors.New("tpm: busy") })
	require.False(t, l.unlock(rightPIN).Offline)
	require.Empty(t, l.status(l.acct).Others)
	require.False(t, l.unlock(rightPIN).Offline)
	require.Len(t, l.status(l.acct).Others, 2)

	require.NoError(t, l.b.Lock(t.Context(), l.acct))
	require.NoError(t, l.tpm.AdvanceClock(8*24*time.Hour))
	require.False(t, l.unlock(rightPIN).Offline)
	require.Empty(t, l.status(l.acct).Others)
	l.silent(ledger)
	require.NoError(t, l.b.Lock(t.Context(), l.acct), "and the next one opens again")
	l.cut()
	require.True(t, l.unlock(rightPIN).Offline)
}

// A call that was under way when the account was locked leaves no token, and
// says why it failed.
func TestTokensAfterLock(t *testing.T) {
	t.Parallel()
	l, _ := newSteppedLaptop(t)
	require.NoError(t, l.b.Close())
	now := l.cfg.Now
	var at, seen atomic.Int32
	l.cfg.Now = func() time.Time {
		if seen.Add(1) == at.Load() {
			require.NoError(t, l.b.Lock(t.Context(), l.acct))
		}
		return now()
	}
	l.b = l.open()
	for point := int32(1); ; point++ {
		l.unlock(rightPIN)
		seen.Store(0)
		at.Store(point)
		_, err := l.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh())
		at.Store(-1)
		h, herr := l.b.HelloStatus(t.Context(), l.acct)
		require.NoError(t, herr)
		if !h.Locked {
			require.NoError(t, err)
			require.Greater(t, point, int32(8), "the points were really there")
			return
		}
		require.ErrorIs(t, err, broker.ErrLocked, "point %d", point)
		_, err = l.b.AcquireTokenSilent(t.Context(), ledger)
		require.ErrorIs(t, err, broker.ErrLocked, "point %d", point)
	}
}

// A process that has the PIN locks the account although another one signed in
// by it since, and an unlock with a network keeps the tokens of the process
// before.
func TestOfflineKeyIsShared(t *testing.T) {
	t.Parallel()
	l, _ := newSteppedLaptop(t)
	l.silent(payroll)
	other := l.open()
	_, err := other.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.NoError(t, err)
	require.NoError(t, l.b.Lock(t.Context(), l.acct))

	l.reopen()
	l.unlock(rightPIN)
	l.reopen()
	l.cut()
	require.True(t, l.unlock(rightPIN).Offline)
	require.Equal(t, broker.SourceCache, l.silent(payroll).Metadata.Source)
}

// Close ends a call that is under way, at any point, with ErrClosed: a
// temporary failure would ask the caller to try again. Nothing stays in memory
// after it.
func TestCloseDuringUnlock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cut  bool
		call func(*laptop, *broker.Broker) error
	}{
		{"Unlock offline", true, (*laptop).unlockOn},
		{"Unlock", false, (*laptop).unlockOn},
		{"SignIn", true, func(l *laptop, b *broker.Broker) error {
			_, err := b.SignIn(l.t.Context(), broker.Password{Username: alice, Password: password})
			return err
		}},
		{"AcquireTokenSilent", true, func(l *laptop, b *broker.Broker) error {
			_, err := b.AcquireTokenSilent(l.t.Context(), open, broker.WithForceRefresh())
			return err
		}},
		{"RenewPRT", true, func(l *laptop, b *broker.Broker) error { return b.RenewPRT(l.t.Context(), l.acct) }},
		{"ResetPIN", true, func(l *laptop, b *broker.Broker) error { return b.ResetPIN(l.t.Context(), l.acct, otherPIN) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := newSteppedLaptop(t)
			if tt.cut {
				l.cut()
			}
			require.NoError(t, l.b.Close())
			c := &closer{now: l.cfg.Now}
			l.cfg.Now = c.Now
			for point := int32(1); ; point++ {
				b := l.open()
				closed := c.closeAt(b, point)
				err := tt.call(l, b)
				if !c.over() {
					if tt.cut && !errors.Is(err, broker.ErrTransient) {
						require.NoError(t, err)
					}
					require.Greater(t, point, int32(2), "the points were really there")
					require.NoError(t, b.Close())
					return
				}
				require.NoError(t, <-closed)
				if err != nil {
					require.ErrorIs(t, err, broker.ErrClosed, "point %d", point)
					require.NotErrorIs(t, err, broker.ErrTransient, "point %d", point)
				}
				require.Zero(t, broker.CachedTokens(b), "point %d", point)
			}
		})
	}
}

func (l *laptop) unlockOn(b *broker.Broker) error {
	_, err := b.Unlock(l.t.Context(), l.acct, rightPIN)
	return err
}

// A closer is a clock that closes a broker when it is read for the nth time,
// and shows the time when everything that runs there has been cancelled.
type closer struct {
	now func() time.Time

	mu     sync.Mutex // guards what follows; not held while it closes
	b      *broker.Broker
	left   int32
	closed chan error
}

// closeAt says where to close b, and returns what its Close will return.
func (c *closer) closeAt(b *broker.Broker, point int32) <-chan error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b, c.left, c.closed = b, point, make(chan error, 1)
	return c.closed
}

// over ends the watch and reports whether the broker was closed.
func (c *closer) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.left <= 0
	c.left = 0
	return was
}

func (c *closer) Now() time.Time {
	c.mu.Lock()
	c.left--
	b, closed, last := c.b, c.closed, c.left == 0
	c.mu.Unlock()
	if last {
		go func() { closed <- b.Close() }()
		<-broker.Canceled(b)
	}
	return c.now()
}

// A store that another process keeps shut does not keep the caller of an
// unlock longer than its context.
func TestUnlockEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l, keys := newSteppedLaptop(t)
	shut := flock.New(filepath.Join(l.dir, ".write.lock"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	require.NoError(t, l.b.Close())
	l.cfg.Store = watched{l.cfg.Store.(*store.File), func() {
		if shut.Locked() {
			cancel()
		}
	}}
	l.b = l.open()
	l.cut()
	keys.at(&keys.onUnseal, func() error { return shut.Lock() })
	_, err := l.b.Unlock(ctx, l.acct, rightPIN)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, shut.Locked())
	require.NoError(t, shut.Close())
}

// watched is a store that tells when a write waits for another process.
type watched struct {
	*store.File
	waits func()
}

func (s watched) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	return s.File.Put(waiting{ctx, s.waits}, name, data, old)
}

func (s watched) Delete(ctx context.Context, name string, old store.Version) error {
	return s.File.Delete(waiting{ctx, s.waits}, name, old)
}

// waiting is a context that tells when somebody waits for its end.
type waiting struct {
	context.Context
	waits func()
}

func (w waiting) Done() <-chan struct{} {
	w.waits()
	return w.Context.Done()
}
