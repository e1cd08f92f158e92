package entratest_test

import (
	"encoding/json"
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
	require.Equal(t, "bob@contoso.example", get("/v1.0/users/bob@contoso.example").str("userPrincipalName"))
	require.Equal(t, 404, get("/v1.0/users/zoe@contoso.example").status)
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
	require.Equal(t, 204, c.json("DELETE", graph+"/v1.0/devices(deviceId='"+c.deviceID+"')", tok, nil).status)
	require.Empty(t, c.s.Devices())
}
