package broker_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

const (
	married     = "alice.example@contoso.example"
	marriedName = "Alice Married"
)

// rename is what an administrator does in the directory.
func (w *world) rename() {
	w.t.Helper()
	require.NoError(w.t, w.srv.RenameUser(alice, married, marriedName))
}

// noting is a person at whose pages somebody looks first.
type noting struct {
	*person
	see func(page string)
}

func (n *noting) Authorize(ctx context.Context, page, prefix string) (string, error) {
	n.see(page)
	return n.person.Authorize(ctx, page, prefix)
}

// isRenamed checks by what name the one account is known, everywhere, and that it
// is the same account.
func isRenamed(t *testing.T, w *world, was broker.Account) {
	t.Helper()
	want := was
	want.PreferredUsername, want.Name = married, marriedName
	all, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []broker.Account{want}, all)
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, all, s.Accounts)
	require.Contains(t, s.String(), married)
	require.NotContains(t, s.String(), alice)
	require.Equal(t, want, w.status(was).Account)
	for _, who := range [][]broker.CallOption{
		nil, {broker.WithLoginHint(married)}, {broker.WithAccount(broker.Account{PreferredUsername: married})}, {broker.WithAccount(was)},
	} {
		require.Equal(t, want, w.silent(graph, who...).Account)
	}
	_, err = w.b.AcquireTokenSilent(t.Context(), graph, broker.WithLoginHint(alice))
	require.ErrorIs(t, err, broker.ErrNoAccount, "nobody is named so any more")

	// The page is told the newest name, also where the caller has kept the old one.
	var hint string
	w.cfg.Prompter = &noting{person: w.person, see: func(page string) {
		u, err := url.Parse(page)
		require.NoError(t, err)
		hint = u.Query().Get("login_hint")
	}}
	w.person.Username = married
	b := w.open()
	for _, kept := range []broker.Account{was, want} {
		hint = ""
		_, err = b.AcquireTokenInteractive(t.Context(), graph, broker.WithAccount(kept), broker.WithNewSignIn())
		require.NoError(t, err)
		require.Equal(t, married, hint)
	}
}

// A user who was renamed is known by the newest name as soon as a reply tells it,
// whatever the reply is for.
func TestRenamedUser(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(t *testing.T, w *world, acct broker.Account){
		"token": func(_ *testing.T, w *world, _ broker.Account) { w.silent(open, broker.WithForceRefresh()) },
		"renewal": func(t *testing.T, w *world, acct broker.Account) {
			require.NoError(t, w.b.RenewPRT(t.Context(), acct))
		},
		"sign-in by password": func(t *testing.T, w *world, _ broker.Account) {
			res, err := w.b.SignIn(t.Context(), broker.Password{Username: married, Password: password})
			require.NoError(t, err)
			require.Equal(t, married, res.Account.PreferredUsername)
		},
		"sign-in on a page": func(t *testing.T, w *world, _ broker.Account) {
			w.person.Username = married
			_, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: married, MFA: true})
			require.NoError(t, err)
		},
		"another process": func(t *testing.T, w *world, acct broker.Account) {
			require.NoError(t, w.open().RenewPRT(t.Context(), acct))
			_, err := w.b.Accounts(t.Context()) // the next look at the store
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.join()
			acct := w.signIn()
			w.silent(graph) // in memory under the old name
			w.rename()
			tell(t, w, acct)
			isRenamed(t, w, acct)
		})
	}
	t.Run("without a registration", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.cfg.AllowUnbound = true
		w.b = w.open()
		acct := w.signIn()
		w.silent(graph)
		w.rename()
		res := w.silent(open, broker.WithForceRefresh())
		require.Equal(t, married, res.Account.PreferredUsername)
		all, err := w.b.Accounts(t.Context())
		require.NoError(t, err)
		require.Equal(t, []broker.Account{res.Account}, all)
		require.Equal(t, acct.HomeAccountID, res.Account.HomeAccountID)
		require.Equal(t, res.Account, w.silent(graph).Account)
	})
}

// The lock screen takes the PIN of a user who was renamed: the key stays, and the
// service is told the new name, which a renewal tells where nothing else did.
func TestRenamedUserUnlocks(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"when the new name is known": true, "when it is not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			softwareHello(w)
			w.join()
			acct := w.hello()
			w.rename()
			if known {
				require.NoError(t, w.b.RenewPRT(t.Context(), acct))
			}
			u, err := w.b.Unlock(t.Context(), acct, rightPIN)
			require.NoError(t, err)
			require.False(t, u.Offline)
			require.Equal(t, married, u.Account.PreferredUsername)
			status, err := w.b.HelloStatus(t.Context(), acct)
			require.NoError(t, err)
			require.Equal(t, married, status.Account.PreferredUsername)
			w.wire.take()
			_, err = w.b.Unlock(t.Context(), acct, rightPIN)
			require.NoError(t, err)
			require.Equal(t, []string{"token"}, w.wire.take(), "by the new name at once")
		})
	}
}

// A key that the service does not know is looked for under a newer name once: one
// renewal asks for the name, and without a newer one nothing is signed again.
func TestUnknownKeyIsTriedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	acct := w.hello()
	_, err := w.b.Unlock(t.Context(), acct, rightPIN) // so that there are two PRTs
	require.NoError(t, err)
	require.NoError(t, w.srv.RemoveHelloKey(alice, w.helloKeys(alice)[0]))
	before := len(w.srv.SignIns())
	_, err = w.b.Unlock(t.Context(), acct, rightPIN)
	require.ErrorContains(t, err, "the Hello key is not on the user's object")
	var grants []string
	for _, s := range w.srv.SignIns()[before:] {
		grants = append(grants, s.Grant)
	}
	require.Equal(t, []string{"prt", "prt_renewal"}, grants)
}

// A name that another tenant has for a guest, and a reply without a name, change
// nothing.
func TestRenamedNeverToNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	w.wire.inner = withoutIDToken{w.wire.inner}
	res, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.NoError(t, err)
	require.Equal(t, acct, res.Account)
	all, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []broker.Account{acct}, all)
}

// withoutIDToken leaves the id_token out of replies in the clear.
type withoutIDToken struct{ inner broker.Transport }

func (w withoutIDToken) Do(r *http.Request) (*http.Response, error) {
	return edited(w.inner, r, func(members map[string]any) { delete(members, "id_token") })
}
