package entratest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

const shopIdentity = "/subscriptions/0/resourcegroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shop"

func ask(t *testing.T, base, query string, header ...string) (*http.Response, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", base+"?"+query, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var v map[string]any
	require.NoError(t, json.Unmarshal(raw, &v), "%s", raw)
	return resp, v
}

// Requests and replies as Microsoft's pages about each service show them.
func TestManagedIdentity(t *testing.T) {
	c, _ := daemon(t)
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: thirdParty, Name: "Shop", ManagedIdentity: shopIdentity, Permissions: map[string][]string{"api://orders": {"Orders.Read.All"}}}))
	serve := func(m entratest.ManagedIdentity) string {
		srv := httptest.NewServer(c.s.ManagedIdentity(m))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	const query = "api-version=2018-02-01&resource=api%3A%2F%2Forders"
	vm := serve(entratest.ManagedIdentity{ClientID: daemonID})
	for name, tt := range map[string]struct {
		query  string
		header []string
		status int
		client string
	}{
		"the machine's own":        {query, []string{"Metadata", "true"}, 200, daemonID},
		"by client id":             {query + "&client_id=" + thirdParty, []string{"Metadata", "true"}, 200, thirdParty},
		"by resource id":           {query + "&msi_res_id=" + url.QueryEscape(shopIdentity), []string{"Metadata", "true"}, 200, thirdParty},
		"an app that is none":      {query + "&client_id=" + webID, []string{"Metadata", "true"}, 400, ""},
		"without the header":       {query, nil, 400, ""},
		"forwarded":                {query, []string{"Metadata", "true", "X-Forwarded-For", "192.0.2.1"}, 400, ""},
		"without a resource":       {"api-version=2018-02-01", []string{"Metadata", "true"}, 400, ""},
		"without a version":        {"resource=api%3A%2F%2Forders", []string{"Metadata", "true"}, 400, ""},
		"for an unknown resource":  {"api-version=2018-02-01&resource=api%3A%2F%2Fnone", []string{"Metadata", "true"}, 400, ""},
		"for assigned identities":  {"api-version=2018-02-01&resource=api%3A%2F%2Fclosed", []string{"Metadata", "true"}, 400, ""},
		"an identity that is gone": {query + "&object_id=" + webID, []string{"Metadata", "true"}, 400, ""},
	} {
		t.Run("machine/"+name, func(t *testing.T) {
			resp, v := ask(t, vm, tt.query, tt.header...)
			require.Equal(t, tt.status, resp.StatusCode, "%v", v)
			if tt.status != 200 {
				require.NotEmpty(t, v["error"])
				return
			}
			require.Equal(t, tt.client, v["client_id"])
			require.IsType(t, "", v["expires_on"], "times are text")
			require.Equal(t, tt.client, jwtClaims(t, v["access_token"].(string))["appid"])
		})
	}
	t.Run("the token names the identity", func(t *testing.T) {
		_, v := ask(t, vm, query+"&client_id="+thirdParty, "Metadata", "true")
		claims := jwtClaims(t, v["access_token"].(string))
		require.Equal(t, shopIdentity, claims["xms_mirid"])
		require.Equal(t, []any{"Orders.Read.All"}, claims["roles"])
		last := c.s.SignIns()[len(c.s.SignIns())-1]
		require.Equal(t, "managed_identity", last.Grant)
	})
	t.Run("another method", func(t *testing.T) {
		plain := newClient(t, c.s)
		plain.http = http.DefaultClient
		for method, status := range map[string]int{"GET": 200, "POST": 200, "PUT": 405, "DELETE": 405} {
			r := plain.do(method, vm+"/metadata/identity/oauth2/token?"+query, http.Header{"Metadata": {"true"}}, "")
			require.Equal(t, status, r.status, "%s: %s", method, r.body)
		}
	})
	t.Run("a disabled identity", func(t *testing.T) {
		shop := entratest.App{ClientID: thirdParty, Name: "Shop", ManagedIdentity: shopIdentity, Disabled: true}
		require.NoError(t, c.s.AddApp(shop))
		resp, v := ask(t, vm, query+"&client_id="+thirdParty, "Metadata", "true")
		require.Equal(t, 400, resp.StatusCode)
		require.Equal(t, "Identity not found", v["error_description"])
	})
	t.Run("app service without a secret lets in nobody", func(t *testing.T) {
		base := serve(entratest.ManagedIdentity{Service: entratest.AppService, ClientID: daemonID})
		for _, header := range [][]string{nil, {"X-IDENTITY-HEADER", ""}, {"X-IDENTITY-HEADER", "x"}} {
			resp, _ := ask(t, base+"/msi/token", "api-version=2019-08-01&resource=api%3A%2F%2Forders", header...)
			require.Equal(t, 401, resp.StatusCode, "%q", header)
		}
	})
	t.Run("app service", func(t *testing.T) {
		m := entratest.ManagedIdentity{Service: entratest.AppService, ClientID: daemonID, Header: "s3cret"}
		base := serve(m)
		require.Equal(t, []string{"IDENTITY_ENDPOINT=" + base + "/msi/token", "IDENTITY_HEADER=s3cret"}, m.Environment(base))
		resp, v := ask(t, base+"/msi/token", "api-version=2019-08-01&resource=api%3A%2F%2Forders", "X-IDENTITY-HEADER", "s3cret")
		require.Equal(t, 200, resp.StatusCode, "%v", v)
		require.NotContains(t, v, "expires_in")
		resp, _ = ask(t, base+"/msi/token", "api-version=2019-08-01&resource=api%3A%2F%2Forders", "X-IDENTITY-HEADER", "x")
		require.Equal(t, 401, resp.StatusCode)
	})
	t.Run("arc", func(t *testing.T) {
		dir := t.TempDir()
		base := serve(entratest.ManagedIdentity{Service: entratest.AzureArc, ClientID: daemonID, KeyDir: dir})
		const query = "api-version=2020-06-01&resource=api%3A%2F%2Forders"
		resp, _ := ask(t, base, query, "Metadata", "true")
		require.Equal(t, 401, resp.StatusCode)
		file, ok := strings.CutPrefix(resp.Header.Get("WWW-Authenticate"), "Basic realm=")
		require.True(t, ok)
		key, err := os.ReadFile(file)
		require.NoError(t, err)
		if runtime.GOOS != "windows" {
			info, err := os.Stat(file)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "other users of the machine cannot read it")
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "empty.key"), nil, 0o600))
		for _, wrong := range []string{"", "x", string(key) + "x", string(key[1:])} {
			resp, _ = ask(t, base, query, "Metadata", "true", "Authorization", "Basic "+wrong)
			require.Equal(t, 401, resp.StatusCode, "%q", wrong)
		}
		resp, _ = ask(t, base, query, "Metadata", "true", "Authorization", "Basic "+string(key))
		require.Equal(t, 200, resp.StatusCode)
		resp, _ = ask(t, base, query, "Metadata", "true", "Authorization", "Basic "+string(key))
		require.Equal(t, 401, resp.StatusCode, "a key is good once")
	})
}
