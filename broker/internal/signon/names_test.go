package signon_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

const married, marriedName = "alice.example@contoso.example", "Alice Married"

// The names in a newer reply about the user are kept, and not those of anybody else.
func TestNewNames(t *testing.T) {
	t.Parallel()
	l, ctx := newLaptop(t), t.Context()
	a := l.signIn()
	id := a.Record().Account
	l.Name(ctx, a, nil)
	l.Name(ctx, a, &claims.Token{TenantID: id.Realm, ObjectID: "another", Username: married, Name: marriedName})
	require.Equal(t, id, a.Record().Account)
	l.log.Reset()
	l.Name(ctx, a, &claims.Token{TenantID: id.Realm, ObjectID: id.LocalAccountID, Username: married, Name: marriedName})
	id.PreferredUsername, id.Name = married, marriedName
	require.Equal(t, id, a.Record().Account)
	require.Empty(t, l.log.String())
}

// A renewal tells the newest names of the user, if it tells others than the PRT had.
func TestRenewedNames(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		username, display string // in the directory; empty: as before
		known             string // the user name by another PRT; empty: as before
		want              string
	}{
		"both":         {married, marriedName, "", married},
		"user name":    {married, "", "", married},
		"display name": {"", marriedName, "", alice},
		"none":         {"", "", married, married},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t)
			a := l.signIn()
			want := a.Record().Account
			require.NoError(t, l.srv.RenameUser(alice, tt.username, tt.display))
			l.change(a, func(r *account.Record) { r.Rename(tt.known, "") })
			_, err := l.Renew(t.Context(), a, prt.ByPassword, true)
			require.NoError(t, err)
			want.PreferredUsername = tt.want
			if tt.display != "" {
				want.Name = tt.display
			}
			require.Equal(t, want, a.Record().Account)
		})
	}
}

// A reply that names nobody leaves the account its names.
func TestIssuedWithoutNames(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	want := l.signIn().Record().Account
	l.wire.drop = []string{"id_token"}
	in, err := l.Issue(t.Context(), passwordOf(alice), signon.Provenance{Origin: account.Direct}, account.Identity{})
	require.NoError(t, err)
	require.Equal(t, want.HomeAccountID, in.Account.HomeAccountID)
	require.Equal(t, want.PreferredUsername, in.Account.PreferredUsername)
}

// The name with which a Hello key signs by now comes with the first PRT that can be
// renewed.
func TestRenamed(t *testing.T) {
	t.Parallel()
	rename := func(l *laptop, _ *account.Account) { require.NoError(l.t, l.srv.RenameUser(alice, married, "")) }
	for name, tt := range map[string]struct {
		before   func(*laptop, *account.Account)
		want     string
		requests int // for tokens
	}{
		"not renamed": {func(*laptop, *account.Account) {}, "", 1},
		"renamed":     {rename, married, 1},
		"by the second PRT": {func(l *laptop, a *account.Account) {
			rename(l, a)
			l.change(a, func(r *account.Record) {
				p := *r.PRTs[0].Token
				p.Credential, p.Evidence, p.PRT = prt.ByHello, claims.Evidence{MFA: claims.Yes}, prt.NewSecret("0.nonsense")
				r.Set(account.PRT{Token: &p})
			})
		}, married, 2},
		"without a Hello key": {func(l *laptop, a *account.Account) {
			rename(l, a)
			l.change(a, func(r *account.Record) { r.Hello = nil })
		}, "", 1},
		"closed in the meantime": {func(l *laptop, a *account.Account) {
			rename(l, a)
			l.wire.during = func() { require.NoError(l.t, a.Close()) }
		}, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t)
			a := l.signIn()
			l.change(a, func(r *account.Record) {
				r.Hello = &account.Hello{Key: []byte("key"), Username: alice}
				second := *r.PRTs[0].Token
				second.Credential, second.Evidence = prt.ByRefreshToken, claims.Evidence{}
				r.Set(account.PRT{Token: &second})
			})
			tt.before(l, a)
			l.wire.tokens = 0
			require.Equal(t, tt.want, l.Renamed(t.Context(), a, alice))
			require.Equal(t, tt.requests, l.wire.tokens)
		})
	}
}
