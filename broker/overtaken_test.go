package broker_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
)

// Calls that are overtaken, by another process or by their caller's end, at the
// point where it would hurt.

// gateStore is a store where a test steps in.
type gateStore struct {
	store.Store
	mu   sync.Mutex
	hook func(op, name string)
}

func (s *gateStore) set(h func(op, name string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = h
}

func (s *gateStore) call(op, name string) {
	s.mu.Lock()
	h := s.hook
	s.mu.Unlock()
	if h != nil {
		h(op, name)
	}
}

func (s *gateStore) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	s.call("get", name)
	return s.Store.Get(ctx, name)
}

func (s *gateStore) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	s.call("put", name)
	return s.Store.Put(ctx, name, data, old)
}

func (s *gateStore) Delete(ctx context.Context, name string, old store.Version) error {
	s.call("delete", name)
	return s.Store.Delete(ctx, name, old)
}

func (s *gateStore) Lease(ctx context.Context, name string) (func(), error) {
	return s.Store.(store.Leaser).Lease(ctx, name)
}

func (s *gateStore) List(ctx context.Context, prefix string) ([]string, error) {
	s.call("list", prefix)
	return s.Store.List(ctx, prefix)
}

// A registration of a Hello key whose caller has gone, and that is slow to be
// written down, does not replace the key of the next one.
func TestLateHelloRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &gateStore{Store: w.store}
	w.cfg.Store = g
	softwareHello(w)
	w.join()
	acct, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	free, stuck := make(chan struct{}), make(chan struct{})
	w.wire.set(nil, func(r *http.Request) error {
		if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "EnrollmentServer") && strings.Contains(strings.ToLower(r.URL.Path), "key") {
			g.set(func(op, name string) {
				if op == "get" && strings.HasSuffix(name, ".mark") { // the update of finish begins
					g.set(nil)
					cancel()
					close(stuck)
					<-free
				}
			})
		}
		return nil
	})
	err = w.b.ProvisionHello(ctx, acct.Account, rightPIN)
	require.ErrorIs(t, err, context.Canceled)
	<-stuck
	w.wire.set(nil, nil)
	second := make(chan error, 1)
	go func() { second <- w.b.ProvisionHello(t.Context(), acct.Account, otherPIN) }()
	close(free)
	if err := <-second; err != nil {
		require.ErrorIs(t, err, broker.ErrHelloExists)
	}
	broker.WaitBackground(w.b)
	s, err := w.b.HelloStatus(t.Context(), acct.Account)
	require.NoError(t, err)
	require.Equal(t, w.helloKeys(alice), []string{s.KeyID})
}

// Unregistering ends as a whole although the broker is closed meanwhile.
func TestCloseDuringUnregister(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	acct := w.hello()
	g := &gateStore{Store: w.store}
	w.cfg.Store = g
	require.NoError(t, w.b.Close())
	w.b = w.open()
	closed := make(chan error, 1)
	b := w.b
	g.set(func(op, name string) {
		if op == "delete" && strings.HasPrefix(name, "device-") && strings.HasSuffix(name, ".key") {
			g.set(nil)
			go func() { closed <- b.Close() }()
			for {
				if _, err := b.Accounts(t.Context()); errors.Is(err, broker.ErrClosed) {
					break
				}
				runtime.Gosched()
			}
		}
	})
	if err := b.UnregisterDevice(t.Context()); err != nil {
		require.ErrorIs(t, err, broker.ErrClosed)
	}
	require.NoError(t, <-closed)
	w.b = w.open()
	s := w.status(acct)
	require.Equal(t, broker.PRTNone, s.State)
}

// Whoever registers next waits until what its caller has left behind is erased.
func TestUnregisterKeepsItsLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	raw := w.cfg
	g := &gateStore{Store: w.store}
	w.cfg.Store = g
	w.reopen()
	ctx, cancel := context.WithCancel(t.Context())
	free := make(chan struct{})
	g.set(func(op, name string) {
		if op == "list" && strings.HasPrefix(name, "device-") && strings.HasSuffix(name, ".") { // the sweep of destroy
			g.set(nil)
			cancel()
			<-free
		}
	})
	require.ErrorIs(t, w.b.UnregisterDevice(ctx), context.Canceled)
	first := w.b
	w.cfg = raw
	w.b = w.open() // another process
	done := make(chan *broker.Device, 1)
	go func() { done <- w.join() }()
	close(free)
	broker.WaitBackground(first)
	d := <-done
	w.b = w.open()
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Registered)
	require.Equal(t, d.ID, s.Device.ID)
	w.signIn()
}

// An unlock that comes while the account is being locked takes nothing from the
// lock.
func TestUnlockDuringLock(t *testing.T) {
	t.Parallel()
	l := &laptop{tpm: tpms.Swtpm(t)}
	l.prepare(t, l.openTPM(t), aWeek)
	g := &gateStore{Store: l.store}
	l.cfg.Store = g
	l.reopen()
	l.unlock(rightPIN)
	l.cut()
	l.clock.Advance(10 * time.Minute)
	g.set(func(op, name string) {
		if op == "get" && strings.HasSuffix(name, ".offline") {
			g.set(nil)
			u, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
			require.NoError(t, err)
			require.True(t, u.Offline)
		}
	})
	require.NoError(t, l.b.Lock(t.Context(), l.acct))
	h, err := l.b.HelloStatus(t.Context(), l.acct)
	require.NoError(t, err)
	require.True(t, h.Locked)
}

// What was put away since the TPM said that the time is over is not given up.
func TestWhatWasPutAwaySince(t *testing.T) {
	t.Parallel()
	l, keys := newSteppedLaptop(t)
	b2 := l.b      // it holds the offline key
	b1 := l.open() // a process that starts now
	require.NoError(t, l.tpm.AdvanceClock(8*24*time.Hour))
	keys.at(&keys.onUnsealed, func() error {
		_, err := b2.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN}) // the limits begin anew
		require.NoError(t, err)
		return b2.Lock(t.Context(), l.acct)
	})
	_, err := b1.Unlock(t.Context(), l.acct, rightPIN)
	require.NoError(t, err)
	l.b = l.open()
	_, err = l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.NoError(t, err)
	require.Len(t, l.status(l.acct).Others, 2)
}

// locking locks the account while the user is on the page.
type locking struct {
	*person
	at func()
}

func (p locking) Authorize(ctx context.Context, url, prefix string) (string, error) {
	to, err := p.person.Authorize(ctx, url, prefix)
	p.at()
	return to, err
}

// A token that a page brings after the account was locked is not kept.
func TestTokenOfAPageAfterLock(t *testing.T) {
	t.Parallel()
	l := &laptop{tpm: tpms.Swtpm(t)}
	l.prepare(t, l.openTPM(t), aWeek)
	l.cfg.Prompter = locking{l.person, func() { require.NoError(t, l.b.Lock(t.Context(), l.acct)) }}
	l.reopen()
	l.unlock(rightPIN)
	fail := true
	inner := l.cfg.Transport
	l.wire.set(nil, nil)
	s := &stranger{inner: inner, answer: func(r *http.Request) *http.Response {
		if fail && strings.HasSuffix(r.URL.Path, "/token") {
			body, err := r.GetBody()
			require.NoError(t, err)
			buf := make([]byte, r.ContentLength)
			n, _ := body.Read(buf)
			if !strings.Contains(string(buf[:n]), "srv_challenge") {
				fail = false
				return reply(400, `{"error":"invalid_grant","suberror":"consent_required","error_description":"AADSTS65001: no consent","error_codes":[65001]}`)
			}
		}
		return nil
	}}
	l.cfg.Transport = s
	require.NoError(t, l.b.Close())
	l.b = l.open()
	fail = false
	l.unlock(rightPIN)
	fail = true
	_, err := l.b.AcquireTokenInteractive(t.Context(), open)
	require.ErrorIs(t, err, broker.ErrLocked)
	h, herr := l.b.HelloStatus(t.Context(), l.acct)
	require.NoError(t, herr)
	require.True(t, h.Locked)
	_, err = l.b.AcquireTokenSilent(t.Context(), open)
	require.ErrorIs(t, err, broker.ErrLocked)
}
