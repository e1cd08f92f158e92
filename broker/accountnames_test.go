package broker_test

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
)

// An account is found by its user name alone, and by the login hint; with several
// and no word about which, the error says so.
func TestAccountByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	a := w.signIn()
	byName := broker.Account{PreferredUsername: "Alice@Contoso.Example"}
	one := w.silent(open)
	w.wire.take()
	for _, opt := range []broker.CallOption{broker.WithAccount(byName), broker.WithLoginHint(alice)} {
		require.Equal(t, one.AccessToken, w.silent(open, opt).AccessToken)
	}
	require.Empty(t, w.wire.take(), "from memory")
	for _, opt := range []broker.CallOption{broker.WithAccount(broker.Account{PreferredUsername: bob}), broker.WithLoginHint(bob)} {
		_, err := w.b.AcquireTokenSilent(t.Context(), open, opt)
		require.ErrorIs(t, err, broker.ErrNoAccount, "the only account is another one")
	}

	b := w.signInBob()
	_, err := w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrSeveralAccounts)
	require.NotErrorIs(t, err, broker.ErrInteractionRequired)
	for _, want := range []broker.Account{a, b} {
		require.Equal(t, want, w.silent(graph, broker.WithLoginHint(want.PreferredUsername)).Account)
		require.Equal(t, want, w.silent(graph, broker.WithAccount(broker.Account{PreferredUsername: want.PreferredUsername})).Account)
		s, err := w.b.PRTStatus(t.Context(), broker.Account{PreferredUsername: want.PreferredUsername})
		require.NoError(t, err)
		require.Equal(t, want, s.Account)
	}
	res, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password}, broker.WithAccount(byName))
	require.NoError(t, err)
	require.Equal(t, a, res.Account)
	_, err = w.b.SignIn(t.Context(), broker.Password{Username: bob, Password: password}, broker.WithAccount(byName))
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "another user")

	require.NoError(t, w.b.RemoveAccount(t.Context(), byName))
	require.NoError(t, w.b.RemoveAccount(t.Context(), byName), "nobody of that name")
	left, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []broker.Account{b}, left)

	// A hint of somebody who is not here leads to a sign-in, and binds nobody.
	res, err = w.b.AcquireTokenInteractive(t.Context(), open, broker.WithLoginHint(alice))
	require.NoError(t, err)
	require.Equal(t, a, res.Account)
}

// Accounts are sorted by name, whatever their ids, and those of one name by id.
func TestAccountsAreSorted(t *testing.T) {
	t.Parallel()
	id := func(n string) string { return "0b6a0000-0000-4000-8000-00000000000" + n }
	w := newWorld(t, withMemory, withOptions(func(o *entratestOptions) {
		o.Users = []entratest.User{
			{Username: "alice", ID: id("3"), Password: password}, {Username: "bob", ID: id("1"), Password: password}, {Username: "carol", ID: id("2"), Password: password},
		}
	}))
	w.join()
	for _, name := range []string{"carol", "alice", "bob"} {
		_, err := w.b.SignIn(t.Context(), broker.Password{Username: name + "@contoso.example", Password: password})
		require.NoError(t, err)
	}
	all, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	var names []string
	for _, a := range all {
		names = append(names, a.PreferredUsername)
	}
	require.Equal(t, []string{alice, bob, "carol@contoso.example"}, names)
}

// An account that cannot be erased is not reported as removed, and none is taken
// for all.
func TestRemoveAccountThatStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	acct := w.signIn()
	require.ErrorContains(t, w.b.RemoveAccount(t.Context(), broker.Account{}), "the Account is empty")
	b := w.on(t, undeletable{w.store})
	require.ErrorIs(t, b.RemoveAccount(t.Context(), acct), os.ErrPermission)
	require.Equal(t, broker.PRTFresh, w.status(acct).State)
}

// undeletable is a store that deletes nothing.
type undeletable struct{ store.Store }

func (undeletable) Delete(context.Context, string, store.Version) error { return os.ErrPermission }
