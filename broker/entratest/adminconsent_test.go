package entratest_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// "Admin consent on the Microsoft identity platform" (2023-11) and, for the endpoint
// without /v2.0, "OAuth 2.0 client credentials flow" (2023-02).
func TestAdminConsentEndpoint(t *testing.T) {
	clock := entratest.NewClock(time.Time{})
	o := options(clock)
	const globalAdministrator = "62e90394-69f5-4237-9190-012177145e10"
	o.Users = append(o.Users, entratest.User{Username: "ada", Password: password, Roles: []string{globalAdministrator}})
	c := newClient(t, entratest.NewTB(t, o))
	ask := func(person, path string, deny bool, kv ...string) (url.Values, error) {
		q := url.Values{"client_id": {thirdParty}, "redirect_uri": {nativeURI}, "state": {"12345"}}
		for i := 0; i < len(kv); i += 2 {
			q.Set(kv[i], kv[i+1])
		}
		p := entratest.Person{Username: person + "@contoso.example", Password: password, Deny: deny}
		to, err := p.Authorize(context.Background(), c.s.Client(), login+"/"+path+"adminconsent?"+q.Encode(), nativeURI)
		if err != nil {
			return nil, err
		}
		return query(t, to), nil
	}
	const read, write = "api://payroll/user_impersonation", "https://graph.microsoft.com/User.Read"
	token := func(scope string) *reply {
		return c.tokenV2(append([]string{"grant_type", "password", "client_id", thirdParty, "scope", scope}, alicePassword(c)...)...)
	}
	require.Equal(t, 65001, token(read).code(), "nobody consented")

	_, err := ask("alice", "organizations/v2.0/", false, "scope", read)
	require.ErrorContains(t, err, "AADSTS90094", "she is no administrator")
	got, err := ask("ada", "organizations/v2.0/", true, "scope", read)
	require.NoError(t, err)
	require.Equal(t, "consent_required", got.Get("error"))
	require.Contains(t, got.Get("error_description"), "AADSTS65004")
	require.Equal(t, []string{"True", "12345"}, []string{got.Get("admin_consent"), got.Get("state")})
	got, err = ask("ada", "common/", true)
	require.NoError(t, err)
	require.Equal(t, "permission_denied", got.Get("error"))
	require.Equal(t, "The admin canceled the request", got.Get("error_description"))
	require.Equal(t, 65001, token(read).code(), "the administrator declined")

	got, err = ask("ada", "organizations/v2.0/", false, "scope", read)
	require.NoError(t, err)
	require.Equal(t, url.Values{"admin_consent": {"True"}, "tenant": {c.s.TenantID()}, "scope": {read}, "state": {"12345"}}, got)
	require.Equal(t, 200, token(read).status, "for a user who was not asked")
	require.Equal(t, 65001, token(write).code(), "another resource")

	got, err = ask("ada", "common/", false)
	require.NoError(t, err)
	require.Equal(t, url.Values{"admin_consent": {"True"}, "tenant": {c.s.TenantID()}, "state": {"12345"}}, got)
	require.Equal(t, 200, token(write).status, "all permissions")

	_, err = ask("ada", "common/", false, "redirect_uri", nativeURI+"/other")
	require.ErrorContains(t, err, "AADSTS50011")
	_, err = ask("ada", "common/", false, "client_id", thirdParty[:35]+"0")
	require.ErrorContains(t, err, "AADSTS700016")
	got, err = ask("ada", "organizations/v2.0/", false)
	require.NoError(t, err)
	require.Contains(t, got.Get("error_description"), "AADSTS900144", "scope is required")
}
