package signon_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// A PRT that is due is renewed and then used; if the service refuses it, the one
// before it is. One that is over by what its renewal says is not used at all.
func TestUseOfDuePRT(t *testing.T) {
	t.Parallel()
	l, ctx := newLaptop(t), t.Context()
	a := l.signIn()
	born := byPassword(a).Token
	l.clock.Advance(prt.RenewAfter + time.Minute)
	var used []string
	require.NoError(t, l.Use(ctx, a, func(p *prt.Token, _ prt.Session) error { used = append(used, p.PRT.Reveal()); return nil }))
	renewed := byPassword(a).Token
	require.False(t, born.PRT.Equal(renewed.PRT))
	require.Equal(t, []string{renewed.PRT.Reveal()}, used)

	l.clock.Advance(prt.RenewAfter + time.Minute)
	require.NoError(t, l.Use(ctx, a, func(p *prt.Token, _ prt.Session) error {
		if p.PRT.Equal(renewed.PRT) {
			return nil
		}
		return revoked
	}))
	require.True(t, byPassword(a).Token.PRT.Equal(renewed.PRT), "the one before it works")
	require.Nil(t, byPassword(a).Dead)

	l.change(a, func(r *account.Record) { // it is due still
		n := *r.PRTs[0].Token
		n.RenewedAt = l.clock.Now().Add(-prt.RenewAfter)
		r.PRTs[0].Token = &n
	})
	require.NoError(t, l.srv.Revoke(alice))
	err := l.Use(ctx, a, func(*prt.Token, prt.Session) error { return errors.New("it was used") })
	var said *sts.Error
	require.ErrorAs(t, err, &said)
	require.True(t, said.Over())
	require.NotNil(t, byPassword(a).Dead)
}

// A renewed PRT is refused, and of the one before it the service does not say: both
// stay.
func TestPreviousNotJudged(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	born := byPassword(a).Token
	renewed, err := l.Renew(t.Context(), a, prt.ByPassword, true)
	require.NoError(t, err)
	require.ErrorIs(t, l.Use(t.Context(), a, func(p *prt.Token, _ prt.Session) error {
		if p.PRT.Equal(born.PRT) {
			return transient
		}
		return revoked
	}), transient)
	p := byPassword(a)
	require.Nil(t, p.Dead)
	require.True(t, p.Token.PRT.Equal(renewed.PRT))
	require.True(t, p.Previous.PRT.Equal(born.PRT))
}

// A call that fails while its account is locked failed for that; one that does not
// fail has its result.
func TestLockedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ said, want error }{
		"a result":  {nil, nil},
		"a failure": {errors.New("lost"), account.ErrLocked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t)
			a := l.signIn()
			require.ErrorIs(t, l.Use(t.Context(), a, func(*prt.Token, prt.Session) error {
				l.change(a, func(r *account.Record) { r.Away, r.PRTs = []byte("sealed"), []account.PRT{} })
				return tt.said
			}), tt.want)
		})
	}
}

// Where the age of a sign-in was refused, a later one is tried; where it was another
// thing, it would not help.
func TestLaterSignIn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		verdict aadsts.Verdict
		tried   int
	}{
		"too old":      {aadsts.StaleMFA, 2},
		"not enough":   {aadsts.StepUp, 1},
		"never enough": {aadsts.Blocked, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t)
			a := l.signIn()
			l.change(a, func(r *account.Record) {
				first, second := *r.PRTs[0].Token, *r.PRTs[0].Token
				at := l.clock.Now()
				first.Evidence = claims.Evidence{MFA: claims.Yes, Methods: claims.FIDO2, At: at, AuthTime: at.Add(-time.Hour)}
				second.Evidence = first.Evidence
				second.Evidence.AuthTime = at
				second.Credential, second.ExpiresAt = prt.ByRefreshToken, second.ExpiresAt.Add(-time.Hour)
				r.Set(account.PRT{Token: &first, Origin: account.Page})
				r.Set(account.PRT{Token: &second, Origin: account.Page})
			})
			tried := 0
			refusal := &sts.Error{Said: true, By: sts.ByPRT, Verdict: tt.verdict}
			require.ErrorIs(t, l.Use(t.Context(), a, func(*prt.Token, prt.Session) error { tried++; return refusal }), refusal)
			require.Equal(t, tt.tried, tried)
		})
	}
}

// A PRT of another registration of the machine is not used.
func TestPRTOfAnotherRegistration(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	here := byPassword(a).Token.DeviceID
	require.Equal(t, l.srv.Devices()[0].ID, here)
	for id, used := range map[string]bool{here: true, strings.ToUpper(here): true, "": true, "another": false} {
		l.change(a, func(r *account.Record) {
			n := *r.PRTs[0].Token
			n.DeviceID = id
			r.PRTs[0].Token = &n
		})
		require.Equal(t, used, len(l.Choices(a.Record())) == 1, "%q", id)
	}
}

// A refusal by another tenant is marked as one if the PRT itself is refused, since
// that is over there alone.
func TestRefusalsAbroad(t *testing.T) {
	t.Parallel()
	for code, abroad := range map[int]bool{50173: true, 50076: false} {
		l := newLaptop(t)
		a := l.signIn()
		l.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: code, Times: -1})
		err := l.Use(t.Context(), a, func(p *prt.Token, s prt.Session) error {
			_, _, err := l.Exchange(t.Context(), a, p, s, signon.Request{Tenant: "fabrikam.example", ClientID: appID, RedirectURI: native, Resource: graph})
			return err
		})
		var said *sts.Error
		require.ErrorAs(t, err, &said)
		require.Equal(t, code, said.Code)
		require.Equal(t, abroad, said.Abroad, code)
	}
}

// A remote desktop's token is made from a refresh token, without which there is none.
func TestTwoStepsWithoutRefreshToken(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, func(o *entratest.Options) { o.PlainReplies = true })
	a := l.signIn()
	l.wire.drop = []string{"refresh_token"}
	l.wire.tokens = 0
	_, _, err := l.token(a, desktop)
	require.ErrorContains(t, err, "has no refresh token")
	require.Equal(t, 1, l.wire.tokens)
}

// broken is a session key that does not sign.
type broken struct{}

var errBroken = errors.New("the key is broken")

func (broken) Derive(context.Context, []byte, []byte) ([32]byte, error) { return [32]byte{}, errBroken }

// A nonce is asked for only if a cookie lacks one, and nothing else is wrong.
func TestNonceOfCookie(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	const address = "https://login.microsoftonline.com/contoso.example/oauth2/authorize"
	const elsewhere = "https://evil.example/"
	for name, tt := range map[string]struct {
		q      signon.CookieRequest
		broken bool
		asked  int
		refuse bool // the address
	}{
		"none":                            {signon.CookieRequest{URL: address}, false, 1, false},
		"in the address":                  {signon.CookieRequest{URL: address + "?sso_nonce=abc"}, false, 0, false},
		"given":                           {signon.CookieRequest{URL: address, Nonce: "abc"}, false, 0, false},
		"none is wanted":                  {signon.CookieRequest{URL: address, InsecureNoNonce: true}, false, 0, false},
		"another address":                 {signon.CookieRequest{URL: elsewhere}, false, 1, true},
		"another address, given":          {signon.CookieRequest{URL: elsewhere, Nonce: "abc"}, false, 0, true},
		"another address, none is wanted": {signon.CookieRequest{URL: elsewhere, InsecureNoNonce: true}, false, 0, true},
		"a broken key":                    {signon.CookieRequest{URL: address + "?sso_nonce=abc"}, true, 0, false},
	} {
		l.clock.Advance(5 * time.Minute) // a nonce is used for less
		require.NoError(t, l.Use(t.Context(), a, func(p *prt.Token, s prt.Session) error {
			if tt.broken {
				s.Key = broken{}
			}
			l.wire.all = 0
			cookie, err := l.Cookie(t.Context(), p, s, tt.q)
			switch {
			case tt.refuse:
				var address *signon.AddressError
				require.ErrorAs(t, err, &address, name)
			case tt.broken:
				require.ErrorIs(t, err, errBroken, name)
			default:
				require.NoError(t, err, name)
				require.False(t, cookie.Value.IsZero(), name)
			}
			require.Equal(t, tt.asked, l.wire.all, name)
			return nil
		}))
	}
}

type fileSigner struct{ *rsa.PrivateKey }

func (s fileSigner) SignContext(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.Sign(rand.Reader, digest, opts)
}

// A sign-in with a Hello key says when it is made, by the service's clock: the
// service hears of it, and knows the key or not.
func TestHelloSaysWhen(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, err = l.Issue(t.Context(), prt.HelloGrant{Key: fileSigner{key}, Username: alice}, signon.Provenance{}, account.Identity{})
	var said *sts.Error
	require.ErrorAs(t, err, &said)
	require.Equal(t, aadsts.HelloKey, said.Verdict)
	require.Equal(t, prt.ByHello, l.Failed().Credential)
	require.Equal(t, alice, l.Failed().Username)
}
