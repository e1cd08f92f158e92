package entratest_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

func TestDiscovery(t *testing.T) {
	c, _ := start(t)
	tid := c.s.TenantID()
	for _, name := range []string{tid, c.s.Domain(), strings.ToUpper(c.s.Domain())} {
		r := c.get(login + "/" + name + "/.well-known/openid-configuration")
		require.Equal(t, "https://sts.windows.net/"+tid+"/", r.str("issuer"))
		require.Equal(t, login+"/"+tid+"/oauth2/token", r.str("token_endpoint"))
		require.Equal(t, []any{"kdf_ver2"}, r.v["capabilities"])
		r = c.get(login + "/" + name + "/v2.0/.well-known/openid-configuration")
		require.Equal(t, login+"/"+tid+"/v2.0", r.str("issuer"))
		require.Equal(t, login+"/"+tid+"/oauth2/v2.0/devicecode", r.str("device_authorization_endpoint"))
	}
	r := c.get("https://login.windows.net/common/v2.0/.well-known/openid-configuration")
	require.Equal(t, login+"/{tenantid}/v2.0", r.str("issuer"))
	require.Nil(t, r.v["tenant_region_scope"])
	require.Equal(t, 90002, c.get(login+"/nowhere.example/.well-known/openid-configuration").code())
	require.Equal(t, 404, c.get(login+"/common/nothing").status)
	require.Equal(t, 405, c.do("PATCH", drs+"/EnrollmentServer/key/", nil, "").status)

	in := func(endpoint, version string) *reply {
		return c.get(login + "/common/discovery/instance?api-version=" + version + "&authorization_endpoint=" + url.QueryEscape(endpoint))
	}
	r = in("https://login.microsoftonline.com/contoso.example/oauth2/v2.0/authorize", "1.1")
	require.Equal(t, login+"/contoso.example/v2.0/.well-known/openid-configuration", r.str("tenant_discovery_endpoint"))
	require.Equal(t, "login.windows.net", r.v["metadata"].([]any)[0].(map[string]any)["preferred_cache"])
	require.NotContains(t, in("https://login.windows.net/common/oauth2/authorize", "1.0").v, "metadata")
	require.Equal(t, 50049, in("https://login.example/common/oauth2/authorize", "1.1").code())
	require.Equal(t, "invalid_instance", in("https://login.example/common/oauth2/authorize", "1.1").str("error"))
	for _, bad := range []string{"", "nonsense", "http://login.microsoftonline.com/common/x", "https://login.microsoftonline.com"} {
		require.Equal(t, 50050, in(bad, "1.1").code(), bad)
	}
	require.Equal(t, 50050, in("https://login.microsoftonline.com/common/oauth2/authorize", "3").code())

	r = c.get(drs + "/" + c.s.Domain() + "/Discover?api-version=1.9&managed=True")
	require.Equal(t, drs+"/EnrollmentServer/device/", r.v["DeviceJoinService"].(map[string]any)["JoinEndpoint"])
	require.Equal(t, drsResource, r.v["KeyProvisioningService"].(map[string]any)["KeyProvisionResourceId"])
	require.Equal(t, tid, r.v["TenantInfo"].(map[string]any)["TenantId"])
	require.Len(t, r.v, 15)
	require.Equal(t, 90002, c.get(drs+"/nowhere.example/Discover").code())
}

func TestUserRealm(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.Federated = []string{"fed.example"}
	o.Users = append(o.Users, entratest.User{Username: "frida@fed.example", Password: password})
	c := newClient(t, entratest.NewTB(t, o))
	v1 := func(upn string) *reply {
		return c.get(login + "/common/UserRealm/" + url.PathEscape(upn) + "?api-version=1.0")
	}
	require.Equal(t, "Managed", v1("alice@contoso.example").str("account_type"))
	require.Equal(t, "Unknown", v1("zoe@nowhere.example").str("account_type"))
	f := v1("frida@fed.example")
	require.Equal(t, "Federated", f.str("account_type"))
	require.Equal(t, "https://sts.fed.example/adfs/services/trust/mex", f.str("federation_metadata_url"))
	v2 := c.get(login + "/common/UserRealm/frida@fed.example?api-version=2.0")
	require.Equal(t, "Federated", v2.str("NameSpaceType"))
	require.NotEmpty(t, v2.str("AuthURL"))
	require.Equal(t, "Managed", c.get(login+"/GetUserRealm.srf?login=alice@contoso.example").str("NameSpaceType"))

	cred := func(v map[string]any) *reply { return c.json("POST", login+"/common/GetCredentialType", "", v) }
	r := cred(map[string]any{"username": "alice@contoso.example", "isFidoSupported": true})
	require.EqualValues(t, 0, r.v["IfExistsResult"])
	require.EqualValues(t, 3, r.v["EstsProperties"].(map[string]any)["DomainType"])
	require.EqualValues(t, 1, cred(map[string]any{"username": "zoe@contoso.example"}).v["IfExistsResult"])
	r = cred(map[string]any{"username": "frida@fed.example"})
	require.EqualValues(t, 4, r.v["Credentials"].(map[string]any)["PrefCredential"])
	require.Equal(t, "6000", cred(map[string]any{"username": "alice@contoso.example", "isAccessPassSupported": true}).v["error"].(map[string]any)["code"])
	require.Contains(t, cred(map[string]any{}).v, "error")
}
