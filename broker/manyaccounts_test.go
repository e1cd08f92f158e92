package broker_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
)

// countedStore counts what is read.
type countedStore struct {
	*store.File

	mu          sync.Mutex // guards what follows
	gets, lists int
}

func (s *countedStore) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	s.mu.Lock()
	s.gets++
	s.mu.Unlock()
	return s.File.Get(ctx, name)
}

func (s *countedStore) List(ctx context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	s.lists++
	s.mu.Unlock()
	return s.File.List(ctx, prefix)
}

func (s *countedStore) take() (gets, lists int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gets, lists = s.gets, s.lists
	s.gets, s.lists = 0, 0
	return gets, lists
}

// One account among many costs what it costs among few: New, a sign-in, a
// token and each second of Run read as many records, and the names a fixed
// number of times. Only who lists the accounts reads them.
func TestAnAccountAmongMany(t *testing.T) {
	t.Parallel()
	many := 100
	switch {
	case long():
		many = 1000
	case testing.Short():
		many = 40
	}
	type reads struct{ gets, lists int }
	measure := func(accounts int) map[string]reads {
		counted := &countedStore{File: fileStore(t, filepath.Join(t.TempDir(), "state"))}
		w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = counted }, withOptions(func(o *entratest.Options) {
			for i := range accounts {
				o.Users = append(o.Users, entratest.User{Username: fmt.Sprintf("user%d", i), Password: password})
			}
		}))
		w.join()
		for i := range accounts {
			_, err := w.b.SignIn(t.Context(), broker.Password{Username: fmt.Sprintf("user%d@contoso.example", i), Password: password})
			require.NoError(t, err)
		}
		require.NoError(t, w.b.Close())
		out := map[string]reads{}
		of := func(what string, do func()) {
			counted.take()
			do()
			gets, lists := counted.take()
			out[what] = reads{gets, lists}
		}
		var acct broker.Account
		of("New", func() { w.b = w.open() })
		of("sign-in", func() { acct = w.signIn() })
		of("sign-in again", func() { w.signIn() })
		of("token", func() { w.silent(graph, broker.WithAccount(acct)) })
		of("a second of Run", func() { require.NoError(t, broker.Watch(t.Context(), w.b)) })
		all, err := w.b.Accounts(t.Context())
		require.NoError(t, err)
		require.Len(t, all, accounts+1)
		w.clock.Advance(time.Minute)
		return out
	}
	few, lots := measure(3), measure(many)
	t.Log(few)
	require.Equal(t, few, lots)
	require.LessOrEqual(t, lots["a second of Run"].gets, 2)
	require.LessOrEqual(t, lots["a second of Run"].lists, 2)
}
