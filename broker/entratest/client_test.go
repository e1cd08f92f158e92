package entratest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// The client of these tests is written from MS-OAPXBC and shares no code with
// the server or with the broker: its key derivation, JWS and JWE are its own.

const (
	login        = "https://login.microsoftonline.com"
	drs          = "https://enterpriseregistration.windows.net"
	brokerClient = "29d9ed98-a469-4536-ade2-f981bc1d605e"
	windowsLogin = "38aa3b87-a06d-4817-b275-7a316988d93b"
	drsResource  = "urn:ms-drs:enterpriseregistration.windows.net"
	updatePRT    = "urn:aad:tb:update:prt"
	brokerURI    = "ms-appx-web://Microsoft.AAD.BrokerPlugin/DRS"
	nativeURI    = "https://login.microsoftonline.com/common/oauth2/nativeclient"
	jwtBearer    = "urn:ietf:params:oauth:grant-type:jwt-bearer"

	payrollID  = "11111111-2222-4333-8444-555555555555"
	financeID  = "22222222-3333-4444-8555-666666666666"
	webID      = "33333333-4444-4555-8666-777777777777"
	thirdParty = "44444444-5555-4666-8777-888888888888"

	totpSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	password   = "correct horse battery staple"
)

// pool holds RSA keys that tests share: making one takes 60–200 ms.
var pool = sync.OnceValue(func() []*rsa.PrivateKey {
	keys := make([]*rsa.PrivateKey, 4)
	for i := range keys {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = k
	}
	return keys
})

func options(clock *entratest.Clock) entratest.Options {
	return entratest.Options{
		Clock: clock, Seed: 7, ReplicationLag: -1,
		Users: []entratest.User{
			{Username: "alice", Name: "Alice Example", Password: password, TOTPSecret: totpSecret},
			{Username: "bob", Password: password},
			{Username: "carol", Password: password, NumberMatch: true, PhoneSignIn: true},
		},
		Groups: []entratest.Group{{Name: "Finance", Members: []string{"alice"}}, {Name: "Staff", Members: []string{"Finance", "bob"}}},
		Apps: []entratest.App{
			{ClientID: payrollID, Name: "Payroll", Public: true, Redirects: []string{nativeURI, "http://localhost"}, URIs: []string{"api://payroll"}},
			{ClientID: financeID, Name: "Finance", Public: true, Redirects: []string{nativeURI}, URIs: []string{"api://finance"},
				Preauthorised: map[string][]string{"api://payroll": {"*"}, "https://graph.microsoft.com": {"User.Read", "Device.Read.All"}}},
			{ClientID: webID, Name: "Web", Redirects: []string{"https://web.contoso.example/cb"}, Secret: "web secret"},
			{ClientID: thirdParty, Name: "Third", Public: true, Redirects: []string{nativeURI}, Exposes: []string{"A.Read", "A.Write"}},
		},
	}
}

// tc is a test client: a server, a device with keys, a PRT.
type tc struct {
	t         testing.TB
	s         *entratest.Server
	http      *http.Client
	agent     string
	origin    string // of the page that asks; "": a program asks
	device    *rsa.PrivateKey
	transport *rsa.PrivateKey
	cert      []byte
	deviceID  string
	x5cArray  bool
	kdf       int

	prt     string
	session []byte
}

func newClient(t testing.TB, s *entratest.Server) *tc {
	c := s.Client()
	noFollow := *c
	noFollow.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &tc{t: t, s: s, http: &noFollow, device: pool()[0], transport: pool()[1], kdf: 2,
		agent: "Mozilla/5.0 (X11; Linux x86_64) test"}
}

func start(t testing.TB) (*tc, *entratest.Clock) {
	t.Helper()
	clock := entratest.NewClock(time.Time{})
	return newClient(t, entratest.NewTB(t, options(clock))), clock
}

// reply is a reply of any endpoint.
type reply struct {
	status int
	header http.Header
	body   []byte
	v      map[string]any
}

func (r *reply) str(name string) string { s, _ := r.v[name].(string); return s }

// code is the AADSTS code of an error; zero: none.
func (r *reply) code() int {
	codes, _ := r.v["error_codes"].([]any)
	if len(codes) == 0 {
		return 0
	}
	n, _ := codes[0].(float64)
	return int(n)
}

func (c *tc) do(method, u string, header http.Header, body string) *reply {
	c.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, u, strings.NewReader(body))
	require.NoError(c.t, err)
	for k, v := range header {
		req.Header[k] = v
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.agent)
	}
	resp, err := c.http.Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	r := &reply{status: resp.StatusCode, header: resp.Header, body: data}
	if bytes.HasPrefix(data, []byte("{")) {
		require.NoError(c.t, json.Unmarshal(data, &r.v))
	}
	return r
}

func (c *tc) get(u string) *reply { c.t.Helper(); return c.do("GET", u, nil, "") }

func (c *tc) form(path string, kv ...string) *reply {
	c.t.Helper()
	v := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	if !strings.HasPrefix(path, "https://") {
		path = login + path
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if c.origin != "" {
		header.Set("Origin", c.origin)
	}
	return c.do("POST", path, header, v.Encode())
}

func (c *tc) tenantPath(p string) string { return "/" + c.s.TenantID() + p }

func (c *tc) token(kv ...string) *reply {
	c.t.Helper()
	return c.form(c.tenantPath("/oauth2/token"), kv...)
}
func (c *tc) tokenV2(kv ...string) *reply {
	c.t.Helper()
	return c.form(c.tenantPath("/oauth2/v2.0/token"), kv...)
}

func (c *tc) json(method, u, bearer string, v any) *reply {
	c.t.Helper()
	body := ""
	if v != nil {
		data, err := json.Marshal(v)
		require.NoError(c.t, err)
		body = string(data)
	}
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	if bearer != "" {
		h.Set("Authorization", "Bearer "+bearer)
	}
	return c.do(method, u, h, body)
}

func (c *tc) nonce() string {
	c.t.Helper()
	r := c.form("/common/oauth2/token", "grant_type", "srv_challenge")
	require.Equal(c.t, 200, r.status)
	require.NotEmpty(c.t, r.str("Nonce"))
	return r.str("Nonce")
}

func (c *tc) joinBody(joinType int) map[string]any {
	return map[string]any{
		"CertificateRequest": map[string]string{"Type": "pkcs10", "Data": csr(c.device, "7E980AD9-B86D-4306-9425-9AC066FB014A")},
		"TransportKey":       base64.StdEncoding.EncodeToString(keyBlob(&c.transport.PublicKey)),
		"TargetDomain":       c.s.Domain(), "DeviceType": "Linux", "OSVersion": "Ubuntu 24.04", "DeviceDisplayName": "box", "JoinType": joinType,
		"Attributes": map[string]string{"ReturnClientSid": "true"},
	}
}

// ropc signs in with a password at the v1 endpoint.
func (c *tc) ropc(user, client, resource string) *reply {
	c.t.Helper()
	return c.token("grant_type", "password", "client_id", client, "resource", resource, "scope", "openid",
		"username", user+"@"+c.s.Domain(), "password", password, "client_info", "1")
}

// join registers the device as a user.
func (c *tc) join(user string, joinType int) *reply {
	c.t.Helper()
	tok := c.ropc(user, brokerClient, drsResource)
	require.Equal(c.t, 200, tok.status, "%s", tok.body)
	r := c.json("POST", drs+"/EnrollmentServer/device/?api-version=2.0", tok.str("access_token"), c.joinBody(joinType))
	require.Equal(c.t, 200, r.status, "%s", r.body)
	c.useCertificate(r)
	return r
}

func (c *tc) useCertificate(r *reply) {
	c.t.Helper()
	raw := r.v["Certificate"].(map[string]any)["RawBody"].(string)
	der, err := base64.StdEncoding.DecodeString(raw)
	require.NoError(c.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(c.t, err)
	c.cert, c.deviceID = der, cert.Subject.CommonName
}

// prtRequest sends a request signed by the device key.
func (c *tc) prtRequest(claims map[string]any, kv ...string) *reply {
	c.t.Helper()
	all := map[string]any{"client_id": windowsLogin, "scope": "openid aza ugs", "win_ver": "10.0", "group_sids": []string{}}
	if _, given := claims["request_nonce"]; !given {
		all["request_nonce"] = c.nonce()
	}
	for k, v := range claims {
		all[k] = v
	}
	return c.form("/"+c.s.TenantID()+"/oauth2/token", append([]string{"grant_type", jwtBearer, "request", c.deviceJWS(all),
		"windows_api_version", "2.2", "client_info", "1", "tgt", "true"}, kv...)...)
}

func (c *tc) passwordPRT(user string) *reply {
	c.t.Helper()
	r := c.prtRequest(map[string]any{"grant_type": "password", "username": user + "@" + c.s.Domain(), "password": password})
	c.usePRT(r)
	return r
}

func (c *tc) refreshPRT(rt string) *reply {
	c.t.Helper()
	r := c.prtRequest(map[string]any{"grant_type": "refresh_token", "refresh_token": rt, "client_id": brokerClient})
	c.usePRT(r)
	return r
}

// usePRT takes PRT and session key of a reply, if it has them.
func (c *tc) usePRT(r *reply) {
	c.t.Helper()
	if r.status != 200 {
		return
	}
	c.prt = r.str("refresh_token")
	if jwe := r.str("session_key_jwe"); jwe != "" {
		c.session = c.unwrap(jwe)
	}
}

// prtUse sends a request signed under the session key.
func (c *tc) prtUse(claims map[string]any, kv ...string) *reply {
	c.t.Helper()
	now := c.s.Now().Unix()
	all := map[string]any{"client_id": windowsLogin, "refresh_token": c.prt, "grant_type": "refresh_token",
		"iss": "aad:brokerplugin", "aud": "login.microsoftonline.com", "iat": strconv.FormatInt(now, 10), "exp": strconv.FormatInt(now+3600, 10), "win_ver": "10.0"}
	if _, given := claims["request_nonce"]; !given {
		all["request_nonce"] = c.nonce()
	}
	for k, v := range claims {
		all[k] = v
	}
	r := c.form("/"+c.s.TenantID()+"/oauth2/token", append([]string{"grant_type", jwtBearer, "request", c.sessionJWS(all),
		"windows_api_version", "2.2", "client_info", "1"}, kv...)...)
	if r.status == 200 {
		return c.decrypt(r)
	}
	return r
}

func (c *tc) renew() *reply {
	c.t.Helper()
	r := c.prtUse(map[string]any{"scope": "openid aza ugs"})
	c.usePRT(r)
	return r
}

func (c *tc) exchange(client, resource string, kv ...string) *reply {
	c.t.Helper()
	return c.prtUse(map[string]any{"client_id": client, "resource": resource, "scope": "openid", "redirect_uri": nativeURI}, kv...)
}

// cookie makes an x-ms-RefreshTokenCredential.
func (c *tc) cookie(nonce string) string {
	claims := map[string]any{"refresh_token": c.prt, "is_primary": "true", "win_ver": "10.0"}
	if nonce != "" {
		claims["request_nonce"] = nonce
	} else {
		claims["iat"] = strconv.FormatInt(c.s.Now().Unix(), 10)
	}
	return c.sessionJWS(claims)
}

// jwtClaims decodes a token without verifying it.
func jwtClaims(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, json.Unmarshal(raw, &out))
	return out
}

func authorizeURL(tenant string, kv ...string) string {
	v := url.Values{"response_type": {"code"}}
	path := "/oauth2/authorize"
	for i := 0; i < len(kv); i += 2 {
		if kv[i] == "v2" {
			path = "/oauth2/v2.0/authorize"
			continue
		}
		v.Set(kv[i], kv[i+1])
	}
	return login + "/" + tenant + path + "?" + v.Encode()
}

// interactive signs in on the pages and redeems the code.
func (c *tc) interactive(p entratest.Person, client, redirect, resource string, kv ...string) *reply {
	c.t.Helper()
	u := authorizeURL(c.s.TenantID(), append([]string{"client_id", client, "redirect_uri", redirect, "resource", resource, "state", "x"}, kv...)...)
	to, err := p.Authorize(context.Background(), c.s.Client(), u, redirect)
	require.NoError(c.t, err)
	return c.redeem(client, redirect, resource, to)
}

func (c *tc) redeem(client, redirect, resource, to string) *reply {
	c.t.Helper()
	v := query(c.t, to)
	require.Equal(c.t, "x", v.Get("state"), to)
	require.NotEmpty(c.t, v.Get("code"), to)
	return c.token("grant_type", "authorization_code", "client_id", client, "redirect_uri", redirect, "code", v.Get("code"), "resource", resource)
}

func query(t testing.TB, u string) url.Values {
	t.Helper()
	_, q, ok := strings.Cut(u, "?")
	require.True(t, ok, u)
	v, err := url.ParseQuery(q)
	require.NoError(t, err)
	return v
}

func (c *tc) alice() entratest.Person {
	return entratest.Person{Username: "alice@" + c.s.Domain(), Password: password, TOTPSecret: totpSecret}
}

func policyJSON(name, app, controls string, extra string) json.RawMessage {
	if extra != "" {
		extra = "," + extra
	}
	return json.RawMessage(fmt.Sprintf(`{"id":"aaaaaaaa-0000-4000-8000-%012d","displayName":%q,"state":"enabled",
"conditions":{"clientAppTypes":["all"],"users":{"includeUsers":["All"]},"applications":{"includeApplications":[%q]}%s},
"grantControls":{"operator":"OR","builtInControls":[%s]}}`, len(name), name, app, extra, controls))
}

func jsonObject(t testing.TB, text string) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &out), text)
	return out
}

// onLogin is where a URL of $Config leads, which names the host or leaves it out.
func onLogin(u any) string {
	if s := u.(string); !strings.HasPrefix(s, "/") {
		return s
	}
	return login + u.(string)
}
