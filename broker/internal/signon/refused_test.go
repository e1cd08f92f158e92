package signon_test

import (
	"context"
	"errors"
	"net/http"
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

// A sign-in that fails is told: with the account where there is one, else of
// whoever tried last.
func TestFailedSignIn(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	for name, tt := range map[string]struct {
		grant      prt.Grant
		credential prt.CredentialKind
		username   string
	}{
		"password":      {prt.PasswordGrant{Username: alice, Password: prt.NewSecret("wrong")}, prt.ByPassword, alice},
		"refresh token": {prt.RefreshTokenGrant{Token: prt.NewSecret("none")}, prt.ByRefreshToken, ""},
		"assertion":     {prt.SAMLGrant{Assertion: prt.NewSecret("<saml:Assertion/>")}, prt.BySAML, ""},
	} {
		_, err := l.Issue(t.Context(), tt.grant, signon.Provenance{}, account.Identity{})
		var said *sts.Error
		require.ErrorAs(t, err, &said, name)
		at := l.Failed()
		require.NotNil(t, at, name)
		require.Equal(t, tt.credential, at.Credential, name)
		require.Equal(t, tt.username, at.Username, name)
		require.Equal(t, said.Code, at.Code, name)
		require.Equal(t, said.CorrelationID, at.CorrelationID, name)
		require.Equal(t, http.StatusBadRequest, at.HTTPStatus, name)
		require.Equal(t, "https://login.microsoftonline.com/contoso.example/oauth2/token", at.Endpoint, name)
		require.False(t, at.Renewal, name)
	}
	a := l.signIn()
	require.Nil(t, l.Failed(), "somebody signed in")
	_, err := l.Issue(t.Context(), prt.PasswordGrant{Username: alice, Password: prt.NewSecret("wrong")}, signon.Provenance{}, account.Identity{})
	require.ErrorContains(t, err, "AADSTS50126")
	require.Nil(t, l.Failed())
	require.Equal(t, 50126, a.Record().Failed.Code, "with the account of who it was")
	l.signIn()
	require.Nil(t, a.Record().Failed)

	for name, grant := range map[string]prt.Grant{
		"of somebody else":     prt.PasswordGrant{Username: bob, Password: prt.NewSecret("wrong")},
		"of nobody knows whom": prt.RefreshTokenGrant{Token: prt.NewSecret("none")},
	} {
		_, err = l.Issue(t.Context(), grant, signon.Provenance{}, account.Identity{})
		require.ErrorAs(t, err, new(*sts.Error), name)
		require.NotNil(t, l.Failed(), name)
		require.Nil(t, a.Record().Failed, name)
		l.signIn()
	}
	_, err = l.Issue(t.Context(), prt.PasswordGrant{Username: "ALICE@contoso.example", Password: prt.NewSecret("wrong")}, signon.Provenance{}, account.Identity{})
	require.ErrorContains(t, err, "AADSTS50126")
	require.Equal(t, "ALICE@contoso.example", a.Record().Failed.Username, "as it was typed")

	l.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.DropBefore, Times: -1})
	_, err = l.Issue(t.Context(), prt.RefreshTokenGrant{Token: prt.NewSecret("none")}, signon.Provenance{}, a.Record().Account)
	require.ErrorContains(t, err, "no answer from the service")
	at := a.Record().Failed
	require.Zero(t, at.HTTPStatus)
	require.Contains(t, at.HTTPError, "no answer from the service")
	require.Equal(t, alice, at.Username, "the account's")
}

// A caller who goes away has not failed to sign in.
func TestNoAttempt(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	ctx, cancel := context.WithCancel(t.Context())
	l.wire.before = cancel
	_, err := l.Issue(ctx, passwordOf(alice), signon.Provenance{}, account.Identity{})
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, l.Failed())
}

// A sign-in whose PRT cannot be kept failed, and its session key is closed.
func TestNotKept(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.store.onPut = l.store.fails
	_, err := l.Issue(t.Context(), passwordOf(alice), signon.Provenance{}, account.Identity{})
	require.ErrorIs(t, err, errFull)
	require.Zero(t, l.keys.open)
}

// A renewal failed for the user of the account, by the newest name that is known.
func TestNameOfFailedRenewal(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]string{married: married, alice: ""} {
		l := newLaptop(t)
		a := l.signIn()
		l.change(a, func(r *account.Record) { r.Account.PreferredUsername = known })
		l.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 50173, Times: -1})
		_, err := l.Renew(t.Context(), a, prt.ByPassword, true)
		require.ErrorContains(t, err, "AADSTS50173")
		require.True(t, a.Record().Failed.Renewal)
		require.Equal(t, name, a.Record().Failed.Username)
	}
}

// A renewal that fails for the moment withholds no PRT that is valid, and one that
// is refused ends it.
func TestFailedRenewal(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	born := a.Record().PRT(prt.ByPassword).Token
	renewals := func(r *http.Request) bool {
		return r.PostFormValue("grant_type") != "" && !strings.Contains(r.URL.Path, "/common/")
	}
	l.clock.Advance(prt.RenewAfter + time.Minute)
	remove := l.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 90033, Error: "temporarily_unavailable", Status: http.StatusServiceUnavailable, Times: 3, Match: renewals})
	_, err := l.Renew(t.Context(), a, prt.ByPassword, false)
	var said *sts.Error
	require.ErrorAs(t, err, &said)
	require.True(t, said.Transient())
	require.True(t, a.Record().Failed.Renewal)
	require.Equal(t, prt.ByPassword, a.Record().Failed.Credential)
	remove()

	// The PRT itself is valid: it is used as it is.
	l.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 90033, Error: "temporarily_unavailable", Status: http.StatusServiceUnavailable, Times: -1, Match: renewals})
	var used *prt.Token
	require.NoError(t, l.Use(t.Context(), a, func(p *prt.Token, _ prt.Session) error { used = p; return nil }))
	require.True(t, used.PRT.Equal(born.PRT))
	l.clock.Advance(15 * 24 * time.Hour)
	err = l.Use(t.Context(), a, func(*prt.Token, prt.Session) error { return errors.New("it was used") })
	require.ErrorAs(t, err, &said, "one that looks expired is not")
	l.srv.ClearFaults()
	l.clock.Advance(time.Hour) // the circuit
	_, err = l.Renew(t.Context(), a, prt.ByPassword, false)
	require.ErrorAs(t, err, &said)
	require.True(t, said.Over())
	require.Equal(t, said.Code, a.Record().PRT(prt.ByPassword).Dead.Code)
	require.Nil(t, a.Record().PRT(prt.ByPassword).Previous)
}

// Every renewal may bring another session key, which the next request is signed by.
func TestRolledSessionKey(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, func(o *entratest.Options) { o.RollSessionKey = true })
	a := l.signIn()
	born := a.Record().PRT(prt.ByPassword).Token
	renewed, err := l.Renew(t.Context(), a, prt.ByPassword, true)
	require.NoError(t, err)
	require.NotEqual(t, born.SessionKey, renewed.SessionKey)
	_, _, err = l.token(a, graph)
	require.NoError(t, err)
}

// A device that was just registered is not known everywhere at once; later a
// refusal is one.
func TestYoungDevice(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, func(o *entratest.Options) { o.ReplicationLag = 5 * time.Second })
	began := l.clock.Now()
	l.signIn()
	require.Equal(t, 3*time.Second, l.clock.Now().Sub(began), "1 s and 2 s: the emulator knows the device after two refusals")

	l.clock.Advance(time.Hour)
	require.NoError(t, l.srv.DeleteDevice(l.srv.Devices()[0].ID))
	began = l.clock.Now()
	_, err := l.Issue(t.Context(), prt.PasswordGrant{Username: alice, Password: prt.NewSecret(password)}, signon.Provenance{}, account.Identity{})
	require.ErrorContains(t, err, "AADSTS50155")
	require.Equal(t, began, l.clock.Now(), "nobody waits")
}

func TestAnswersInTheClear(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, func(o *entratest.Options) { o.PlainReplies = true })
	a := l.signIn()
	r, _, err := l.token(a, graph)
	require.NoError(t, err, "a token may come in the clear, unless that is refused")
	require.False(t, r.Encrypted)
	_, err = l.Renew(t.Context(), a, prt.ByPassword, true)
	require.ErrorContains(t, err, "the reply is not encrypted", "a PRT never")

	l = newLaptop(t, func(o *entratest.Options) { o.PlainReplies = true }, requireEncrypted)
	a = l.signIn()
	_, _, err = l.token(a, graph)
	require.ErrorContains(t, err, "the reply is not encrypted")
}

// What another tenant says of a PRT does not end it.
func TestRefusedAbroad(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	l.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 50173, Times: -1, Match: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/fabrikam.example/") }})
	err := l.Use(t.Context(), a, func(p *prt.Token, s prt.Session) error {
		_, _, err := l.Exchange(t.Context(), a, p, s, signon.Request{Tenant: "fabrikam.example", ClientID: appID, RedirectURI: native, Resource: graph})
		return err
	})
	var said *sts.Error
	require.ErrorAs(t, err, &said)
	require.True(t, said.Abroad)
	require.False(t, said.Over())
	require.Nil(t, a.Record().PRT(prt.ByPassword).Dead)
}

// What the PRT's own reply did not say about MFA, a token may.
func TestLearn(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	a := l.signIn()
	forget := func(e claims.Evidence) {
		_, err := a.Update(t.Context(), func(r *account.Record) error {
			p := *r.PRTs[0].Token
			p.Evidence = e
			r.PRTs[0].Token = &p
			return nil
		})
		require.NoError(t, err)
	}
	forget(claims.Evidence{})
	_, _, err := l.token(a, graph)
	require.NoError(t, err)
	require.Equal(t, claims.No, a.Record().PRTs[0].Token.Evidence.MFA, "the token's amr names a password alone")
	require.Equal(t, claims.SourceAccessToken, a.Record().PRTs[0].Token.Evidence.Source)

	known := claims.Evidence{MFA: claims.Yes, Source: claims.SourceIDToken}
	forget(known)
	_, _, err = l.token(a, graph)
	require.NoError(t, err)
	require.Equal(t, known, a.Record().PRTs[0].Token.Evidence, "what is known is not learnt again")

	// A token that nobody here can read says nothing, and what another PRT brought is
	// not said of its successor.
	forget(claims.Evidence{})
	used := a.Record().PRTs[0].Token
	l.Learn(t.Context(), a, used, &prt.Reply{AccessToken: prt.NewSecret("an-opaque-token")})
	require.Equal(t, claims.Evidence{}, a.Record().PRTs[0].Token.Evidence)
	r, _, err := l.token(a, graph)
	require.NoError(t, err)
	_, err = a.Update(t.Context(), func(r *account.Record) error {
		next := *used
		next.PRT = prt.NewSecret("the-next-prt")
		r.Set(account.PRT{Token: &next})
		return nil
	})
	require.NoError(t, err)
	l.Learn(t.Context(), a, used, r)
	require.Equal(t, claims.Evidence{}, a.Record().PRTs[0].Token.Evidence)
}

// The evidence of a sign-in completes that of the PRT which it gave, and never
// contradicts it.
func TestProvenance(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	seen := claims.Evidence{MFA: claims.Yes, At: l.clock.Now(), AuthTime: l.clock.Now().Add(-time.Minute), Source: claims.SourceIDToken}
	in, err := l.Issue(t.Context(), prt.PasswordGrant{Username: alice, Password: prt.NewSecret(password)}, signon.Provenance{Origin: account.Direct, Seen: seen}, account.Identity{})
	require.NoError(t, err)
	require.Equal(t, claims.No, in.Token.Evidence.MFA, "the PRT's own id_token says that none was done")
	require.False(t, in.Token.Evidence.AuthTime.IsZero())
}

// Which refusal the caller hears where several PRTs were refused.
func TestSeveralRefusals(t *testing.T) {
	t.Parallel()
	refusal := func(v aadsts.Verdict, code int) *sts.Error {
		return &sts.Error{Said: true, By: sts.ByPRT, Verdict: v, Code: code}
	}
	l := newLaptop(t)
	a := l.signIn()
	born := *a.Record().PRTs[0].Token
	stepUp, stale := refusal(aadsts.StepUp, 50076), refusal(aadsts.StaleMFA, 70043)
	blocked, over := refusal(aadsts.Blocked, 53003), refusal(aadsts.SignInAgain, 50173)
	for name, tt := range map[string]struct {
		origins []account.Origin // of a Hello PRT and of one of a password
		said    []error          // to each
		want    error            // nil: of a kind of its own
		verdict aadsts.Verdict
	}{
		"one serves":                           {[]account.Origin{account.Direct, account.Direct}, []error{stepUp, nil}, nil, aadsts.None},
		"the first stands":                     {[]account.Origin{account.Direct, account.Direct}, []error{stepUp, refusal(aadsts.StepUp, 50079)}, stepUp, aadsts.StepUp},
		"a new sign-in is enough":              {[]account.Origin{account.Direct, account.Direct}, []error{stepUp, stale}, stale, aadsts.StaleMFA},
		"one is over":                          {[]account.Origin{account.Direct, account.Direct}, []error{over, stepUp}, stepUp, aadsts.StepUp},
		"all are over":                         {[]account.Origin{account.Direct, account.Direct}, []error{over, over}, over, aadsts.SignInAgain},
		"blocked, and not for how it began":    {[]account.Origin{account.Page, account.Page}, []error{blocked, stepUp}, blocked, aadsts.Blocked},
		"blocked, perhaps for a device code":   {[]account.Origin{account.DeviceCode, account.Page}, []error{blocked, blocked}, blocked, aadsts.Blocked},
		"blocked, each after a device code":    {[]account.Origin{account.DeviceCode, account.DeviceCode}, []error{blocked, blocked}, nil, aadsts.Interact},
		"blocked for its device code, perhaps": {[]account.Origin{account.DeviceCode, account.Page}, []error{blocked, stepUp}, stepUp, aadsts.StepUp},
	} {
		t.Run(name, func(t *testing.T) {
			kinds := []prt.CredentialKind{prt.ByHello, prt.ByPassword}
			_, err := a.Update(t.Context(), func(r *account.Record) error {
				r.PRTs = nil
				for i, kind := range kinds {
					p := born
					p.Credential, p.Evidence = kind, claims.Evidence{MFA: claims.Yes, Methods: []claims.Methods{claims.WindowsHello, claims.Password | claims.SMS}[i]}
					r.Set(account.PRT{Token: &p, Origin: tt.origins[i]})
				}
				return nil
			})
			require.NoError(t, err)
			tried := map[prt.CredentialKind]bool{}
			err = l.Use(t.Context(), a, func(p *prt.Token, _ prt.Session) error {
				tried[p.Credential] = true
				return tt.said[map[prt.CredentialKind]int{prt.ByHello: 0, prt.ByPassword: 1}[p.Credential]]
			})
			require.Len(t, tried, 2, "both are tried")
			if tt.verdict == aadsts.None {
				require.NoError(t, err)
				return
			}
			var said *sts.Error
			require.ErrorAs(t, err, &said)
			require.Equal(t, tt.verdict, said.Verdict)
			if tt.want != nil {
				require.Same(t, tt.want, said)
			}
		})
	}
}
