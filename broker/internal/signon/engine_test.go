package signon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

func TestExchange(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	r, presented, err := l.token(a, graph)
	require.NoError(t, err)
	require.Equal(t, 1, presented)
	tok, err := claims.Parse(r.AccessToken.Reveal())
	require.NoError(t, err)
	require.Equal(t, l.srv.Devices()[0].ID, tok.DeviceID)

	var cookie prt.Cookie
	require.NoError(t, l.Use(t.Context(), a, func(t *prt.Token, s prt.Session) (err error) {
		cookie, err = l.Cookie(l.t.Context(), t, s, signon.CookieRequest{URL: "https://login.microsoftonline.com/contoso.example/oauth2/authorize"})
		return err
	}))
	require.False(t, cookie.Value.IsZero())
	var address *signon.AddressError
	require.ErrorAs(t, l.Use(t.Context(), a, func(t *prt.Token, s prt.Session) error {
		_, err := l.Cookie(l.t.Context(), t, s, signon.CookieRequest{URL: "https://evil.example/"})
		return err
	}), &address)
}

// The token of a remote desktop takes the app's refresh token in between.
func TestTwoSteps(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	l.wire.tokens = 0
	r, _, err := l.token(a, desktop)
	require.NoError(t, err)
	require.Equal(t, 2, l.wire.tokens)
	tok, err := claims.Parse(r.AccessToken.Reveal())
	require.NoError(t, err)
	require.Equal(t, []string{desktop}, tok.Audience)
	require.Empty(t, tok.Capabilities)

	// Claims are about the token, not about the refresh token in between.
	require.NoError(t, l.Use(t.Context(), a, func(p *prt.Token, s prt.Session) (err error) {
		r, _, err = l.Exchange(t.Context(), a, p, s, signon.Request{Tenant: "contoso.example", ClientID: appID, RedirectURI: native, Resource: desktop, Scopes: []string{desktop + "/.default"},
			Claims: `{"access_token":{"xms_cc":{"values":["cp1"]}}}`})
		return err
	}))
	tok, err = claims.Parse(r.AccessToken.Reveal())
	require.NoError(t, err)
	require.Equal(t, []string{"CP1"}, tok.Capabilities)
}

// A PRT that is four hours old is renewed before it is used, and the old one is
// dropped when the new one has been.
func TestRenewal(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	born := a.Record().PRT(prt.ByPassword).Token
	l.clock.Advance(prt.RenewAfter + time.Minute)
	renewed, err := l.Renew(t.Context(), a, prt.ByPassword, false)
	require.NoError(t, err)
	require.False(t, renewed.PRT.Equal(born.PRT))
	require.True(t, a.Record().PRT(prt.ByPassword).Previous.PRT.Equal(born.PRT), "until the new one has been used")
	again, err := l.Renew(t.Context(), a, prt.ByPassword, false)
	require.NoError(t, err)
	require.True(t, again.PRT.Equal(renewed.PRT), "it is not due")
	_, _, err = l.token(a, graph)
	require.NoError(t, err)
	require.Nil(t, a.Record().PRT(prt.ByPassword).Previous)

	l.clock.Advance(prt.RenewAfter + time.Minute)
	l.wire.tokens = 0
	_, _, err = l.token(a, graph)
	require.NoError(t, err)
	require.Equal(t, 2, l.wire.tokens, "a renewal and an exchange")
	_, err = l.Renew(t.Context(), a, prt.ByHello, true)
	require.ErrorIs(t, err, account.ErrNoPRT)
}

// A renewed PRT that is refused gives way to the one before it, if that works;
// where neither does, both are over.
func TestPreviousPRT(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	born := a.Record().PRT(prt.ByPassword).Token
	_, err := l.Renew(t.Context(), a, prt.ByPassword, true)
	require.NoError(t, err)
	no := &sts.Error{Said: true, By: sts.ByPRT, Verdict: aadsts.SignInAgain, Code: 50173}
	works := func(want *prt.Token) func(*prt.Token, prt.Session) error {
		return func(p *prt.Token, _ prt.Session) error {
			if want != nil && p.PRT.Equal(want.PRT) {
				return nil
			}
			return no
		}
	}
	require.NoError(t, l.Use(t.Context(), a, works(born)))
	require.True(t, a.Record().PRT(prt.ByPassword).Token.PRT.Equal(born.PRT))
	_, err = l.Renew(t.Context(), a, prt.ByPassword, true)
	require.NoError(t, err)
	require.ErrorIs(t, l.Use(t.Context(), a, works(nil)), no)
	require.Equal(t, 50173, a.Record().PRT(prt.ByPassword).Dead.Code)
	require.Nil(t, a.Record().PRT(prt.ByPassword).Previous)
}

// What the service says is over is given up, and is not asked again.
func TestRevoked(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	require.NoError(t, l.srv.Revoke(alice))
	var said *sts.Error
	_, _, err := l.token(a, graph)
	require.ErrorAs(t, err, &said)
	require.True(t, said.Over())
	require.NotNil(t, a.Record().PRT(prt.ByPassword).Dead)
	require.Empty(t, l.Choices(a.Record()))
	l.wire.tokens = 0
	var dead *account.Death
	_, _, err = l.token(a, graph)
	require.ErrorAs(t, err, &dead)
	require.Equal(t, said.Code, dead.Code)
	_, err = l.Renew(t.Context(), a, prt.ByPassword, true)
	require.ErrorAs(t, err, &dead)
	require.Zero(t, l.wire.tokens)
}

// What comes of a renewal is about the PRT that was renewed: one that another
// process put in its place meanwhile stays, whatever the service said of the other.
func TestReplacedDuringRenewal(t *testing.T) {
	t.Parallel()
	for name, revoked := range map[string]bool{"renewed": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			l := newLaptop(t)
			a := l.signIn()
			if revoked {
				require.NoError(t, l.srv.Revoke(alice))
			}
			newer := prt.NewSecret("0.newer")
			l.wire.during = func() {
				_, err := a.Update(t.Context(), func(r *account.Record) error {
					p := *r.PRT(prt.ByPassword)
					n := *p.Token
					n.PRT = newer
					p.Token = &n
					r.Set(p)
					return nil
				})
				require.NoError(t, err)
			}
			got, err := l.Renew(t.Context(), a, prt.ByPassword, true)
			if revoked {
				require.ErrorContains(t, err, "AADSTS50173")
			} else {
				require.NoError(t, err)
				require.True(t, newer.Equal(got.PRT))
			}
			p := a.Record().PRT(prt.ByPassword)
			require.True(t, newer.Equal(p.Token.PRT))
			require.Nil(t, p.Dead, "it was not the one that the service spoke of")
		})
	}
}

// The PRT before a renewal is kept until the new one was used, and a use of the
// old one does not count.
func TestPreviousIsKept(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	old := a.Record().PRT(prt.ByPassword).Token
	_, err := l.Renew(t.Context(), a, prt.ByPassword, true)
	require.NoError(t, err)
	require.True(t, old.PRT.Equal(a.Record().PRT(prt.ByPassword).Previous.PRT))
	l.Answered(t.Context(), a, old, "contoso.example", nil)
	require.NotNil(t, a.Record().PRT(prt.ByPassword).Previous)
	_, _, err = l.token(a, graph)
	require.NoError(t, err)
	require.Nil(t, a.Record().PRT(prt.ByPassword).Previous)
}

// Another tenant's no ends no PRT of its home.
func TestAbroad(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	require.NoError(t, l.srv.Revoke(alice))
	err := l.Use(t.Context(), a, func(p *prt.Token, s prt.Session) error {
		_, _, err := l.Exchange(t.Context(), a, p, s, signon.Request{Tenant: l.srv.TenantID(), ClientID: appID, RedirectURI: native, Resource: graph})
		var refusal *sts.Error
		require.ErrorAs(t, err, &refusal)
		said := *err.(*sts.Error)
		said.Abroad = true
		return &said
	})
	var said *sts.Error
	require.ErrorAs(t, err, &said)
	require.True(t, said.WantsUser())
	require.Nil(t, a.Record().PRT(prt.ByPassword).Dead)
}

// A policy's refusal reaches the caller with what it asks for, and a PRT that
// has nothing more is not presented.
func TestPolicy(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	_, err := a.Update(t.Context(), func(r *account.Record) error {
		second := *r.PRTs[0].Token
		second.Credential = prt.ByRefreshToken
		r.Set(account.PRT{Token: &second, Origin: account.Direct})
		return nil
	})
	require.NoError(t, err)
	_, presented, err := l.token(a, "api://money")
	var said *sts.Error
	require.ErrorAs(t, err, &said)
	require.Equal(t, aadsts.StepUp, said.Verdict)
	require.Equal(t, 1, presented)
}

// What the service said for certain against the user is kept with the Hello key,
// and taken back when it serves the user again.
func TestRefusalsAreKept(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	_, err := a.Update(t.Context(), func(r *account.Record) error { r.Hello = &account.Hello{Key: []byte("key")}; return nil })
	require.NoError(t, err)
	require.NoError(t, l.srv.DisableUser(alice))
	_, _, err = l.token(a, graph)
	require.ErrorContains(t, err, "AADSTS50057")
	require.Equal(t, aadsts.UserDisabled, a.Record().Hello.Refused.Verdict)
	require.NoError(t, l.srv.EnableUser(alice))
	_, _, err = l.token(a, graph)
	require.NoError(t, err)
	require.Nil(t, a.Record().Hello.Refused)
	require.NoError(t, l.srv.DisableDevice(l.srv.Devices()[0].ID))
	_, _, err = l.token(a, graph)
	require.ErrorContains(t, err, "AADSTS135011")
	require.Equal(t, aadsts.DeviceDisabled, a.Record().Hello.Refused.Verdict)
}

func TestOtherUser(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	_, err := l.Issue(t.Context(), prt.PasswordGrant{Username: "bob@contoso.example", Password: prt.NewSecret(password)}, signon.Provenance{}, a.Record().Account)
	require.ErrorIs(t, err, signon.ErrOtherUser)
	all, _, err := l.book.All(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	var said *sts.Error
	_, err = l.Issue(t.Context(), prt.PasswordGrant{Username: alice, Password: prt.NewSecret("wrong")}, signon.Provenance{}, account.Identity{})
	require.ErrorAs(t, err, &said)
	require.Equal(t, aadsts.BadCredential, said.Verdict)
}

// A PRT that nobody can be named for is not kept under some other name.
func TestNobodysPRT(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.wire.drop = []string{"id_token", "client_info"}
	_, err := l.Issue(t.Context(), prt.PasswordGrant{Username: alice, Password: prt.NewSecret(password)}, signon.Provenance{}, account.Identity{})
	require.ErrorContains(t, err, "does not say whose PRT it is")
	all, _, err := l.book.All(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestMayHelp(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	p := func(origin account.Origin, methods claims.Methods, at, auth time.Duration) account.PRT {
		return account.PRT{Origin: origin, Token: &prt.Token{
			PRT: prt.NewSecret("prt"), IssuedAt: now, RenewedAt: now, ExpiresAt: now.Add(14 * 24 * time.Hour),
			Evidence: claims.Evidence{MFA: claims.Yes, Methods: methods, At: now.Add(at), AuthTime: now.Add(auth)},
		}}
	}
	refused := func(e account.PRT, stale bool) []signon.Refused { return []signon.Refused{{PRT: e, Stale: stale}} }
	base := p(account.Page, claims.Password|claims.SMS, 0, 0)
	for name, tt := range map[string]struct {
		p    account.PRT
		over []signon.Refused
		want bool
	}{
		"nothing was refused":              {base, nil, true},
		"the same, with a method named":    {p(account.Page, claims.FIDO2, 0, 0), refused(p(account.Page, claims.FIDO2, 0, 0), false), false},
		"another method":                   {p(account.Page, claims.FIDO2, 0, 0), refused(base, false), true},
		"a later MFA":                      {p(account.Page, claims.FIDO2, time.Minute, 0), refused(p(account.Page, claims.FIDO2, 0, 0), false), true},
		"a later sign-in where age counts": {p(account.Page, claims.FIDO2, 0, time.Minute), refused(p(account.Page, claims.FIDO2, 0, 0), true), true},
		"a later sign-in where not":        {p(account.Page, claims.FIDO2, 0, time.Minute), refused(p(account.Page, claims.FIDO2, 0, 0), false), false},
		"a page beside a device code":      {p(account.Page, claims.FIDO2, 0, 0), refused(p(account.DeviceCode, claims.FIDO2, 0, 0), false), true},
	} {
		require.Equal(t, tt.want, signon.MayHelp(tt.p, tt.over, now), name)
	}
	old := base
	old.Token = &prt.Token{ExpiresAt: now.Add(-time.Hour), Evidence: claims.Evidence{MFA: claims.Yes, Methods: claims.FIDO2}}
	require.False(t, signon.MayHelp(old, refused(base, false), now), "one that looks expired is no way around a prompt")
}
