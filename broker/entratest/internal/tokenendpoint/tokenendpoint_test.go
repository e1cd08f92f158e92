package tokenendpoint_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/cert"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/internal/wire"
)

const (
	appID    = "7a11e51e-0001-4000-8000-0000000000aa"
	deviceID = "73d664e4-0886-4a73-b745-c694da45ddb4"
	base     = "https://login.microsoftonline.com"
)

type world struct {
	*tokenendpoint.Service
	dir *directory.Directory
	key *rsa.PrivateKey // of the device, for both purposes
	x5c *cert.Chain
	now time.Time

	daemon *x509.Certificate // of the application that proves itself
}

func newWorld(t *testing.T) *world {
	t.Helper()
	source := ids.NewSource(1)
	w := &world{now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	apps, own := daemon(t, w.now)
	w.daemon = own
	dir, err := directory.New([]directory.TenantSpec{{
		Domain: "contoso.example", Federated: []string{"fed.example"},
		Users: []directory.UserSpec{{Username: "alice", Password: "pw"}, {Username: "bob@fed.example", Password: "pw"}},
		Apps:  append(apps, directory.AppSpec{ClientID: appID, Public: true, AdminConsent: true, URIs: []string{"api://payroll"}, Redirects: []string{"http://localhost"}}),
	}}, 5, source)
	require.NoError(t, err)
	w.dir = dir
	clock := func() time.Time { return w.now }
	keeper := &session.Keeper{Directory: dir, Rand: source, Now: clock, Logf: t.Logf, Box: seal.New(source.Bytes(32), source), Pending: session.NewPending(),
		TTL: session.TTL{Nonce: 5 * time.Minute, AccessToken: time.Hour, RefreshToken: 24 * time.Hour, DeviceCode: 15 * time.Minute,
			PRT: 14 * 24 * time.Hour, PRTMax: 90 * 24 * time.Hour, SessionKey: 30 * 24 * time.Hour, FreshMFA: 10 * time.Minute}}
	w.Service = &tokenendpoint.Service{Keeper: keeper, Access: &access.Engine{Keeper: keeper}, Mint: &mint.Mint{Keys: mint.NewKeys(), Keeper: keeper},
		Web:  web.New(web.Config{Directory: dir, Rand: source, Now: clock, Logf: t.Logf, Log: directory.NewSignInLog(100)}),
		PRTs: tokenendpoint.NewPRTList(100)}
	w.Routes()

	w.key = deviceKey()
	der, err := w.Mint.Keys.Device.Issue(&w.key.PublicKey, mint.DeviceCertificate{Device: deviceID, Tenant: dir.Home().ID, Region: "EU", Joined: true, Serial: []byte{1}, Now: w.now})
	require.NoError(t, err)
	w.x5c = &cert.Chain{}
	require.NoError(t, w.x5c.AddString(base64.StdEncoding.EncodeToString(der)))
	require.NoError(t, dir.AddDevice(&directory.Device{Tenant: dir.Home(), ID: deviceID, Enabled: true, Key: &w.key.PublicKey, Transport: &w.key.PublicKey, CertSHA256: sha256.Sum256(der)}))
	return w
}

// ask posts a form; the reply is its status and its text.
func (w *world) ask(path string, kv ...string) (int, string) {
	v := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, base+path, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	w.Web.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

func (w *world) json(t *testing.T, path string, kv ...string) map[string]any {
	t.Helper()
	_, text := w.ask(path, kv...)
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &out), text)
	return out
}

func code(reply map[string]any) int {
	codes, _ := reply["error_codes"].([]any)
	if len(codes) == 0 {
		return 0
	}
	return int(codes[0].(float64))
}

const (
	v1 = "/contoso.example/oauth2/token"
	v2 = "/contoso.example/oauth2/v2.0/token"
)

func TestPlainGrants(t *testing.T) {
	w := newWorld(t)
	got := w.json(t, v2, "grant_type", "password", "client_id", appID, "username", "alice@contoso.example", "password", "pw",
		"scope", "openid offline_access api://payroll/.default", "client_info", "1")
	require.Zero(t, code(got), got)
	for _, name := range []string{"access_token", "refresh_token", "id_token", "client_info"} {
		require.NotEmpty(t, got[name], name)
	}
	again := w.json(t, v2, "grant_type", "refresh_token", "client_id", appID, "refresh_token", got["refresh_token"].(string))
	require.NotEmpty(t, again["access_token"], again)
	other := w.json(t, v2, "grant_type", "refresh_token", "client_id", wire.ClientBroker, "refresh_token", got["refresh_token"].(string), "scope", "openid")
	require.Equal(t, 700007, code(other), "of another client")

	for name, c := range map[string]struct {
		form []string
		want int
	}{
		"no grant":         {nil, 900144},
		"another grant":    {[]string{"grant_type", "x"}, 70003},
		"a wrong password": {[]string{"grant_type", "password", "client_id", appID, "username", "alice@contoso.example", "password", "x", "scope", "openid"}, 50126},
		"no refresh token": {[]string{"grant_type", "refresh_token", "client_id", appID, "refresh_token", "x"}, 70000},
		"no code":          {[]string{"grant_type", "authorization_code", "client_id", appID, "code", "x"}, 70000},
		"no request":       {[]string{"grant_type", wire.GrantJWTBearer}, 900144},
	} {
		require.Equal(t, c.want, code(w.json(t, v2, c.form...)), name)
	}
	pop := []string{"grant_type", "password", "client_id", appID, "username", "alice@contoso.example", "password", "pw", "scope", "api://payroll/.default", "token_type", "pop", "req_cnf"}
	require.Equal(t, "pop", w.json(t, v2, append(pop, base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"k"}`)))...)["token_type"])
	require.Equal(t, 9002313, code(w.json(t, v2, append(pop, "x")...)))
	require.Nil(t, w.Keeper.CheckNonce(w.json(t, v2, "grant_type", wire.GrantNonce)["Nonce"].(string)))

	w.now = w.now.Add(25 * time.Hour)
	late := w.json(t, v2, "grant_type", "refresh_token", "client_id", appID, "refresh_token", got["refresh_token"].(string))
	require.Equal(t, 700082, code(late))
	require.Len(t, w.Web.Log.All(), 10, "each request is logged, but for those that name no grant")
}

func TestCodes(t *testing.T) {
	w := newWorld(t)
	u := w.dir.User("alice@contoso.example")
	ss := w.Keeper.NewSession(u, claims.Password)
	text := w.Keeper.Box.Seal(session.KindCode, session.CodeRecord{ID: "1", Session: ss, Client: appID, Redirect: "http://localhost", Scope: "openid", Expires: w.now.Unix() + 60,
		Challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", Method: "S256"})
	form := []string{"grant_type", "authorization_code", "client_id", appID, "code", text, "redirect_uri", "http://localhost", "code_verifier"}
	require.Equal(t, 501481, code(w.json(t, v2, append(form, strings.Repeat("x", 43))...)))
	require.NotEmpty(t, w.json(t, v2, append(form, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")...)["id_token"], "RFC 7636, appendix B")
	require.Equal(t, 54005, code(w.json(t, v2, append(form, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")...)), "once")
}

func TestDeviceCodes(t *testing.T) {
	w := newWorld(t)
	got := w.json(t, "/contoso.example/oauth2/v2.0/devicecode", "client_id", appID, "scope", "openid")
	poll := []string{"grant_type", wire.GrantDeviceCode, "client_id", appID, "device_code", got["device_code"].(string)}
	require.Equal(t, 70016, code(w.json(t, v2, poll...)))
	ss := w.Keeper.NewSession(w.dir.User("alice@contoso.example"), claims.Password)
	require.True(t, w.Keeper.Pending.Settle(got["device_code"].(string), session.LoginPending, session.LoginApproved, ss))
	require.NotEmpty(t, w.json(t, v2, poll...)["id_token"])
	require.Equal(t, 54005, code(w.json(t, v2, poll...)))
}

func TestAssertions(t *testing.T) {
	w := newWorld(t)
	idp := &adfs.Server{Keeper: w.Keeper, Mint: w.Mint, Web: w.Web}
	idp.Routes()
	r := httptest.NewRequest(http.MethodPost, "https://sts.fed.example/adfs/services/trust/2005/usernamemixed", strings.NewReader(
		`<E><Header><Security><UsernameToken><Username>bob@fed.example</Username><Password>pw</Password></UsernameToken></Security></Header><Body><RequestSecurityToken><AppliesTo><EndpointReference><Address>`+
			adfs.CloudAudience+`</Address></EndpointReference></AppliesTo></RequestSecurityToken></Body></E>`))
	rec := httptest.NewRecorder()
	w.Web.ServeHTTP(rec, r)
	text := rec.Body.String()
	from, to := strings.Index(text, "<saml:Assertion"), strings.LastIndex(text, "</saml:Assertion>")
	require.Positive(t, from, text)
	assertion := base64.StdEncoding.EncodeToString([]byte(text[from : to+len("</saml:Assertion>")]))
	got := w.json(t, v1, "grant_type", wire.GrantSAML11, "client_id", appID, "assertion", assertion, "resource", "api://payroll")
	require.NotEmpty(t, got["access_token"], got)
	require.Equal(t, 50008, code(w.json(t, v1, "grant_type", wire.GrantSAML20, "client_id", appID, "assertion", assertion)), "of another version")
	w.now = w.now.Add(2 * time.Hour)
	require.Equal(t, 500133, code(w.json(t, v1, "grant_type", wire.GrantSAML11, "client_id", appID, "assertion", assertion)))
}

// signed posts a request that a key signed (MS-OAPXBC 3.2.5.1.2).
func (w *world) signed(t *testing.T, header map[string]any, alg jwa.SignatureAlgorithm, key any, c map[string]any) (int, string) {
	t.Helper()
	payload, err := json.Marshal(c)
	require.NoError(t, err)
	h := jws.NewHeaders()
	for k, v := range header {
		require.NoError(t, h.Set(k, v))
	}
	text, err := jws.Sign(payload, jws.WithKey(alg, key, jws.WithProtectedHeaders(h)))
	require.NoError(t, err)
	return w.ask(v1, "grant_type", wire.GrantJWTBearer, "request", string(text), "windows_api_version", "2.0")
}

// The life of a PRT: born of a password, exchanged, renewed.
func TestPRT(t *testing.T) {
	w := newWorld(t)
	birth := func(change func(map[string]any)) map[string]any {
		c := map[string]any{"client_id": wire.ClientWindowsSignIn, "request_nonce": w.Keeper.NewNonce(), "scope": "openid aza ugs",
			"grant_type": wire.GrantPassword, "username": "alice@contoso.example", "password": "pw"}
		if change != nil {
			change(c)
		}
		_, text := w.signed(t, map[string]any{"x5c": w.x5c}, jwa.RS256, w.key, c)
		var out map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &out), text)
		return out
	}
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   int
	}{
		"no nonce":         {func(c map[string]any) { delete(c, "request_nonce") }, 140000},
		"a wrong password": {func(c map[string]any) { c["password"] = "x" }, 50126},
		"no aza":           {func(c map[string]any) { c["scope"] = "openid" }, 28002},
		"another client":   {func(c map[string]any) { c["client_id"] = appID }, 28002},
	} {
		require.Equal(t, c.want, code(birth(c.change)), name)
	}
	got := birth(nil)
	require.Zero(t, code(got), got)
	require.True(t, strings.HasSuffix(got["id_token"].(string), "."))
	sessionKey := w.unwrap(t, got)

	use := func(scope, resource string, more ...string) map[string]any {
		ctx := make([]byte, 24)
		_, err := rand.Read(ctx)
		require.NoError(t, err)
		c := map[string]any{"client_id": appID, "request_nonce": w.Keeper.NewNonce(), "scope": scope, "grant_type": wire.GrantRefreshToken, "refresh_token": got["refresh_token"]}
		if resource != "" {
			c["resource"] = resource
		}
		for i := 0; i < len(more); i += 2 {
			c[more[i]] = more[i+1]
		}
		key := kdf.Derive(sessionKey, []byte(kdf.Label), ctx)
		status, text := w.signed(t, map[string]any{"ctx": base64.StdEncoding.EncodeToString(ctx)}, jwa.HS256, key[:], c)
		var out map[string]any
		if status != http.StatusOK {
			require.NoError(t, json.Unmarshal([]byte(text), &out), text)
			return out
		}
		return open(t, sessionKey, text)
	}
	require.NotEmpty(t, use("openid", "api://payroll")["access_token"])
	require.NotEmpty(t, use("openid aza", "")["refresh_token"], "renewed")
	require.NotEmpty(t, use("openid aza", "", "username", "alice@contoso.example", "password", "pw")["refresh_token"], "unlocked")
	require.Equal(t, 50126, code(use("openid aza", "", "username", "alice@contoso.example", "password", "x")))
	list := w.PRTs.All()
	require.Len(t, list, 1)
	require.Equal(t, 2, list[0].Renewals)
	require.Equal(t, "password", list[0].BornOf())
	require.NoError(t, w.PRTError(&list[0]))
	restored := tokenendpoint.NewPRTList(100)
	restored.Restore(list)
	require.Equal(t, list, restored.All())

	require.Equal(t, 7000016, code(w.json(t, v1, "grant_type", "refresh_token", "client_id", appID, "refresh_token", got["refresh_token"].(string))), "it is no refresh token")
	sessionKey[0] ^= 1
	require.Equal(t, 140001, code(use("openid", "api://payroll")), "another session key")
	sessionKey[0] ^= 1
	w.now = w.now.Add(15 * 24 * time.Hour)
	require.Equal(t, 700082, code(use("openid", "api://payroll")))
	require.Equal(t, 700082, web.AsSTSError(w.PRTError(&list[0])).Code)
}

// unwrap opens the session key of a new PRT (MS-OAPXBC 3.2.5.1.2.2).
func (w *world) unwrap(t *testing.T, reply map[string]any) []byte {
	t.Helper()
	wrapped, err := base64.RawURLEncoding.DecodeString(strings.Split(reply["session_key_jwe"].(string), ".")[1])
	require.NoError(t, err)
	key, err := rsa.DecryptOAEP(sha1.New(), nil, w.key, wrapped, nil)
	require.NoError(t, err)
	return key
}

// code is an authorization code of alice for a client.
func (w *world) code(t *testing.T, client, redirect string) string {
	t.Helper()
	ss := w.Keeper.NewSession(w.dir.User("alice@contoso.example"), claims.Password)
	return w.Keeper.Box.Seal(session.KindCode, session.CodeRecord{ID: w.Keeper.Rand.GUID(), Session: ss, Client: client, Redirect: redirect, Scope: "openid aza", Expires: w.now.Unix() + 60})
}

// ofDevice posts a request that the device signed.
func (w *world) ofDevice(t *testing.T, c map[string]any) map[string]any {
	t.Helper()
	c["request_nonce"] = w.Keeper.NewNonce()
	_, text := w.signed(t, map[string]any{"x5c": w.x5c}, jwa.RS256, w.key, c)
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &out), text)
	return out
}

// What else a PRT is born of.
func TestCredentials(t *testing.T) {
	w := newWorld(t)
	u := w.dir.User("alice@contoso.example")
	prt := func(c map[string]any) map[string]any {
		c["client_id"], c["scope"] = wire.ClientBroker, "openid aza"
		return w.ofDevice(t, c)
	}
	require.NoError(t, w.dir.SetHelloKey(u.UPN, &directory.HelloKey{ID: "h", Kid: "kid", Key: &w.key.PublicKey, DeviceID: deviceID}))
	hello := func(kid, nonce string) string {
		payload, err := json.Marshal(map[string]any{"iss": u.UPN, "aud": "common", "iat": w.now.Unix(), "exp": w.now.Unix() + 300, "scope": "openid aza", "request_nonce": nonce})
		require.NoError(t, err)
		h := jws.NewHeaders()
		require.NoError(t, h.Set("kid", kid))
		require.NoError(t, h.Set("use", "ngc"))
		text, err := jws.Sign(payload, jws.WithKey(jwa.RS256, w.key, jws.WithProtectedHeaders(h)))
		require.NoError(t, err)
		return string(text)
	}
	got := prt(map[string]any{"grant_type": wire.GrantJWTBearer, "assertion": hello("kid", w.Keeper.NewNonce())})
	require.NotEmpty(t, got["session_key_jwe"], got)
	require.Equal(t, 130004, code(prt(map[string]any{"grant_type": wire.GrantJWTBearer, "assertion": hello("other", w.Keeper.NewNonce())})))
	require.Equal(t, 140000, code(prt(map[string]any{"grant_type": wire.GrantJWTBearer, "assertion": hello("kid", "x")})))

	refresh := w.json(t, v1, "grant_type", "password", "client_id", wire.ClientBroker, "username", u.UPN, "password", "pw", "resource", wire.ResourceRegistration)["refresh_token"]
	require.NotEmpty(t, refresh)
	require.NotEmpty(t, prt(map[string]any{"grant_type": wire.GrantRefreshToken, "refresh_token": refresh})["session_key_jwe"], "a refresh token of the broker")
	require.Equal(t, 7000016, code(prt(map[string]any{"grant_type": wire.GrantRefreshToken, "refresh_token": got["refresh_token"]})), "a PRT is none")
	var born []string
	for _, p := range w.PRTs.All() {
		born = append(born, p.BornOf())
	}
	require.Len(t, born, 2)

	// A user certificate, by an assertion that its key signed.
	cert, err := w.Mint.IssueUserCertificate("alice", true)
	require.NoError(t, err)
	who, c, err := w.CheckUserCertificate(cert.Leaf)
	require.NoError(t, err)
	require.Equal(t, u.ID, who.ID)
	ss := w.CertificateSession(who, c)
	require.NotZero(t, ss.MFA, "its policy says multifactor")
	w.dir.RevokeCertificate(cert.Leaf.SerialNumber)
	_, _, err = w.CheckUserCertificate(cert.Leaf)
	require.Equal(t, 500183, web.AsSTSError(err).Code)

	require.NoError(t, w.dir.DeleteDevice(deviceID))
	require.Equal(t, 50155, code(prt(map[string]any{"grant_type": wire.GrantPassword, "username": u.UPN, "password": "pw"})))
}

// Tokens and certificates of the device alone.
func TestDeviceAlone(t *testing.T) {
	w := newWorld(t)
	got := w.ofDevice(t, map[string]any{"client_id": wire.ClientBroker, "grant_type": wire.GrantDeviceToken, "resource": wire.ResourceRegistration})
	require.NotEmpty(t, got["access_token"], got)
	require.Equal(t, 221000, code(w.ofDevice(t, map[string]any{"client_id": wire.ClientBroker, "grant_type": wire.GrantDeviceToken, "resource": "api://payroll"})))

	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, w.key)
	require.NoError(t, err)
	ask := func(use string) map[string]any {
		return w.ofDevice(t, map[string]any{"client_id": wire.ClientBroker, "grant_type": wire.GrantDeviceAuth, "cert_token_use": use,
			"csr_type": "http://schemas.microsoft.com/windows/pki/2009/01/enrollment#PKCS10", "csr": base64.StdEncoding.EncodeToString(der), "dns_names": []string{"box"}})
	}
	got = ask("device_cert")
	require.NotEmpty(t, got["x5c"], got)
	raw, err := base64.StdEncoding.DecodeString(got["x5c"].(string))
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	require.Equal(t, []string{"box"}, leaf.DNSNames)
	require.Equal(t, 9002313, code(ask("user_cert")))
}

// A bulk token joins devices, and is asked for with an access token of the
// registration service.
func TestBulk(t *testing.T) {
	w := newWorld(t)
	access := w.json(t, v1, "grant_type", "password", "client_id", wire.ClientBroker, "username", "alice@contoso.example", "password", "pw", "resource", wire.ResourceRegistration)["access_token"]
	require.NotEmpty(t, access)
	begin := func(expires string) map[string]any {
		r := httptest.NewRequest(http.MethodPost, base+"/webapp/bulkaadjtoken/begin", strings.NewReader(`{"pid":"`+deviceID+`","name":"kiosk","exp":"`+expires+`"}`))
		r.Header.Set("Authorization", "Bearer "+access.(string))
		rec := httptest.NewRecorder()
		w.Web.ServeHTTP(rec, r)
		var out map[string]any
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &out), rec.Body.String())
		return out
	}
	require.Equal(t, "CompleteError", begin("01/01/2030")["state"], "too far ahead")
	r := httptest.NewRequest(http.MethodGet, base+"/webapp/bulkaadjtoken/poll?flowtoken="+url.QueryEscape(begin("04/01/2026")["flowToken"].(string)), nil)
	rec := httptest.NewRecorder()
	w.Web.ServeHTTP(rec, r)
	var out struct{ ResultData string }
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &out), rec.Body.String())
	var token map[string]any
	require.NoError(t, json.Unmarshal([]byte(out.ResultData), &token))
	got := w.json(t, v1, "grant_type", "refresh_token", "client_id", wire.ClientBulkJoin, "refresh_token", token["refresh_token"].(string), "resource", wire.ResourceRegistration)
	require.NotEmpty(t, got["access_token"], got)
}

func TestDesktopSSO(t *testing.T) {
	w := newWorld(t)
	ask := func(password string) string {
		r := httptest.NewRequest(http.MethodPost, "https://autologon.microsoftazuread-sso.com/contoso.example/winauth/trust/2005/usernamemixed", strings.NewReader(
			`<E><Header><Security><UsernameToken><Username>alice@contoso.example</Username><Password>`+password+`</Password></UsernameToken></Security></Header></E>`))
		rec := httptest.NewRecorder()
		w.Web.ServeHTTP(rec, r)
		return rec.Body.String()
	}
	require.Contains(t, ask("x"), "AADSTS50126")
	text := ask("pw")
	from, to := strings.Index(text, "<saml:Assertion"), strings.LastIndex(text, "</saml:Assertion>")
	require.Positive(t, from, text)
	assertion := base64.StdEncoding.EncodeToString([]byte(text[from : to+len("</saml:Assertion>")]))
	require.NotEmpty(t, w.json(t, v1, "grant_type", wire.GrantSAML11, "client_id", appID, "assertion", assertion, "resource", "api://payroll")["access_token"])
	w.now = w.now.Add(time.Hour)
	require.Equal(t, 500133, code(w.json(t, v1, "grant_type", wire.GrantSAML11, "client_id", appID, "assertion", assertion)))
}

// open decrypts a reply (MS-OAPXBC 3.2.5.1.3).
func open(t *testing.T, sessionKey []byte, text string) map[string]any {
	t.Helper()
	parts := strings.Split(text, ".")
	require.Len(t, parts, 5, text)
	raw := make([][]byte, 5)
	for i, p := range parts {
		var err error
		raw[i], err = base64.RawURLEncoding.DecodeString(p)
		require.NoError(t, err)
	}
	var header struct{ Ctx string }
	require.NoError(t, json.Unmarshal(raw[0], &header))
	ctx, err := base64.StdEncoding.DecodeString(header.Ctx)
	require.NoError(t, err)
	key := kdf.Derive(sessionKey, []byte(kdf.Label), ctx)
	block, err := aes.NewCipher(key[:])
	require.NoError(t, err)
	plain := raw[3]
	cipher.NewCBCDecrypter(block, raw[2]).CryptBlocks(plain, plain)
	var out map[string]any
	require.NoError(t, json.Unmarshal(plain[:len(plain)-int(plain[len(plain)-1])], &out))
	return out
}
