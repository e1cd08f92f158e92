package access_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
)

const (
	appID     = "7a11e51e-0001-4000-8000-0000000000aa"
	payrollID = "7a11e51e-0002-4000-8000-0000000000aa"
)

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func newEngine(t *testing.T, policies string) *access.Engine {
	t.Helper()
	rand := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{
		Domain: "contoso.example", DisplayName: "Contoso", Policies: json.RawMessage(policies),
		Users: []directory.UserSpec{{Username: "alice", Password: "pw", NumberMatch: true}, {Username: "bob", Password: "pw"}},
		Apps: []directory.AppSpec{
			{ClientID: appID, Name: "App", Public: true, Redirects: []string{"http://localhost/x", "myapp://auth"}},
			{ClientID: payrollID, Name: "Payroll", URIs: []string{"api://payroll"}, Exposes: []string{"read", "write"}, Secret: "s", AssignTo: []string{"alice"}},
			{ClientID: "7a11e51e-0003-4000-8000-0000000000aa", Name: "Off", Disabled: true},
		},
	}, {Domain: "other.example"}}, 5, rand)
	require.NoError(t, err)
	return &access.Engine{Keeper: &session.Keeper{Directory: dir, Rand: rand, Now: func() time.Time { return now }}}
}

func user(e *access.Engine, name string) *directory.User {
	return e.Keeper.Directory.User(name + "@contoso.example")
}

func code(err error) int {
	if err == nil {
		return 0
	}
	return web.AsSTSError(err).Code
}

func TestClients(t *testing.T) {
	e := newEngine(t, "")
	home := e.Keeper.Directory.Home()
	for id, want := range map[string]int{appID: 0, "": 900144, "x": 700016, "7a11e51e-0003-4000-8000-0000000000aa": 7000112} {
		_, err := e.ClientApp(home, id)
		require.Equal(t, want, code(err), id)
	}
	public, _ := e.ClientApp(home, appID)
	secret, _ := e.ClientApp(home, payrollID)
	require.Zero(t, code(access.AuthenticateClient(public, "", false, e.Keeper.Now())))
	require.Equal(t, 700025, code(access.AuthenticateClient(public, "s", false, e.Keeper.Now())))
	require.Zero(t, code(access.AuthenticateClient(secret, "s", false, e.Keeper.Now())))
	require.Equal(t, 7000218, code(access.AuthenticateClient(secret, "", false, e.Keeper.Now())))
	require.Equal(t, 7000215, code(access.AuthenticateClient(secret, "x", false, e.Keeper.Now())))

	for uri, want := range map[string]int{
		"http://localhost/x": 0, "http://localhost:8080/x": 0, "myapp://auth": 0,
		"http://localhost:8080/y": 50011, "https://localhost/x": 50011, "myapp://auth/": 50011, "urn:ietf:wg:oauth:2.0:oob": 500119,
	} {
		require.Equal(t, want, code(access.CheckRedirect(public, uri)), uri)
	}
	require.NoError(t, e.Assigned(secret, user(e, "alice")))
	require.Equal(t, 50105, code(e.Assigned(secret, user(e, "bob"))))
	require.NoError(t, e.Assigned(nil, user(e, "bob")))

	other := e.Keeper.Directory.Tenant("other.example")
	require.NoError(t, access.SameTenant(&web.Request{Tenant: home}, user(e, "alice")))
	require.Equal(t, 50020, code(access.SameTenant(&web.Request{Tenant: other}, user(e, "alice"))))
}

func TestScopes(t *testing.T) {
	e := newEngine(t, "")
	home, alice := e.Keeper.Directory.Home(), user(e, "alice")
	client, err := e.ClientApp(home, appID)
	require.NoError(t, err)

	tg, err := e.ResolveV2(home, client, alice, "openid offline_access api://payroll/read")
	require.NoError(t, err)
	require.True(t, tg.OpenID() && tg.Offline())
	require.Equal(t, payrollID, tg.ID())
	require.Equal(t, 65001, code(access.Consent(client, tg)))
	require.NoError(t, e.Keeper.Directory.GrantConsent(alice, appID, []string{payrollID + "/read"}))
	alice = user(e, "alice")
	tg, err = e.ResolveV2(home, client, alice, "api://payroll/read")
	require.NoError(t, err)
	require.NoError(t, access.Consent(client, tg))
	require.Equal(t, "api://payroll/read", e.ScopeString(tg, true), "as it was asked for")
	require.Equal(t, "read", e.ScopeString(tg, false))

	for scope, want := range map[string]int{
		"": 900144, "api://nobody/read": 500011, "api://payroll/fly": 70011, "api://payroll/": 70011,
		"api://payroll/read User.Read": 28000, "api://payroll/.default api://payroll/read": 70011, "openid": 0,
	} {
		_, err := e.ResolveV2(home, client, alice, scope)
		require.Equal(t, want, code(err), scope)
	}
	tg, err = e.ResolveV1(home, client, alice, "", "openid")
	require.NoError(t, err)
	require.Empty(t, tg.ID(), "v1 without a resource asks for no access token")
	_, err = e.ResolveV1(home, client, alice, "api://nobody", "")
	require.Equal(t, 500011, code(err))

	broker, err := e.ClientApp(home, wire.ClientBroker)
	require.NoError(t, err)
	tg, err = e.ResolveV2(home, broker, alice, "Mail.Read")
	require.NoError(t, err)
	require.Equal(t, 65002, code(access.Consent(broker, tg)), "a first-party client asks nobody")

	fl := &session.Flow{Request: session.AuthRequest{V2: true, Scope: "api://payroll/read"}}
	tg, err = e.FlowTarget(fl, client, alice)
	require.NoError(t, err)
	require.Equal(t, payrollID, tg.ID())
	fl.Request.V2, fl.Request.Resource = false, "api://payroll"
	tg, err = e.FlowTarget(fl, client, alice)
	require.NoError(t, err)
	require.Equal(t, payrollID, tg.ID())
}

func TestClaimsRequest(t *testing.T) {
	c, err := access.ParseClaims(`{"access_token":{"amr":{"values":["ngcmfa"]},"acrs":{"value":"c3"},"xms_cc":{"values":["cp1"]},"deviceid":{"essential":true}}}`)
	require.NoError(t, err)
	require.True(t, c.WantsMFA() && c.WantsFresh() && c.CAE && c.DeviceID)
	require.Equal(t, []string{"c3"}, c.Contexts)
	require.Equal(t, 3, access.ContextNumber("c3"))
	for _, bad := range []string{"{", `{"id_token":{"acrs":{"value":"c100"}}}`} {
		_, err := access.ParseClaims(bad)
		require.Equal(t, 9002313, code(err), bad)
	}
}

// registration is the resource of the device registration service.
func registration(t *testing.T) *directory.App {
	dir := newEngine(t, "").Keeper.Directory
	return dir.App(dir.Home(), wire.ResourceRegistrationApp)
}

// policyFor is a policy for all with one grant control.
func policyFor(control string) string {
	return `[{"id":"11111111-2222-3333-4444-555555555555","displayName":"P","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["` + control + `"]}}]`
}

func TestConditionalAccess(t *testing.T) {
	for name, c := range map[string]struct {
		policies, user string
		change         func(*access.Question)
		want           int
		suberror       string
	}{
		"none":                      {"", "alice", nil, 0, ""},
		"block":                     {policyFor("block"), "alice", nil, 53003, "message_only"},
		"MFA":                       {policyFor("mfa"), "alice", nil, 50076, "basic_action"},
		"MFA of who has no method":  {policyFor("mfa"), "bob", nil, 50079, "basic_action"},
		"MFA done":                  {policyFor("mfa"), "alice", func(q *access.Question) { q.Session.ProveMFA(claims.SoftwareOATH, now) }, 0, ""},
		"no device":                 {policyFor("compliantDevice"), "alice", nil, 50097, "additional_action"},
		"a device not compliant":    {policyFor("compliantDevice"), "alice", func(q *access.Question) { q.Device = &directory.Device{ID: "d", Managed: true} }, 53000, "additional_action"},
		"a compliant device":        {policyFor("compliantDevice"), "alice", func(q *access.Question) { q.Device = &directory.Device{ID: "d", Compliant: true} }, 0, ""},
		"a device not hybrid":       {policyFor("domainJoinedDevice"), "alice", func(q *access.Question) { q.Device = &directory.Device{ID: "d"} }, 53001, "additional_action"},
		"a hybrid device":           {policyFor("domainJoinedDevice"), "alice", func(q *access.Question) { q.Device = &directory.Device{ID: "d", JoinType: wire.JoinTypeHybrid} }, 0, ""},
		"what a device needs first": {policyFor("compliantDevice"), "alice", func(q *access.Question) { q.Resource = registration(t) }, 0, ""},
	} {
		e := newEngine(t, c.policies)
		u := user(e, c.user)
		ss := e.Keeper.NewSession(u, claims.Password)
		r := &web.Request{Request: httptest.NewRequest(http.MethodPost, "/", nil), Entry: &directory.LogEntry{}}
		client, err := e.ClientApp(u.Tenant, appID)
		require.NoError(t, err)
		tg, err := e.ResolveV2(u.Tenant, client, u, "api://payroll/read")
		require.NoError(t, err)
		q := access.ToResource(client, tg)
		q.User, q.Session = u, &ss
		if c.change != nil {
			c.change(&q)
		}
		refusal := e.Refusal(e.Evaluate(r, q), q, false)
		require.Equal(t, c.want, code(refusal), name)
		if c.want != 0 {
			require.Equal(t, c.suberror, web.AsSTSError(refusal).Suberror, name)
			require.Len(t, r.Entry.Policies, 1, name)
		}
	}
}

// Somebody else's reading of the policies takes the place of the engine, and sees
// what the engine would.
func TestJudge(t *testing.T) {
	e := newEngine(t, policyFor("mfa"))
	u := user(e, "alice")
	var seen *policy.SignIn
	e.Judge = func(_ *policy.Bundle, in *policy.SignIn) access.Judgement {
		seen = in
		return access.Judgement{Outcome: policy.OutcomeBlock, Deciding: []int{0}}
	}
	e.Address = func(*http.Request) (netip.Addr, string) { return netip.MustParseAddr("192.0.2.1"), "DE" }
	ss := e.Keeper.NewSession(u, claims.Password|claims.MarkRSA)
	ss.DeviceCode = true
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")
	q := access.Question{User: u, Session: &ss, Context: 3, Browser: true}
	require.Equal(t, 53003, code(e.Refusal(e.Evaluate(&web.Request{Request: r}, q), q, false)))
	require.Equal(t, policy.PlatformLinux, seen.Platform)
	require.Equal(t, "DE", seen.Country)
	require.Equal(t, policy.TransferDeviceCode, seen.Flow)
	require.Equal(t, 3, seen.AuthContext)
	require.Equal(t, policy.ClientBrowser, seen.ClientApp)
	require.Equal(t, claims.Password, seen.Methods, "marks are no methods")
	require.Equal(t, policy.PlatformWindows, access.PlatformOf("Mozilla/5.0 (Windows NT 10.0)"))
}
