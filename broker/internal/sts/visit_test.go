package sts

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// A code is taken from the address that answers this very request (RFC 6749 4.1.2,
// 10.12), and from no other.
func TestAuthorizeReply(t *testing.T) {
	const redirect, state = "https://login.example/nativeclient", "this-request"
	for name, tt := range map[string]struct {
		redirected string
		code, says string
	}{
		"a code":                       {redirect + "?code=c&state=" + state, "c", ""},
		"in capitals, as browsers may": {"HTTPS://LOGIN.example/nativeclient?code=c&state=" + state, "c", ""},
		"another host":                 {"https://evil.example/nativeclient?code=c&state=" + state, "", "another address"},
		"another scheme":               {"http://login.example/nativeclient?code=c&state=" + state, "", "another address"},
		"the bare redirect URI":        {redirect, "", "another request"},
		"shorter":                      {redirect[:10], "", "another address"},
		"nothing":                      {"", "", "another address"},
		"the state of another request": {redirect + "?code=c&state=another", "", "another request"},
		"a part of the state":          {redirect + "?code=c&state=" + state[:4], "", "another request"},
		"no state":                     {redirect + "?code=c", "", "another request"},
		"an error of another request":  {redirect + "?error=access_denied&state=another", "", "another request"},
		"an error beside a code":       {redirect + "?code=c&error=access_denied&state=" + state, "", "canceled by the user"},
		"an empty code":                {redirect + "?code=&state=" + state, "", "no code"},
		"no code":                      {redirect + "?state=" + state, "", "no code"},
		"a query that is malformed":    {redirect + "?code=c&x=%zz&state=" + state, "", "malformed"},
		"an address that is malformed": {redirect + "%zz?code=c&state=" + state, "", "malformed"},
		"as long as may be":            {redirect + "?code=c&state=" + state + "&x=" + strings.Repeat("x", 64<<10-len(redirect+"?code=c&state="+state+"&x=")), "c", ""},
		"longer":                       {redirect + "?code=c&state=" + state + "&x=" + strings.Repeat("x", 64<<10+1-len(redirect+"?code=c&state="+state+"&x=")), "", "another address"},
	} {
		t.Run(name, func(t *testing.T) {
			code, err := authorizeReply(tt.redirected, redirect, state)
			require.Equal(t, tt.code, code)
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.says)
		})
	}
}

// When there is no code, the page says why in the address it redirects to ("Error
// response", Microsoft identity platform).
func TestRedirectError(t *testing.T) {
	for name, tt := range map[string]struct {
		query string
		want  aadsts.Verdict
		code  int
	}{
		"the user canceled":              {"error=access_denied", aadsts.Declined, 0},
		"the user canceled, says AADSTS": {"error=access_denied&error_subcode=cancel&error_description=AADSTS50126%3A+x", aadsts.Declined, 50126},
		"a policy denied":                {"error=access_denied&error_description=AADSTS53003%3A+x", aadsts.Blocked, 53003},
		"a code":                         {"error=interaction_required&error_description=AADSTS50076%3A+x", aadsts.StepUp, 50076},
		"no code, another error":         {"error=login_required", aadsts.Interact, 0},
		"a code further on":              {"error=login_required&error_description=see+AADSTS50076", aadsts.Interact, 0},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := url.ParseQuery(tt.query)
			require.NoError(t, err)
			var e *Error
			require.ErrorAs(t, redirectError(q), &e)
			require.Equal(t, tt.want, e.Verdict)
			require.Equal(t, tt.code, e.Code)
			require.True(t, e.Said)
		})
	}
}

// A visit asks for no more than it is told to, and its challenge is that of the
// example of RFC 7636, appendix B.
func TestVisit(t *testing.T) {
	least := url.Values{
		"client_id": {"app"}, "response_type": {"code"}, "redirect_uri": {"app://x"}, "response_mode": {"query"}, "state": {"s"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}
	for name, tt := range map[string]struct {
		visit Visit
		more  url.Values
	}{
		"the least":            {Visit{}, nil},
		"a bound token":        {Visit{BoundTo: "k"}, nil}, // is asked for where the code is redeemed
		"all that is optional": {Visit{Resource: "r", Scope: "s", LoginHint: "h", Claims: "c"}, url.Values{"resource": {"r"}, "scope": {"s"}, "login_hint": {"h"}, "claims": {"c"}}},
		"MFA":                  {Visit{MFA: true}, url.Values{"amr_values": {"ngcmfa"}}},
		"again":                {Visit{Again: true}, url.Values{"prompt": {"login"}}},
		"without a page":       {Visit{Silent: true}, url.Values{"prompt": {"none"}}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.visit.ClientID, tt.visit.Redirect = "app", "app://x"
			got := tt.visit.query("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "s")
			for k, v := range least {
				require.Equal(t, v, got[k], k)
				got.Del(k)
			}
			require.Equal(t, len(tt.more), len(got))
			for k, v := range tt.more {
				require.Equal(t, v, got[k], k)
			}
		})
	}

	form := Visit{ClientID: "app", Redirect: "app://x"}.redemption("c", "v")
	require.Equal(t, url.Values{"grant_type": {"authorization_code"}, "client_id": {"app"}, "code": {"c"}, "redirect_uri": {"app://x"}, "code_verifier": {"v"}}, form)
	form = Visit{Resource: "r", Scope: "s", Claims: "{}", BoundTo: "k", LoginHint: "h"}.redemption("c", "v")
	for name, want := range map[string]string{"resource": "r", "scope": "s", "claims": "{}", "token_type": "pop", "req_cnf": "k", "login_hint": ""} {
		require.Equal(t, want, form.Get(name), name)
	}
}

// The verifier and the state are 32 random bytes each, and only the state is in the
// address.
func TestPage(t *testing.T) {
	c := testClient(t, &answering{canned: tokens})
	c.cfg.Rand = bytes.NewReader(bytes.Join([][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), make([]byte, 16)}, nil))
	p, err := c.Visit(t.Context(), Visit{Tenant: "contoso.example", Path: wire.PathAuthorize, TokenPath: wire.PathToken, ClientID: "app", Redirect: "app://x"})
	require.NoError(t, err)
	address, query, _ := strings.Cut(p.URL, "?")
	require.Equal(t, "https://login.microsoftonline.com/contoso.example/oauth2/authorize", address)
	q, err := url.ParseQuery(query)
	require.NoError(t, err)
	const state = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"
	require.Equal(t, state, q.Get("state"))
	require.Equal(t, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE", p.verifier)
	require.NotContains(t, p.URL, p.verifier)

	_, err = p.Redeem(t.Context(), "app://x?code=c&state=another")
	require.ErrorContains(t, err, "another request")
	r, err := p.Redeem(t.Context(), "app://x?code=c&state="+state)
	require.NoError(t, err)
	require.Equal(t, "a", r.AccessToken.Reveal())

	for _, n := range []int{31, 63} {
		c.cfg.Rand = bytes.NewReader(make([]byte, n))
		_, err = c.Visit(t.Context(), Visit{})
		require.ErrorContains(t, err, "reading randomness")
	}
}
