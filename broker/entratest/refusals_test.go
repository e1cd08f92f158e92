package entratest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// refusal is a request that the sign-in service must refuse, and how.
type refusal struct {
	name  string
	code  int
	oauth string // "": invalid_grant
	sub   string
	do    func(c *tc, clock *entratest.Clock) *reply
}

func (r refusal) run(t *testing.T) {
	t.Parallel()
	c, clock := start(t)
	got := r.do(c, clock)
	if got.v == nil || got.code() != r.code {
		t.Fatalf("want AADSTS%d, got %d %s", r.code, got.status, got.body)
	}
	oauth := r.oauth
	if oauth == "" {
		oauth = "invalid_grant"
	}
	require.Equal(t, oauth, got.str("error"), "%s", got.body)
	require.Equal(t, r.sub, got.str("suberror"), "%s", got.body)
	want := 400
	if oauth == "invalid_client" || r.code == 7000112 {
		want = 401
	}
	require.Equal(t, want, got.status)
	require.Regexp(t, `^AADSTS\d+: .* Trace ID: [0-9a-f-]{36} Correlation ID: [0-9a-f-]{36} Timestamp: \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$`, got.str("error_description"))
	require.Equal(t, fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", r.code), got.str("error_uri"))
	require.Equal(t, got.str("trace_id"), got.header.Get("x-ms-request-id"))
	require.Contains(t, got.header.Get("Cache-Control"), "no-store")
}

func policies(list ...json.RawMessage) json.RawMessage {
	out, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return out
}

func (c *tc) policy(controls string) {
	c.t.Helper()
	require.NoError(c.t, c.s.SetPolicies(policies(policyJSON("P", payrollID, controls, ""))))
}

// payroll gets an app token by password, without a device.
func (c *tc) payroll() *reply {
	c.t.Helper()
	return c.ropc("alice", payrollID, "api://payroll")
}

// refreshToken is one of the app Payroll.
func (c *tc) refreshToken() string {
	c.t.Helper()
	r := c.payroll()
	require.Equal(c.t, 200, r.status, "%s", r.body)
	return r.str("refresh_token")
}

func (c *tc) refresh(client, rt string, kv ...string) *reply {
	c.t.Helper()
	return c.token(append([]string{"grant_type", "refresh_token", "client_id", client, "refresh_token", rt}, kv...)...)
}

// joined is a client with a device, and a PRT by password.
func (c *tc) joined() *tc {
	c.t.Helper()
	c.join("alice", 0)
	require.Equal(c.t, 200, c.passwordPRT("alice").status)
	return c
}

func (c *tc) must(err error) { c.t.Helper(); require.NoError(c.t, err) }

func alicePassword(c *tc) []string {
	return []string{"username", "alice@" + c.s.Domain(), "password", password}
}

var tokenRefusals = []refusal{
	{"unknown tenant", 90002, "invalid_tenant", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.form("/nowhere.example/oauth2/token", "grant_type", "password")
	}},
	{"GET", 900561, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply { return c.get(login + "/common/oauth2/token") }},
	{"no grant", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply { return c.token("client_id", payrollID) }},
	{"JSON body", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.json("POST", login+"/common/oauth2/token", "", map[string]string{"grant_type": "password"})
	}},
	{"unknown grant", 70003, "unsupported_grant_type", "", func(c *tc, _ *entratest.Clock) *reply { return c.token("grant_type", "telepathy") }},
	{"no client", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token(append([]string{"grant_type", "password"}, alicePassword(c)...)...)
	}},
	{"unknown client", 700016, "unauthorized_client", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.ropc("alice", "99999999-0000-4000-8000-000000000000", "")
	}},
	{"disabled client", 7000112, "unauthorized_client", "", func(c *tc, _ *entratest.Clock) *reply {
		c.must(c.s.AddApp(entratest.App{ClientID: payrollID, Public: true, Disabled: true}))
		return c.payroll()
	}},
	{"password on common", 9001023, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.form("/common/oauth2/v2.0/token", append([]string{"grant_type", "password", "client_id", payrollID}, alicePassword(c)...)...)
	}},
	{"wrong password", 50126, "", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token("grant_type", "password", "client_id", payrollID, "username", "alice@"+c.s.Domain(), "password", "wrong")
	}},
	{"no password", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token("grant_type", "password", "client_id", payrollID, "username", "alice@"+c.s.Domain())
	}},
	{"unknown user", 50034, "", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token("grant_type", "password", "client_id", payrollID, "username", "zoe@"+c.s.Domain(), "password", "x")
	}},
	{"unknown domain", 50034, "", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token("grant_type", "password", "client_id", payrollID, "username", "zoe@nowhere.example", "password", "x")
	}},
	{"locked", 50053, "", "", func(c *tc, _ *entratest.Clock) *reply {
		for range 10 {
			c.token("grant_type", "password", "client_id", payrollID, "username", "alice@"+c.s.Domain(), "password", "wrong")
		}
		return c.payroll()
	}},
	{"disabled user", 50057, "", "", func(c *tc, _ *entratest.Clock) *reply { c.must(c.s.DisableUser("alice")); return c.payroll() }},
	{"password expired", 50055, "", "user_password_expired", func(c *tc, _ *entratest.Clock) *reply { c.must(c.s.ExpirePassword("alice")); return c.payroll() }},
	{"unknown resource", 500011, "invalid_resource", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.ropc("alice", payrollID, "api://nowhere")
	}},
	{"resource at v2", 901002, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "resource", "api://payroll", "scope", "openid"}, alicePassword(c)...)...)
	}},
	{"no scope at v2", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID}, alicePassword(c)...)...)
	}},
	{"two resources", 28000, "invalid_scope", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "api://payroll/.default User.Read"}, alicePassword(c)...)...)
	}},
	{"default and a scope", 70011, "invalid_scope", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "api://payroll/.default api://payroll/user_impersonation"}, alicePassword(c)...)...)
	}},
	{"unknown scope", 70011, "invalid_scope", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "api://payroll/nothing"}, alicePassword(c)...)...)
	}},
	{"confidential without secret", 7000218, "invalid_client", "", func(c *tc, _ *entratest.Clock) *reply { return c.ropc("alice", webID, "") }},
	{"wrong secret", 7000215, "invalid_client", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token(append([]string{"grant_type", "password", "client_id", webID, "client_secret", "wrong"}, alicePassword(c)...)...)
	}},
	{"public with secret", 700025, "invalid_client", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token(append([]string{"grant_type", "password", "client_id", payrollID, "client_secret", "x"}, alicePassword(c)...)...)
	}},
	{"no consent", 65001, "", "consent_required", func(c *tc, _ *entratest.Clock) *reply {
		return c.ropc("alice", thirdParty, "https://graph.microsoft.com")
	}},
	{"no preauthorisation", 65002, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.tokenV2(append([]string{"grant_type", "password", "client_id", brokerClient, "scope", "https://graph.microsoft.com/Mail.Read"}, alicePassword(c)...)...)
	}},
	{"not assigned", 50105, "access_denied", "", func(c *tc, _ *entratest.Clock) *reply {
		c.must(c.s.AddApp(entratest.App{ClientID: payrollID, Public: true, URIs: []string{"api://payroll"}, AssignTo: []string{"bob"}}))
		return c.payroll()
	}},
	{"malformed claims", 9002313, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token(append([]string{"grant_type", "password", "client_id", payrollID, "claims", "{"}, alicePassword(c)...)...)
	}},
	{"claims ask for MFA", 50076, "interaction_required", "basic_action", func(c *tc, _ *entratest.Clock) *reply {
		return c.token(append([]string{"grant_type", "password", "client_id", payrollID, "resource", "api://payroll", "claims", `{"access_token":{"amr":{"values":["mfa"]}}}`}, alicePassword(c)...)...)
	}},
	{"claims ask for a device", 50097, "interaction_required", "additional_action", func(c *tc, _ *entratest.Clock) *reply {
		return c.token(append([]string{"grant_type", "password", "client_id", payrollID, "resource", "api://payroll", "claims", `{"access_token":{"deviceid":{"essential":true}}}`}, alicePassword(c)...)...)
	}},
	{"req_cnf is nonsense", 9002313, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token(append([]string{"grant_type", "password", "client_id", payrollID, "token_type", "pop", "req_cnf", "!"}, alicePassword(c)...)...)
	}},
	{"id_token as jwt-bearer", 240002, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token("grant_type", jwtBearer, "assertion", "a.b.c")
	}},
}

var refreshRefusals = []refusal{
	{"missing", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.token("grant_type", "refresh_token", "client_id", payrollID)
	}},
	{"nonsense", 70000, "", "bad_token", func(c *tc, _ *entratest.Clock) *reply { return c.refresh(payrollID, "1.AXoAnonsense") }},
	{"one letter changed", 70000, "", "bad_token", func(c *tc, _ *entratest.Clock) *reply {
		rt := []byte(c.refreshToken())
		rt[len(rt)/2] ^= 1
		return c.refresh(payrollID, string(rt))
	}},
	{"other client", 700007, "", "client_mismatch", func(c *tc, _ *entratest.Clock) *reply {
		return c.refresh(financeID, c.refreshToken())
	}},
	{"a PRT", 7000016, "", "", func(c *tc, _ *entratest.Clock) *reply { return c.joined().refresh(brokerClient, c.prt) }},
	{"unused for 90 days", 700082, "", "bad_token", func(c *tc, clock *entratest.Clock) *reply {
		rt := c.refreshToken()
		clock.Advance(90 * 24 * time.Hour)
		return c.refresh(payrollID, rt)
	}},
	{"single-page app after a day", 700084, "", "bad_token", func(c *tc, clock *entratest.Clock) *reply {
		c.must(c.s.AddApp(entratest.App{ClientID: payrollID, Public: true, SPA: true, URIs: []string{"api://payroll"}}))
		rt := c.refreshToken()
		clock.Advance(23 * time.Hour)
		c.origin = "https://spa.contoso.example"
		r := c.refresh(payrollID, rt)
		require.Equal(c.t, 200, r.status)
		clock.Advance(time.Hour) // the renewed token has not got a longer life
		return c.refresh(payrollID, r.str("refresh_token"))
	}},
	{"password changed", 50173, "", "bad_token", func(c *tc, _ *entratest.Clock) *reply {
		rt := c.refreshToken()
		c.must(c.s.ChangePassword("alice", "new"))
		return c.refresh(payrollID, rt)
	}},
	{"sessions revoked", 50173, "", "bad_token", func(c *tc, _ *entratest.Clock) *reply {
		rt := c.refreshToken()
		c.must(c.s.Revoke("alice"))
		return c.refresh(payrollID, rt)
	}},
	{"user deleted", 50034, "", "user_account_deleted", func(c *tc, _ *entratest.Clock) *reply {
		rt := c.refreshToken()
		c.must(c.s.DeleteUser("alice"))
		return c.refresh(payrollID, rt)
	}},
	{"user disabled", 50057, "", "", func(c *tc, _ *entratest.Clock) *reply {
		rt := c.refreshToken()
		c.must(c.s.DisableUser("alice"))
		return c.refresh(payrollID, rt)
	}},
}

var accessRefusals = []refusal{
	{"MFA", 50076, "interaction_required", "basic_action", func(c *tc, _ *entratest.Clock) *reply { c.policy(`"mfa"`); return c.payroll() }},
	{"MFA, nothing registered", 50079, "interaction_required", "basic_action", func(c *tc, _ *entratest.Clock) *reply {
		c.policy(`"mfa"`)
		return c.ropc("bob", payrollID, "api://payroll")
	}},
	{"block", 53003, "access_denied", "message_only", func(c *tc, _ *entratest.Clock) *reply { c.policy(`"block"`); return c.payroll() }},
	{"compliant device, none shown", 50097, "interaction_required", "additional_action", func(c *tc, _ *entratest.Clock) *reply {
		c.policy(`"compliantDevice"`)
		return c.payroll()
	}},
	{"compliant device, not compliant", 53000, "interaction_required", "additional_action", func(c *tc, _ *entratest.Clock) *reply {
		c.agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
		c.joined().policy(`"compliantDevice"`)
		return c.exchange(payrollID, "api://payroll")
	}},
	{"token protection, a request that no session key signed", 530084, "access_denied", "message_only", func(c *tc, _ *entratest.Clock) *reply {
		c.joined()
		p := strings.Replace(string(policyJSON("Bound", "All", "", "")), `"grantControls":{"operator":"OR","builtInControls":[]}`, `"sessionControls":{"secureSignInSession":{"isEnabled":true}}`, 1)
		c.must(c.s.SetPolicies(policies(json.RawMessage(p))))
		require.Equal(c.t, 200, c.exchange(payrollID, "api://payroll").status) // the PRT's session key did
		return c.payroll()
	}},
	{"hybrid device, joined only", 53001, "interaction_required", "additional_action", func(c *tc, _ *entratest.Clock) *reply {
		c.agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
		c.joined().policy(`"domainJoinedDevice"`)
		return c.exchange(payrollID, "api://payroll")
	}},
	{"user risk", 53003, "access_denied", "message_only", func(c *tc, _ *entratest.Clock) *reply {
		c.must(c.s.SetPolicies(policies(policyJSON("P", "All", `"block"`, `"userRiskLevels":["high"]`))))
		require.Equal(c.t, 200, c.payroll().status)
		c.must(c.s.SetRisk("alice", "high", "none"))
		return c.payroll()
	}},
	{"sign-in risk", 50076, "interaction_required", "basic_action", func(c *tc, _ *entratest.Clock) *reply {
		c.must(c.s.SetPolicies(policies(policyJSON("P", "All", `"mfa"`, `"signInRiskLevels":["medium","high"]`))))
		require.Equal(c.t, 200, c.payroll().status)
		c.must(c.s.SetRisk("alice", "none", "medium"))
		return c.payroll()
	}},
	{"platform of the User-Agent", 53003, "access_denied", "message_only", func(c *tc, _ *entratest.Clock) *reply {
		c.must(c.s.SetPolicies(policies(policyJSON("P", "All", `"block"`, `"platforms":{"includePlatforms":["linux"]}`))))
		c.agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
		require.Equal(c.t, 200, c.payroll().status)
		c.agent = "Mozilla/5.0 (X11; Linux x86_64)"
		return c.payroll()
	}},
	{"device code, forever", 53003, "access_denied", "message_only", func(c *tc, _ *entratest.Clock) *reply {
		rt := c.deviceCodeToken(payrollID, "openid offline_access api://payroll/.default").str("refresh_token")
		require.Equal(c.t, 200, c.refresh(payrollID, rt, "resource", "api://payroll").status)
		c.must(c.s.SetPolicies(policies(policyJSON("P", "All", `"block"`, `"authenticationFlows":{"transferMethods":"deviceCodeFlow"}`))))
		require.Equal(c.t, 200, c.payroll().status)
		return c.refresh(payrollID, rt, "resource", "api://payroll")
	}},
	{"device code, and its PRT", 53003, "access_denied", "message_only", func(c *tc, _ *entratest.Clock) *reply {
		tok := c.deviceCodeToken(brokerClient, "openid offline_access "+drsResource+"/.default")
		c.useCertificate(c.json("POST", drs+"/EnrollmentServer/device/?api-version=2.0", tok.str("access_token"), c.joinBody(0)))
		require.Equal(c.t, 200, c.refreshPRT(tok.str("refresh_token")).status)
		c.must(c.s.SetPolicies(policies(policyJSON("P", "All", `"block"`, `"authenticationFlows":{"transferMethods":"deviceCodeFlow"}`))))
		require.Equal(c.t, 200, c.renew().status) // no policy is asked about a PRT
		return c.exchange(payrollID, "api://payroll")
	}},
	{"a plain refresh token of no resource", 53003, "access_denied", "message_only", func(c *tc, _ *entratest.Clock) *reply {
		rt := c.refreshToken()
		c.must(c.s.SetPolicies(policies(policyJSON("P", "All", `"block"`, ""))))
		return c.refresh(payrollID, rt)
	}},
	{"sign-in frequency of a refresh token", 70043, "", "bad_token", func(c *tc, clock *entratest.Clock) *reply {
		c.must(c.s.SetPolicies(frequency("hours", 1)))
		rt := c.refreshToken()
		clock.Advance(59 * time.Minute)
		require.Equal(c.t, 200, c.refresh(payrollID, rt, "resource", "api://payroll").status)
		clock.Advance(2 * time.Minute)
		return c.refresh(payrollID, rt, "resource", "api://payroll")
	}},
	{"sign-in frequency of a PRT", 70043, "interaction_required", "basic_action", func(c *tc, clock *entratest.Clock) *reply {
		c.must(c.s.SetPolicies(frequency("hours", 1)))
		c.joined()
		clock.Advance(59 * time.Minute)
		require.Equal(c.t, 200, c.exchange(payrollID, "api://payroll").status)
		clock.Advance(2 * time.Minute)
		require.Equal(c.t, 200, c.renew().status) // moves the expiry, not the sign-in
		return c.exchange(payrollID, "api://payroll")
	}},
	{"authentication context", 50076, "interaction_required", "basic_action", func(c *tc, _ *entratest.Clock) *reply {
		p := strings.Replace(string(policyJSON("P", "None", `"mfa"`, "")), `"includeApplications":["None"]`, `"includeAuthenticationContextClassReferences":["c1"]`, 1)
		c.must(c.s.SetPolicies(json.RawMessage(p)))
		require.Equal(c.t, 200, c.payroll().status)
		return c.token(append([]string{"grant_type", "password", "client_id", payrollID, "resource", "api://payroll", "claims", `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`}, alicePassword(c)...)...)
	}},
	{"phishing-resistant strength", 50076, "interaction_required", "basic_action", func(c *tc, _ *entratest.Clock) *reply {
		c.must(c.s.SetPolicies(strength()))
		return c.payroll()
	}},
	{"terms of use", 50158, "interaction_required", "additional_action", func(c *tc, _ *entratest.Clock) *reply {
		c.must(c.s.SetPolicies(json.RawMessage(strings.Replace(string(policyJSON("P", payrollID, "", "")), `"builtInControls":[]`, `"builtInControls":[],"termsOfUse":["dddddddd-0000-4000-8000-000000000001"]`, 1))))
		return c.payroll()
	}},
}

// frequency is a policy that asks to sign in again after a while.
func frequency(unit string, n int) json.RawMessage {
	p := strings.Replace(string(policyJSON("Frequency", payrollID, "", "")), `"grantControls":{"operator":"OR","builtInControls":[]}`,
		fmt.Sprintf(`"grantControls":null,"sessionControls":{"signInFrequency":{"isEnabled":true,"type":%q,"value":%d,"frequencyInterval":"timeBased","authenticationType":"primaryAndSecondaryAuthentication"}}`, unit, n), 1)
	return json.RawMessage(p)
}

// strength is a policy that demands the built-in phishing-resistant strength.
func strength() json.RawMessage {
	return json.RawMessage(strings.Replace(string(policyJSON("Strength", payrollID, "", "")), `"builtInControls":[]`,
		`"builtInControls":[],"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004"}`, 1))
}

func (c *tc) deviceCodeToken(client, scope string) *reply {
	c.t.Helper()
	d := c.form(c.tenantPath("/oauth2/v2.0/devicecode"), "client_id", client, "scope", scope)
	require.Equal(c.t, 200, d.status, "%s", d.body)
	require.NoError(c.t, c.alice().ApproveDeviceCode(context.Background(), c.s.Client(), d.str("user_code")))
	r := c.tokenV2("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", client, "device_code", d.str("device_code"))
	require.Equal(c.t, 200, r.status, "%s", r.body)
	return r
}

func TestTokenRefusals(t *testing.T) {
	for _, r := range tokenRefusals {
		t.Run(r.name, r.run)
	}
}

func TestRefreshRefusals(t *testing.T) {
	for _, r := range refreshRefusals {
		t.Run(r.name, r.run)
	}
}

func TestAccessRefusals(t *testing.T) {
	for _, r := range accessRefusals {
		t.Run(r.name, r.run)
	}
}
