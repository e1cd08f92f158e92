package broker_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/why"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
)

// signInScopes are mixes of the scopes of OpenID Connect, which have no resource.
// "If the resource identifier is omitted in the scope parameter, the resource is
// assumed to be Microsoft Graph" (Microsoft identity platform, "Scopes and
// permissions", 2025).
var signInScopes = [][]string{
	{"openid"}, {"profile"}, {"email"}, {"offline_access"}, {"openid", "profile"}, {"Email", "OPENID"},
	{"openid", "profile", "email", "offline_access"}, {"https://graph.microsoft.com/email", "openid"},
}

// sentForms keeps the forms of token requests, with the claims of a signed one.
type sentForms struct{ last url.Values }

func (s *sentForms) see(r *http.Request) error {
	if r.GetBody == nil {
		return nil
	}
	body, err := r.GetBody()
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil || form.Get("grant_type") == wire.GrantNonce {
		return err
	}
	if parts := strings.Split(form.Get("request"), "."); len(parts) == 3 {
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			return err
		}
		var inner map[string]any
		if err := json.Unmarshal(payload, &inner); err != nil {
			return err
		}
		for name, v := range inner {
			if text, ok := v.(string); ok {
				form.Set("request."+name, text)
			}
		}
	}
	s.last = form
	return nil
}

// Scopes of OpenID Connect alone, in any mix, are a token for Microsoft Graph, as
// in MSAL, and one request for it serves them all.
func TestOpenIDScopesAreGraph(t *testing.T) {
	t.Parallel()
	for _, first := range signInScopes {
		t.Run(strings.Join(first, " "), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.join()
			w.signIn()
			var sent sentForms
			w.wire.set(sent.see, nil)
			res := w.silent(first)
			require.Equal(t, broker.SourcePRT, res.Metadata.Source)
			require.Equal(t, wire.ResourceGraph, sent.last.Get("request.resource"), "the v1 endpoint is told so")
			tok, err := claims.Parse(res.AccessToken)
			require.NoError(t, err)
			require.Equal(t, wire.ResourceGraph, tok.Audience[0])
			w.wire.take()
			for _, mix := range signInScopes {
				require.Equal(t, res.AccessToken, w.silent(mix).AccessToken, mix)
			}
			require.Empty(t, w.wire.take(), "a request for what is in memory")
			require.Equal(t, broker.SourcePRT, w.silent(graph).Metadata.Source, ".default is another question")
		})
	}
}

// A token for Graph that is there already is one for signing in as well; beside
// the scopes of another resource they change nothing.
func TestOpenIDScopesBesideOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	token := w.silent([]string{"User.Read", "email"}).AccessToken
	other := w.silent([]string{"email", "api://open/.default", "profile"}).AccessToken
	w.wire.take()
	require.Equal(t, token, w.silent([]string{"openid", "email"}).AccessToken)
	require.Equal(t, token, w.silent([]string{"User.Read"}).AccessToken)
	require.Equal(t, other, w.silent(open).AccessToken)
	require.Empty(t, w.wire.take())
}

// Without a registration the v2 endpoint takes them as they are.
func TestOpenIDScopesUnbound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.AllowUnbound = true
	w.b = w.open()
	_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.NoError(t, err)
	var sent sentForms
	w.wire.set(sent.see, nil)
	res, err := w.b.AcquireTokenSilent(t.Context(), []string{"email"}, broker.WithForceRefresh())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"email", "openid", "profile", "offline_access"}, strings.Fields(sent.last.Get("scope")))
	tok, err := claims.Parse(res.AccessToken)
	require.NoError(t, err)
	require.Equal(t, wire.ResourceGraph, tok.Audience[0])
}

// For Conditional Access they are access to the directory (Microsoft Entra,
// "Improved enforcement for All resources policies with resource exclusions",
// 2026-05-27), which Why says and judges by.
func TestWhyOfOpenIDScopes(t *testing.T) {
	t.Parallel()
	const allButPayroll = `{"value":[{"id":"99999999-0000-4000-8000-000000000005","displayName":"MFA but for payroll","state":"enabled",
	 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"],"excludeApplications":["` + payrollID + `","` + wire.ResourceRegistrationApp + `"]},"clientAppTypes":["all"]},
	 "grantControls":{"operator":"OR","builtInControls":["mfa"]}}]}`
	w := newWorld(t, withPolicies(allButPayroll))
	w.cfg.Policies = policySet(t, allButPayroll)
	w.b = w.open()
	w.join()
	w.signIn()
	for _, mix := range signInScopes {
		e, err := w.b.Why(t.Context(), broker.WhyInput{Scopes: mix})
		require.NoError(t, err)
		require.Equal(t, why.Asked, e.Verdict, e)
		require.Contains(t, e.String(), "for Conditional Access these scopes alone are access to the directory, app "+wire.ResourceAADGraph)
		_, err = w.b.AcquireTokenSilent(t.Context(), mix)
		require.ErrorIs(t, err, broker.ErrInteractionRequired, "as it said")
	}
	e, err := w.b.Why(t.Context(), broker.WhyInput{Scopes: append([]string{"api://payroll/.default"}, signInScopes[0]...), ResourceID: payrollID})
	require.NoError(t, err)
	require.Equal(t, why.Silent, e.Verdict, e)
	require.NotContains(t, e.String(), "access to the directory")

	// A policy that means the directory alone is met as well.
	directory := strings.ReplaceAll(mfaForMoney, payrollID, wire.ResourceAADGraph)
	w.cfg.Policies = policySet(t, directory)
	e, err = w.open().Why(t.Context(), broker.WhyInput{Scopes: []string{"openid", "email"}})
	require.NoError(t, err)
	require.Equal(t, why.Asked, e.Verdict, e)

	// Where the tenant names an application of its own for that, it is that one.
	bundle, _, err := policy.Load(strings.NewReader(directory))
	require.NoError(t, err)
	own, err := policy.Compile(bundle, policy.WithBaselineApp(openID))
	require.NoError(t, err)
	w.cfg.Policies = func() *policy.Set { return own }
	e, err = w.open().Why(t.Context(), broker.WhyInput{Scopes: []string{"openid"}})
	require.NoError(t, err)
	require.Equal(t, why.Silent, e.Verdict, e)
	require.Contains(t, e.String(), "access to the directory, app "+openID)
}
