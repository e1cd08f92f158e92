package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
)

// One account that is not readable takes nothing from the others: it is said
// where it is asked for, and RemoveAccount and a sign-in bring it back.
func TestOneUnreadableAccount(t *testing.T) {
	t.Parallel()
	cut := func(good []byte) []byte { return good[:len(good)/2] }
	changed := func(good []byte) []byte {
		return append(append([]byte{}, good[:len(good)-1]...), good[len(good)-1]^1)
	}
	empty := func([]byte) []byte { return []byte{} }
	gone := func([]byte) []byte { return nil }
	for name, tt := range map[string]struct {
		suffix string
		damage func([]byte) []byte
		want   error
	}{
		"state changed":    {".state", changed, broker.ErrStateDamaged},
		"state cut":        {".state", cut, broker.ErrStateDamaged},
		"state empty":      {".state", empty, broker.ErrStateDamaged},
		"mark changed":     {".mark", changed, broker.ErrStateDamaged},
		"data key changed": {".key", changed, broker.ErrStateDamaged},
		"data key empty":   {".key", empty, broker.ErrStateDamaged},
		"state gone":       {".state", gone, broker.ErrStateDamaged},
		"mark gone":        {".mark", gone, broker.ErrStateDamaged},
		"data key gone":    {".key", gone, broker.ErrStateDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = fileStore(t, dir) })
			d := w.join()
			good := w.signIn()
			have, err := filepath.Glob(filepath.Join(dir, "account-*"))
			require.NoError(t, err)
			bad := w.signInBob()
			require.NoError(t, w.b.Close())
			f := newFile(t, dir, tt.suffix, have)
			raw, err := os.ReadFile(f)
			require.NoError(t, err)
			if raw = tt.damage(raw); raw == nil {
				require.NoError(t, os.Remove(f))
			} else {
				require.NoError(t, os.WriteFile(f, raw, 0o600))
			}

			w.b = w.open()
			accts, err := w.b.Accounts(t.Context())
			require.NoError(t, err)
			require.Equal(t, []broker.Account{good}, accts)
			w.silent(graph, broker.WithAccount(good))
			s, err := w.b.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, d.ID, s.Device.ID)
			require.Len(t, s.PRTs, 1)
			require.NotEmpty(t, s.Problem)

			_, err = w.b.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(bad))
			require.ErrorIs(t, err, tt.want)
			_, err = w.b.AcquireTokenSilent(t.Context(), graph)
			require.ErrorIs(t, err, tt.want, "it may be the one that is meant")
			_, err = w.b.SignIn(t.Context(), broker.Password{Username: bob, Password: password})
			require.ErrorIs(t, err, tt.want, "nothing is overwritten")

			require.NoError(t, w.b.RemoveAccount(t.Context(), bad))
			left, err := filepath.Glob(filepath.Join(dir, "account-*.rec"))
			require.NoError(t, err)
			require.Subset(t, have, left)
			require.Equal(t, bad, w.signInBob())
			w.silent(open, broker.WithAccount(bad))
		})
	}
}

// A registration whose data key is lost is damage, in a process that has it open
// and in the next one: it makes no second device object.
func TestLostRecordOfTheDevice(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{".key", ".state", ".mark"} {
		t.Run(suffix, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = fileStore(t, dir) })
			w.join()
			w.signIn()
			all, err := filepath.Glob(filepath.Join(dir, "device-*"+suffix+".rec"))
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.NoError(t, os.Remove(all[0]))
			if suffix == ".key" { // the others are asked for by the next process
				s, err := w.b.Status(t.Context())
				require.NoError(t, err)
				require.Contains(t, s.Problem, ".key is missing")
				require.Contains(t, s.String(), ".key is missing")
				_, err = w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
				require.ErrorIs(t, err, broker.ErrStateDamaged)
			}
			require.NoError(t, w.b.Close())
			_, err = broker.New(t.Context(), w.cfg)
			require.ErrorIs(t, err, broker.ErrStateDamaged)
			require.Len(t, w.srv.Devices(), 1)
		})
	}
}

// newFile returns the record with a suffix that was not there before.
func newFile(t *testing.T, dir, suffix string, before []string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "account-*"+suffix+".rec"))
	require.NoError(t, err)
	for _, f := range all {
		if !strings.Contains(strings.Join(before, "\n"), f) {
			return f
		}
	}
	t.Fatal("no new record")
	return ""
}

// A registration that the key store does not open is an error of New, and a new
// one in a store of its own is the way on.
func TestClearedTPMStartsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withKeys(softwareKeys(t)))
	w.join()
	w.signIn()
	w.cfg.Keys = softwareKeys(t)
	_, err := broker.New(t.Context(), w.cfg)
	require.ErrorIs(t, err, broker.ErrKeyUnusable)
	w.cfg.Store = &store.Memory{}
	w.b = w.open()
	require.False(t, w.join().Existing)
	w.signIn()
	w.silent(graph)
}

// Who asks for accounts that are not there makes a service no bigger.
func TestUnknownAccountsAreNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	for i := range 100 {
		unknown := acct
		unknown.HomeAccountID = fmt.Sprintf("00000000-0000-4000-8000-%012d.%s", i, acct.Realm)
		_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(unknown))
		require.ErrorIs(t, err, broker.ErrNoAccount)
		_, err = w.b.PRTStatus(t.Context(), unknown)
		require.ErrorIs(t, err, broker.ErrNoAccount)
		require.NoError(t, w.b.RemoveAccount(t.Context(), unknown))
	}
	require.Equal(t, 1, broker.HeldAccounts(w.b))
	w.silent(graph)
}
