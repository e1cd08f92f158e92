package entratest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"regexp"
	"testing"
	"time"

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

// MSAL Python and MSAL Node take max_age and then want auth_time in the
// id_token; the service asks again when the sign-in is older (MSAL Python issues
// 381 and 444; OpenID Connect Core, 3.1.2.1).
func TestMaxAge(t *testing.T) {
	c, clock := start(t)
	r := c.interactive(c.alice(), payrollID, nativeURI, "api://payroll", "max_age", "600", "scope", "openid")
	require.Equal(t, 200, r.status, "%s", r.body)
	require.EqualValues(t, clock.Now().Unix(), jwtClaims(t, r.str("id_token"))["auth_time"])
	r = c.interactive(c.alice(), payrollID, nativeURI, "api://payroll", "scope", "openid")
	require.NotContains(t, jwtClaims(t, r.str("id_token")), "auth_time")

	c.join("alice", 0)
	c.passwordPRT("alice")
	silent := func(maxAge string) string {
		u := authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "prompt", "none", "max_age", maxAge)
		to := c.do("GET", u, http.Header{"X-Ms-Refreshtokencredential": {c.cookie(c.nonce())}}, "").header.Get("Location")
		return query(t, to).Get("error")
	}
	require.Empty(t, silent("600"))
	require.Equal(t, "login_required", silent("0"))
	clock.Advance(10 * time.Minute)
	require.Equal(t, "login_required", silent("600"))
	require.Empty(t, silent("3600"))
	_, err := c.tryAuthorize(c.alice(), "max_age", "soon")
	require.Equal(t, 9002313, pageCode(t, err))
}

// The id_token beside a code carries its hash, and response_type id_token
// brings no code (OpenID Connect Core, 3.2.2.5 and 3.3.2.11; Microsoft's "ID
// token claims reference").
func TestHybridIDToken(t *testing.T) {
	c, _ := start(t)
	to, err := c.tryAuthorize(c.alice(), "response_type", "code id_token", "nonce", "n", "response_mode", "query", "scope", "openid")
	require.NoError(t, err)
	v := query(t, to)
	sum := sha256.Sum256([]byte(v.Get("code")))
	require.Equal(t, base64.RawURLEncoding.EncodeToString(sum[:16]), jwtClaims(t, v.Get("id_token"))["c_hash"])
	to, err = c.tryAuthorize(c.alice(), "response_type", "id_token", "nonce", "n", "response_mode", "query", "scope", "openid")
	require.NoError(t, err)
	require.Empty(t, query(t, to).Get("code"))
	require.NotContains(t, jwtClaims(t, query(t, to).Get("id_token")), "c_hash")
}

// roadtx has --origin for single-page apps: what they were issued is redeemed
// by pages alone, and nothing else is (Microsoft Entra error codes 9002326 and
// 9002327).
func TestSinglePageRedemption(t *testing.T) {
	c, _ := start(t)
	const spaID, redirect = "55555555-6666-4777-8888-999999999999", "https://spa.contoso.example/"
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: spaID, SPA: true, AdminConsent: true, Redirects: []string{redirect}}))
	code := func(client, redirect string) *reply {
		return c.interactive(c.alice(), client, redirect, "api://payroll")
	}
	require.Equal(t, 9002327, code(spaID, redirect).code())
	c.origin = "https://spa.contoso.example"
	require.Equal(t, 9002326, code(payrollID, nativeURI).code())
	r := code(spaID, redirect)
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, c.origin, r.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "0", jwtClaims(t, r.str("access_token"))["appidacr"], "it proved itself by nothing")
	rt := r.str("refresh_token")
	require.Equal(t, 200, c.refresh(spaID, rt).status)
	// Registered for pages, it is not registered as mobile and desktop.
	require.Equal(t, 7000218, c.at(login+"/"+c.s.TenantID()+"/oauth2/v2.0/token", "grant_type", "password", "client_id", spaID,
		"username", "alice@contoso.example", "password", password, "scope", "openid").code())
	c.origin = ""
	require.Equal(t, 9002327, c.refresh(spaID, rt).code())
	plain := code(payrollID, nativeURI).str("refresh_token")
	c.origin = "https://spa.contoso.example"
	require.Equal(t, 9002326, c.refresh(payrollID, plain).code())
}

// roadtx desktopsso gets a token for a password at the host of seamless single
// sign-on, and redeems it in the place of a SAML assertion (roadlib auth.py).
func TestDesktopSSO(t *testing.T) {
	c, clock := start(t)
	ask := func(user, pass string) *reply {
		body := `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:o="x"><s:Header><o:Security><o:UsernameToken><o:Username>` + user +
			`</o:Username><o:Password>` + pass + `</o:Password></o:UsernameToken></o:Security></s:Header></s:Envelope>`
		return c.do("POST", "https://autologon.microsoftazuread-sso.com/contoso.example/winauth/trust/2005/usernamemixed", http.Header{"Content-Type": {"application/soap+xml"}}, body)
	}
	wrong := ask("alice@contoso.example", "wrong")
	require.Equal(t, 400, wrong.status)
	require.Contains(t, string(wrong.body), "<psf:text>AADSTS50126: ")

	r := ask("alice@contoso.example", password)
	require.Equal(t, 200, r.status, "%s", r.body)
	m := regexp.MustCompile(`<DesktopSsoToken>(.+)</DesktopSsoToken>`).FindStringSubmatch(string(r.body))
	require.NotNil(t, m)
	const saml11 = "urn:ietf:params:oauth:grant-type:saml1_1-bearer"
	redeem := func(token string) *reply {
		assertion := `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion"><DesktopSsoToken>` + token + `</DesktopSsoToken></saml:Assertion>`
		return c.token("grant_type", saml11, "client_id", payrollID, "resource", "api://payroll", "assertion", base64.StdEncoding.EncodeToString([]byte(assertion)))
	}
	require.Equal(t, []any{"pwd"}, jwtClaims(t, redeem(m[1]).str("access_token"))["amr"])
	require.Equal(t, 50008, redeem("made up").code())
	c.must(c.s.ChangePassword("alice", "new"))
	require.Equal(t, 50173, redeem(m[1]).code())
	c.must(c.s.ResetPassword("alice", password))
	m = regexp.MustCompile(`<DesktopSsoToken>(.+)</DesktopSsoToken>`).FindStringSubmatch(string(ask("alice@contoso.example", password).body))
	require.NotNil(t, m)
	clock.Advance(time.Hour)
	require.Equal(t, 500133, redeem(m[1]).code())
}

// roadtx reads an assertion from a file, with the line end that files have.
func TestAssertionFromAFile(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.Federated = []string{"fed.example"}
	o.Users = append(o.Users, entratest.User{Username: "frida@fed.example", Password: password})
	c := newClient(t, entratest.NewTB(t, o))
	a := assertionOf(t, c.soap("13", "frida@fed.example", password, "urn:federation:MicrosoftOnline", ""))
	r := c.token("grant_type", "urn:ietf:params:oauth:grant-type:saml1_1-bearer", "client_id", payrollID, "resource", "api://payroll",
		"assertion", base64.StdEncoding.EncodeToString([]byte(a+"\n")))
	require.Equal(t, 200, r.status, "%s", r.body)
}

// MSAL Go takes a policy of the federation metadata for one of user names when
// its transport binding declares the prefix sp, as AD FS writes it, and signs in
// by WS-Trust 1.3 alone.
func TestFederationMetadataAsADFSWritesIt(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.Federated = []string{"fed.example"}
	c := newClient(t, entratest.NewTB(t, o))
	var mex struct {
		Policies []struct {
			ID        string `xml:"Id,attr"`
			Transport struct {
				Prefix string `xml:"sp,attr"`
			} `xml:"ExactlyOne>All>TransportBinding"`
		} `xml:"Policy"`
		Bindings []struct {
			Policy struct {
				URI string `xml:"URI,attr"`
			} `xml:"PolicyReference"`
			Operation struct {
				Action string `xml:"soapAction,attr"`
			} `xml:"operation>operation"`
		} `xml:"binding"`
	}
	require.NoError(t, xml.Unmarshal(c.get("https://sts.fed.example/adfs/services/trust/mex").body, &mex))
	names := map[string]string{}
	for _, p := range mex.Policies {
		names["#"+p.ID] = p.Transport.Prefix
	}
	actions := []string{}
	for _, b := range mex.Bindings {
		require.NotEmpty(t, names[b.Policy.URI], b.Policy.URI)
		actions = append(actions, b.Operation.Action)
	}
	require.Contains(t, actions, "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue")
}

// golang.org/x/oauth2, the client that go-oidc goes with, renews without naming
// scopes: they are those of before (RFC 6749, 6; Microsoft identity platform,
// "Refresh the access token": scope is optional).
func TestRenewalWithoutScope(t *testing.T) {
	c, _ := start(t)
	const scope = "openid offline_access https://graph.microsoft.com/User.Read"
	r := c.tokenV2("grant_type", "password", "client_id", financeID, "username", "alice@contoso.example", "password", password, "scope", scope)
	for range 2 {
		r = c.tokenV2("grant_type", "refresh_token", "client_id", financeID, "refresh_token", r.str("refresh_token"))
		require.Equal(t, 200, r.status, "%s", r.body)
		require.Equal(t, "openid https://graph.microsoft.com/User.Read", r.str("scope"))
		require.NotEmpty(t, r.str("id_token"))
	}
	v1 := c.token("grant_type", "refresh_token", "client_id", financeID, "refresh_token", r.str("refresh_token"), "resource", "https://graph.microsoft.com")
	r = c.tokenV2("grant_type", "refresh_token", "client_id", financeID, "refresh_token", v1.str("refresh_token"))
	require.Equal(t, 900144, r.code(), "a token of the v1 endpoint has no scopes to repeat")
}
