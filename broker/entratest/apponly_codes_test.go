package entratest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// Codes of Microsoft's "Microsoft Entra authentication and authorization error codes"
// (2024-04) that read as if client_credentials or on-behalf-of could give them, and why
// they do not arise here. All others that concern these grants are rows of
// [TestClientCredentialsRefused], [TestOnBehalfOf] or [TestAppGrantCodes].
var appGrantCodesElsewhere = map[int]string{
	50001:   "replaced by 500011 (unknown) and 500014 (disabled)",
	50003:   "signing keys of SAML applications",
	50012:   "an assertion with a bad signature gets 700027 today (azure-sdk-for-net issue 29007); the rest is about trusted certificate authorities, which only Microsoft's own applications have",
	50042:   "a fault of the directory",
	50128:   "the tenant is in the path: an unknown one is 90002, none is 50059",
	50146:   "claims mapping policies are not emulated; so too 501461",
	50194:   "app registrations here have no audience; the grant finds the tenant by the assertion",
	50196:   "a limit of the service that no page quantifies; Fault answers with it on request",
	500021:  "a header that a network proxy adds (tenant restrictions); so too 500022 and 50002",
	500212:  "cross-tenant access policies are not emulated; so too 500213",
	65005:   "app registrations here list no required permissions: what was not consented to is 65001; so too 650052, 650054, 650056 and 650057",
	67003:   "actor tokens of Microsoft's own services",
	70001:   "replaced by 700016 (unknown) and 7000112 (disabled)",
	700011:  "replaced by 700016",
	70002:   "replaced by 7000215",
	70021:   "replaced by 700211, 700212 and 700213",
	700022:  "the token endpoint answers 28000 for scopes of two resources",
	700030:  "as 50012: subject names of certificates are for Microsoft's own applications",
	90008:   "needs a registration that lacks User.Read; Consent here is per scope (65001)",
	90015:   "the token endpoint reads no query string",
	90016:   "a token that verifies here has the claims",
	90124:   "the resource's version of the protocol is not restricted; so too 90130",
	900382:  "there is one cloud; so too 900432, 90038 and 1000104",
	100007:  "regional endpoints",
	9001023: "these grants answer 50059 where the tenant is missing",
}

// What the page says about client_credentials and on-behalf-of beyond the everyday
// refusals.
func TestAppGrantCodes(t *testing.T) {
	c, clock := daemon(t)
	now := clock.Now()
	cert := certOf(t, pool()[2], now)
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: daemonID, Name: "Daemon", Secret: "daemon secret", Certificates: [][]byte{cert},
		Federated: []entratest.FederatedCredential{{Issuer: cluster, Subject: account}}}))
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: payrollID, Name: "Payroll", Public: true, URIs: []string{"api://payroll"}, AdminConsent: true}))
	orders := entratest.App{ClientID: apiID, Name: "Orders", URIs: []string{"api://orders"}, Secret: "api secret", AdminConsent: true}
	require.NoError(t, c.s.AddApp(orders))
	set := func(name string, v any) func(map[string]any) { return func(m map[string]any) { m[name] = v } }
	signed := func(change ...func(map[string]any)) []string {
		return []string{"client_assertion_type", assertionKind, "client_assertion", clientAssertion(t, pool()[2], modern(cert), c.assertionClaims(now, change...))}
	}
	user := c.ropc("alice", payrollID, "api://orders").str("access_token")
	require.NotEmpty(t, user)
	onBehalfAt := func(path string, kv ...string) *reply {
		form := map[string]string{"grant_type": jwtBearer, "requested_token_use": "on_behalf_of", "client_id": apiID, "client_secret": "api secret",
			"assertion": user, "scope": "https://graph.microsoft.com/User.Read"}
		for i := 0; i < len(kv); i += 2 {
			form[kv[i]] = kv[i+1]
		}
		var list []string
		for k, v := range form {
			if v != "" {
				list = append(list, k, v)
			}
		}
		return c.form(path, list...)
	}
	onBehalf := func(kv ...string) *reply { return onBehalfAt(c.tenantPath("/oauth2/v2.0/token"), kv...) }
	expect := func(name string, r *reply, code int, oauth string) {
		t.Run(name, func(t *testing.T) {
			require.NotContains(t, appGrantCodesElsewhere, code)
			require.Equal(t, code, r.code(), "%s", r.body)
			require.Equal(t, oauth, r.str("error"))
		})
	}
	require.Equal(t, 200, onBehalf().status)

	cc := c.appOnly
	expect("a subject that is not the issuer", cc(signed(set("sub", payrollID))...), 50048, "invalid_client")
	expect("an assertion of another application", cc(signed(set("sub", payrollID), set("iss", payrollID))...), 700021, "invalid_client")
	expect("a subject in other letters", cc("client_assertion_type", assertionKind, "client_assertion",
		c.s.FederatedToken(entratest.FederatedCredential{Issuer: cluster, Subject: "system:serviceaccount:shop:Checkout"})), 7002138, "invalid_client")
	expect("resource at v2.0", cc("client_secret", "daemon secret", "resource", "api://orders"), 901002, "invalid_request")
	expect("no client", cc("client_secret", "daemon secret", "client_id", ""), 900144, "invalid_request")
	expect("claims that are not JSON", cc("client_secret", "daemon secret", "claims", "{"), 9002313, "invalid_request")

	expect("OBO: no assertion", onBehalf("assertion", ""), 900144, "invalid_request")
	expect("OBO: no scope", onBehalf("scope", ""), 900144, "invalid_request")
	expect("OBO: resource at v2.0", onBehalf("resource", "api://payroll"), 901002, "invalid_request")
	expect("OBO: no secret", onBehalf("client_secret", ""), 7000218, "invalid_client")
	expect("OBO: an unknown client", onBehalf("client_id", thirdParty[:35]+"0"), 700016, "unauthorized_client")
	expect("OBO: a public client with a secret", onBehalf("client_id", payrollID), 700025, "invalid_client")
	expect("OBO: an unknown tenant", onBehalfAt("/nowhere.example/oauth2/v2.0/token"), 90002, "invalid_tenant")
	expect("OBO: an unknown resource", onBehalf("scope", "api://nowhere/.default"), 500011, "invalid_resource")
	expect("OBO: two resources", onBehalf("scope", "api://payroll/user_impersonation https://graph.microsoft.com/User.Read"), 28000, "invalid_scope")
	expect("OBO: a scope that the resource lacks", onBehalf("scope", "api://payroll/Nothing"), 70011, "invalid_scope")
	expect("OBO: claims that are not JSON", onBehalf("claims", "{"), 9002313, "invalid_request")
	expect("OBO: for itself by its URI", onBehalf("scope", "api://orders/user_impersonation"), 90009, "invalid_request")
	require.Equal(t, 200, onBehalf("scope", apiID+"/user_impersonation").status, "by its id")

	for name, tt := range map[string]struct {
		change func(*entratest.App)
		code   int
		oauth  string
	}{
		"OBO: a secret that is over":        {func(a *entratest.App) { a.SecretExpires = now }, 7000222, "invalid_client"},
		"OBO: a disabled application":       {func(a *entratest.App) { a.Disabled = true }, 7000112, "unauthorized_client"},
		"OBO: a user without an assignment": {func(a *entratest.App) { a.AssignTo = []string{"bob"} }, 50105, "access_denied"},
	} {
		changed := orders
		tt.change(&changed)
		require.NoError(t, c.s.AddApp(changed))
		expect(name, onBehalf(), tt.code, tt.oauth)
	}
	require.NoError(t, c.s.AddApp(orders))
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: closedID, Name: "Closed", URIs: []string{"api://closed"}, Disabled: true}))
	expect("OBO: a disabled resource", onBehalf("scope", "api://closed/.default"), 500014, "invalid_resource")

	for name, tt := range map[string]struct {
		grant string
		code  int
		oauth string
	}{
		"OBO: blocked by policy":              {"block", 53003, "access_denied"},
		"OBO: a compliant device is wanted":   {"compliantDevice", 50097, "interaction_required"},
		"OBO: a joined device is wanted":      {"domainJoinedDevice", 50097, "interaction_required"},
		"OBO: MFA is wanted, which alice has": {"mfa", 50076, "interaction_required"},
	} {
		require.NoError(t, c.s.SetPolicies([]byte(`{"id":"p","displayName":"Policy","state":"enabled","conditions":{"users":{"includeUsers":["All"]},
			"applications":{"includeApplications":["`+payrollID+`"]}},"grantControls":{"operator":"OR","builtInControls":["`+tt.grant+`"]}}`)))
		expect(name, onBehalf("scope", "api://payroll/.default"), tt.code, tt.oauth)
	}
	require.NoError(t, c.s.SetPolicies(nil))
	bobs := c.ropc("bob", payrollID, "api://orders").str("access_token")
	require.NoError(t, c.s.SetPolicies([]byte(`{"id":"p","displayName":"Policy","state":"enabled","conditions":{"users":{"includeUsers":["All"]},
			"applications":{"includeApplications":["`+payrollID+`"]}},"grantControls":{"operator":"OR","builtInControls":["mfa"]}}`)))
	expect("OBO: MFA is wanted, for which bob has no method", onBehalf("assertion", bobs, "scope", "api://payroll/.default"), 50079, "interaction_required")
	require.NoError(t, c.s.SetPolicies(nil))

	require.NoError(t, c.s.DisableUser("alice@contoso.example"))
	expect("OBO: a disabled user", onBehalf(), 50057, "invalid_grant")
	require.NoError(t, c.s.DeleteUser("bob@contoso.example"))
	expect("OBO: a deleted user", onBehalf("assertion", bobs), 50034, "invalid_grant")
	clock.Advance(2 * time.Hour)
	expect("OBO: a token that is over", onBehalf(), 500133, "invalid_grant")
}
