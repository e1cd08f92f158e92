package entratest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims/verify"
	"github.com/prtbroker/prtbroker/policy"
)

func TestDiscovery(t *testing.T) {
	c, _ := start(t)
	tid := c.s.TenantID()
	for _, name := range []string{tid, c.s.Domain(), strings.ToUpper(c.s.Domain())} {
		r := c.get(login + "/" + name + "/.well-known/openid-configuration")
		require.Equal(t, "https://sts.windows.net/"+tid+"/", r.str("issuer"))
		require.Equal(t, login+"/"+tid+"/oauth2/token", r.str("token_endpoint"))
		require.Equal(t, []any{"kdf_ver2"}, r.v["capabilities"])
		r = c.get(login + "/" + name + "/v2.0/.well-known/openid-configuration")
		require.Equal(t, login+"/"+tid+"/v2.0", r.str("issuer"))
		require.Equal(t, login+"/"+tid+"/oauth2/v2.0/devicecode", r.str("device_authorization_endpoint"))
	}
	r := c.get("https://login.windows.net/common/v2.0/.well-known/openid-configuration")
	require.Equal(t, login+"/{tenantid}/v2.0", r.str("issuer"))
	require.Nil(t, r.v["tenant_region_scope"])
	require.Equal(t, 90002, c.get(login+"/nowhere.example/.well-known/openid-configuration").code())
	require.Equal(t, 404, c.get(login+"/common/nothing").status)
	require.Equal(t, 405, c.do("PATCH", drs+"/EnrollmentServer/key/", nil, "").status)

	in := func(endpoint, version string) *reply {
		return c.get(login + "/common/discovery/instance?api-version=" + version + "&authorization_endpoint=" + url.QueryEscape(endpoint))
	}
	r = in("https://login.microsoftonline.com/contoso.example/oauth2/v2.0/authorize", "1.1")
	require.Equal(t, login+"/contoso.example/v2.0/.well-known/openid-configuration", r.str("tenant_discovery_endpoint"))
	require.Equal(t, "login.windows.net", r.v["metadata"].([]any)[0].(map[string]any)["preferred_cache"])
	require.NotContains(t, in("https://login.windows.net/common/oauth2/authorize", "1.0").v, "metadata")
	require.Equal(t, 50049, in("https://login.example/common/oauth2/authorize", "1.1").code())
	require.Equal(t, "invalid_instance", in("https://login.example/common/oauth2/authorize", "1.1").str("error"))
	for _, bad := range []string{"", "nonsense", "http://login.microsoftonline.com/common/x", "https://login.microsoftonline.com"} {
		require.Equal(t, 50050, in(bad, "1.1").code(), bad)
	}
	require.Equal(t, 50050, in("https://login.microsoftonline.com/common/oauth2/authorize", "3").code())

	r = c.get(drs + "/" + c.s.Domain() + "/Discover?api-version=1.9&managed=True")
	require.Equal(t, drs+"/EnrollmentServer/device/", r.v["DeviceJoinService"].(map[string]any)["JoinEndpoint"])
	require.Equal(t, drsResource, r.v["KeyProvisioningService"].(map[string]any)["KeyProvisionResourceId"])
	require.Equal(t, tid, r.v["TenantInfo"].(map[string]any)["TenantId"])
	require.Len(t, r.v, 15)
	require.Equal(t, 90002, c.get(drs+"/nowhere.example/Discover").code())
}

func TestUserRealm(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.Federated = []string{"fed.example"}
	o.Users = append(o.Users, entratest.User{Username: "frida@fed.example", Password: password})
	c := newClient(t, entratest.NewTB(t, o))
	v1 := func(upn string) *reply {
		return c.get(login + "/common/UserRealm/" + url.PathEscape(upn) + "?api-version=1.0")
	}
	require.Equal(t, "Managed", v1("alice@contoso.example").str("account_type"))
	require.Equal(t, "Unknown", v1("zoe@nowhere.example").str("account_type"))
	f := v1("frida@fed.example")
	require.Equal(t, "Federated", f.str("account_type"))
	require.Equal(t, "https://sts.fed.example/adfs/services/trust/mex", f.str("federation_metadata_url"))
	v2 := c.get(login + "/common/UserRealm/frida@fed.example?api-version=2.0")
	require.Equal(t, "Federated", v2.str("NameSpaceType"))
	require.NotEmpty(t, v2.str("AuthURL"))
	require.Equal(t, "Managed", c.get(login+"/GetUserRealm.srf?login=alice@contoso.example").str("NameSpaceType"))

	cred := func(v map[string]any) *reply { return c.json("POST", login+"/common/GetCredentialType", "", v) }
	r := cred(map[string]any{"username": "alice@contoso.example", "isFidoSupported": true})
	require.EqualValues(t, 0, r.v["IfExistsResult"])
	require.EqualValues(t, 3, r.v["EstsProperties"].(map[string]any)["DomainType"])
	require.EqualValues(t, 1, cred(map[string]any{"username": "zoe@contoso.example"}).v["IfExistsResult"])
	r = cred(map[string]any{"username": "frida@fed.example"})
	require.EqualValues(t, 4, r.v["Credentials"].(map[string]any)["PrefCredential"])
	require.Equal(t, "6000", cred(map[string]any{"username": "alice@contoso.example", "isAccessPassSupported": true}).v["error"].(map[string]any)["code"])
	require.Contains(t, cred(map[string]any{}).v, "error")
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
	for token, audience := range map[string]string{r.str("access_token"): "api://payroll", r.str("id_token"): payrollID} {
		_, err := set.Token(token, verify.Options{Audience: []string{audience}, Now: clock.Now()})
		require.NoError(t, err)
		parts := strings.Split(token, ".")
		_, err = set.Token(parts[0]+"."+parts[1]+"."+b64u(make([]byte, 256)), verify.Options{Audience: []string{audience}, Now: clock.Now()})
		require.Error(t, err)
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
	require.Equal(t, []any{"CP1"}, jwtClaims(t, cae.str("access_token"))["xms_cc"])

	cnf := base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"thumbprint"}`))
	pop := c.token(append([]string{"grant_type", "password", "client_id", payrollID, "resource", "api://payroll", "token_type", "pop", "req_cnf", cnf}, alicePassword(c)...)...)
	require.Equal(t, "pop", pop.str("token_type"))
	require.Equal(t, map[string]any{"kid": "thumbprint"}, jwtClaims(t, pop.str("access_token"))["cnf"])

	web := c.token(append([]string{"grant_type", "password", "client_id", webID, "client_secret", "web secret", "resource", webID}, alicePassword(c)...)...)
	require.Equal(t, 200, web.status, "%s", web.body)
	require.Equal(t, "1", jwtClaims(t, web.str("access_token"))["appidacr"])
}

func TestFamily(t *testing.T) {
	c, _ := start(t)
	const cli, powershell = "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "1950a258-227b-4e31-a9cf-717495945fc2"
	r := c.ropc("alice", cli, "https://management.azure.com/")
	require.Equal(t, "1", r.str("foci"))
	require.Equal(t, 200, c.refresh(powershell, r.str("refresh_token"), "resource", "https://graph.microsoft.com").status)
	require.Equal(t, "client_mismatch", c.refresh(brokerClient, r.str("refresh_token")).str("suberror"))
}

// soap is a request to the federation server.
func (c *tc) soap(version, user, pass, appliesTo, tokenType string) *reply {
	body := `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><o:Security xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"><o:UsernameToken><o:Username>` +
		user + `</o:Username><o:Password>` + pass + `</o:Password></o:UsernameToken></o:Security></s:Header><s:Body><t:RequestSecurityToken xmlns:t="x"><wsp:AppliesTo xmlns:wsp="y"><a:EndpointReference><a:Address>` +
		appliesTo + `</a:Address></a:EndpointReference></wsp:AppliesTo><t:TokenType>` + tokenType + `</t:TokenType></t:RequestSecurityToken></s:Body></s:Envelope>`
	return c.do("POST", "https://sts.fed.example/adfs/services/trust/"+version+"/usernamemixed", http.Header{"Content-Type": {"application/soap+xml"}}, body)
}

func assertionOf(t *testing.T, r *reply) string {
	t.Helper()
	text := string(r.body)
	from, to := strings.Index(text, "<saml:Assertion"), strings.LastIndex(text, "</saml:Assertion>")
	require.Positive(t, from, text)
	return text[from : to+len("</saml:Assertion>")]
}

func TestFederation(t *testing.T) {
	clock := entratest.NewClock(time.Time{})
	o := options(clock)
	o.Federated = []string{"fed.example"}
	o.Users = append(o.Users, entratest.User{Username: "frida@fed.example", Password: password})
	c := newClient(t, entratest.NewTB(t, o))
	const cloud = "urn:federation:MicrosoftOnline"
	grants := map[string]string{"": "urn:ietf:params:oauth:grant-type:saml1_1-bearer", "urn:oasis:names:tc:SAML:2.0:assertion": "urn:ietf:params:oauth:grant-type:saml2-bearer"}
	redeem := func(grant, assertion string) *reply {
		return c.token("grant_type", grant, "client_id", payrollID, "resource", "api://payroll", "assertion", base64.StdEncoding.EncodeToString([]byte(assertion)), "scope", "openid")
	}
	require.Contains(t, string(c.get("https://sts.fed.example/adfs/services/trust/mex").body), "https://sts.fed.example/adfs/services/trust/13/usernamemixed")
	c.join("alice", 0)
	for _, version := range []string{"2005", "13"} {
		for tokenType, grant := range grants {
			r := c.soap(version, "frida@fed.example", password, cloud, tokenType)
			require.Equal(t, 200, r.status, "%s", r.body)
			a := assertionOf(t, r)
			got := redeem(grant, a)
			require.Equal(t, 200, got.status, "%s", got.body)
			require.Equal(t, []any{"fed"}, jwtClaims(t, got.str("access_token"))["amr"])
			prt := c.prtRequest(map[string]any{"grant_type": grant, "assertion": base64.StdEncoding.EncodeToString([]byte(a))})
			require.Equal(t, 200, prt.status, "%s", prt.body)
		}
	}
	a := assertionOf(t, c.soap("2005", "frida@fed.example", password, cloud, ""))
	saml11 := grants[""]
	require.Equal(t, 50008, redeem(saml11, strings.Replace(a, "frida@", "alice@", 1)).code())
	require.Equal(t, 50008, redeem(saml11, strings.Replace(a, "<saml:Conditions", "<saml:Conditions ", 1)).code())
	require.Equal(t, 50008, redeem(grants["urn:oasis:names:tc:SAML:2.0:assertion"], a).code())
	require.Equal(t, 900144, c.token("grant_type", saml11, "client_id", payrollID).code())
	require.Equal(t, 50008, c.token("grant_type", saml11, "client_id", payrollID, "assertion", "!").code())
	require.Equal(t, 50126, c.token("grant_type", "password", "client_id", payrollID, "username", "frida@fed.example", "password", password).code(), "the password is not for the sign-in service")
	for _, bad := range []*reply{
		c.soap("2005", "frida@fed.example", "wrong", cloud, ""), c.soap("2005", "alice@contoso.example", password, cloud, ""), c.soap("2005", "frida@fed.example", password, "urn:other", ""),
		c.do("POST", "https://sts.fed.example/adfs/services/trust/13/usernamemixed", nil, "not XML"),
	} {
		require.Equal(t, 500, bad.status)
		require.Contains(t, string(bad.body), "s:Fault")
	}
	to, err := c.tryAuthorize(entratest.Person{Username: "frida@fed.example", Password: password})
	require.NoError(t, err)
	require.Equal(t, 200, c.redeemCode(query(t, to).Get("code")).status)
	_, err = c.tryAuthorize(entratest.Person{Username: "frida@fed.example", Password: "wrong"})
	require.Equal(t, 50126, pageCode(t, err))
	require.NoError(t, c.s.DisableUser("frida@fed.example"))
	require.Equal(t, 50057, redeem(saml11, a).code())
	require.NoError(t, c.s.EnableUser("frida@fed.example"))
	clock.Advance(2 * time.Hour)
	require.Equal(t, 500133, redeem(saml11, a).code())
}

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

	require.Equal(t, 200, c.json("POST", graph+"/v1.0/me/revokeSignInSessions", tok, nil).status)
	r = get("/v1.0/me")
	require.Equal(t, 401, r.status)
	require.Contains(t, r.header.Get("WWW-Authenticate"), `error="insufficient_claims", claims="`)
	require.Equal(t, 50173, c.renew().code())
	require.Equal(t, 200, c.passwordPRT("alice").status)
	tok = c.exchange(financeID, graph).str("access_token")
	require.Equal(t, 204, c.json("DELETE", graph+"/v1.0/devices(deviceId='"+c.deviceID+"')", tok, nil).status)
	require.Empty(t, c.s.Devices())
}

// The JSON endpoints by which programs without a browser drive a second factor.
func TestSAS(t *testing.T) {
	c, _ := start(t)
	config := func(r *reply) map[string]any {
		_, text, ok := strings.Cut(string(r.body), "$Config=")
		require.True(t, ok, "%s", r.body)
		text, _, _ = strings.Cut(text, ";\n//]]>")
		return jsonObject(t, text)
	}
	signIn := func(user string) map[string]any {
		cfg := config(c.authorizeQuery("amr_values", "mfa"))
		require.Equal(t, "ConvergedSignIn", cfg["pgid"])
		cfg = config(c.form(login+cfg["urlPost"].(string), "login", user+"@contoso.example", "passwd", password, "ctx", cfg["sCtx"].(string), "flowToken", cfg["sFT"].(string)))
		require.Equal(t, "ConvergedTFA", cfg["pgid"])
		return cfg
	}
	begin := func(cfg map[string]any, method string) map[string]any {
		return c.json("POST", login+cfg["urlBeginAuth"].(string), "", map[string]any{"AuthMethodId": method, "Method": "BeginAuth", "ctx": cfg["sCtx"], "flowToken": cfg["sFT"]}).v
	}
	finish := func(cfg, r map[string]any) *reply {
		return c.form(login+cfg["urlPost"].(string), "request", r["Ctx"].(string), "mfaAuthMethod", "PhoneAppOTP", "flowToken", r["FlowToken"].(string))
	}
	cfg := signIn("alice")
	require.Equal(t, "PhoneAppOTP", cfg["arrUserProofs"].([]any)[0].(map[string]any)["authMethodId"])
	require.Equal(t, false, begin(cfg, "OneWaySMS")["Success"])
	b := begin(cfg, "PhoneAppOTP")
	require.Equal(t, true, b["Success"])
	end := func(b map[string]any, code string) map[string]any {
		return c.json("POST", login+cfg["urlEndAuth"].(string), "", map[string]any{"AuthMethodId": "PhoneAppOTP", "Method": "EndAuth", "Ctx": b["Ctx"], "FlowToken": b["FlowToken"], "AdditionalAuthData": code}).v
	}
	require.Equal(t, false, end(b, "000000")["Success"])
	code, err := entratest.TOTP(totpSecret, c.s.Now())
	require.NoError(t, err)
	e := end(b, code)
	require.Equal(t, true, e["Success"])
	require.Contains(t, finish(cfg, e).header.Get("Location"), "code=")

	cfg = signIn("carol")
	b = begin(cfg, "PhoneAppNotification")
	n := int(b["Entropy"].(float64))
	require.GreaterOrEqual(t, n, 10)
	poll := func() map[string]any {
		return c.do("GET", login+cfg["urlEndAuth"].(string)+"?authMethodId=PhoneAppNotification&pollCount=1", http.Header{"X-Ms-Ctx": {b["Ctx"].(string)}}, "").v
	}
	require.Equal(t, true, poll()["Retry"])
	require.True(t, c.s.AnswerNumberMatch("carol", n))
	e = poll()
	require.Equal(t, true, e["Success"], e)
	require.Contains(t, finish(cfg, e).header.Get("Location"), "code=")

	// Passwordless: the number prompt is the first factor.
	cfg = config(c.authorizeQuery())
	otc := c.json("POST", login+cfg["urlGetOneTimeCode"].(string), "", map[string]any{"username": "carol@contoso.example"})
	params := otc.v["RemoteNgcParams"].(map[string]any)
	id := params["SessionIdentifier"].(string)
	status := func() any {
		return c.json("POST", login+cfg["urlSessionState"].(string)+"?code="+id, "", map[string]any{"DeviceCode": id}).v["AuthorizationState"]
	}
	require.EqualValues(t, 0, status())
	require.True(t, c.s.AnswerNumberMatch("carol", int(params["Entropy"].(float64))))
	require.EqualValues(t, 2, status())
	r := c.form(login+cfg["urlPost"].(string), "code", id, "psRNGCSLK", id, "login", "carol@contoso.example", "ctx", cfg["sCtx"].(string))
	got := c.redeemCode(query(t, r.header.Get("Location")).Get("code"))
	require.Equal(t, []any{"rsa", "mfa"}, jwtClaims(t, got.str("access_token"))["amr"])
	require.Contains(t, c.json("POST", login+cfg["urlGetOneTimeCode"].(string), "", map[string]any{"username": "alice@contoso.example"}).v, "error")
}

func TestFaults(t *testing.T) {
	c, _ := start(t)
	for _, via := range []string{"sockets", "memory"} {
		t.Run(via, func(t *testing.T) {
			if via == "memory" {
				tr := c.s.Transport()
				c.http = &http.Client{Transport: tr}
			}
			patience := time.Minute
			discover := func() (*http.Response, []byte, error) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, "POST", login+"/common/oauth2/token", strings.NewReader("grant_type=srv_challenge"))
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				resp, err := c.http.Do(req)
				if err != nil {
					return nil, nil, err
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				return resp, body, err
			}
			with := func(f entratest.Fault) (*http.Response, []byte, error) {
				f.Endpoint = entratest.EndpointNonce
				remove := c.s.AddFault(f)
				defer remove()
				return discover()
			}
			for _, kind := range []entratest.FaultKind{entratest.DropBefore, entratest.DropAfter, entratest.Truncate} {
				_, _, err := with(entratest.Fault{Kind: kind})
				require.Error(t, err)
			}
			resp, _, err := with(entratest.Fault{Kind: entratest.Throttle, RetryAfter: 17 * time.Second})
			require.NoError(t, err)
			require.Equal(t, 429, resp.StatusCode)
			require.Equal(t, "17", resp.Header.Get("Retry-After"))
			resp, _, err = with(entratest.Fault{Kind: entratest.Status, RetryAfter: 3 * time.Second})
			require.NoError(t, err)
			require.Equal(t, 503, resp.StatusCode)
			resp, body, err := with(entratest.Fault{Kind: entratest.Garbage})
			require.NoError(t, err)
			require.Equal(t, 200, resp.StatusCode)
			require.False(t, json.Valid(body))
			_, body, err = with(entratest.Fault{Kind: entratest.AADSTS, Code: 90033, Error: "temporarily_unavailable"})
			require.NoError(t, err)
			require.Contains(t, string(body), "AADSTS90033")
			_, _, err = with(entratest.Fault{Kind: entratest.Delay, Delay: time.Millisecond})
			require.NoError(t, err)
			patience = 50 * time.Millisecond
			_, _, err = with(entratest.Fault{Kind: entratest.Delay, Delay: -1})
			patience = time.Minute
			require.ErrorIs(t, err, context.DeadlineExceeded)

			remove := c.s.AddFault(entratest.Fault{Endpoint: entratest.EndpointNonce, Kind: entratest.Status, Nth: 2, Times: 2})
			var got []int
			for range 5 {
				resp, _, err := discover()
				require.NoError(t, err)
				got = append(got, resp.StatusCode)
			}
			require.Equal(t, []int{200, 503, 503, 200, 200}, got)
			remove()
			c.s.AddFault(entratest.Fault{Kind: entratest.Status, Times: -1, Match: func(r *http.Request) bool { return r.PostForm.Get("grant_type") == "password" }})
			require.Equal(t, 503, c.payroll().status)
			_, _, err = discover()
			require.NoError(t, err)
			c.s.ClearFaults()
			require.Equal(t, 200, c.payroll().status)
		})
	}
}

// What was done before a reply was lost stays done.
func TestDropAfterCommits(t *testing.T) {
	c, _ := start(t)
	tok := c.drsToken()
	c.s.AddFault(entratest.Fault{Endpoint: entratest.EndpointDevice, Kind: entratest.DropAfter})
	body, _ := json.Marshal(c.joinBody(0))
	req, _ := http.NewRequestWithContext(t.Context(), "POST", joinURL, strings.NewReader(string(body)))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+tok)
	_, err := c.http.Do(req)
	require.Error(t, err)
	require.Len(t, c.s.Devices(), 1)
}

func TestTransports(t *testing.T) {
	c, _ := start(t)
	_, err := c.s.Client().Get("https://example.com/")
	require.ErrorContains(t, err, "does not play")
	_, err = c.s.Transport().Do(&http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: "example.com"}})
	require.ErrorContains(t, err, "does not play")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", login+"/common/discovery/keys", nil)
	_, err = c.s.Transport().Do(req)
	if err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	c.join("alice", 0)
	req, _ = http.NewRequestWithContext(t.Context(), "DELETE", drs+"/EnrollmentServer/device/"+c.deviceID, nil)
	cert := parseB64Cert(t, base64.StdEncoding.EncodeToString(c.cert))
	resp, err := c.s.Transport().WithCertificate(cert).Do(req)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	big := strings.Repeat("x", 300<<10)
	require.Equal(t, 413, c.form("/common/oauth2/token", "grant_type", big).status)
}

func TestSignInLog(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.SignInLog = 5
	o.ClientAddress = func(*http.Request) (netip.Addr, string) { return netip.MustParseAddr("198.51.100.7"), "DE" }
	c := newClient(t, entratest.NewTB(t, o))
	c.joined()
	require.NoError(t, c.s.SetPolicies(policies(policyJSON("Payroll needs MFA", payrollID, `"mfa"`, ""),
		json.RawMessage(strings.Replace(string(policyJSON("Report only", payrollID, `"block"`, `"locations":{"includeLocations":["All"]}`)), `"enabled"`, `"enabledForReportingButNotEnforced"`, 1)))))
	c.exchange(payrollID, "api://payroll")
	e := lastSignIn(c)
	require.Equal(t, "prt_exchange", e.Grant)
	require.Equal(t, "alice@contoso.example", e.Username)
	require.Equal(t, payrollID, e.ClientID)
	require.Equal(t, payrollID, e.Resource)
	require.Equal(t, c.deviceID, e.DeviceID)
	require.Equal(t, "linux", e.Platform)
	require.Equal(t, 50076, e.ErrorCode)
	require.Len(t, e.Policies, 2)
	require.Equal(t, "Payroll needs MFA", e.Policies[0].Name)
	require.Equal(t, "reportOnlyFailure", e.Policies[1].Result)
	c.renew()
	e = lastSignIn(c)
	require.Equal(t, "prt_renewal", e.Grant)
	require.Empty(t, e.Policies)
	for range 9 {
		c.payroll()
	}
	list := c.s.SignIns()
	require.Len(t, list, 5)
	for i := 1; i < len(list); i++ {
		require.Equal(t, list[i-1].Seq+1, list[i].Seq)
	}
}

// Equal seeds and calls give equal answers, but for the padding of RSA-OAEP.
func TestDeterminism(t *testing.T) {
	run := func(seed uint64) []string {
		o := options(entratest.NewClock(time.Time{}))
		o.Seed = seed
		c := newClient(t, entratest.NewTB(t, o))
		out := []string{c.s.TenantID(), c.nonce()}
		r := c.payroll()
		out = append(out, string(r.body))
		c.join("alice", 0)
		out = append(out, c.deviceID, string(c.cert))
		c.passwordPRT("alice")
		out = append(out, c.prt, string(c.session))
		out = append(out, string(c.get(login+"/common/discovery/keys").body))
		out = append(out, c.ropc("zoe", payrollID, "").str("error_description"))
		log, _ := json.Marshal(c.s.SignIns())
		return append(out, string(log))
	}
	require.Equal(t, run(1), run(1))
	a, b := run(1), run(2)
	for i := range a {
		if i != 7 { // the keys do not depend on the seed
			require.NotEqual(t, a[i], b[i], "%d", i)
		}
	}
}

func TestOptionsThatContradict(t *testing.T) {
	for name, o := range map[string]entratest.Options{
		"two users of one name": {Users: []entratest.User{{Username: "a"}, {Username: "A"}}},
		"user without a name":   {Users: []entratest.User{{}}},
		"bad id":                {Users: []entratest.User{{Username: "a", ID: "x"}}},
		"bad tenant id":         {TenantID: "x"},
		"bad secret":            {Users: []entratest.User{{Username: "a", TOTPSecret: "!"}}},
		"bad policies":          {Policies: json.RawMessage(`{`)},
		"bad redirect":          {Apps: []entratest.App{{Redirects: []string{"no scheme"}}}},
		"unknown member":        {Groups: []entratest.Group{{Name: "g", Members: []string{"nobody"}}}},
		"two tenants":           {OtherTenants: []entratest.Tenant{{Domain: "contoso.example"}}},
		"passkey without a key": {Users: []entratest.User{{Username: "a", Passkeys: []entratest.Passkey{{ID: []byte("x")}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Panics(t, func() { entratest.NewServer(o) })
		})
	}
	s := entratest.NewServer(entratest.Options{})
	defer s.Close()
	for name, err := range map[string]error{
		"unknown user":   s.ChangePassword("zoe", "x"),
		"unknown device": s.DisableDevice("x"),
		"bad risk":       s.SetRisk("zoe", "enormous", ""),
		"unknown domain": s.AddUser(entratest.User{Username: "zoe@nowhere.example"}),
		"bad TOTP":       s.SetTOTP("zoe", "!"),
	} {
		require.Error(t, err, name)
		require.True(t, strings.HasPrefix(err.Error(), "entratest: "), err)
	}
	s.Close() // twice is fine
}

// Python's cryptography opens what the server encrypts and checks what it signs.
func TestByPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import cryptography").Run() != nil {
		t.Skip("python3 with cryptography is not installed")
	}
	for _, gcm := range []bool{false, true} {
		o := options(entratest.NewClock(time.Time{}))
		o.GCMReplies = gcm
		c := newClient(t, entratest.NewTB(t, o))
		c.join("alice", 0)
		prt := c.passwordPRT("alice")
		jws := c.sessionJWS(map[string]any{"client_id": payrollID, "refresh_token": c.prt, "grant_type": "refresh_token", "request_nonce": c.nonce(),
			"scope": "openid", "resource": "api://payroll", "redirect_uri": nativeURI})
		sealed := c.token("grant_type", jwtBearer, "request", jws, "windows_api_version", "2.2")
		require.Nil(t, sealed.v)
		in, _ := json.Marshal(map[string]any{
			"d": c.transport.D.Text(16), "p": c.transport.Primes[0].Text(16), "q": c.transport.Primes[1].Text(16), "n": c.transport.N.Text(16),
			"session_key_jwe": prt.str("session_key_jwe"), "reply": string(sealed.body), "keys": c.get(login + "/common/discovery/keys").v, "cert": base64.StdEncoding.EncodeToString(c.cert),
		})
		cmd := exec.Command(python, "-c", pythonCheck)
		cmd.Stdin = strings.NewReader(string(in))
		out, err := cmd.Output()
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			t.Fatalf("%s", ee.Stderr)
		}
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%x alice@contoso.example %s", c.session, c.deviceID), strings.TrimSpace(string(out)))
	}
}

const pythonCheck = `
import base64, json, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding as sp
from cryptography.hazmat.primitives.asymmetric import rsa, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, Mode, CounterLocation
i = json.load(sys.stdin)
d = lambda s: base64.urlsafe_b64decode(s + "=" * (-len(s) % 4))
p, q, D, n = (int(i[k], 16) for k in "pqdn")
key = rsa.RSAPrivateNumbers(p, q, D, rsa.rsa_crt_dmp1(D, p), rsa.rsa_crt_dmq1(D, q), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(65537, n)).private_key()
h, ek, iv, ct, tag = i["session_key_jwe"].split(".")
session = key.decrypt(d(ek), padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
assert AESGCM(session).decrypt(d(iv), d(ct) + d(tag), b"") == b" "
h, ek, iv, ct, tag = i["reply"].split(".")
ctx = base64.b64decode(json.loads(d(h))["ctx"])
k = KBKDFHMAC(algorithm=hashes.SHA256(), mode=Mode.CounterMode, length=32, rlen=4, llen=4, location=CounterLocation.BeforeFixed,
              label=b"AzureAD-SecureConversation", context=ctx, fixed=None).derive(session)
if tag:
    plain = AESGCM(k).decrypt(d(iv), d(ct) + d(tag), h.encode())
else:
    c = Cipher(algorithms.AES(k), modes.CBC(d(iv))).decryptor()
    u = sp.PKCS7(128).unpadder()
    plain = u.update(c.update(d(ct)) + c.finalize()) + u.finalize()
token = json.loads(plain)["access_token"]
th, tp, ts = token.split(".")
jwk = [x for x in i["keys"]["keys"] if x["kid"] == json.loads(d(th))["kid"]][0]
pub = rsa.RSAPublicNumbers(int.from_bytes(d(jwk["e"]), "big"), int.from_bytes(d(jwk["n"]), "big")).public_key()
pub.verify(d(ts), (th + "." + tp).encode(), padding.PKCS1v15(), hashes.SHA256())
signer = x509.load_der_x509_certificate(base64.b64decode(jwk["x5c"][0]))
assert signer.public_key() == pub
cert = x509.load_der_x509_certificate(base64.b64decode(i["cert"]))
assert len(cert.extensions) == 7
print(session.hex(), json.loads(d(tp))["upn"], cert.subject.rfc4514_string()[3:])
`

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

// A join that names the key of the user's own device gets the same object.
func TestReuseDevice(t *testing.T) {
	c, _ := start(t)
	c.join("alice", 0)
	first := c.deviceID
	reuse := func(m map[string]any) { m["Attributes"] = map[string]string{"ReuseDevice": "True"} }
	r := c.tryJoin(reuse)
	require.Equal(t, 200, r.status, "%s", r.body)
	old := c.cert
	c.useCertificate(r)
	require.Equal(t, first, c.deviceID)
	require.Len(t, c.s.Devices(), 1)
	require.Equal(t, 200, c.passwordPRT("alice").status)
	c.cert = old
	require.Equal(t, 50155, c.passwordPRT("alice").code(), "the first certificate is replaced")
	c.join("alice", 0)
	require.Len(t, c.s.Devices(), 2, "without the attribute it is another device")
	require.NoError(t, c.s.DeleteDevice(c.deviceID))
	c.useCertificate(c.tryJoin(reuse))
	require.Len(t, c.s.Devices(), 2, "of a deleted device nothing is left")
}

func TestJudge(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	asked := 0
	o.Judge = func(b *policy.Bundle, in *policy.SignIn) entratest.Judgement {
		asked++
		require.Len(t, b.Policies, 1)
		return entratest.Judgement{Outcome: policy.Interrupt, Controls: []policy.Control{{Kind: policy.MFA}}, Deciding: []int{0}, Results: []policy.Result{policy.ResultFailure}}
	}
	c := newClient(t, entratest.NewTB(t, o))
	c.policy(`"block"`)
	require.Equal(t, 50076, c.payroll().code())
	require.Equal(t, 1, asked)
	require.Equal(t, "failure", lastSignIn(c).Policies[0].Result)
}

// What few tests need.
func TestCorners(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.RefuseTOTPReuse = true
	c := newClient(t, entratest.NewTB(t, o))
	_, err := c.tryAuthorize(c.alice(), "amr_values", "mfa")
	require.NoError(t, err)
	_, err = c.tryAuthorize(c.alice(), "amr_values", "mfa")
	require.Equal(t, 500121, pageCode(t, err), "the code was used")

	require.NoError(t, c.s.SetTOTP("carol", totpSecret))
	for range 300 { // enough to sweep the table of prompts
		p := entratest.Person{Username: "carol@contoso.example", Password: password, TOTPSecret: totpSecret}
		if _, err = c.tryAuthorize(p, "amr_values", "mfa"); err != nil {
			break
		}
	}
	require.Equal(t, 500121, pageCode(t, err), "the page with the number lets her use a code, once")
	require.NoError(t, c.s.AddGroup(entratest.Group{Name: "New", Members: []string{"alice"}}))
	require.Contains(t, string(c.s.CA()), "BEGIN CERTIFICATE")
	require.Contains(t, c.s.Addr(), "127.0.0.1:")
	require.NoError(t, c.s.SetTOTP("carol", ""))
	require.False(t, c.s.AnswerNumberMatch("alice", 1))
	for _, text := range []string{"x", "e30.e30.AA"} {
		r := c.do("GET", authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI), http.Header{"X-Ms-Devicecredential": {text}}, "")
		require.Contains(t, string(r.body), "ConvergedSignIn")
	}
}
