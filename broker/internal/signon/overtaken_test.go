package signon_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// change changes the record of an account, as another process may.
func change(t *testing.T, a *account.Account, f func(r *account.Record)) {
	t.Helper()
	_, err := a.Update(t.Context(), func(r *account.Record) error { f(r); return nil })
	require.NoError(t, err)
}

// While the service refuses a renewed PRT and serves its predecessor, another process
// may go on with the account: the predecessor takes the place of the one that was
// refused, and of no other.
func TestRevertedMeanwhile(t *testing.T) {
	t.Parallel()
	no := &sts.Error{Said: true, By: sts.ByPRT, Verdict: aadsts.SignInAgain, Code: 50173}
	newer := prt.NewSecret("0.newer")
	for name, tt := range map[string]struct {
		meanwhile func(r *account.Record)
		want      func(t *testing.T, p *account.PRT, born, refused *prt.Token)
	}{
		"nothing": {func(*account.Record) {}, func(t *testing.T, p *account.PRT, born, _ *prt.Token) {
			require.True(t, p.Token.PRT.Equal(born.PRT))
			require.Nil(t, p.Previous)
		}},
		"signed out": {func(r *account.Record) { r.PRTs = nil }, func(t *testing.T, p *account.PRT, _, _ *prt.Token) { require.Nil(t, p) }},
		"the predecessor was dropped": {func(r *account.Record) { r.PRT(prt.ByPassword).Previous = nil }, func(t *testing.T, p *account.PRT, _, refused *prt.Token) {
			require.True(t, p.Token.PRT.Equal(refused.PRT))
		}},
		"renewed once more": {func(r *account.Record) {
			p := r.PRT(prt.ByPassword)
			n := *p.Token
			n.PRT = newer
			p.Token, p.Previous = &n, p.Token
		}, func(t *testing.T, p *account.PRT, _, refused *prt.Token) {
			require.True(t, p.Token.PRT.Equal(newer))
			require.True(t, p.Previous.PRT.Equal(refused.PRT))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t)
			a := l.signIn()
			born := a.Record().PRT(prt.ByPassword).Token
			refused, err := l.Renew(t.Context(), a, prt.ByPassword, true)
			require.NoError(t, err)
			require.NoError(t, l.Use(t.Context(), a, func(p *prt.Token, _ prt.Session) error {
				if !p.PRT.Equal(born.PRT) {
					return no
				}
				change(t, a, tt.meanwhile)
				return nil
			}))
			tt.want(t, a.Record().PRT(prt.ByPassword), born, refused)
		})
	}
}

// An answer about an account that was removed meanwhile writes nothing.
func TestRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	rec := a.Record()
	require.NoError(t, l.book.Remove(t.Context(), rec.Account))
	require.Nil(t, a.Record())
	for _, err := range []error{nil, &sts.Error{Said: true, By: sts.ByPRT, Verdict: aadsts.UserDisabled, Code: 50057}} {
		l.Answered(t.Context(), a, rec.PRTs[0].Token, "contoso.example", err)
	}
	l.wire.tokens = 0
	require.Empty(t, l.Renamed(t.Context(), a, alice), "nobody's name")
	require.Zero(t, l.wire.tokens)
	all, _, err := l.book.All(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
}

// The name that a Hello key is used under comes with a renewed PRT: one renewal is
// enough to learn it.
func TestRenamed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		hello *account.Hello
		want  string
	}{
		"no Hello key":   {nil, ""},
		"the same name":  {&account.Hello{Key: []byte("key"), Username: alice}, ""},
		"another name":   {&account.Hello{Key: []byte("key"), Username: "alicia@contoso.example"}, "alicia@contoso.example"},
		"a name at last": {&account.Hello{Key: []byte("key"), Username: "Alice@contoso.example"}, "Alice@contoso.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t)
			a := l.signIn()
			change(t, a, func(r *account.Record) {
				r.Hello = tt.hello
				second := *r.PRT(prt.ByPassword)
				token := *second.Token
				token.Credential = prt.ByRefreshToken
				second.Token = &token
				r.Set(second)
			})
			l.wire.tokens = 0
			require.Equal(t, tt.want, l.Renamed(t.Context(), a, alice))
			require.Equal(t, 1, l.wire.tokens)
		})
	}
	t.Run("removed meanwhile", func(t *testing.T) {
		t.Parallel()
		l := newLaptop(t)
		a := l.signIn()
		change(t, a, func(r *account.Record) {
			r.Hello = &account.Hello{Key: []byte("key"), Username: "alicia@contoso.example"}
		})
		id := a.Record().Account
		l.wire.during = func() { _ = l.book.Remove(t.Context(), id) }
		l.Renamed(t.Context(), a, alice)
	})
}

// Until the registration has been read, no PRT is left out for another one's.
func TestChoicesBeforeTheDeviceIsRead(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	rec := l.signIn().Record()
	require.NotEmpty(t, rec.PRT(prt.ByPassword).Token.DeviceID)
	unread := l.cfg
	unread.Devices = device.New(device.Config{Keys: l.cfg.Keys, Store: l.cfg.Store, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler), Now: l.clock.Now, Services: l.cfg.Services, Tenant: l.cfg.Tenant})
	e := signon.New(unread)
	t.Cleanup(e.Close)
	require.Len(t, e.Choices(rec), 1)
}

// What the service said of the device was noted for every account of the machine, and
// is taken back for every account, also for those that only another process has read.
func TestPardonForAll(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	in, err := l.Issue(t.Context(), prt.PasswordGrant{Username: "bob@contoso.example", Password: prt.NewSecret(password)}, signon.Provenance{Origin: account.Direct}, account.Identity{})
	require.NoError(t, err)
	b, _, err := l.book.Find(t.Context(), in.Account)
	require.NoError(t, err)
	refused := &account.Death{Verdict: aadsts.DeviceDisabled, Code: 135011, At: l.clock.Now()}
	for _, x := range []*account.Account{a, b} {
		change(t, x, func(r *account.Record) { r.Hello = &account.Hello{Key: []byte("key"), Refused: refused} })
	}
	l.clock.Advance(time.Hour)

	other := l.cfg
	other.Book = l.newBook()
	e := signon.New(other)
	t.Cleanup(e.Close)
	mine, _, err := other.Book.Find(t.Context(), a.Record().Account)
	require.NoError(t, err)
	require.Len(t, other.Book.Known(), 1)
	e.Answered(t.Context(), mine, mine.Record().PRTs[0].Token, "contoso.example", nil)
	for _, x := range []*account.Account{a, b} {
		rec, err := x.Load(context.Background())
		require.NoError(t, err)
		require.Nil(t, rec.Hello.Refused, rec.Account.PreferredUsername)
	}
}
