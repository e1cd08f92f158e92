package broker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
)

// userFile is a program's own file about a user, with the broker's state in it.
type userFile struct {
	t    *testing.T
	path string
	Name string `json:"name"`
	// State is what the broker keeps.
	State []byte `json:"state"`
}

// open reads the file, and returns a store that writes it at each change.
func (f *userFile) open() *store.Blob {
	f.t.Helper()
	raw, err := os.ReadFile(f.path)
	if err == nil {
		require.NoError(f.t, json.Unmarshal(raw, f))
	}
	s, err := store.NewBlob(f.State, f.save)
	require.NoError(f.t, err)
	return s
}

func (f *userFile) save(_ context.Context, value []byte) error {
	f.State = value
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return os.WriteFile(f.path, raw, 0o600)
}

func newUserFile(t *testing.T, name string) *userFile {
	return &userFile{t: t, Name: name, path: filepath.Join(t.TempDir(), name+".json")}
}

// The state of a user in the program's JSON: each step is another process, which
// has nothing but the file and the key store.
func TestStateInJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newUserFile(t, "alice")
	process := func() {
		require.NoError(t, w.b.Close())
		w.cfg.Store = f.open()
		w.b = w.open()
	}
	process()
	w.join()
	process()
	acct := w.signIn()
	process()
	w.wire.take()
	require.Equal(t, broker.SourcePRT, w.silent(open).Metadata.Source)
	require.Equal(t, []string{"nonce", "token"}, w.wire.take())
	process()
	require.NoError(t, w.b.RenewPRT(t.Context(), acct))
	process()
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Registered)
	require.Empty(t, s.Problem)
	require.Equal(t, []broker.Account{acct}, s.Accounts)
	require.Len(t, w.srv.Devices(), 1)
	require.Less(t, len(f.State), 32<<10)

	raw, err := os.ReadFile(f.path)
	require.NoError(t, err)
	for _, value := range [][]byte{raw, f.State} {
		for _, secret := range []string{"contoso", acct.LocalAccountID, acct.PreferredUsername, "refresh_token", "PRIVATE"} {
			require.False(t, bytes.Contains(bytes.ToLower(value), bytes.ToLower([]byte(secret))), secret)
		}
	}

	// The value alone opens nothing: another machine has other keys.
	other := w.cfg
	other.Store, other.Keys = f.open(), softwareKeys(t)
	_, err = broker.New(t.Context(), other)
	require.ErrorIs(t, err, broker.ErrKeyUnusable)
}

// A process that ends when the service has made the device object, and before
// the certificate is here, leaves a file by which the next one has the same object.
func TestStateInJSONKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newUserFile(t, "alice")
	require.NoError(t, w.b.Close())
	w.cfg.Store = f.open()
	w.b = w.open()
	w.wire.set(nil, func(r *http.Request) error {
		if strings.HasPrefix(r.URL.Path, "/EnrollmentServer/device") {
			return errCut
		}
		return nil
	})
	cred := broker.Password{Username: alice, Password: password}
	_, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: cred})
	require.ErrorIs(t, err, broker.ErrTransient)
	require.NoError(t, w.b.Close())

	w.wire.set(nil, nil)
	w.cfg.Store = f.open()
	w.b = w.open()
	w.join()
	require.Len(t, w.srv.Devices(), 1)
}

// Two users of a machine, each with a value of its own, know nothing of each
// other.
func TestStateOfTwoUsersInJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"alice", "bob"} {
		cfg := w.cfg
		cfg.Store = newUserFile(t, name).open()
		b, err := broker.New(t.Context(), cfg)
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		broker.SetSleep(b, w.sleep)
		cred := broker.Password{Username: name + "@contoso.example", Password: password}
		_, err = b.Enroll(t.Context(), cred, broker.EnrollRequest{})
		require.NoError(t, err)
		all, err := b.Accounts(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, cred.Username, all[0].PreferredUsername)
	}
	require.Len(t, w.srv.Devices(), 2)
}
