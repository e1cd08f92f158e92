package entratest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// Every endpoint answers an empty request as the service does: with what it
// has for anybody, or with a refusal in its own shape. A route that no case
// reaches fails the test.
func TestEveryEndpoint(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.Federated = []string{"fed.example"}
	c := newClient(t, entratest.NewTB(t, o))
	const (
		graph = "https://graph.microsoft.com"
		sts   = "https://sts.fed.example/adfs"
		page  = "text/html"
		js    = "application/json"
		some  = "99999999-0000-4000-8000-000000000000"
	)
	tests := []struct {
		method, url string
		status      int
		kind, has   string
	}{
		{"GET", login + "/common/.well-known/openid-configuration", 200, js, `"token_endpoint"`},
		{"GET", login + "/common/v2.0/.well-known/openid-configuration", 200, js, `"device_authorization_endpoint"`},
		{"GET", login + "/common/discovery/keys", 200, js, `"x5c"`},
		{"GET", login + "/common/discovery/v2.0/keys", 200, js, `"issuer"`},
		{"GET", login + "/common/discovery/instance", 400, js, `AADSTS50050`},
		{"POST", login + "/common/oauth2/token", 400, js, `AADSTS900144`},
		{"POST", login + "/common/oauth2/v2.0/token", 400, js, `AADSTS900144`},
		{"POST", login + "/common/oauth2/devicecode", 400, js, `AADSTS900144`},
		{"POST", login + "/common/oauth2/v2.0/devicecode", 400, js, `AADSTS900144`},
		{"GET", login + "/common/oauth2/authorize", 200, page, `AADSTS900144`},
		{"POST", login + "/common/oauth2/v2.0/authorize", 200, page, `AADSTS900144`},
		{"GET", login + "/common/adminconsent?client_id=" + thirdParty, 200, page, `i0116`},
		{"GET", login + "/organizations/v2.0/adminconsent?scope=openid&client_id=" + thirdParty, 200, page, `i0116`},
		{"GET", login + "/common/oauth2/logout", 200, page, `You signed out`},
		{"POST", login + "/common/oauth2/v2.0/logout", 200, page, `You signed out`},
		{"GET", login + "/common/UserRealm/alice@contoso.example?api-version=1.0", 200, js, `"Managed"`},
		{"GET", login + "/GetUserRealm.srf?login=x", 200, js, `"Unknown"`},
		{"POST", login + "/common/GetCredentialType", 200, js, `"6000"`},
		{"POST", login + "/GetCredentialType", 200, js, `"6000"`},
		{"GET", login + "/common/oauth2/deviceauth", 200, page, `id="usercode"`},
		{"POST", login + "/common/oauth2/deviceauth", 200, page, `90119`},
		{"POST", login + "/common/SAS/BeginAuth", 400, js, `AADSTS90023`},
		{"GET", login + "/common/SAS/EndAuth", 400, js, `AADSTS90014`},
		{"POST", login + "/common/GetOneTimeCode", 400, js, `AADSTS90023`},
		{"POST", login + "/common/DeviceCodeStatus", 400, js, `AADSTS90023`},
		{"POST", login + "/common/SAS/ProcessAuth", 200, page, `90014`},
		{"POST", login + "/common/SAS/ProofUp", 200, page, `90014`},
		{"POST", login + "/common/Consent/Set", 200, page, `90014`},
		{"POST", login + "/common/Terms/Set", 200, page, `90014`},
		{"POST", login + "/appverify", 200, page, `90014`},
		{"POST", login + "/common/SSPR/Begin", 400, js, `AADSTS90023`},
		{"POST", login + "/common/SSPR/Poll", 400, js, `AADSTS90023`},
		{"GET", "https://odc.officeapps.live.com/odc/v2.1/federationProvider?domain=contoso.example", 200, js, `"authority_host"`},
		{"GET", "https://management.azure.com/tenants?api-version=2022-12-01", 401, js, "InvalidAuthenticationToken"},
		{"GET", "https://management.azure.com/subscriptions?api-version=2022-12-01", 401, js, "InvalidAuthenticationToken"},
		{"POST", login + "/common/ChangePassword", 200, page, `90014`},
		{"POST", login + "/kmsi", 200, page, `90014`},
		{"POST", login + "/common/kmsi", 200, page, `90014`},
		{"POST", login + "/common/login", 200, page, `90014`},
		{"POST", login + "/login.srf", 200, page, `90014`},
		{"POST", login + "/webapp/bulkaadjtoken/begin", 401, js, `AuthenticationError`},
		{"GET", login + "/webapp/bulkaadjtoken/poll", 400, js, `AADSTS90023`},
		{"GET", login + "/common/oauth2/nativeclient", 200, page, `pgid`},
		{"POST", "https://certauth.login.microsoftonline.com/common/certauth", 200, page, `90014`},
		{"GET", login + "/common/fido/get", 200, page, `90014`},
		{"POST", login + "/common/fido/get", 200, page, `90014`},
		{"GET", login + "/common/resume", 200, page, `90014`},
		{"GET", login + "/emulator/authenticator", 200, page, `Nothing waits`},
		{"POST", login + "/emulator/authenticator", 200, page, `That prompt is over`},
		{"GET", "https://microsoft.com/devicelogin", 302, "", ""},

		{"GET", drs + "/contoso.example/Discover?api-version=1.9", 200, js, `"DeviceJoinService"`},
		{"POST", drs + "/EnrollmentServer/device/?api-version=2.0", 401, js, `AuthenticationError`},
		{"DELETE", drs + "/EnrollmentServer/device/" + some, 401, js, `AuthenticationError`},
		{"PUT", drs + "/EnrollmentServer/device/" + some, 400, js, `DirectoryError`},
		{"GET", drs + "/manage/common/" + some, 401, js, `AuthenticationError`},
		{"POST", drs + "/EnrollmentServer/key/?api-version=1.0", 401, js, `AuthenticationError`},
		{"DELETE", drs + "/EnrollmentServer/key/" + some, 401, js, `AuthenticationError`},
		{"GET", drs + "/EnrollmentServer/nonce/contoso.example/", 200, js, `"ReponseStatus"`},

		{"GET", sts + "/services/trust/mex", 200, "text/xml", `usernamemixed`},
		{"POST", sts + "/services/trust/2005/usernamemixed", 500, "application/soap+xml", `Fault`},
		{"POST", sts + "/services/trust/13/usernamemixed", 500, "application/soap+xml", `Fault`},
		{"GET", sts + "/ls/", 200, page, `50107`},
		{"POST", "https://autologon.microsoftazuread-sso.com/contoso.example/winauth/trust/2005/usernamemixed", 400, "application/soap+xml", `AADSTS90023`},
		{"GET", graph + "/oidc/userinfo", 401, js, `InvalidAuthenticationToken`},
	}
	for _, v := range []string{"/v1.0", "/beta"} {
		for _, p := range []string{"GET /me", "GET /users/x", "GET /me/memberOf", "GET /users/x/memberOf", "GET /me/photo/$value", "GET /users/x/photo/$value", "GET /groups", "GET /servicePrincipals/x/endpoints", "GET /me/transitiveMemberOf", "GET /me/memberOf/x", "GET /users/x/memberOf/x", "GET /me/transitiveMemberOf/x", "GET /users/x/transitiveMemberOf/x", "POST /me/getMemberObjects", "POST /users/x/getMemberObjects", "POST /me/getMemberGroups", "POST /users/x/getMemberGroups", "GET /users/x/transitiveMemberOf", "POST /me/revokeSignInSessions",
			"POST /users/x/revokeSignInSessions", "GET /me/authentication/windowsHelloForBusinessMethods", "DELETE /me/authentication/windowsHelloForBusinessMethods/y", "GET /users/x/authentication/windowsHelloForBusinessMethods", "DELETE /users/x/authentication/windowsHelloForBusinessMethods/y",
			"GET /devices", "GET /devices(deviceId='x')", "DELETE /devices(deviceId='x')", "GET /identity/conditionalAccess/policies",
			"GET /identity/conditionalAccess/namedLocations", "GET /policies/authenticationStrengthPolicies", "POST /identity/conditionalAccess/evaluate"} {
			method, path, _ := strings.Cut(p, " ")
			tests = append(tests, struct {
				method, url string
				status      int
				kind, has   string
			}{method, graph + v + path, 401, js, "InvalidAuthenticationToken"})
		}
	}
	reached := map[string]bool{}
	for _, tt := range tests {
		reached[c.s.RouteOf(tt.method, tt.url)] = true
		t.Run(tt.method+" "+strings.TrimPrefix(tt.url, "https://"), func(t *testing.T) {
			h := http.Header{}
			if tt.method == "POST" && tt.kind == page {
				h.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			h.Set("Accept", "application/json")
			r := c.do(tt.method, tt.url, h, "")
			require.Equal(t, tt.status, r.status, "%s", r.body)
			require.True(t, strings.HasPrefix(r.header.Get("Content-Type"), tt.kind), r.header.Get("Content-Type"))
			require.Contains(t, string(r.body), tt.has)
		})
	}
	for _, name := range c.s.Routes() {
		require.True(t, reached[name], "no case reaches %s", name)
	}
}
