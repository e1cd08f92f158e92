package broker_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
)

func TestResolveOptions(t *testing.T) {
	o, err := broker.ResolveOptions()
	require.NoError(t, err)
	require.Zero(t, o)
	want := broker.Options{
		Account: broker.Account{HomeAccountID: "a.b"}, App: broker.App{ClientID: "c"}, TenantID: "t", Claims: "{}", ForceRefresh: true,
		NewSignIn: true, Nonce: "n", LoginHint: "l", InsecureNoNonce: true, CorrelationID: "i", CAE: true, PoP: &broker.PoP{Method: "GET"},
	}
	o, err = broker.ResolveOptions(
		broker.WithAccount(want.Account), broker.WithApp(want.App), broker.WithTenantID("t"), broker.WithClaims("{}"), broker.WithForceRefresh(),
		broker.WithNewSignIn(), broker.WithNonce("n"), broker.WithLoginHint("l"), broker.WithInsecureNoNonce(), broker.WithCorrelationID("i"),
		broker.WithCAE(), broker.WithPoP(*want.PoP),
	)
	require.NoError(t, err)
	require.Equal(t, want, o)
	_, err = broker.ResolveOptions(broker.WithCAE(), broker.WithCAE())
	require.ErrorContains(t, err, "WithCAE was given twice")
	_, err = broker.ResolveOptions(broker.CallOption{})
	require.ErrorContains(t, err, "the zero CallOption does not apply")
}

func TestNewError(t *testing.T) {
	err := error(broker.NewError(broker.ErrPRTExpired, "over", context.Canceled, broker.Error{Op: "acquire token", Code: 700082}))
	require.ErrorIs(t, err, broker.ErrPRTExpired)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err, "broker: acquire token: over (AADSTS700082): context canceled")
	require.False(t, errors.Is(broker.NewError(nil, "odd", nil, broker.Error{}), broker.ErrTransient))
}

// WithNewSignIn asks although a token is there, and takes whoever signs in.
func TestNewSignIn(t *testing.T) {
	w := newWorld(t)
	w.join()
	first := w.signIn()
	w.silent(open)
	_, err := w.b.AcquireTokenInteractive(t.Context(), open)
	require.NoError(t, err)
	require.Zero(t, w.person.prompts(), "nothing asks for a sign-in")

	w.person.Username = "bob@contoso.example"
	res, err := w.b.AcquireTokenInteractive(t.Context(), open, broker.WithNewSignIn(), broker.WithLoginHint("bob@contoso.example"))
	require.NoError(t, err)
	require.Equal(t, 1, w.person.prompts())
	require.Equal(t, "bob@contoso.example", res.Account.PreferredUsername)
	all, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)

	// With an account it must be that one.
	_, err = w.b.AcquireTokenInteractive(t.Context(), open, broker.WithNewSignIn(), broker.WithAccount(first))
	require.ErrorContains(t, err, "another user")
	_, err = w.b.AcquireTokenSilent(t.Context(), open, broker.WithAccount(first), broker.WithNewSignIn())
	require.ErrorContains(t, err, "WithNewSignIn does not apply")
}

// A token for a key of the caller's own is bound to it and is not signed here.
func TestPoPForKeyOfTheCaller(t *testing.T) {
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	const kid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" // RFC 7638, 3.1
	res := w.silent(open, broker.WithPoP(broker.PoP{KeyID: kid}))
	require.Equal(t, "PoP", res.TokenType)
	tok, err := claims.Parse(res.AccessToken)
	require.NoError(t, err)
	require.Equal(t, kid, tok.ConfirmationKeyID)
	require.Equal(t, res.AccessToken, w.silent(open, broker.WithPoP(broker.PoP{KeyID: kid})).AccessToken, "from memory")
	other := strings.Replace(kid, "N", "M", 1)
	require.NotEqual(t, res.AccessToken, w.silent(open, broker.WithPoP(broker.PoP{KeyID: other})).AccessToken)

	for name, p := range map[string]broker.PoP{
		"is not a thumbprint": {KeyID: `x","kid":"y`},
		"PoP.KeyID excludes":  {KeyID: kid, Method: "GET"},
	} {
		_, err := w.b.AcquireTokenSilent(t.Context(), open, broker.WithPoP(p))
		require.ErrorContains(t, err, name)
	}
	_, err = w.b.SignedHTTPRequest(t.Context(), "", broker.PoP{KeyID: kid})
	require.ErrorContains(t, err, "which the broker cannot sign with")
	signed, err := w.b.SignedHTTPRequest(t.Context(), "", broker.PoP{Method: "GET", URL: "https://api.example/x"})
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(signed, "."))
}

// For a remote desktop the PRT brings a refresh token, which brings the token
// and is used no second time.
func TestRemoteDesktopTwoSteps(t *testing.T) {
	const desktop = "ms-device-service://termsrv.wvd.microsoft.com/name/host.example"
	scope := []string{desktop + "/user_impersonation"}
	w := newWorld(t, withMemory, withOptions(func(o *entratest.Options) {
		o.Apps = append(o.Apps, entratest.App{ClientID: "a4a365df-50f1-4397-bc59-1a1564b8bb9c", Name: "Remote desktop", URIs: []string{desktop}})
	}))
	w.join()
	w.signIn()
	w.silent(open)
	w.wire.take()
	const kid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
	res := w.silent(scope, broker.WithPoP(broker.PoP{KeyID: kid}))
	require.Len(t, w.wire.take(), 2, "the exchange and the grant; the nonce is fresh still")
	require.Equal(t, "PoP", res.TokenType)
	tok, err := claims.Parse(res.AccessToken)
	require.NoError(t, err)
	require.Equal(t, kid, tok.ConfirmationKeyID)
	require.Equal(t, []string{desktop}, tok.Audience)
	w.silent(scope, broker.WithPoP(broker.PoP{KeyID: kid}))
	require.Empty(t, w.wire.take(), "from memory")
	w.silent(scope, broker.WithPoP(broker.PoP{KeyID: kid}), broker.WithForceRefresh())
	var grants int
	for _, e := range w.srv.SignIns() {
		if e.Grant == "prt_exchange" && e.ErrorCode == 0 {
			grants++
		}
	}
	require.Equal(t, 3, grants, "no refresh token is kept: each token begins with the PRT")
}
