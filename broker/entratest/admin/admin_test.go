package admin_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/entratest/admin"
	"github.com/prtbroker/prtbroker/claims/verify"
)

const (
	token = "the-token"
	appID = "7a11e51e-0001-4000-8000-000000000001"
	alice = "alice@contoso.example"
)

type client struct {
	t   *testing.T
	srv *entratest.Server
	h   http.Handler
}

func start(t *testing.T) *client {
	t.Helper()
	clock := entratest.NewClock(time.Time{})
	srv := entratest.NewTB(t, entratest.Options{
		Clock: clock, ReplicationLag: -1,
		Users: []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}},
		Apps:  []entratest.App{{ClientID: appID, Public: true, AdminConsent: true}},
	})
	return &client{t, srv, admin.New(srv, admin.Options{Token: token, Clock: clock})}
}

func (c *client) request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8471"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func (c *client) do(r *http.Request) (status int, body string) {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// ok makes a request that must succeed, and reads its reply.
func (c *client) ok(method, path, body string, out any) {
	c.t.Helper()
	status, text := c.do(c.request(method, path, body))
	require.Less(c.t, status, 300, "%s", text)
	if out != nil {
		require.NoError(c.t, json.Unmarshal([]byte(text), out))
	}
}

// password signs in by the password grant: 0, or the AADSTS code.
func (c *client) password(user, pass string) int {
	c.t.Helper()
	form := "grant_type=password&client_id=" + appID + "&scope=openid&username=" + user + "&password=" + strings.ReplaceAll(pass, " ", "+")
	resp, err := c.srv.Client().Post("https://login.microsoftonline.com/organizations/oauth2/v2.0/token", "application/x-www-form-urlencoded", strings.NewReader(form))
	require.NoError(c.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	var v struct {
		Codes []int `json:"error_codes"`
	}
	require.NoError(c.t, json.Unmarshal(text, &v))
	if len(v.Codes) == 0 {
		return 0
	}
	return v.Codes[0]
}

func TestUsers(t *testing.T) {
	c := start(t)
	c.ok("POST", "/users", `{"username":"bob","password":"battery staple"}`, nil)
	require.Zero(t, c.password("bob@contoso.example", "battery staple"))
	c.ok("POST", "/users/bob/disable", "", nil)
	require.Equal(t, 50057, c.password("bob@contoso.example", "battery staple"))
	c.ok("POST", "/users/bob/enable", "", nil)
	c.ok("PUT", "/users/bob/password", `{"password":"new one","byAdministrator":true}`, nil)
	require.Equal(t, 50126, c.password("bob@contoso.example", "battery staple"))
	c.ok("PUT", "/users/bob/require-mfa", `{"on":true}`, nil)
	require.Equal(t, 50079, c.password("bob@contoso.example", "new one"), "bob has no method")
	c.ok("PUT", "/users/bob/require-mfa", `{"on":false}`, nil)
	c.ok("POST", "/users/bob/expire-password", "", nil)
	require.Equal(t, 50055, c.password("bob@contoso.example", "new one"))
	c.ok("PUT", "/users/bob/risk", `{"user":"high","signIn":"none"}`, nil)

	var users []struct {
		Username, UserRisk string
		PasswordExpired    bool
	}
	c.ok("GET", "/users", "", &users)
	require.Len(t, users, 2)
	require.Equal(t, "bob@contoso.example", users[1].Username)
	require.Equal(t, "high", users[1].UserRisk)
	require.True(t, users[1].PasswordExpired)

	c.ok("DELETE", "/users/bob", "", nil)
	require.Equal(t, 50034, c.password("bob@contoso.example", "new one"))
}

func TestPhones(t *testing.T) {
	c := start(t)
	var shown struct {
		TOTP  string
		Until time.Time
	}
	c.ok("GET", "/users/"+alice+"/codes", "", &shown)
	require.Len(t, shown.TOTP, 6)
	require.True(t, shown.Until.After(c.srv.Now()))
	status, text := c.do(c.request("POST", "/users/alice/number", `{"number":7}`))
	require.Equal(t, 422, status)
	require.Contains(t, text, "no prompt with that number is waiting")
	var pass struct{ Pass string }
	c.ok("POST", "/users/alice/access-pass", `{"once":true}`, &pass)
	require.NotEmpty(t, pass.Pass)
	c.ok("DELETE", "/users/alice/access-pass", "", nil)
}

func TestPoliciesFaultsAndLog(t *testing.T) {
	c := start(t)
	c.ok("PUT", "/policies", `[{"displayName":"Nobody","state":"enabled","conditions":{"users":{"includeUsers":["All"]},
		"applications":{"includeApplications":["All"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["block"]}}]`, nil)
	require.Equal(t, 53003, c.password(alice, "correct horse"))
	var log []struct {
		ErrorCode int
		Policies  []struct{ Name, Result string }
	}
	c.ok("GET", "/sign-ins", "", &log)
	require.Equal(t, 53003, log[len(log)-1].ErrorCode)
	require.Equal(t, "Nobody", log[len(log)-1].Policies[0].Name)
	c.ok("PUT", "/policies", `[]`, nil)
	c.ok("POST", "/faults", `{"endpoint":"token","kind":"aadsts","code":90033,"times":-1}`, nil)
	require.Equal(t, 90033, c.password(alice, "correct horse"))
	c.ok("DELETE", "/faults", "", nil)
	require.Zero(t, c.password(alice, "correct horse"))
}

func TestReset(t *testing.T) {
	c := start(t)
	before := c.srv.Now()
	c.ok("POST", "/users", `{"username":"bob","password":"battery staple"}`, nil)
	c.ok("DELETE", "/users/alice", "", nil)
	c.ok("POST", "/faults", `{"endpoint":"token","kind":"aadsts","code":90033,"times":-1}`, nil)
	c.ok("POST", "/clock", `{"advance":"4h"}`, nil)
	c.ok("POST", "/reset", "", nil)
	require.Equal(t, before, c.srv.Now())
	require.Zero(t, c.password(alice, "correct horse"))
	require.Equal(t, 50034, c.password("bob@contoso.example", "battery staple"))
}

func TestClock(t *testing.T) {
	c := start(t)
	before := c.srv.Now()
	var now struct{ Now time.Time }
	c.ok("POST", "/clock", `{"advance":"4h"}`, &now)
	require.Equal(t, before.Add(4*time.Hour), now.Now.UTC())
	status, text := c.do(c.request("POST", "/clock", `{"advance":"200000h"}`))
	require.Equal(t, 422, status, "%s", text)
	still := &client{t, c.srv, admin.New(c.srv, admin.Options{Token: token})}
	status, text = still.do(c.request("POST", "/clock", `{"advance":"4h"}`))
	require.Equal(t, 422, status)
	require.Contains(t, text, "real time")
}

// A token that is minted verifies like one that was issued, by the keys that the
// service publishes.
func TestTokens(t *testing.T) {
	c := start(t)
	resp, err := c.srv.Client().Get("https://login.microsoftonline.com/" + c.srv.TenantID() + "/discovery/v2.0/keys")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	jwks, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	keys, err := verify.ParseKeys(jwks)
	require.NoError(t, err)
	var m struct{ Token string }
	c.ok("POST", "/tokens", `{"claims":{"aud":"api://orders","roles":["Orders.Read.All"],"sub":"x","oid":"x"}}`, &m)
	got, err := keys.Token(m.Token, verify.Options{Audience: []string{"api://orders"}, Tenants: []string{c.srv.TenantID()}, Now: c.srv.Now()})
	require.NoError(t, err)
	require.Equal(t, c.srv.TenantID(), got.TenantID)

	c.ok("POST", "/tokens", `{"claims":{"aud":"api://orders","exp":1}}`, &m)
	_, err = keys.Token(m.Token, verify.Options{Audience: []string{"api://orders"}, Tenants: []string{c.srv.TenantID()}, Now: c.srv.Now()})
	require.ErrorIs(t, err, verify.ErrExpired)
	c.ok("POST", "/tokens", `{"claims":{"aud":"api://orders","tid":null}}`, &m)
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(m.Token, ".")[1])
	require.NoError(t, err)
	require.NotContains(t, string(payload), `"tid"`, "left out, not null")
}

func TestWhoIsRefused(t *testing.T) {
	c := start(t)
	with := func(change func(*http.Request)) *http.Request {
		r := c.request("GET", "/users", "")
		change(r)
		return r
	}
	for name, tt := range map[string]struct {
		r      *http.Request
		status int
		want   string
	}{
		"no token":         {with(func(r *http.Request) { r.Header.Del("Authorization") }), 401, "bearer token"},
		"another token":    {with(func(r *http.Request) { r.Header.Set("Authorization", "Bearer the-tokem") }), 401, "bearer token"},
		"another scheme":   {with(func(r *http.Request) { r.Header.Set("Authorization", "Basic "+token) }), 401, "bearer token"},
		"a page":           {with(func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:8471") }), 403, "web pages"},
		"a page's fetch":   {with(func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }), 403, "web pages"},
		"DNS rebinding":    {with(func(r *http.Request) { r.Host = "evil.example:8471" }), 403, "loopback"},
		"a name like ours": {with(func(r *http.Request) { r.Host = "localhost.evil.example:8471" }), 403, "loopback"},
		"unknown route":    {c.request("GET", "/nothing", ""), 404, "openapi.json"},
		"another method":   {c.request("PATCH", "/users", ""), 404, "no such route"},
		"unknown member":   {c.request("POST", "/users", `{"username":"x","pasword":"y"}`), 400, "pasword"},
		"not JSON":         {c.request("POST", "/users", `{`), 400, "malformed"},
		"two values":       {c.request("POST", "/users", `{"username":"x"}{}`), 400, "after the JSON"},
		"a body too many":  {c.request("POST", "/users/alice/disable", `{}`), 400, "takes no body"},
		"too large":        {c.request("POST", "/users", `{"username":"`+strings.Repeat("x", 1<<20)+`"}`), 413, "1 MiB"},
		"no such user":     {c.request("POST", "/users/nobody/disable", ""), 422, "no such user"},
		"no such device":   {c.request("POST", "/devices/x/disable", ""), 422, "no such device"},
		"a fault's kind":   {c.request("POST", "/faults", `{"kind":"x"}`), 400, "dropBefore"},
		"a fault's time":   {c.request("POST", "/faults", `{"kind":"delay","delay":"soon"}`), 400, "delay"},
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			status, text := c.do(tt.r)
			require.Equal(t, tt.status, status, "%s", text)
			require.Contains(t, text, tt.want)
			require.NotContains(t, text, token)
		})
	}
	require.Panics(t, func() { admin.New(c.srv, admin.Options{}) })
}

// Behind a mapped port or under another name, the interface answers to the names that
// it was given, and to no others.
func TestHosts(t *testing.T) {
	c := start(t)
	c.h = admin.New(c.srv, admin.Options{Token: token, Hosts: []string{"entra.test", "192.0.2.7"}})
	for host, want := range map[string]int{"entra.test": 200, "Entra.test:32768": 200, "192.0.2.7:1": 200, "localhost:32768": 200, "[::1]": 200,
		"evil.example": 403, "entra.test.evil.example": 403, "192.0.2.8": 403, "": 403} {
		r := c.request("GET", "/users", "")
		r.Host = host
		status, text := c.do(r)
		require.Equal(t, want, status, "%s: %s", host, text)
	}
}

// Every operation of the document is served, and says of itself what its route takes.
func TestDocument(t *testing.T) {
	c := start(t)
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Parameters  []struct{ Name string }
			RequestBody *struct{ Required bool }
		}
	}
	c.ok("GET", "/openapi.json", "", &doc)
	require.Equal(t, "3.1.0", doc.OpenAPI)
	require.GreaterOrEqual(t, len(doc.Paths), 25)
	ids := map[string]bool{}
	for path, item := range doc.Paths {
		for method, op := range item {
			require.False(t, ids[op.OperationID], op.OperationID)
			ids[op.OperationID] = true
			concrete := path
			for _, p := range op.Parameters {
				concrete = strings.ReplaceAll(concrete, "{"+p.Name+"}", "nobody")
			}
			require.NotContains(t, concrete, "{", "every parameter is described")
			body := ""
			if op.RequestBody == nil {
				body = "x" // refused before anything is done
			}
			status, text := c.do(c.request(strings.ToUpper(method), concrete, body))
			require.Equal(t, 400, status, "%s %s: %s", method, path, text)
		}
	}
}

func TestQuirks(t *testing.T) {
	c := start(t)
	var quirks []struct {
		Quirk string
		On    bool
	}
	c.ok("GET", "/quirks", "", &quirks)
	require.NotEmpty(t, quirks)
	require.True(t, quirks[0].On)
	c.ok("PUT", "/quirks/"+quirks[0].Quirk, `{"on":false}`, nil)
	c.ok("GET", "/quirks", "", &quirks)
	require.False(t, quirks[0].On)
	status, text := c.do(c.request("PUT", "/quirks/telepathy", `{"on":false}`))
	require.Equal(t, 422, status)
	require.Contains(t, text, "telepathy")

	var keys []struct{ ID, Use string }
	c.ok("GET", "/signing-keys", "", &keys)
	require.Len(t, keys, 2)
	c.ok("POST", "/signing-keys/use-next", "", nil)
	c.ok("POST", "/signing-keys/publish-next", "", nil)
	c.ok("POST", "/signing-keys/drop-former", "", nil)
	next := keys[1].ID
	c.ok("GET", "/signing-keys", "", &keys)
	require.Len(t, keys, 2)
	require.Equal(t, next, keys[0].ID)
	require.Equal(t, "current", keys[0].Use)

	c.ok("PUT", "/directory-lag", `{"lag":"30s"}`, nil)
	c.ok("POST", "/users", `{"username":"mel","password":"battery staple"}`, nil)
	require.Equal(t, 50034, c.password("mel@contoso.example", "battery staple"))
	c.ok("POST", "/clock", `{"advance":"30s"}`, nil)
	require.Zero(t, c.password("mel@contoso.example", "battery staple"))
	c.ok("PUT", "/users/mel/name", `{"username":"melanie"}`, nil)
	require.Zero(t, c.password("melanie@contoso.example", "battery staple"))
	status, _ = c.do(c.request("PUT", "/directory-lag", `{"lag":"soon"}`))
	require.Equal(t, 400, status)
}

func TestInspection(t *testing.T) {
	c := start(t)
	c.ok("POST", "/groups", `{"name":"Staff","members":["alice"]}`, nil)
	require.Zero(t, c.password(alice, "correct horse"))
	var apps []struct{ ClientID string }
	c.ok("GET", "/apps", "", &apps)
	require.Len(t, apps, 1)
	require.Equal(t, appID, apps[0].ClientID)
	var groups []struct {
		Name    string
		Members []string
	}
	c.ok("GET", "/groups", "", &groups)
	require.Equal(t, []string{alice}, groups[0].Members)
	var consents []any
	c.ok("GET", "/consents", "", &consents)
	require.Empty(t, consents)
	status, text := c.do(c.request("DELETE", "/users/alice/consents/"+appID, ""))
	require.Equal(t, 422, status, "%s", text)
	var detail struct {
		ConditionalAccess string
		ClientName        string
		SignIn            struct{ Seq int64 }
	}
	c.ok("GET", "/sign-ins/1", "", &detail)
	require.Equal(t, "notApplied", detail.ConditionalAccess)
	require.EqualValues(t, 1, detail.SignIn.Seq)
	status, _ = c.do(c.request("GET", "/sign-ins/99", ""))
	require.Equal(t, 422, status)
	var m struct{ Token string }
	c.ok("POST", "/tokens", `{"claims":{"aud":"`+appID+`"}}`, &m)
	var report struct {
		Kind  string
		Valid bool
	}
	c.ok("POST", "/tokens/inspect", `{"token":"`+m.Token+`"}`, &report)
	require.Equal(t, "id_token", report.Kind)
	require.True(t, report.Valid)
	c.ok("POST", "/tokens/inspect", `{"token":"x"}`, &report)
	require.False(t, report.Valid)
}
