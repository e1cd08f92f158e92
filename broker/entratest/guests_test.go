package entratest_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

const gusUPN = "gus_partner.example#EXT#@contoso.example"

func guests(t *testing.T) *tc {
	t.Helper()
	o := options(entratest.NewClock(time.Time{}))
	o.Users = append(o.Users, entratest.User{Username: "gus@partner.example", Guest: true, Password: password, TOTPSecret: totpSecret},
		entratest.User{Username: "local", Guest: true, Password: password})
	o.Apps = append(o.Apps, entratest.App{ClientID: daemonID, Name: "Claims", Public: true, Redirects: []string{nativeURI}, AdminConsent: true, URIs: []string{"api://claims"}, TokenVersion: 2,
		OptionalClaims: []string{"acct", "upn"}})
	return newClient(t, entratest.NewTB(t, o))
}

// "Properties of a Microsoft Entra B2B collaboration user", "List users" of Microsoft Graph
// (example 8), and "Optional claims reference" (acct, email, upn).
func TestGuest(t *testing.T) {
	c := guests(t)
	status := c.s.Users()[len(c.s.Users())-2]
	require.Equal(t, gusUPN, status.Username)
	require.True(t, status.Guest)
	signIn := func(user, client, scope string) *reply {
		return c.tokenV2("grant_type", "password", "client_id", client, "username", user, "password", password, "scope", scope)
	}
	for _, name := range []string{"gus@partner.example", "Gus@Partner.example", gusUPN} {
		r := signIn(name, daemonID, "openid profile api://claims/user_impersonation")
		require.Equal(t, 200, r.status, "%s: %s", name, r.body)
		for _, token := range []string{"id_token", "access_token"} {
			claims := jwtClaims(t, r.str(token))
			require.Equal(t, "gus@partner.example", claims["preferred_username"])
			require.Equal(t, "gus@partner.example", claims["email"])
			require.Equal(t, 1.0, claims["acct"])
			require.Equal(t, gusUPN, claims["upn"], "an optional claim")
			require.Regexp(t, `^https://sts\.windows\.net/[0-9a-f-]{36}/$`, claims["idp"])
			require.NotContains(t, claims["idp"], c.s.TenantID())
			require.Equal(t, c.s.TenantID(), claims["tid"])
		}
	}
	v1 := jwtClaims(t, signIn("gus@partner.example", financeID, "https://graph.microsoft.com/User.Read").str("access_token"))
	require.Equal(t, "gus@partner.example", v1["unique_name"])
	require.Equal(t, "gus@partner.example", v1["email"])
	require.NotContains(t, v1, "upn")
	member := jwtClaims(t, signIn("bob@contoso.example", financeID, "https://graph.microsoft.com/User.Read").str("access_token"))
	require.NotContains(t, member, "idp")
	require.Equal(t, "bob@contoso.example", member["upn"])

	me := c.json("GET", graphMe, signIn("gus@partner.example", financeID, "https://graph.microsoft.com/User.Read").str("access_token"), nil)
	require.Equal(t, gusUPN, me.str("userPrincipalName"))
	require.Equal(t, "gus@partner.example", me.str("mail"))
	require.Equal(t, "Guest", me.str("userType"))
	require.Equal(t, 50034, signIn("nobody@partner.example", daemonID, "openid").code())
	require.NoError(t, c.s.DeleteUser(gusUPN))
	require.Equal(t, 50034, signIn("gus@partner.example", daemonID, "openid").code())
	require.NoError(t, c.s.AddUser(entratest.User{Username: "eve@other.example", Guest: true, Mail: "eve@mail.example", Password: password}))
	require.Equal(t, 200, signIn("eve@mail.example", daemonID, "openid").status)
}

// On the pages of the tenant the guest types the name at home.
func TestGuestOnThePages(t *testing.T) {
	c := guests(t)
	for _, name := range []string{"gus@partner.example", gusUPN} {
		to, err := c.tryAuthorize(entratest.Person{Username: name, Password: password, TOTPSecret: totpSecret})
		require.NoError(t, err)
		u, err := url.Parse(to)
		require.NoError(t, err)
		require.NotEmpty(t, u.Query().Get("code"), to)
	}
}

// A guest of a tenant that is served too: the name is that of two users.
func TestGuestOfAServedTenant(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.Users = append(o.Users, entratest.User{Username: "gus@partner.example", Guest: true, Password: password})
	o.OtherTenants = []entratest.Tenant{{Domain: "partner.example", TenantID: "99999999-0000-4000-8000-000000000001", Users: []entratest.User{{Username: "gus", Password: "at home"}}}}
	c := newClient(t, entratest.NewTB(t, o))
	ask := func(tenant, pass string) *reply {
		return c.form("/"+tenant+"/oauth2/v2.0/token", "grant_type", "password", "client_id", "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "username", "gus@partner.example", "password", pass, "scope", "openid")
	}
	here := ask("contoso.example", password)
	require.Equal(t, 200, here.status, "%s", here.body)
	require.Equal(t, "https://sts.windows.net/99999999-0000-4000-8000-000000000001/", jwtClaims(t, here.str("id_token"))["idp"])
	home := ask("partner.example", "at home")
	require.Equal(t, 200, home.status, "%s", home.body)
	require.Equal(t, "99999999-0000-4000-8000-000000000001", jwtClaims(t, home.str("id_token"))["tid"])
}

// Conditions on guests and external users, by type and by tenant (Microsoft Graph,
// conditionalAccessGuestsOrExternalUsers).
func TestGuestPolicies(t *testing.T) {
	home := func(c *tc) string {
		r := c.tokenV2("grant_type", "password", "client_id", daemonID, "username", "gus@partner.example", "password", password, "scope", "openid")
		idp, _ := jwtClaims(t, r.str("id_token"))["idp"].(string)
		return idp[len("https://sts.windows.net/") : len(idp)-1]
	}
	for name, tt := range map[string]struct {
		types, tenants     string
		gus, local, member bool // blocked
	}{
		"B2B collaboration guests": {"b2bCollaborationGuest", "all", true, false, false},
		"internal guests":          {"internalGuest", "all", false, true, false},
		"B2B members":              {"b2bCollaborationMember", "all", false, false, false},
		"both kinds of guests":     {"internalGuest,b2bCollaborationGuest", "all", true, true, false},
		"of the guest's tenant":    {"b2bCollaborationGuest", "home", true, false, false},
		"of another tenant":        {"b2bCollaborationGuest", "11111111-0000-4000-8000-000000000001", false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := guests(t)
			c.t = t
			scope := `{"@odata.type": "#microsoft.graph.conditionalAccessAllExternalTenants", "membershipKind": "all"}`
			if tt.tenants != "all" {
				id := tt.tenants
				if id == "home" {
					id = home(c)
				}
				scope = fmt.Sprintf(`{"@odata.type": "#microsoft.graph.conditionalAccessEnumeratedExternalTenants", "membershipKind": "enumerated", "members": [%q]}`, id)
			}
			require.NoError(t, c.s.SetPolicies(fmt.Appendf(nil, `{"displayName": "Guests", "state": "enabled", "conditions": {"clientAppTypes": ["all"], "applications": {"includeApplications": ["All"]},
				"users": {"includeGuestsOrExternalUsers": {"guestOrExternalUserTypes": %q, "externalTenants": %s}}}, "grantControls": {"operator": "OR", "builtInControls": ["block"]}}`, tt.types, scope)))
			for user, blocked := range map[string]bool{"gus@partner.example": tt.gus, "local@contoso.example": tt.local, "bob@contoso.example": tt.member} {
				r := c.tokenV2("grant_type", "password", "client_id", daemonID, "username", user, "password", password, "scope", "openid User.Read")
				require.Equal(t, map[bool]int{true: 53003}[blocked], r.code(), "%s: %s", user, r.body)
			}
		})
	}
}
