package entratest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// Services that clients ask beside the sign-in: which cloud a domain belongs to
// (libhimmelblau), the subscriptions of a user (the Azure CLI), groups and a photo.

func TestFederationProvider(t *testing.T) {
	c, _ := start(t)
	const provider = "https://odc.officeapps.live.com/odc/v2.1/federationProvider?domain="
	r := c.get(provider + "contoso.example")
	require.Equal(t, c.s.TenantID(), r.str("tenantId"))
	require.Equal(t, "login.microsoftonline.com", r.str("authority_host"))
	require.Equal(t, "https://graph.microsoft.com", r.str("graph"))
	require.Equal(t, 404, c.get(provider+"elsewhere.example").status)
}

func TestResourceManager(t *testing.T) {
	c, _ := start(t)
	const arm = "https://management.azure.com"
	token := c.ropc("alice", azureCLI, "https://management.core.windows.net/").str("access_token")
	require.NotEmpty(t, token)
	tenants := c.json("GET", arm+"/tenants?api-version=2022-12-01", token, nil)
	require.Equal(t, 200, tenants.status, "%s", tenants.body)
	require.Contains(t, string(tenants.body), `"tenantId":"`+c.s.TenantID()+`"`)
	subscriptions := c.json("GET", arm+"/subscriptions?api-version=2022-12-01", token, nil)
	require.Contains(t, string(subscriptions.body), `"state":"Enabled"`)
	require.Equal(t, 400, c.json("GET", arm+"/subscriptions", token, nil).status, "Resource Manager wants its version")

	graph := c.ropc("alice", azureCLI, "https://graph.microsoft.com").str("access_token")
	refused := c.json("GET", arm+"/subscriptions?api-version=2022-12-01", graph, nil)
	require.Equal(t, 401, refused.status)
	require.Contains(t, refused.header.Get("WWW-Authenticate"), "https://login.microsoftonline.com/"+c.s.TenantID())
}

func TestGraphGroups(t *testing.T) {
	c, _ := start(t)
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: financeID, Name: "Finance", Public: true,
		Preauthorised: map[string][]string{"https://graph.microsoft.com": {"User.Read", "GroupMember.Read.All"}}}))
	token := c.ropc("alice", financeID, "https://graph.microsoft.com").str("access_token")
	get := func(path string) *reply { return c.json("GET", "https://graph.microsoft.com/v1.0"+path, token, nil) }
	require.Len(t, get("/me/memberOf").v["value"], 1, "Finance; Staff holds Finance, not alice")
	require.Len(t, get("/me/transitiveMemberOf").v["value"], 2)
	require.Len(t, get("/groups").v["value"], 2)
	require.Len(t, get("/groups?$filter=displayName%20eq%20'Staff'").v["value"], 1)
	require.Equal(t, 400, get("/groups?$filter=mail%20eq%20'x'").status)
	require.Equal(t, 404, get("/me/photo/$value").status)
	intune := get("/servicePrincipals/appId=0000000a-0000-0000-c000-000000000000/endpoints")
	require.Equal(t, 404, intune.status)
	require.Contains(t, string(intune.body), "Request_ResourceNotFound")
	require.Equal(t, 403, c.json("GET", "https://graph.microsoft.com/v1.0/groups", c.ropc("alice", brokerClient, "https://graph.microsoft.com").str("access_token"), nil).status)
}

// Programs change an expired password by a job that they poll (libhimmelblau).
func TestPasswordChangeByJob(t *testing.T) {
	c, _ := start(t)
	require.NoError(t, c.s.ExpirePassword("bob"))
	cfg := config(t, c.authorizeQuery("login_hint", "bob@contoso.example"))
	r := c.form(onLogin(cfg["urlPost"]), "login", "bob@contoso.example", "passwd", password, "ctx", cfg["sCtx"].(string))
	cfg = config(t, r)
	require.Equal(t, "ConvergedChangePassword", cfg["pgid"])
	begin := func(old, next string) *reply {
		return c.json("POST", cfg["urlAsyncSsprBegin"].(string), "", map[string]any{"Ctx": cfg["sCtx"], "FlowToken": cfg["sFT"], "OldPassword": old, "NewPassword": next})
	}
	poll := func(r *reply) *reply {
		return c.json("POST", cfg["urlAsyncSsprPoll"].(string), "", map[string]any{"Ctx": r.v["Ctx"], "FlowToken": r.v["FlowToken"], "CoupledDataCenter": r.v["CoupledDataCenter"], "CoupledScaleUnit": r.v["CoupledScaleUnit"]})
	}
	bad := begin("wrong", "new rubber band")
	require.Equal(t, true, bad.v["IsJobPending"])
	require.Contains(t, poll(bad).str("ErrorMessage"), "current password is incorrect")
	require.Contains(t, poll(begin(password, "short")).str("ErrorMessage"), "between 8 and 256")

	job := begin(password, "new rubber band")
	require.Equal(t, true, job.v["IsJobPending"])
	done := poll(job)
	require.Equal(t, false, done.v["IsJobPending"])
	require.Nil(t, done.v["ErrorMessage"])
	end := c.json("POST", onLogin(cfg["urlPost"]), "", map[string]any{"Ctx": done.v["Ctx"], "FlowToken": done.v["FlowToken"], "currentpasswd": password, "confirmnewpasswd": "new rubber band", "canary": cfg["canary"]})
	require.Equal(t, 200, end.status)
	require.Contains(t, string(end.body), "Your password was changed")
	form := c.form(onLogin(cfg["urlPost"]), "ctx", done.str("Ctx"), "flowToken", done.str("FlowToken"))
	require.Contains(t, form.header.Get("Location"), "code=")
	require.Equal(t, 50126, c.ropc("bob", payrollID, "api://payroll").code(), "the old one")

	require.Equal(t, 90014, c.json("POST", cfg["urlAsyncSsprPoll"].(string), "", map[string]any{"Ctx": cfg["sCtx"]}).code(), "no job")
	fresh := config(t, c.authorizeQuery("login_hint", "alice@contoso.example"))
	require.Equal(t, 90014, c.json("POST", cfg["urlAsyncSsprBegin"].(string), "", map[string]any{"Ctx": fresh["sCtx"], "OldPassword": password, "NewPassword": "new rubber band"}).code(), "nobody was asked")
}

// GetCredentialType asks the phone of a user who signs in by it, and a program
// asks again with the session that it was given (libhimmelblau).
func TestPhoneSignInFirst(t *testing.T) {
	c, _ := start(t)
	cfg := config(t, c.authorizeQuery("login_hint", "carol@contoso.example"))
	ask := func(user string, supported bool) map[string]any {
		r := c.json("POST", onLogin(cfg["urlGetCredentialType"]), "", map[string]any{"username": user + "@contoso.example", "isRemoteNGCSupported": supported, "originalRequest": cfg["sCtx"]})
		return r.v["Credentials"].(map[string]any)
	}
	creds := ask("carol", true)
	params := creds["RemoteNgcParams"].(map[string]any)
	require.EqualValues(t, 2, creds["PrefCredential"])
	again := c.json("POST", onLogin(cfg["urlGetOneTimeCode"]), "", map[string]any{"Channel": "Authenticator", "OldDeviceCode": params["SessionIdentifier"], "OriginalRequest": cfg["sCtx"]})
	number := again.v["RemoteNgcParams"].(map[string]any)["Entropy"].(float64)
	require.True(t, c.s.AnswerNumberMatch("carol", int(number)))
	require.Nil(t, ask("carol", false)["RemoteNgcParams"], "nobody asked for it")
	require.Nil(t, ask("alice", true)["RemoteNgcParams"], "alice has no phone sign-in")
}

// A disabled device is told so when it asks for a PRT and when it uses one, and a
// deleted one hears it by another code on pages ("Error AADSTS700003").
func TestDisabledAndDeletedDevices(t *testing.T) {
	for _, page := range []bool{false, true} {
		o := options(entratest.NewClock(time.Time{}))
		o.DisabledDevice50155 = page
		c := newClient(t, entratest.NewTB(t, o))
		c.join("alice", 0)
		c.usePRT(c.passwordPRT("alice"))
		id := c.s.Devices()[0].ID
		require.NoError(t, c.s.DisableDevice(id))
		want := map[bool]int{false: 135011, true: 50155}[page]
		require.Equal(t, want, c.passwordPRT("alice").code())
		require.Equal(t, "device_authentication_failed", c.passwordPRT("alice").str("suberror"))
		require.Equal(t, 135011, c.renew().code())

		require.NoError(t, c.s.EnableDevice(id))
		start := authorizeURL(c.s.TenantID(), "client_id", payrollID, "resource", "api://payroll", "redirect_uri", nativeURI)
		r := c.do("GET", start, http.Header{"X-Ms-Refreshtokencredential": {c.cookie(c.nonce())}}, "")
		require.Contains(t, r.header.Get("Location"), "code=", "%s", r.body)
		session := http.Header{"Cookie": {strings.Split(r.header.Get("Set-Cookie"), ";")[0]}}
		require.NoError(t, c.s.DeleteDevice(id))
		require.Equal(t, 50155, c.renew().code())
		require.Equal(t, "700003", config(t, c.do("GET", start, session, ""))["sErrorCode"])
	}
}
