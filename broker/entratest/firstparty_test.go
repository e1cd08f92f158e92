package entratest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

const (
	azureCLI        = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	azurePowerShell = "1950a258-227b-4e31-a9cf-717495945fc2"
	teamsClient     = "1fec8e78-bce4-4aaf-ab1b-5451cc387264"
	officeClient    = "d3590ed6-52b3-4102-aeff-aad2292ab01c"
	kubernetes      = "80faf920-1908-4b52-b5ef-a8e7bedfc67a"
	tunnelClient    = "eb539595-3fe1-474e-9c1d-feb3625d1be5" // not in the list
)

// What a client of Microsoft may have is a closed matrix: ROADtools,
// roadtx/firstpartyscopes.json of 2026-08-05.
func TestFirstPartyMatrix(t *testing.T) {
	c, _ := start(t)
	for _, tc := range []struct {
		name, client, scope string
		code                int
	}{
		{"the Azure CLI reads users", azureCLI, "https://graph.microsoft.com/User.Read.All", 0},
		{"the Azure CLI reads no mail", azureCLI, "https://graph.microsoft.com/Mail.Read", 65002},
		{"the broker client has little of Graph", brokerClient, "https://graph.microsoft.com/Device.Read.All", 65002},
		{"a client that has no Graph at all", kubernetes, "https://graph.microsoft.com/.default", 65002},
		{"its cluster", kubernetes, "6dae42f8-4368-4678-94ff-3960e28e3630/.default", 0},
		{"a resource by its URI", azureCLI, "https://management.core.windows.net//.default", 0},
		{"Azure DevOps", azureCLI, "499b84ac-1321-427f-aa17-267ca6975798/.default", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := c.form("/organizations/oauth2/v2.0/token", "grant_type", "password", "client_id", tc.client,
				"username", "alice@contoso.example", "password", password, "scope", tc.scope)
			require.Equal(t, tc.code, r.code(), "%s", r.body)
		})
	}
	r := c.form("/organizations/oauth2/v2.0/token", "grant_type", "password", "client_id", azureCLI,
		"username", "alice@contoso.example", "password", password, "scope", "https://graph.microsoft.com/.default")
	require.Contains(t, strings.Fields(r.str("scope")), "https://graph.microsoft.com/User.Read.All")
	require.NotContains(t, r.str("scope"), "Mail.Read")
}

func TestFirstPartyRedirects(t *testing.T) {
	c, _ := start(t)
	for _, tc := range []struct {
		name, client, redirect string
		ok                     bool
	}{
		{"registered", azurePowerShell, "https://login.microsoftonline.com/common/oauth2/nativeclient", true},
		{"another case of the host", azurePowerShell, "ms-appx-web://Microsoft.AAD.BrokerPlugin/" + azurePowerShell, true},
		{"another case of the path", azurePowerShell, "ms-appx-web://Microsoft.AAD.BrokerPlugin/" + strings.ToUpper(azurePowerShell), false},
		{"loopback of the broker client", brokerClient, "http://localhost", false},
		{"loopback of Azure AD PowerShell", "1b730954-1685-4b74-9bfd-dac224a7b894", "http://localhost", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			page := c.get(login + "/common/oauth2/authorize?response_type=code&client_id=" + tc.client + "&redirect_uri=" + tc.redirect)
			require.Equal(t, !tc.ok, strings.Contains(string(page.body), "AADSTS50011"), "%s", tc.redirect)
		})
	}
}

// A client of Microsoft that asks for an API of the tenant lacks consent like any
// other (AADSTS65001); AADSTS65002 is for resources of Microsoft.
func TestFirstPartyClientOfOwnAPI(t *testing.T) {
	c, _ := start(t)
	own := func() *reply { return c.ropc("alice", azureCLI, "api://payroll") }
	r := own()
	require.Equal(t, 65001, r.code(), "%s", r.body)
	require.Equal(t, "invalid_grant", r.str("error"))
	require.Equal(t, "consent_required", r.str("suberror"))

	require.NoError(t, c.s.AddApp(entratest.App{ClientID: payrollID, Name: "Payroll", Public: true, URIs: []string{"api://payroll"},
		PreauthorisedClients: map[string][]string{azureCLI: {"user_impersonation"}}}))
	r = own()
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, "user_impersonation", jwtClaims(t, r.str("access_token"))["scp"])
}

// Where the list is silent nobody outside knows: the client has it, and the log
// says that this was not known.
func TestFirstPartyUnknown(t *testing.T) {
	var log []string
	o := options(entratest.NewClock(time.Time{}))
	o.Logf = func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	c := newClient(t, entratest.NewTB(t, o))
	r := c.ropc("alice", tunnelClient, "https://graph.microsoft.com")
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Contains(t, strings.Join(log, "\n"), "not known whether Microsoft Tunnel may use Microsoft Graph")
}

// Scopes are named in any case: MSAL asks for user.read.
func TestScopesInAnyCase(t *testing.T) {
	c, _ := start(t)
	for _, client := range []string{azureCLI, financeID} {
		scope := map[string]string{azureCLI: "user.read.all", financeID: "USER.READ"}[client]
		r := c.form("/organizations/oauth2/v2.0/token", "grant_type", "password", "client_id", client,
			"username", "alice@contoso.example", "password", password, "scope", "https://graph.microsoft.com/"+scope)
		require.Equal(t, 200, r.status, "%s", r.body)
		require.Contains(t, strings.ToLower(r.str("scope")), strings.ToLower(scope))
		require.Contains(t, jwtClaims(t, r.str("access_token"))["scp"], "User.Read")
	}
}
