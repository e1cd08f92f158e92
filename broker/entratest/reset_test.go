package entratest_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

const graphMe = "https://graph.microsoft.com/v1.0/me"

// Nothing that a server issued before its reset is good afterwards.
func TestResetRefusesWhatWasIssued(t *testing.T) {
	c, _ := start(t)
	c.joined()
	helloKey := pool()[2]
	require.Equal(t, 200, c.registerHello(helloKey).status)
	tokens := c.ropc("alice", financeID, "https://graph.microsoft.com")
	me := func() int { return c.json("GET", graphMe, tokens.str("access_token"), nil).status }
	require.Equal(t, 200, me())
	require.True(t, c.s.InspectToken(tokens.str("access_token")).Valid)
	cert := c.certificate("alice", true)
	code, nonce := c.codeFor(), c.nonce()
	pass, err := c.s.CreateAccessPass("alice", false)
	require.NoError(t, err)
	waiting := c.form(c.tenantPath("/oauth2/devicecode"), "client_id", payrollID, "resource", "api://payroll")

	// A browser with a session, which goes on without a page.
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Transport: keepCookies{c.s.Client().Transport, jar}, Jar: jar}
	silent := authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "prompt", "none")
	_, err = c.alice().Authorize(t.Context(), browser, authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll"), nativeURI)
	require.NoError(t, err)
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	landed := func() url.Values {
		resp, err := browser.Get(silent)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return query(t, resp.Header.Get("Location"))
	}
	require.NotEmpty(t, landed().Get("code"))
	require.Equal(t, 200, c.renew().status)

	require.NoError(t, c.s.Reset())

	require.Equal(t, 70000, c.refresh(financeID, tokens.str("refresh_token")).code(), "refresh token")
	require.Equal(t, 401, me(), "access token")
	report := c.s.InspectToken(tokens.str("access_token"))
	require.False(t, report.Valid)
	require.Contains(t, report.Problems, "issued before the server was reset")
	require.NotEqual(t, 200, c.renew().status, "PRT")
	require.NotEqual(t, 200, c.exchange(payrollID, "api://payroll").status, "PRT")
	require.Equal(t, 140000, c.prtRequest(map[string]any{"request_nonce": nonce, "grant_type": "password", "username": "alice@contoso.example", "password": password}).code(), "nonce")
	require.Equal(t, 50155, c.passwordPRT("alice").code(), "device")
	require.Equal(t, 70000, c.redeemCode(code).code(), "authorization code")
	require.Equal(t, 70018, c.token("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", payrollID, "device_code", waiting.str("device_code")).code(), "device code")
	require.Contains(t, landed().Get("error_description"), "AADSTS50058", "session cookie")
	withPass := c.alice()
	withPass.Password, withPass.AccessPass = "", pass
	_, err = c.tryAuthorize(withPass)
	require.ErrorContains(t, err, "AADSTS", "access pass")
	require.Empty(t, c.s.Devices())
	require.Empty(t, c.s.PRTs())

	// A device that joins anew has neither the Hello key nor the certificate.
	c.join("alice", 0)
	require.NotEqual(t, 200, c.helloPRT(helloKey, nil).status, "Hello key")
	require.Equal(t, 500183, c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": c.certificateAssertion(cert, nil, nil)}).code(), "user certificate")
	require.Equal(t, 200, c.passwordPRT("alice").status)
	require.Equal(t, 200, c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": c.certificateAssertion(c.certificate("alice", true), nil, nil)}).status)
}

// What was changed is as it was: users, policies, faults, quirks, keys and the clock; ids
// and addresses stay.
func TestResetUndoes(t *testing.T) {
	clock := entratest.NewClock(time.Time{})
	o := options(clock)
	o.Faults = []entratest.Fault{{Endpoint: entratest.EndpointDeviceCode, Kind: entratest.Throttle}}
	o.Policies = []byte(`[]`)
	s := entratest.NewTB(t, o)
	c := newClient(t, s)
	base, err := s.Listen("localhost:0", entratest.ListenOptions{})
	require.NoError(t, err)
	identity := httptest.NewServer(s.ManagedIdentity(entratest.ManagedIdentity{ClientID: webID}))
	t.Cleanup(identity.Close)
	users, tenant, began := s.Users(), s.TenantID(), s.Now()
	throttled := func() int {
		return c.form(c.tenantPath("/oauth2/devicecode"), "client_id", payrollID, "resource", "api://payroll").status
	}
	require.Equal(t, http.StatusTooManyRequests, throttled())
	require.Equal(t, 200, throttled(), "once")

	require.Equal(t, 200, c.ropc("alice", financeID, "https://graph.microsoft.com").status)
	require.NoError(t, s.AddUser(entratest.User{Username: "dave", Password: password}))
	require.NoError(t, s.AddGroup(entratest.Group{Name: "New", Members: []string{"alice"}}))
	require.NoError(t, s.AddApp(entratest.App{ClientID: daemonID, Name: "Daemon", Secret: "daemon secret"}))
	require.NoError(t, s.DeleteUser("bob"))
	require.NoError(t, s.ChangePassword("alice", "changed"))
	require.NoError(t, s.RenameUser("carol", "caroline", ""))
	require.NoError(t, s.SetRisk("alice", "high", "high"))
	c.policy(`"block"`)
	s.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 90033, Times: -1})
	require.NoError(t, s.SetQuirk(entratest.PairwiseSubject, false))
	require.NoError(t, s.UseNextKey())
	clock.Advance(100 * 24 * time.Hour)
	require.Equal(t, 90033, c.ropc("alice", financeID, "https://graph.microsoft.com").code())
	last := s.SignIns()
	require.NotEmpty(t, last)

	require.NoError(t, s.Reset())

	require.Equal(t, users, s.Users())
	require.Equal(t, tenant, s.TenantID())
	require.Equal(t, began, s.Now())
	require.Empty(t, s.PolicyNames())
	require.Equal(t, daemonID, s.AppName(daemonID), "it has no name")
	for _, q := range s.Quirks() {
		require.True(t, q.On, q.Quirk)
	}
	require.Equal(t, http.StatusTooManyRequests, throttled(), "the fault of the options is there again")
	r := c.ropc("alice", financeID, "https://graph.microsoft.com")
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, 50034, c.ropc("dave", financeID, "https://graph.microsoft.com").code())
	require.Greater(t, s.SignIns()[0].Seq, last[len(last)-1].Seq, "the log counts on")
	// The listener and the managed identity serve the tenant as it is now.
	local := newClient(t, s)
	reply := local.do("POST", base+tenant+"/oauth2/v2.0/token", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		url.Values{"grant_type": {"password"}, "client_id": {financeID}, "username": {"alice@contoso.example"}, "password": {password}, "scope": {"openid"}}.Encode())
	require.Equal(t, 200, reply.status, "%s", reply.body)
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, identity.URL+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://graph.microsoft.com", nil)
	require.NoError(t, err)
	q.Header.Set("Metadata", "true")
	resp, err := http.DefaultClient.Do(q)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode)

	// The state after a reset continues: what was issued since stays good.
	state, err := s.State()
	require.NoError(t, err)
	next := newClient(t, entratest.NewTB(t, entratest.Options{State: state, Clock: clock, ReplicationLag: -1}))
	require.Equal(t, 200, next.refresh(financeID, r.str("refresh_token")).status)
	require.Equal(t, 200, next.json("GET", graphMe, r.str("access_token"), nil).status)
	require.NoError(t, next.s.Reset())
	require.NotEqual(t, 200, next.refresh(financeID, r.str("refresh_token")).status, "issued before")
	require.Equal(t, users, next.s.Users(), "back to the state that it was started with")
}

// A clock that runs goes on as if nobody had advanced it.
func TestResetOfARunningClock(t *testing.T) {
	clock := entratest.NewRunningClock(time.Now())
	s := entratest.NewTB(t, entratest.Options{Clock: clock})
	clock.Advance(1000 * time.Hour)
	require.NoError(t, s.Reset())
	require.InDelta(t, 0, time.Until(s.Now()).Hours(), 1)
	require.NoError(t, entratest.NewTB(t, entratest.Options{}).Reset(), "without a clock")
}
