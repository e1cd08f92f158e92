package broker_test

import (
	"flag"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

var writeFixtures = flag.Bool("write-fixtures", false, "write testdata/fixture anew, which gives up what the old one proves")

// fixtureTime is when the fixtures were written, by the clock of their tenant.
var fixtureTime = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

// fixtures are machines whose state an earlier version wrote: the state
// directory, the keys, and the tenant that they belong to.
var fixtures = map[string]func(t *testing.T, dir string) tpm.KeyStore{
	"software": func(t *testing.T, dir string) tpm.KeyStore {
		k, err := softkeys.Open(softkeys.File(filepath.Join(dir, "keys", "master")))
		require.NoError(t, err)
		t.Cleanup(func() { _ = k.Close() })
		return k
	},
	"swtpm": func(t *testing.T, dir string) tpm.KeyStore {
		e, err := tpmtest.StartSwtpm(t.Context(), filepath.Join(dir, "nv"))
		if os.Getenv("PRTBROKER_REQUIRE_TPM") != "1" && err != nil {
			t.Skip(err)
		}
		require.NoError(t, err)
		t.Cleanup(func() { _ = e.Close() })
		k, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = k.Close() })
		return k
	},
}

// State that was written by commit 769331c opens: the device, two accounts,
// their PRTs, a Hello key, the kept tokens and the log, with what the TPM
// sealed, and the emulator goes on as the tenant that it was.
func TestFixturesOpen(t *testing.T) {
	t.Parallel()
	if *writeFixtures {
		for name, keys := range fixtures {
			writeFixture(t, filepath.Join("testdata", "fixture", name), keys)
		}
	}
	for name, keys := range fixtures {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyTree(t, dir, filepath.Join("testdata", "fixture", name))
			entra, err := os.ReadFile(filepath.Join(dir, "entra.json"))
			require.NoError(t, err)
			w := fixtureWorld(t, dir, keys, entra, fixtureTime)

			s, err := w.b.Status(t.Context())
			require.NoError(t, err)
			require.Empty(t, s.Problem)
			require.True(t, s.Registered)
			require.Len(t, s.Accounts, 2)
			require.Len(t, s.Hello, 1)
			a, b := s.Accounts[0], s.Accounts[1]
			require.Equal(t, alice, a.PreferredUsername)
			require.Equal(t, "bob@contoso.example", b.PreferredUsername)
			require.Equal(t, prt.ByHello, w.status(a).Credential)
			require.Equal(t, prt.ByPassword, w.status(b).Credential)
			for _, acct := range s.Accounts {
				log, err := w.b.SignInLog(t.Context(), acct)
				require.NoError(t, err)
				require.NotEmpty(t, log)
			}
			if name == "swtpm" { // software cannot measure a time without a network
				w.wire.set(func(*http.Request) error { return errCut }, nil)
				u, err := w.b.Unlock(t.Context(), a, rightPIN)
				require.NoError(t, err)
				require.True(t, u.Offline)
				require.Equal(t, broker.SourceCache, w.silent(payroll, broker.WithAccount(a)).Metadata.Source)
				w.wire.set(nil, nil)
			}
			u, err := w.b.Unlock(t.Context(), a, rightPIN)
			require.NoError(t, err)
			require.False(t, u.Offline)
			w.silent(ledger, broker.WithAccount(a))
			w.silent(open, broker.WithAccount(b))
			require.NoError(t, w.b.RenewPRT(t.Context(), b))
			require.NoError(t, w.b.UnregisterDevice(t.Context()))
		})
	}
}

// fixtureWorld is the machine whose state is in dir, and its tenant.
func fixtureWorld(t *testing.T, dir string, keys func(*testing.T, string) tpm.KeyStore, entra []byte, now time.Time) *world {
	t.Helper()
	w := newWorld(t, func(w *world, o *entratest.Options) {
		w.clock = entratest.NewClock(now)
		o.Clock, o.State = w.clock, entra
		w.keys = keys(t, dir)
		w.store = fileStore(t, filepath.Join(dir, "state"))
	})
	require.NoError(t, w.b.Close())
	w.cfg.Offline = aWeek
	w.cfg.InsecureSoftwareHello = true
	w.b = w.open()
	return w
}

// writeFixture makes a machine and keeps all that it leaves behind.
func writeFixture(t *testing.T, to string, keys func(*testing.T, string) tpm.KeyStore) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "keys"), 0o700))
	w := fixtureWorld(t, dir, keys, nil, fixtureTime.Add(-time.Minute))
	w.join()
	a := w.hello()
	w.clock.Advance(time.Minute) // the unlock is the later of two MFA
	_, err := w.b.Unlock(t.Context(), a, rightPIN)
	require.NoError(t, err)
	w.silent(payroll)
	w.silent(graph)
	res, err := w.b.SignIn(t.Context(), broker.Password{Username: "bob@contoso.example", Password: password})
	require.NoError(t, err)
	_, err = w.b.AcquireTokenSilent(t.Context(), payroll, broker.WithAccount(res.Account))
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.NoError(t, w.b.Close())
	require.NoError(t, w.keys.Close())
	entra, err := w.srv.State()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "entra.json"), entra, 0o600))
	require.NoError(t, os.RemoveAll(to))
	copyTree(t, to, dir)
}

// copyTree copies files, for their owner alone.
func copyTree(t *testing.T, to, from string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if strings.HasSuffix(rel, "lock") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	}))
}
