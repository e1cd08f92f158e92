package broker_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
)

// bareStore is a store that lends no leases. It lets another writer in before
// the first write of an account's record.
type bareStore struct {
	store.Store
	suffix string
	wedge  func()
	once   sync.Once
}

func (s *bareStore) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if s.wedge != nil && strings.HasPrefix(name, "account-") && strings.HasSuffix(name, s.suffix) {
		s.once.Do(s.wedge)
	}
	return s.Store.Put(ctx, name, data, old)
}

// leasingStore lends leases, and says when an account's is asked for.
type leasingStore struct {
	bareStore
	asked func()
}

func (s *leasingStore) Lease(ctx context.Context, name string) (func(), error) {
	if s.asked != nil && strings.HasPrefix(name, "account-") {
		s.asked()
	}
	return s.Store.(store.Leaser).Lease(ctx, name)
}

// Two first sign-ins of a user at once: neither PRT is lost, and the state is
// whole, at whatever write the second one comes in between.
func TestTwoFirstSignIns(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{".key", ".state", ".mark"} {
		for name, leases := range map[string]bool{"leases": true, "no leases": false} {
			t.Run(name+", at "+suffix, func(t *testing.T) {
				w := newWorld(t)
				w.join()
				testTwoFirst(t, w, suffix, leases, broker.Password{Username: alice, Password: password})
				accts, err := w.b.Accounts(t.Context())
				require.NoError(t, err)
				require.Len(t, accts, 1)
				s := w.status(accts[0])
				require.Equal(t, prt.ByRefreshToken, s.Credential)
				require.Len(t, s.Others, 1)
				w.silent(payroll)
			})
			t.Run(name+", unregistered, at "+suffix, func(t *testing.T) {
				w := unboundWorld(t)
				testTwoFirst(t, w, suffix, leases, broker.AuthCode{LoginHint: alice})
				w.silent(open)
			})
		}
	}
}

// testTwoFirst signs in by cred, and by the page in another process meanwhile.
// w.b is then a third process.
func testTwoFirst(t *testing.T, w *world, suffix string, leases bool, cred broker.Credential) {
	asked, done := make(chan struct{}), make(chan error, 1)
	first, second := &leasingStore{}, &leasingStore{}
	first.Store, second.Store = w.store, w.store
	second.asked = sync.OnceFunc(func() { close(asked) })
	one, two := w.on(t, first), w.on(t, second)
	if !leases {
		one, two = w.on(t, &first.bareStore), w.on(t, &second.bareStore)
	}
	first.suffix = suffix
	first.wedge = func() {
		go func() {
			_, err := two.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
			done <- err
		}()
		select {
		case <-asked: // for the lease, and waits
		case err := <-done:
			done <- err
		}
	}
	_, err := one.SignIn(t.Context(), cred)
	require.NoError(t, err)
	require.NoError(t, <-done)
	w.b = w.open()
}

// What another process did to an account in between: it is not believed to be
// as it was.
func TestAnotherProcessAndTheAccount(t *testing.T) {
	t.Parallel()
	pass := broker.Password{Username: alice, Password: password}
	for name, test := range map[string]func(t *testing.T, w *world, other *broker.Broker, acct broker.Account){
		"removed it, and it signs in here": func(t *testing.T, w *world, other *broker.Broker, acct broker.Account) {
			_, err := other.SignIn(t.Context(), pass)
			require.NoError(t, err)
			_, err = other.AcquireTokenSilent(t.Context(), open, broker.WithAccount(acct))
			require.NoError(t, err)
			w.silent(open)
		},
		"removed it, and signed it in anew": func(t *testing.T, w *world, other *broker.Broker, acct broker.Account) {
			w.signIn()
			issued := w.status(acct).IssuedOn
			s, err := other.PRTStatus(t.Context(), acct)
			require.NoError(t, err)
			require.Equal(t, issued, s.IssuedOn)
			require.NoError(t, other.RenewPRT(t.Context(), acct))
			w.silent(open)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.join()
			acct := w.signIn()
			for range 3 { // generations
				w.clock.Advance(1e9)
				require.NoError(t, w.b.RenewPRT(t.Context(), acct))
				w.silent(graph, broker.WithForceRefresh())
			}
			other := w.open()
			_, err := other.AcquireTokenSilent(t.Context(), graph)
			require.NoError(t, err)
			require.NoError(t, w.b.RemoveAccount(t.Context(), acct))
			w.clock.Advance(1e9)
			test(t, w, other, acct)
		})
	}
}

// Two processes enroll at once over one directory, as two apps do at the first
// login: one device, one account, and both have it.
func TestEnrollAtOnce(t *testing.T) {
	t.Parallel()
	for range 5 {
		w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = fileStore(t, t.TempDir()+"/state") })
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i := range errs {
			b := w.open()
			wg.Go(func() {
				_, errs[i] = b.Enroll(t.Context(), broker.Password{Username: alice, Password: password}, broker.EnrollRequest{})
			})
		}
		wg.Wait()
		require.NoError(t, errs[0])
		require.NoError(t, errs[1])
		require.Len(t, w.srv.Devices(), 1)
		w.b = w.open()
		w.silent(graph)
	}
}
