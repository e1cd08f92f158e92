package entratest_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// What the suite found on the sign-in pages.

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

// roadtx gettokens --fido-init reads a challenge from the first page, before
// anybody said who signs in; its fidoauth answers it there.
func TestSignInPageChallengesAPasskey(t *testing.T) {
	c, _ := start(t)
	key, err := entratest.NewPasskey()
	require.NoError(t, err)
	key.UserHandle = []byte("alice's passkey")
	require.NoError(t, c.s.AddPasskey("alice", *key))
	require.Nil(t, c.passkeySignIn(key.ID, key.Key, nil), "nobody said who signs in (WebAuthn, 7.2, step 6)")
	require.Equal(t, []any{"fido", "rsa", "mfa"}, c.passkeySignIn(key.ID, key.Key, key.UserHandle))

	// A browser on Windows shows a Hello key as a passkey (roadtx fidoauth -hk).
	c.join("alice", 0)
	c.passwordPRT("alice")
	hello := pool()[2]
	require.Equal(t, 200, c.registerHello(hello).status)
	id := sha256.Sum256(keyBlob(&hello.PublicKey))
	require.Equal(t, []any{"rsa", "mfa"}, c.passkeySignIn(id[:], hello, nil))
	c.must(c.s.DisableDevice(c.deviceID))
	require.Nil(t, c.passkeySignIn(id[:], hello, nil))
}

// passkeySignIn answers the challenge of the first page, which need not know
// the user, and returns how the token says the user signed in.
func (c *tc) passkeySignIn(id []byte, key crypto.Signer, handle []byte) any {
	t := c.t.(*testing.T)
	page := string(c.get(authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "state", "x")).body)
	_, config, ok := strings.Cut(page, "$Config=")
	require.True(t, ok)
	config, _, ok = strings.Cut(config, ";\n//]]></script>")
	require.True(t, ok, "roadtx cuts the object off there")
	cfg := jsonObject(t, config)
	to := c.form(cfg["urlPost"].(string), "ctx", cfg["sCtx"].(string), cfg["sCanaryTokenName"].(string), cfg["canary"].(string),
		cfg["sFTName"].(string), cfg["sFT"].(string), "type", "23", "ps", "23",
		"assertion", passkeyAssertion(t, id, key, handle, cfg["sFidoChallenge"].(string))).header.Get("Location")
	if !strings.HasPrefix(to, nativeURI) {
		return nil
	}
	return jwtClaims(t, c.redeem(payrollID, nativeURI, "api://payroll", to).str("access_token"))["amr"]
}

// passkeyAssertion signs a challenge as an authenticator does (WebAuthn, 7.2):
// with a passkey's P-256 key or a Hello key.
func passkeyAssertion(t *testing.T, id []byte, key crypto.Signer, handle []byte, challenge string) string {
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
		"authenticatorData": b64.EncodeToString(authData), "signature": b64.EncodeToString(sig), "userHandle": b64.EncodeToString(handle)})
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
	page = c.form("/appverify", "ctx", ctx, "ContinueAuth", "true")
	require.Regexp(t, `id="message">[^$]*You have signed in`, string(page.body))
	require.Equal(t, 200, redeem(code).status)

	code, _, ctx = begin()
	require.Contains(t, string(c.form("/appverify", "ctx", ctx, "ContinueAuth", "false").body), "You have not signed in")
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
	page = c.form("/appverify", "ctx", field.FindStringSubmatch(string(page.body))[1], "ContinueAuth", "true")
	require.Contains(t, string(page.body), `id="idTxtBx_SAOTCC_OTC"`)
}

// roadtx interactiveauth --estscookie brings the cookie of somebody who stays
// signed in, and none of the session.
func TestPersistentSession(t *testing.T) {
	c, _ := start(t)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	kv := []string{"client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll"}
	_, err = c.alice().Authorize(t.Context(), &http.Client{Transport: keepCookies{c.s.Client().Transport, jar}}, authorizeURL(c.s.TenantID(), kv...), nativeURI)
	require.NoError(t, err)
	u, err := url.Parse(login)
	require.NoError(t, err)
	require.NotEmpty(t, jar.Cookies(u))
	silent := func(cookies string) string {
		r := c.do("GET", authorizeURL(c.s.TenantID(), append(kv, "prompt", "none")...), http.Header{"Cookie": {cookies}}, "")
		return r.header.Get("Location")
	}
	value := jar.Cookies(u)[0].Value
	require.Contains(t, silent("ESTSAUTHPERSISTENT="+value), "code=")
	require.Contains(t, silent("ESTSAUTH=stale; ESTSAUTHPERSISTENT="+value), "code=")
	require.Contains(t, silent("ESTSAUTHPERSISTENT=stale"), "login_required")
}
