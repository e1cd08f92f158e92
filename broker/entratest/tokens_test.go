package entratest_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims/verify"
)

// Signatures are what a reply costs: one for an access token, and one for the
// id_token of the v2.0 endpoint when that is asked for. That of v1 has none.
func TestSignaturesOfAReply(t *testing.T) {
	c, _ := start(t)
	count := func(r *reply) (n int) {
		t.Helper()
		require.Equal(t, 200, r.status, "%s", r.body)
		for _, v := range r.v {
			if token, ok := v.(string); ok && strings.Count(token, ".") == 2 && strings.HasPrefix(token, "eyJ") {
				header, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
				require.NoError(t, err)
				if strings.Contains(string(header), "RS256") {
					n++
				}
			}
		}
		return n
	}
	v2 := func(scope string) *reply {
		return c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", scope}, alicePassword(c)...)...)
	}
	v1 := c.ropc("alice", payrollID, "api://payroll")
	require.Equal(t, 1, count(v1))
	require.True(t, strings.HasSuffix(v1.str("id_token"), "."), "alg none")
	require.Equal(t, 1, count(v2("api://payroll/.default")))
	require.Equal(t, 2, count(v2("openid api://payroll/.default")))
}

// A stock library verifies the tokens against the published keys.
func TestTokensVerify(t *testing.T) {
	c, clock := start(t)
	c.joined()
	keys := c.get(login + "/common/discovery/v2.0/keys")
	require.Contains(t, keys.v["keys"].([]any)[0], "issuer")
	set, err := verify.ParseKeys(keys.body)
	require.NoError(t, err)
	r := c.exchange(payrollID, "api://payroll")
	require.Equal(t, "Bearer", r.str("token_type"))
	require.Equal(t, "4200", r.str("expires_in"))
	require.Equal(t, "api://payroll", r.str("resource"))
	v2ID := c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "openid"}, alicePassword(c)...)...).str("id_token")
	for token, audience := range map[string]string{r.str("access_token"): "api://payroll", v2ID: payrollID} {
		_, err := set.Token(token, verify.Options{Audience: []string{audience}, Now: clock.Now()})
		require.NoError(t, err)
		parts := strings.Split(token, ".")
		_, err = set.Token(parts[0]+"."+parts[1]+"."+b64u(make([]byte, 256)), verify.Options{Audience: []string{audience}, Now: clock.Now()})
		require.ErrorIs(t, err, verify.ErrSignature)
	}
	v1 := jwtClaims(t, r.str("access_token"))
	require.Equal(t, "1.0", v1["ver"])
	require.Equal(t, payrollID, v1["appid"])
	require.Equal(t, "user_impersonation", v1["scp"])
	require.Contains(t, v1, "amr")
	require.Equal(t, "https://sts.windows.net/"+c.s.TenantID()+"/", v1["iss"])

	require.NoError(t, c.s.AddApp(entratest.App{ClientID: payrollID, Public: true, URIs: []string{"api://payroll"}, TokenVersion: 2, Redirects: []string{nativeURI}}))
	got := c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "openid profile offline_access api://payroll/.default", "client_info", "1"}, alicePassword(c)...)...)
	require.Equal(t, 200, got.status, "%s", got.body)
	require.EqualValues(t, 4200, got.v["expires_in"])
	v2 := jwtClaims(t, got.str("access_token"))
	require.Equal(t, "2.0", v2["ver"])
	require.Equal(t, payrollID, v2["aud"])
	require.NotContains(t, v2, "amr")
	require.NotContains(t, jwtClaims(t, got.str("id_token")), "amr")
	require.NotEmpty(t, got.str("refresh_token"))
	got = c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "api://payroll/.default"}, alicePassword(c)...)...)
	require.NotContains(t, got.v, "refresh_token")
	require.NotContains(t, got.v, "id_token")

	require.NoError(t, c.s.AddApp(entratest.App{ClientID: payrollID, Public: true, URIs: []string{"api://payroll"}, TokenVersion: 2, OptionalClaims: []string{"amr", "auth_time", "acct", "ipaddr", "upn", "groups"}}))
	v2 = jwtClaims(t, c.payroll().str("access_token"))
	require.Equal(t, []any{"pwd"}, v2["amr"])
	require.EqualValues(t, clock.Now().Unix(), v2["auth_time"])
	require.Len(t, v2["groups"], 2) // Finance, and Staff that holds it

	cae := c.token(append([]string{"grant_type", "password", "client_id", payrollID, "resource", "api://payroll", "claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`}, alicePassword(c)...)...)
	require.Equal(t, "86400", cae.str("expires_in"))
	require.NotContains(t, jwtClaims(t, cae.str("access_token")), "xms_cc", "the resource does not ask for it")

	cnf := base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"thumbprint"}`))
	pop := c.token(append([]string{"grant_type", "password", "client_id", payrollID, "resource", "api://payroll", "token_type", "pop", "req_cnf", cnf}, alicePassword(c)...)...)
	require.Equal(t, "pop", pop.str("token_type"))
	require.Equal(t, map[string]any{"kid": "thumbprint"}, jwtClaims(t, pop.str("access_token"))["cnf"])

	web := c.token(append([]string{"grant_type", "password", "client_id", webID, "client_secret", "web secret", "resource", webID}, alicePassword(c)...)...)
	require.Equal(t, 200, web.status, "%s", web.body)
	require.Equal(t, "1", jwtClaims(t, web.str("access_token"))["appidacr"])
}

// The Azure CLI and Azure PowerShell left the family in January 2026
// (CompassSecurity/EntraFalcon issue 6 with the refusal;
// AzureAD/microsoft-authentication-library-for-dotnet pull request 5677).
func TestFamily(t *testing.T) {
	c, _ := start(t)
	const graph = "https://graph.microsoft.com"
	r := c.ropc("alice", teamsClient, graph)
	require.Equal(t, "1", r.str("foci"))
	require.Equal(t, 200, c.refresh(officeClient, r.str("refresh_token"), "resource", graph).status)
	for _, outside := range []string{brokerClient, azureCLI, azurePowerShell} {
		refused := c.refresh(outside, r.str("refresh_token"))
		require.Equal(t, 700007, refused.code())
		require.Equal(t, "client_mismatch", refused.str("suberror"))
	}
	require.Empty(t, c.ropc("alice", azureCLI, graph).str("foci"))
}

// A DeviceFilter in a policy sees the device that the PRT is bound to.
func TestManyTenants(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.OtherTenants = []entratest.Tenant{{Domain: "fabrikam.example", DisplayName: "Fabrikam", Users: []entratest.User{{Username: "gil", Password: password}},
		Apps: []entratest.App{{ClientID: payrollID, Public: true, Redirects: []string{nativeURI}}}}}
	c := newClient(t, entratest.NewTB(t, o))
	r := c.form("/organizations/oauth2/token", "grant_type", "password", "client_id", payrollID, "username", "gil@fabrikam.example", "password", password)
	require.Equal(t, 200, r.status, "%s", r.body)
	require.NotEqual(t, c.s.TenantID(), jwtClaims(t, r.str("id_token"))["tid"])
	require.Equal(t, 50020, c.refresh(payrollID, r.str("refresh_token")).code())
	require.Equal(t, 50034, c.token("grant_type", "password", "client_id", payrollID, "username", "gil@fabrikam.example", "password", password).code())
	require.True(t, slices.ContainsFunc(c.s.SignIns(), func(e entratest.SignIn) bool { return e.Username == "gil@fabrikam.example" }))
}

func TestInheritedMFA(t *testing.T) {
	for _, inherit := range []bool{false, true} {
		o := options(entratest.NewClock(time.Time{}))
		o.InheritDeviceMFA = inherit
		c := newClient(t, entratest.NewTB(t, o))
		tok := c.interactive(c.alice(), brokerClient, brokerURI, drsResource, "amr_values", "mfa")
		j := c.json("POST", joinURL, tok.str("access_token"), c.joinBody(0))
		require.Equal(t, 200, j.status, "%s", j.body)
		c.useCertificate(j)
		c.passwordPRT("alice")
		c.policy(`"mfa"`)
		want := map[bool]int{false: 50076, true: 0}[inherit]
		require.Equal(t, want, c.exchange(payrollID, "api://payroll").code())
	}
}
