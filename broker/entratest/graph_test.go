package entratest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

func TestGraph(t *testing.T) {
	c, _ := start(t)
	c.joined()
	const graph = "https://graph.microsoft.com"
	r := c.exchange(financeID, graph, "claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`)
	tok := r.str("access_token")
	get := func(path string) *reply { return c.json("GET", graph+path, tok, nil) }
	require.Equal(t, "alice@contoso.example", get("/v1.0/me").str("userPrincipalName"))
	require.Equal(t, "alice@contoso.example", get("/v1.0/users/ALICE@contoso.example").str("userPrincipalName"))
	require.Len(t, get("/v1.0/me/transitiveMemberOf").v["value"], 2)
	require.Equal(t, "Alice Example", get("/oidc/userinfo").str("name"))
	require.Equal(t, 401, c.json("GET", graph+"/v1.0/me", "", nil).status)
	require.NotEmpty(t, c.json("GET", graph+"/v1.0/me", c.payroll().str("access_token"), nil).header.Get("WWW-Authenticate"))

	dev := get("/v1.0/devices(deviceId='" + c.deviceID + "')?$select=accountEnabled,isCompliant,displayName")
	require.Equal(t, map[string]any{"accountEnabled": true, "isCompliant": nil, "displayName": "box", "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#devices/$entity"}, dev.v)
	require.NoError(t, c.s.SetCompliant(c.deviceID, true))
	require.Equal(t, true, get("/v1.0/devices(deviceId='" + c.deviceID + "')").v["isCompliant"])
	require.Len(t, get("/v1.0/devices?$filter=deviceId%20eq%20'" + c.deviceID + "'").v["value"], 1)
	require.Equal(t, 400, get("/v1.0/devices?$filter=displayName%20eq%20'x'").status)
	require.Equal(t, 404, get("/v1.0/devices(deviceId='99999999-0000-4000-8000-000000000000')").status)
	require.Equal(t, 403, get("/v1.0/identity/conditionalAccess/policies").status, "scope")

	require.NoError(t, c.s.AddApp(entratest.App{ClientID: financeID, Public: true, Redirects: []string{nativeURI}, AdminConsent: true}))
	c.must(c.s.SetPolicies(json.RawMessage(`{"value":[` + string(policyJSON("Payroll needs MFA", payrollID, `"mfa"`, "")) + `,
{"@odata.type":"#microsoft.graph.ipNamedLocation","id":"eeeeeeee-0000-4000-8000-000000000001","displayName":"Office","isTrusted":true,"ipRanges":[{"@odata.type":"#microsoft.graph.iPv4CidrRange","cidrAddress":"203.0.113.0/24"}]}]}`)))
	tok = c.exchange(financeID, graph, "claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`).str("access_token")
	require.Len(t, get("/v1.0/identity/conditionalAccess/policies").v["value"], 1)
	require.Len(t, get("/v1.0/identity/conditionalAccess/namedLocations").v["value"], 1)
	require.Len(t, get("/v1.0/policies/authenticationStrengthPolicies").v["value"], 3, "the built-in ones")
	me := get("/v1.0/me").str("id")
	what := func(app string) *reply {
		return c.json("POST", graph+"/v1.0/identity/conditionalAccess/evaluate", tok, map[string]any{
			"signInIdentity":   map[string]any{"@odata.type": "#microsoft.graph.userSignIn", "userId": me},
			"signInContext":    map[string]any{"@odata.type": "#microsoft.graph.applicationContext", "includeApplications": []string{app}},
			"signInConditions": map[string]any{"clientAppType": "mobileAppsAndDesktopClients", "devicePlatform": "linux", "ipAddress": "203.0.113.9"}})
	}
	applies := func(r *reply) any { return r.v["value"].([]any)[0].(map[string]any)["policyApplies"] }
	require.Equal(t, true, applies(what(payrollID)), "%s", what(payrollID).body)
	require.Equal(t, false, applies(what(financeID)))
	require.Equal(t, 400, c.json("POST", graph+"/v1.0/identity/conditionalAccess/evaluate", tok, map[string]any{}).status)

	require.Equal(t, 200, c.registerHello(pool()[3]).status)
	keys := get("/v1.0/users/alice@contoso.example/authentication/windowsHelloForBusinessMethods").v["value"].([]any)
	require.Len(t, keys, 1)
	id := keys[0].(map[string]any)["id"].(string)
	u := graph + "/v1.0/users/alice@contoso.example/authentication/windowsHelloForBusinessMethods/" + id
	require.Equal(t, 204, c.json("DELETE", u, tok, nil).status)
	require.Equal(t, 404, c.json("DELETE", u, tok, nil).status)

	plain := c.exchange(financeID, graph).str("access_token")
	require.Equal(t, 200, c.json("POST", graph+"/v1.0/me/revokeSignInSessions", tok, nil).status)
	require.Equal(t, 200, c.json("GET", graph+"/v1.0/me", plain, nil).status, "a client without cp1 is not challenged")
	r = get("/v1.0/me")
	require.Equal(t, 401, r.status)
	require.Contains(t, r.header.Get("WWW-Authenticate"), `error="insufficient_claims", claims="`)
	require.Equal(t, 50173, c.renew().code())
	require.Equal(t, 200, c.passwordPRT("alice").status)
	tok = c.exchange(financeID, graph).str("access_token")
	del := func(tok string) int {
		return c.json("DELETE", graph+"/v1.0/devices(deviceId='"+c.deviceID+"')", tok, nil).status
	}
	require.Equal(t, 403, del(tok), "a role is needed")
	require.NoError(t, c.s.AddUser(entratest.User{Username: "dora", Password: password, Roles: []string{"7698a772-787b-4ac8-901f-60d6b08affd2"}}))
	require.Equal(t, 204, del(c.ropc("dora", financeID, graph).str("access_token")))
	require.Empty(t, c.s.Devices())
}

// A token reaches its own user with the scope for that, and another with a
// scope for everybody and, where authentication is concerned, a role.
func TestGraphPermissions(t *testing.T) {
	const (
		graph       = "https://graph.microsoft.com"
		hello       = "/authentication/windowsHelloForBusinessMethods"
		authAdmin   = "c4e39bd9-1100-46d3-8c65-fb160da0071f"
		reader      = "f2ef992c-3afb-46b9-b7cf-a126ee74c451"
		helpdesk    = "729827e3-9c14-49f7-bb1b-9608f156bbb8"
		deviceAdmin = "7698a772-787b-4ac8-901f-60d6b08affd2"
	)
	tests := []struct {
		request  string
		scope    string
		role     string
		own, bob int // statuses for the token's user and for another
	}{
		{"GET ", "User.Read", "", 200, 403},
		{"GET ", "User.ReadBasic.All", "", 200, 200},
		{"GET ", "Directory.Read.All", "", 200, 200},
		{"GET ", "Mail.Read", authAdmin, 403, 403},
		{"GET /transitiveMemberOf", "User.Read", "", 200, 403},
		{"GET /transitiveMemberOf", "GroupMember.Read.All", "", 200, 200},
		{"POST /revokeSignInSessions", "User.Read", helpdesk, 403, 403},
		{"POST /revokeSignInSessions", "User.RevokeSessions.All", "", 200, 403},
		{"POST /revokeSignInSessions", "User.RevokeSessions.All", deviceAdmin, 200, 403},
		{"POST /revokeSignInSessions", "User.RevokeSessions.All", helpdesk, 200, 200},
		{"GET " + hello, "User.Read", authAdmin, 403, 403},
		{"GET " + hello, "UserAuthenticationMethod.Read", "", 200, 403},
		{"GET " + hello, "UserAuthenticationMethod.Read.All", "", 200, 403},
		{"GET " + hello, "UserAuthenticationMethod.Read", reader, 200, 200},
		{"DELETE " + hello + "/x", "UserAuthenticationMethod.Read.All", authAdmin, 403, 403},
		{"DELETE " + hello + "/x", "UserAuthenticationMethod.ReadWrite", "", 404, 403},
		{"DELETE " + hello + "/x", "UserAuthenticationMethod.ReadWrite.All", reader, 404, 403},
		{"DELETE " + hello + "/x", "UserAuthenticationMethod.ReadWrite", authAdmin, 404, 404},
	}
	for _, tt := range tests {
		t.Run(tt.request+" with "+tt.scope+" "+tt.role, func(t *testing.T) {
			c, _ := start(t)
			require.NoError(t, c.s.AddApp(entratest.App{ClientID: financeID, Public: true, Preauthorised: map[string][]string{graph: {tt.scope}}}))
			u := entratest.User{Username: "dora", Password: password}
			if tt.role != "" {
				u.Roles = []string{tt.role}
			}
			require.NoError(t, c.s.AddUser(u))
			tok := c.ropc("dora", financeID, graph)
			require.Equal(t, 200, tok.status, "%s", tok.body)
			method, path, _ := strings.Cut(tt.request, " ")
			for who, want := range map[string]int{"/me": tt.own, "/users/dora@contoso.example": tt.own, "/users/bob@contoso.example": tt.bob} {
				r := c.json(method, graph+"/v1.0"+who+path, tok.str("access_token"), nil)
				require.Equal(t, want, r.status, "%s: %s", who, r.body)
				if want == 403 {
					require.Contains(t, string(r.body), "Authorization_RequestDenied")
				}
			}
			if tt.bob == 200 && method == "GET" {
				require.Equal(t, 404, c.json(method, graph+"/v1.0/users/zoe@contoso.example"+path, tok.str("access_token"), nil).status)
			}
		})
	}
}
