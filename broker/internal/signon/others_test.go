package signon_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/aadsts"
)

const bob = "bob@contoso.example"

// refusedOf is the verdict that is kept with the Hello key of an account.
func refusedOf(a *account.Account) aadsts.Verdict {
	if h := a.Record().Hello; h.Refused != nil {
		return h.Refused.Verdict
	}
	return aadsts.None
}

// withHello gives an account a Hello key.
func (l *laptop) withHello(a *account.Account) *account.Account {
	l.t.Helper()
	l.change(a, func(r *account.Record) { r.Hello = &account.Hello{Key: []byte("key")} })
	return a
}

// A refusal of the device is one of every account on it, and so is its end; one of
// the user is not.
func TestOtherAccounts(t *testing.T) {
	t.Parallel()
	l, ctx := newLaptop(t), t.Context()
	a, b := l.withHello(l.signInAs(alice)), l.withHello(l.signInAs(bob))
	l.clock.Advance(time.Hour)
	used := byPassword(a).Token
	l.Answered(ctx, a, used, "contoso.example", disabled)
	require.Equal(t, aadsts.UserDisabled, refusedOf(a))
	require.Equal(t, aadsts.None, refusedOf(b))
	l.Answered(ctx, a, used, "contoso.example", nil)
	require.Equal(t, aadsts.None, refusedOf(a))

	l.Answered(ctx, a, used, "contoso.example", gone)
	require.Equal(t, aadsts.DeviceGone, refusedOf(a))
	require.Equal(t, aadsts.DeviceGone, refusedOf(b))
	l.Answered(ctx, b, byPassword(b).Token, "contoso.example", nil)
	require.Equal(t, aadsts.None, refusedOf(a))
	require.Equal(t, aadsts.None, refusedOf(b))
}

// A refusal of the device that an account of another process has is over, too.
func TestOtherAccountOfAnotherProcess(t *testing.T) {
	t.Parallel()
	l, ctx := newLaptop(t), t.Context()
	a := l.withHello(l.signIn())
	l.clock.Advance(time.Hour)
	l.Answered(ctx, a, byPassword(a).Token, "contoso.example", gone)
	id := a.Record().Account
	id.HomeAccountID, id.PreferredUsername = "bob.tenant", bob
	book := account.NewBook(l.books)
	b, err := book.Put(ctx, id, func(r *account.Record) error {
		r.Hello = &account.Hello{Key: []byte("key"), Refused: a.Record().Hello.Refused}
		return nil
	})
	require.NoError(t, err)
	l.Answered(ctx, a, byPassword(a).Token, "contoso.example", nil)
	_, err = b.Load(ctx)
	require.NoError(t, err)
	require.Equal(t, aadsts.None, refusedOf(b))
	require.NoError(t, b.Close())
}

// What a failed sign-in says of the user is kept with the account of that user, and
// what it says of the device with any.
func TestRefusedSignIn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		who  string
		does func(*laptop) error
		says string
		want aadsts.Verdict // afterwards, with the account of alice
	}{
		"the user":         {alice, func(l *laptop) error { return l.srv.DisableUser(alice) }, "AADSTS50057", aadsts.UserDisabled},
		"another user":     {bob, func(l *laptop) error { return l.srv.DisableUser(bob) }, "AADSTS50057", aadsts.None},
		"the device":       {alice, func(l *laptop) error { return l.srv.DisableDevice(l.srv.Devices()[0].ID) }, "AADSTS135011", aadsts.DeviceDisabled},
		"another's device": {bob, func(l *laptop) error { return l.srv.DisableDevice(l.srv.Devices()[0].ID) }, "AADSTS135011", aadsts.DeviceDisabled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t)
			a := l.withHello(l.signIn())
			l.clock.Advance(time.Hour)
			require.NoError(t, tt.does(l))
			_, err := l.Issue(t.Context(), passwordOf(tt.who), signon.Provenance{}, l.identity(tt.who, a))
			var said *sts.Error
			require.ErrorAs(t, err, &said)
			require.ErrorContains(t, err, tt.says)
			require.Equal(t, tt.want, refusedOf(a))
		})
	}
}

// identity is who somebody is: the account's user, or by name alone.
func (l *laptop) identity(name string, a *account.Account) account.Identity {
	if id := a.Record().Account; id.PreferredUsername == name {
		return id
	}
	return account.Identity{PreferredUsername: name}
}

// AADSTS50155 has many causes: one says nothing for certain, a second one ten
// minutes later does. What the service says of a Hello key only the key takes back.
func TestDoubt(t *testing.T) {
	t.Parallel()
	key := &sts.Error{Said: true, By: sts.ByPRT, Verdict: aadsts.HelloKey, Code: 130004}
	network := &sts.Error{Verdict: aadsts.UserDisabled, Detail: "concluded here"}
	type step struct {
		after   time.Duration
		err     error
		refused aadsts.Verdict // afterwards
	}
	l := newLaptop(t)
	a := l.signIn()
	walk := func(t *testing.T, steps []step) {
		t.Helper()
		_, err := a.Update(t.Context(), func(r *account.Record) error { r.Hello = &account.Hello{Key: []byte("key")}; return nil })
		require.NoError(t, err)
		for i, s := range steps {
			l.clock.Advance(s.after)
			l.Answered(t.Context(), a, a.Record().PRTs[0].Token, "contoso.example", s.err)
			got := aadsts.None
			if h := a.Record().Hello; h.Refused != nil {
				got = h.Refused.Verdict
			}
			require.Equalf(t, s.refused, got, "step %d", i)
		}
	}
	walk(t, []step{{time.Minute, unknown, aadsts.None}, {time.Minute, gone, aadsts.None}, {8 * time.Minute, unknown, aadsts.None}}) // while the device is young
	for name, steps := range map[string][]step{
		"once":                            {{time.Hour, unknown, aadsts.None}},
		"twice within ten minutes":        {{time.Hour, unknown, aadsts.None}, {9 * time.Minute, unknown, aadsts.None}},
		"twice, ten minutes apart":        {{time.Hour, unknown, aadsts.None}, {10 * time.Minute, unknown, aadsts.DeviceAuth}},
		"served between":                  {{time.Hour, unknown, aadsts.None}, {time.Minute, nil, aadsts.None}, {10 * time.Minute, unknown, aadsts.None}},
		"taken back by the service":       {{time.Hour, unknown, aadsts.None}, {10 * time.Minute, unknown, aadsts.DeviceAuth}, {time.Minute, nil, aadsts.None}},
		"just restored":                   {{time.Hour, unknown, aadsts.None}, {10 * time.Minute, unknown, aadsts.DeviceAuth}, {time.Minute, nil, aadsts.None}, {time.Minute, unknown, aadsts.None}, {9 * time.Minute, unknown, aadsts.None}},
		"of the device while it is young": {{time.Minute, unknown, aadsts.None}, {9 * time.Minute, unknown, aadsts.None}},
		"of the key, which stays":         {{time.Hour, key, aadsts.HelloKey}, {time.Minute, nil, aadsts.HelloKey}, {time.Minute, unknown, aadsts.HelloKey}},
		"what the service did not say":    {{time.Hour, network, aadsts.None}},
		"an error of something else":      {{time.Hour, context.DeadlineExceeded, aadsts.None}},
	} {
		t.Run(name, func(t *testing.T) { walk(t, steps) })
	}
}
