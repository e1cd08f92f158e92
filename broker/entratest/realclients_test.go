package entratest_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"strings"
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
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: spaID, Public: true, SPA: true, AdminConsent: true, Redirects: []string{redirect}}))
	code := func(client, redirect string) *reply {
		return c.interactive(c.alice(), client, redirect, "api://payroll")
	}
	require.Equal(t, 9002327, code(spaID, redirect).code())
	c.origin = "https://spa.contoso.example"
	require.Equal(t, 9002326, code(payrollID, nativeURI).code())
	r := code(spaID, redirect)
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, c.origin, r.header.Get("Access-Control-Allow-Origin"))
	rt := r.str("refresh_token")
	require.Equal(t, 200, c.refresh(spaID, rt).status)
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

// roadtx gettokens --fido-init reads a challenge from the first page, before
// anybody said who signs in; its fidoauth answers it there.
func TestSignInPageChallengesAPasskey(t *testing.T) {
	c, _ := start(t)
	key, err := entratest.NewPasskey()
	require.NoError(t, err)
	require.NoError(t, c.s.AddPasskey("alice", *key))
	require.Equal(t, []any{"fido", "rsa", "mfa"}, c.passkeySignIn(key.ID, key.Key))

	// A browser on Windows shows a Hello key as a passkey (roadtx fidoauth -hk).
	c.join("alice", 0)
	c.passwordPRT("alice")
	hello := pool()[2]
	require.Equal(t, 200, c.registerHello(hello).status)
	id := sha256.Sum256(keyBlob(&hello.PublicKey))
	require.Equal(t, []any{"rsa", "mfa"}, c.passkeySignIn(id[:], hello))
	c.must(c.s.DisableDevice(c.deviceID))
	require.Nil(t, c.passkeySignIn(id[:], hello))
}

// passkeySignIn answers the challenge of the first page, which need not know
// the user, and returns how the token says the user signed in.
func (c *tc) passkeySignIn(id []byte, key crypto.Signer) any {
	t := c.t.(*testing.T)
	page := string(c.get(authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "state", "x")).body)
	_, config, ok := strings.Cut(page, "$Config=")
	require.True(t, ok)
	config, _, ok = strings.Cut(config, ";\n//]]></script>")
	require.True(t, ok, "roadtx cuts the object off there")
	cfg := jsonObject(t, config)
	to := c.form(cfg["urlPost"].(string), "ctx", cfg["sCtx"].(string), cfg["sCanaryTokenName"].(string), cfg["canary"].(string),
		cfg["sFTName"].(string), cfg["sFT"].(string), "type", "23", "ps", "23",
		"assertion", passkeyAssertion(t, id, key, cfg["sFidoChallenge"].(string))).header.Get("Location")
	if to == "" {
		return nil
	}
	return jwtClaims(t, c.redeem(payrollID, nativeURI, "api://payroll", to).str("access_token"))["amr"]
}

// passkeyAssertion signs a challenge as an authenticator does (WebAuthn, 7.2):
// with a passkey's P-256 key or a Hello key.
func passkeyAssertion(t *testing.T, id []byte, key crypto.Signer, challenge string) string {
	t.Helper()
	b64 := base64.RawURLEncoding
	clientData, err := json.Marshal(map[string]any{"type": "webauthn.get", "challenge": b64.EncodeToString([]byte(challenge)), "origin": "https://login.microsoft.com"})
	require.NoError(t, err)
	party, data := sha256.Sum256([]byte("login.microsoft.com")), sha256.Sum256(clientData)
	authData := append(party[:], 0x05, 0, 0, 0, 1) // user present and verified; counter
	sum := sha256.Sum256(append(bytes.Clone(authData), data[:]...))
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	require.NoError(t, err)
	out, err := json.Marshal(map[string]string{"id": b64.EncodeToString(id), "clientDataJSON": b64.EncodeToString(clientData),
		"authenticatorData": b64.EncodeToString(authData), "signature": b64.EncodeToString(sig)})
	require.NoError(t, err)
	return string(out)
}

// roadtx interactiveauth --federated types the user name, presses Enter, and
// waits for the fields of an AD FS page; the page asks GetCredentialType where
// to go, and comes back with the sign-in it left.
func TestFederatedUserIsSentAway(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.Federated = []string{"fed.example"}
	o.Users = append(o.Users, entratest.User{Username: "frida@fed.example", Password: password})
	c := newClient(t, entratest.NewTB(t, o))
	page := string(c.get(authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "state", "x")).body)
	ctx := regexp.MustCompile(`name="ctx" value="([^"]+)"`).FindStringSubmatch(page)
	require.NotNil(t, ctx)
	r := c.json("POST", login+"/common/GetCredentialType", "", map[string]any{"username": "frida@fed.example", "originalRequest": ctx[1]})
	where, _ := r.v["Credentials"].(map[string]any)["FederationRedirectUrl"].(string)
	require.True(t, strings.HasPrefix(where, "https://sts.fed.example/adfs/ls/?"), where)
	for _, id := range []string{"userNameInput", "passwordInput", "submitButton"} {
		require.Contains(t, string(c.get(where).body), `id="`+id+`"`)
	}
	to, err := entratest.Person{Username: "frida@fed.example", Password: password}.Authorize(t.Context(), c.s.Client(), where, nativeURI)
	require.NoError(t, err)
	require.Equal(t, "x", query(t, to).Get("state"))
	require.NotEmpty(t, query(t, to).Get("code"))
}

// roadtx browserprtinject shows the PRT of one user while another signs in: the
// hint decides who, the PRT proves the device.
func TestPRTOfAnotherProvesTheDevice(t *testing.T) {
	c, _ := start(t)
	c.join("alice", 0)
	c.passwordPRT("alice")
	client := &http.Client{Transport: cookieTransport{c.s.Client().Transport, c.cookie(c.nonce())}}
	to, err := entratest.Person{Username: "bob@contoso.example", Password: password}.Authorize(t.Context(), client,
		authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "login_hint", "bob@contoso.example", "state", "x"), nativeURI)
	require.NoError(t, err)
	got := jwtClaims(t, c.redeem(payrollID, nativeURI, "api://payroll", to).str("access_token"))
	require.Equal(t, "bob@contoso.example", got["upn"])
	require.Equal(t, c.deviceID, got["deviceid"])
}

// roadtx keepassauth --device-code presses a button that names the app, and
// reads the outcome in the element "message" (roadtx, selenium.py; Microsoft
// Entra error code 50199, CmsiInterrupt).
func TestDeviceCodeIsConfirmed(t *testing.T) {
	c, _ := start(t)
	begin := func() (code string, page *reply, ctx string) {
		d := c.form(c.tenantPath("/oauth2/v2.0/devicecode"), "client_id", payrollID, "scope", "openid")
		field := regexp.MustCompile(`name="ctx" value="([^"]+)"`)
		page = c.form("/common/oauth2/deviceauth", "otc", d.str("user_code"))
		page = c.form("/common/login", "ctx", field.FindStringSubmatch(string(page.body))[1], "login", "alice@contoso.example", "passwd", password)
		return d.str("device_code"), page, field.FindStringSubmatch(string(page.body))[1]
	}
	redeem := func(code string) *reply {
		return c.tokenV2("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", payrollID, "device_code", code)
	}
	code, page, ctx := begin()
	require.Contains(t, string(page.body), "Are you trying to sign in to Payroll?")
	require.Contains(t, string(page.body), `id="idSIButton9"`)
	require.Equal(t, "authorization_pending", redeem(code).str("error"))
	page = c.form("/appverify", "ctx", ctx, "confirm", "continue")
	require.Regexp(t, `id="message">[^$]*You have signed in`, string(page.body))
	require.Equal(t, 200, redeem(code).status)

	code, _, ctx = begin()
	require.Contains(t, string(c.form("/appverify", "ctx", ctx, "confirm", "cancel").body), "You have not signed in")
	require.Equal(t, "authorization_declined", redeem(code).str("error"))
}

// The page that names the app confirms, and skips nothing: a sign-in that still
// owes a second factor goes back to it.
func TestConfirmationSkipsNoFactor(t *testing.T) {
	c, _ := start(t)
	d := c.form(c.tenantPath("/oauth2/devicecode"), "client_id", payrollID, "resource", "api://payroll", "amr_values", "mfa")
	field := regexp.MustCompile(`name="ctx" value="([^"]+)"`)
	page := c.form("/common/oauth2/deviceauth", "otc", d.str("user_code"))
	page = c.form("/common/login", "ctx", field.FindStringSubmatch(string(page.body))[1], "login", "alice@contoso.example", "passwd", password)
	page = c.form("/appverify", "ctx", field.FindStringSubmatch(string(page.body))[1], "confirm", "continue")
	require.Contains(t, string(page.body), `id="idTxtBx_SAOTCC_OTC"`)
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
		require.Equal(t, scope, r.str("scope"))
		require.NotEmpty(t, r.str("id_token"))
	}
	v1 := c.token("grant_type", "refresh_token", "client_id", financeID, "refresh_token", r.str("refresh_token"), "resource", "https://graph.microsoft.com")
	r = c.tokenV2("grant_type", "refresh_token", "client_id", financeID, "refresh_token", v1.str("refresh_token"))
	require.Equal(t, 900144, r.code(), "a token of the v1 endpoint has no scopes to repeat")
}
