package entratest_test

import (
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// What the suite in internal/interop found by running clients of others, held
// here without them.

// roadtx signs in with a password at the v1 endpoint under /common; only the
// v2.0 endpoint refuses the grant there (Microsoft identity platform, "OAuth
// 2.0 Resource Owner Password Credentials": /common is not supported).
func TestPasswordGrantUnderCommon(t *testing.T) {
	c, _ := start(t)
	form := []string{"grant_type", "password", "client_id", payrollID, "username", "alice@contoso.example", "password", password}
	r := c.form("/common/oauth2/token", append(form, "resource", payrollID)...)
	require.Equal(t, 200, r.status, "%s", r.body)
	r = c.form("/common/oauth2/v2.0/token", append(form, "scope", payrollID+"/.default")...)
	require.Equal(t, 9001023, r.code(), "%s", r.body)
	r = c.form("/organizations/oauth2/v2.0/token", append(form, "scope", payrollID+"/.default")...)
	require.Equal(t, 200, r.status, "%s", r.body)
}

// MSAL (Go, Python, Node) asks for scopes with their URI and looks for them in
// the reply: what is not there counts as declined, and misses its cache.
func TestScopesAreNamedAsAsked(t *testing.T) {
	c, _ := start(t)
	for _, tt := range []struct{ asked, want string }{
		{"https://graph.microsoft.com/User.Read", "https://graph.microsoft.com/User.Read"},
		{"User.Read", "User.Read"},
		{"openid https://graph.microsoft.com/.default", "openid https://graph.microsoft.com/Device.Read.All https://graph.microsoft.com/User.Read https://graph.microsoft.com/.default"},
		{"api://payroll/user_impersonation openid", "openid api://payroll/user_impersonation"},
	} {
		r := c.tokenV2("grant_type", "password", "client_id", financeID, "username", "alice@contoso.example", "password", password, "scope", tt.asked)
		require.Equal(t, 200, r.status, "%s", r.body)
		require.Equal(t, tt.want, r.str("scope"), tt.asked)
	}
}

// roadtx reads a refresh token from every exchange of a PRT, by protocol 3.0
// too, where its scope names no offline_access: the PRT was that.
func TestExchangeBringsARefreshToken(t *testing.T) {
	c, _ := start(t)
	c.join("alice", 0)
	c.passwordPRT("alice")
	r := c.decrypt(c.form("/common/oauth2/v2.0/token", "grant_type", jwtBearer, "prt_protocol_version", "3.0", "client_info", "1",
		"request", c.sessionJWS(map[string]any{"grant_type": "refresh_token", "refresh_token": c.prt, "client_id": financeID,
			"scope": "https://graph.microsoft.com/.default", "request_nonce": c.nonce(), "redirect_uri": nativeURI})))
	require.Equal(t, 200, r.status, "%s", r.body)
	require.NotEmpty(t, r.str("refresh_token"))
	require.NotEmpty(t, r.str("access_token"))
}

// roadtx fills in the pages by the ids of the real ones (roadtools, roadtx,
// selenium.py), and programs wait at nativeclient for the code.
func TestPagesHaveTheRealNames(t *testing.T) {
	c, _ := start(t)
	const login = "https://login.microsoftonline.com"
	q := url.Values{"client_id": {payrollID}, "response_type": {"code"}, "redirect_uri": {nativeURI}, "resource": {payrollID}, "amr_values": {"mfa"}}
	signIn := string(c.get(login + "/common/oauth2/authorize?" + q.Encode()).body)
	for _, id := range []string{"i0116", "i0118", "idSIButton9"} {
		require.Contains(t, signIn, `id="`+id+`"`)
	}
	ctx := regexp.MustCompile(`name="ctx" value="([^"]+)"`).FindStringSubmatch(signIn)
	require.NotNil(t, ctx)
	code := string(c.form("/common/login", "ctx", ctx[1], "login", "alice@contoso.example", "passwd", password).body)
	require.Contains(t, code, `id="idTxtBx_SAOTCC_OTC"`)

	q.Set("response_mode", "form_post")
	redirected, err := entratest.Person{Username: "alice@contoso.example", Password: password, TOTPSecret: totpSecret}.
		Authorize(t.Context(), c.s.Client(), login+"/common/oauth2/authorize?"+q.Encode(), nativeURI)
	require.NoError(t, err)
	require.Contains(t, redirected, "code=")

	page := c.get(nativeURI + "?code=x")
	require.Equal(t, 200, page.status)
	page = c.get(nativeURI + "?error=access_denied%3Cscript%3E")
	require.Contains(t, string(page.body), "access_denied&lt;script&gt;")
}
