package signon_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

var (
	revoked   = &sts.Error{Said: true, By: sts.ByPRT, Verdict: aadsts.SignInAgain, Code: 50173}
	transient = &sts.Error{Said: true, By: sts.ByPRT, Verdict: aadsts.Retry, Code: 90033}
	disabled  = &sts.Error{Said: true, By: sts.ByPRT, Verdict: aadsts.UserDisabled, Code: 50057}
	gone      = &sts.Error{Said: true, By: sts.ByPRT, Verdict: aadsts.DeviceGone, Code: 700003}
	unknown   = &sts.Error{Said: true, By: sts.ByPRT, Verdict: aadsts.DeviceAuth, Code: 50155}
)

// newer is t with another PRT.
func newer(t *prt.Token) *prt.Token {
	n := *t
	n.PRT = prt.NewSecret("0.newer")
	return &n
}

// byPassword is the account's PRT of a password.
func byPassword(a *account.Account) *account.PRT { return a.Record().PRT(prt.ByPassword) }

// An account that was closed is asked, told and noted nothing.
func TestClosedAccount(t *testing.T) {
	t.Parallel()
	l, ctx := newLaptop(t), t.Context()
	a := l.signIn()
	used, id := byPassword(a).Token, a.Record().Account
	require.NoError(t, a.Close())
	l.store.gets, l.wire.all = 0, 0
	l.log.Reset()
	l.Answered(ctx, a, used, "contoso.example", nil)
	l.Answered(ctx, a, used, "contoso.example", disabled)
	l.Name(ctx, a, &claims.Token{TenantID: id.Realm, ObjectID: id.LocalAccountID, Username: married})
	require.Empty(t, l.Renamed(ctx, a, alice))
	err := l.Use(ctx, a, func(*prt.Token, prt.Session) error { return errors.New("it was used") })
	require.ErrorIs(t, err, account.ErrUnknown)
	require.Zero(t, l.store.gets)
	require.Zero(t, l.wire.all)
	require.Empty(t, l.log.String())
}

// An account that is closed while its PRT is renewed, after another process has
// renewed it, has no successor of the PRT to give.
func TestClosedDuringRenewal(t *testing.T) {
	t.Parallel()
	var a *account.Account
	closes := false
	l := newLaptop(t, func(c *signon.Config) {
		c.Finish = func(ctx context.Context, work func(context.Context) error) error {
			err := work(ctx)
			if closes {
				require.NoError(t, a.Close())
			}
			return err
		}
	})
	a = l.signIn()
	other := l.elsewhere(a)
	l.wire.during = func() {
		l.change(other, func(r *account.Record) { r.Set(account.PRT{Token: newer(r.PRTs[0].Token)}) })
		closes = true
	}
	_, err := l.Renew(t.Context(), a, prt.ByPassword, true)
	require.ErrorIs(t, err, vault.ErrClosed)
}

// What another process did to the PRT in the meantime stays, where the one before a
// renewal is taken back because it works.
func TestTakenBackMeanwhile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		meanwhile       func(*account.Record)
		token, previous func(born, renewed *prt.Token) *prt.Token // afterwards; nil: none
	}{
		"nothing": {func(*account.Record) {}, func(born, _ *prt.Token) *prt.Token { return born }, nil},
		"renewed once more": {
			func(r *account.Record) {
				r.Set(account.PRT{Token: newer(r.PRTs[0].Token), Previous: r.PRTs[0].Token})
			},
			func(_, renewed *prt.Token) *prt.Token { return newer(renewed) }, func(_, renewed *prt.Token) *prt.Token { return renewed },
		},
		"used": {func(r *account.Record) { r.PRTs[0].Previous = nil }, func(_, renewed *prt.Token) *prt.Token { return renewed }, nil},
		"gone": {func(r *account.Record) { r.PRTs = nil }, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t, func(o *entratest.Options) { o.RollSessionKey = true })
			a := l.signIn()
			born := byPassword(a).Token
			renewed, err := l.Renew(t.Context(), a, prt.ByPassword, true)
			require.NoError(t, err)
			other := l.elsewhere(a)
			require.NoError(t, l.Use(t.Context(), a, func(p *prt.Token, _ prt.Session) error {
				if !p.PRT.Equal(born.PRT) {
					return revoked
				}
				l.change(other, tt.meanwhile)
				return nil
			}))
			now := byPassword(a)
			if tt.token == nil {
				require.Nil(t, now)
				require.Zero(t, l.keys.open, "the session keys are closed")
				return
			}
			require.True(t, tt.token(born, renewed).PRT.Equal(now.Token.PRT))
			require.Nil(t, now.Dead)
			if tt.previous == nil {
				require.Nil(t, now.Previous)
				require.Equal(t, 1, l.keys.open, "the other session key is closed")
			} else {
				require.True(t, tt.previous(born, renewed).PRT.Equal(now.Previous.PRT))
			}
		})
	}
}

// A PRT was used successfully, and drops the one before it, unless another process
// has put one in its place.
func TestUsedMeanwhile(t *testing.T) {
	t.Parallel()
	l, ctx := newLaptop(t), t.Context()
	a := l.signIn()
	other := l.elsewhere(a)
	renewed, err := l.Renew(ctx, a, prt.ByPassword, true)
	require.NoError(t, err)
	l.change(other, func(r *account.Record) { r.Set(account.PRT{Token: newer(renewed), Previous: renewed}) })
	l.Answered(ctx, a, renewed, "contoso.example", nil)
	require.True(t, renewed.PRT.Equal(byPassword(a).Previous.PRT))

	l.change(a, func(r *account.Record) { r.Set(account.PRT{Token: renewed, Previous: newer(renewed)}) })
	l.change(other, func(r *account.Record) { r.PRTs = nil })
	l.Answered(ctx, a, renewed, "contoso.example", nil)
	require.Empty(t, a.Record().PRTs)
	l.Answered(ctx, a, renewed, "contoso.example", nil)
}

// Nothing is written, nor read, where an answer changes nothing.
func TestNothingToNote(t *testing.T) {
	t.Parallel()
	l, ctx := newLaptop(t), t.Context()
	a := l.signIn()
	l.change(a, func(r *account.Record) { r.Hello = &account.Hello{Key: []byte("key"), Username: alice} })
	born := byPassword(a).Token
	nothing := func(what string) {
		t.Helper()
		require.Zero(t, l.store.gets, what)
		require.Zero(t, l.store.puts, what)
		require.Zero(t, l.wire.all, what)
	}
	l.store.gets, l.store.puts, l.wire.all = 0, 0, 0
	require.NoError(t, l.Use(ctx, a, func(*prt.Token, prt.Session) error { return nil }))
	nothing("the PRT is not due")
	l.Answered(ctx, a, born, "contoso.example", nil)
	nothing("there is no PRT before it, and no refusal")
	l.Answered(ctx, a, born, "contoso.example", transient)
	nothing("the service says nothing of the user")
	l.Answered(ctx, a, born, "fabrikam.example", disabled)
	nothing("another tenant does not know the user")
	id := a.Record().Account
	l.Name(ctx, a, &claims.Token{TenantID: id.Realm, ObjectID: id.LocalAccountID, Username: id.PreferredUsername, Name: id.Name})
	nothing("the names are the same")

	_, err := l.Renew(ctx, a, prt.ByPassword, true)
	require.NoError(t, err)
	l.store.gets, l.store.puts, l.wire.all = 0, 0, 0
	l.Answered(ctx, a, born, "contoso.example", nil)
	nothing("it was not the renewed PRT that was used")
}

// What cannot be written is told in the log, unless the caller went away, or there is
// nothing to write any more.
func TestNotNoted(t *testing.T) {
	t.Parallel()
	refused := "noting what the service said failed"
	over := "noting the end of a PRT failed"
	all := "reading the accounts failed"
	say := func(said *sts.Error) func(context.Context, *laptop, *account.Account) {
		return func(ctx context.Context, l *laptop, a *account.Account) {
			l.Answered(ctx, a, byPassword(a).Token, "contoso.example", said)
		}
	}
	use := func(meanwhile func()) func(context.Context, *laptop, *account.Account) {
		return func(ctx context.Context, l *laptop, a *account.Account) {
			err := l.Use(ctx, a, func(*prt.Token, prt.Session) error { meanwhile(); return revoked })
			require.ErrorIs(l.t, err, revoked)
		}
	}
	for name, tt := range map[string]struct {
		do            func(context.Context, *laptop, *account.Account)
		full, gone    bool // the disk, the caller
		unlisted      bool // the accounts
		noted, logged string
	}{
		"a refusal":                      {do: say(disabled), noted: "refused"},
		"a refusal, on a full disk":      {do: say(disabled), full: true, logged: refused},
		"a refusal, for nobody":          {do: say(disabled), gone: true},
		"of the device":                  {do: say(gone), noted: "refused"},
		"of the device, of all accounts": {do: say(gone), unlisted: true, noted: "refused", logged: all},
		"known by now": {do: func(ctx context.Context, l *laptop, a *account.Account) {
			l.change(l.elsewhere(a), func(r *account.Record) {
				h := *r.Hello
				h.Refused = &account.Death{Verdict: aadsts.DeviceGone, At: l.clock.Now()}
				r.Hello = &h
			})
			l.store.puts = 0
			say(unknown)(ctx, l, a)
			require.Zero(l.t, l.store.puts)
		}, noted: "refused"},
		"the end":                 {do: use(func() {}), noted: "dead"},
		"the end, on a full disk": {do: use(func() {}), full: true, logged: over},
		"the end, for nobody":     {do: nil, noted: ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t)
			a := l.signIn()
			l.clock.Advance(time.Hour)
			l.change(a, func(r *account.Record) { r.Hello = &account.Hello{Key: []byte("key")} })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.gone {
				cancel()
			}
			if tt.full {
				l.store.onPut = l.store.fails
			}
			if tt.unlisted {
				l.store.listErr = errFull
			}
			l.log.Reset()
			do := tt.do
			if do == nil {
				do = use(cancel)
			}
			do(ctx, l, a)
			if tt.logged == "" {
				require.Empty(t, l.log.String())
			} else {
				require.Contains(t, l.log.String(), tt.logged)
				require.Contains(t, l.log.String(), errFull.Error())
			}
			require.Equal(t, tt.noted == "refused", a.Record().Hello.Refused != nil)
			require.Equal(t, tt.noted == "dead", byPassword(a).Dead != nil)
		})
	}
}
