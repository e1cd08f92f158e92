package graph_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/graph"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

const roleGlobalAdmin = "62e90394-69f5-4237-9190-012177145e10"

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

type world struct {
	*graph.Service
	dir *directory.Directory
}

func newWorld(t *testing.T) *world {
	t.Helper()
	source := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{
		Domain: "contoso.example",
		Users: []directory.UserSpec{{Username: "alice", Name: "Alice Example", Mail: "alice.example@mail.example"}, {Username: "bob", Guest: true},
			{Username: "root", Roles: []string{roleGlobalAdmin}}},
		Groups: []directory.GroupSpec{{Name: "Inner", Members: []string{"alice"}}, {Name: "Outer", Members: []string{"Inner"}}},
		Policies: json.RawMessage(`{"value":[{"id":"11111111-2222-3333-4444-555555555555","displayName":"P","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["block"]}}],
			"namedLocations":[{"@odata.type":"#microsoft.graph.ipNamedLocation","id":"22222222-2222-3333-4444-555555555555","displayName":"HQ","isTrusted":true,"ipRanges":[{"cidrAddress":"192.0.2.0/24"}]}]}`),
	}}, 5, source)
	require.NoError(t, err)
	clock := func() time.Time { return now }
	w := &world{dir: dir}
	keeper := &session.Keeper{Directory: dir, Rand: source, Now: clock}
	w.Service = &graph.Service{Keeper: keeper, Mint: &mint.Mint{Keys: mint.NewKeys(), Keeper: keeper},
		Web: web.New(web.Config{Directory: dir, Rand: source, Now: clock, Logf: t.Logf, Log: directory.NewSignInLog(1)})}
	w.Routes()
	return w
}

// ask sends a request with a token of the user for the scopes.
func (w *world) ask(t *testing.T, user, scopes, method, path, body string) (int, map[string]any) {
	t.Helper()
	status, out, _ := w.askFull(t, user, scopes, method, path, body, nil)
	return status, out
}

func (w *world) askFull(t *testing.T, user, scopes, method, path, body string, change func(*mint.Issuance)) (int, map[string]any, http.Header) {
	t.Helper()
	r := httptest.NewRequest(method, "https://graph.microsoft.com"+path, strings.NewReader(body))
	if user != "" {
		u := w.dir.User(user + "@contoso.example")
		ss := w.Keeper.NewSession(u, claims.Password)
		in := &mint.Issuance{Client: w.dir.App(u.Tenant, wire.ClientBroker), User: u, Session: &ss, Now: now,
			Resource: w.dir.Resource(u.Tenant, wire.ResourceGraph), Audience: wire.ResourceGraph, Scopes: strings.Fields(scopes)}
		if change != nil {
			change(in)
		}
		r.Header.Set("Authorization", "Bearer "+w.Mint.AccessToken(in, nil, now.Add(time.Hour)))
	}
	rec := httptest.NewRecorder()
	w.Web.ServeHTTP(rec, r)
	text, err := io.ReadAll(rec.Body)
	require.NoError(t, err)
	var out map[string]any
	if len(text) > 0 {
		require.NoError(t, json.Unmarshal(text, &out), string(text))
	}
	return rec.Code, out, rec.Header()
}

func TestUsers(t *testing.T) {
	w := newWorld(t)
	status, got := w.ask(t, "alice", "User.Read", "GET", "/v1.0/me", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "alice@contoso.example", got["userPrincipalName"])
	require.Equal(t, "Example", got["surname"])
	status, _ = w.ask(t, "alice", "User.Read", "GET", "/v1.0/users/alice@contoso.example", "")
	require.Equal(t, http.StatusOK, status, "one's own user by name")
	for name, c := range map[string]struct {
		user, scopes, path string
		want               int
	}{
		"another with too little": {"alice", "User.Read", "/v1.0/users/bob@contoso.example", 403},
		"another with enough":     {"alice", "User.Read.All", "/v1.0/users/bob@contoso.example", 200},
		"nobody":                  {"alice", "User.Read.All", "/v1.0/users/mallory@contoso.example", 404},
		"another scope":           {"alice", "Mail.Read", "/v1.0/me", 403},
		"no token":                {"", "", "/v1.0/me", 401},
		"no photo":                {"alice", "User.Read", "/v1.0/me/photo/$value", 404},
		"no Intune":               {"alice", "User.Read", "/v1.0/servicePrincipals/appId=x/endpoints", 404},
	} {
		status, _ := w.ask(t, c.user, c.scopes, "GET", c.path, "")
		require.Equal(t, c.want, status, name)
	}
	status, got = w.ask(t, "alice", "openid", "GET", "/oidc/userinfo", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "alice.example@mail.example", got["email"])
	_, got = w.ask(t, "bob", "openid", "GET", "/oidc/userinfo", "")
	require.NotContains(t, got, "email")

	_, got = w.ask(t, "alice", "User.Read", "GET", "/v1.0/me/transitiveMemberOf", "")
	require.Len(t, got["value"], 2)
	for cast, want := range map[string]int{"graph.group": 2, "microsoft.graph.group": 2, "microsoft.graph.directoryRole": 0} {
		_, got = w.ask(t, "alice", "User.Read", "GET", "/v1.0/me/transitiveMemberOf/"+cast, "")
		require.Len(t, got["value"], want, cast)
	}
	status, _ = w.ask(t, "alice", "User.Read", "GET", "/v1.0/me/memberOf/graph.unicorn", "")
	require.Equal(t, http.StatusBadRequest, status)
	_, got = w.ask(t, "alice", "User.Read", "GET", "/v1.0/me/memberOf", "")
	require.Len(t, got["value"], 1)
	_, got = w.ask(t, "root", "GroupMember.Read.All", "GET", "/v1.0/groups?$filter=displayName+eq+'Outer'", "")
	require.Len(t, got["value"], 1)
}

// A revocation reaches a token whose client handles claims challenges, and no other
// (Entra, "Continuous access evaluation").
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	u := w.dir.User("alice@contoso.example")
	old := w.Keeper.NewSession(u, claims.Password)
	status, _ := w.ask(t, "alice", "User.ReadWrite", "POST", "/v1.0/me/revokeSignInSessions", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, u.Epoch+1, w.dir.UserByID(u.ID).Epoch)
	for cae, want := range map[bool]int{false: 200, true: 401} {
		status, _, header := w.askFull(t, "alice", "User.Read", "GET", "/v1.0/me", "", func(in *mint.Issuance) { in.User, in.Session, in.CAE = u, &old, cae })
		require.Equal(t, want, status)
		require.Equal(t, cae, strings.Contains(header.Get("WWW-Authenticate"), "insufficient_claims"))
	}
}

func TestDevicesAndKeys(t *testing.T) {
	w := newWorld(t)
	u := w.dir.User("alice@contoso.example")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	require.NoError(t, w.dir.AddDevice(&directory.Device{Tenant: w.dir.Home(), ID: "d1", ObjectID: "o1", Name: "PC", Enabled: true, Owner: u.ID}))
	require.NoError(t, w.dir.SetHelloKey(u.UPN, &directory.HelloKey{ID: "h1", Kid: "kid", Key: &key.PublicKey, DeviceID: "d1"}))

	_, got := w.ask(t, "alice", "Device.Read.All", "GET", "/v1.0/devices?$filter=deviceId+eq+'d1'", "")
	require.Len(t, got["value"], 1)
	status, _ := w.ask(t, "alice", "Device.Read.All", "GET", "/v1.0/devices?$filter=x+eq+'d1'", "")
	require.Equal(t, http.StatusBadRequest, status)
	_, got = w.ask(t, "alice", "Device.Read.All", "GET", "/v1.0/devices(deviceId='D1')?$select=id,trustType", "")
	require.Equal(t, "o1", got["id"])
	require.NotContains(t, got, "displayName")
	status, _ = w.ask(t, "alice", "Device.Read.All", "GET", "/v1.0/devices(deviceId='D2')", "")
	require.Equal(t, http.StatusNotFound, status)

	const methods = "/authentication/windowsHelloForBusinessMethods"
	_, got = w.ask(t, "alice", "UserAuthenticationMethod.Read", "GET", "/v1.0/me"+methods, "")
	require.Len(t, got["value"], 1)
	status, _ = w.ask(t, "alice", "UserAuthenticationMethod.ReadWrite.All", "DELETE", "/v1.0/users/bob@contoso.example"+methods+"/h1", "")
	require.Equal(t, http.StatusForbidden, status, "another user takes a role")
	status, _ = w.ask(t, "root", "UserAuthenticationMethod.ReadWrite.All", "DELETE", "/v1.0/users/alice@contoso.example"+methods+"/H1", "")
	require.Equal(t, http.StatusNoContent, status)
	require.Empty(t, w.dir.UserByID(u.ID).Hello)

	status, _ = w.ask(t, "alice", "Directory.AccessAsUser.All", "DELETE", "/v1.0/devices(deviceId='d1')", "")
	require.Equal(t, http.StatusForbidden, status)
	status, _ = w.ask(t, "root", "Directory.AccessAsUser.All", "DELETE", "/v1.0/devices(deviceId='d1')", "")
	require.Equal(t, http.StatusNoContent, status)
	require.Nil(t, w.dir.Device("d1"))
}

func TestConditionalAccess(t *testing.T) {
	w := newWorld(t)
	const root = "/v1.0/identity/conditionalAccess/"
	_, got := w.ask(t, "root", "Policy.Read.All", "GET", root+"policies", "")
	require.Len(t, got["value"], 1)
	_, got = w.ask(t, "root", "Policy.Read.All", "GET", root+"namedLocations", "")
	require.Len(t, got["value"], 1)
	u := w.dir.User("alice@contoso.example")
	status, got := w.ask(t, "root", "Policy.Read.All", "POST", root+"evaluate", `{"signInIdentity":{"userId":"`+u.ID+`"},"appliedPoliciesOnly":true,
		"signInContext":{"includeApplications":["`+wire.ResourceGraphApp+`"]},
		"signInConditions":{"devicePlatform":"windows","clientAppType":"browser","ipAddress":"192.0.2.1","signInRiskLevel":"low","authenticationFlow":{"transferMethod":"deviceCodeFlow"},
		"deviceInfo":{"deviceId":"d1","isCompliant":true,"trustType":"AzureAD"}}}`)
	require.Equal(t, http.StatusOK, status, got)
	for _, bad := range []string{"{", `{"signInIdentity":{"userId":"x"}}`, `{"signInIdentity":{"userId":"` + u.ID + `"},"signInConditions":{"userRiskLevel":"terrible"}}`} {
		status, _ := w.ask(t, "root", "Policy.Read.All", "POST", root+"evaluate", bad)
		require.Equal(t, http.StatusBadRequest, status, bad)
	}
	status, _ = w.ask(t, "root", "User.Read", "GET", root+"policies", "")
	require.Equal(t, http.StatusForbidden, status)
}
