package discovery_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/discovery"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

func newService(t *testing.T) *discovery.Service {
	t.Helper()
	r := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{Domain: "contoso.example", DisplayName: "Contoso", Federated: []string{"fed.example"},
		Users: []directory.UserSpec{{Username: "alice"}}}}, 1, r)
	require.NoError(t, err)
	now := func() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) }
	s := &discovery.Service{Directory: dir, Mint: &mint.Mint{Keys: mint.NewKeys()}, Web: web.New(web.Config{Directory: dir, Rand: r, Now: now, Logf: t.Logf})}
	s.Routes()
	return s
}

func ask(t *testing.T, s *discovery.Service, to, local string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest("GET", to, nil)
	if local != "" {
		r = web.WithBase(r, local)
	}
	w := httptest.NewRecorder()
	s.Web.ServeHTTP(w, r)
	var out map[string]any
	if w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &out), w.Body.String())
	}
	return w.Code, out
}

const base = "https://login.microsoftonline.com/"

// The issuer is that of the tokens: {tenantid} stands in it where any tenant signs
// in, and an address of this machine has an issuer of its own (OpenID Connect
// Discovery 1.0, section 3; Microsoft, "OpenID Connect on the Microsoft identity
// platform").
func TestMetadata(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.Directory.Home().ID
	for _, tt := range []struct {
		path, local, issuer, endpoint, keys string
	}{
		{id, "", "https://sts.windows.net/" + id + "/", base + id + "/oauth2/token", base + "common/discovery/keys"},
		{"contoso.example/v2.0", "", base + id + "/v2.0", base + id + "/oauth2/v2.0/token", base + id + "/discovery/v2.0/keys"},
		{"common/v2.0", "", base + "{tenantid}/v2.0", base + "common/oauth2/v2.0/token", base + "common/discovery/v2.0/keys"},
		{id + "/v2.0", "https://localhost:8443/", "https://localhost:8443/" + id + "/v2.0", "https://localhost:8443/" + id + "/oauth2/v2.0/token", "https://localhost:8443/" + id + "/discovery/v2.0/keys"},
	} {
		status, got := ask(t, s, base+tt.path+"/.well-known/openid-configuration", tt.local)
		require.Equal(t, 200, status)
		require.Equal(t, tt.issuer, got["issuer"])
		require.Equal(t, tt.endpoint, got["token_endpoint"])
		require.Equal(t, tt.keys, got["jwks_uri"])
		status, keys := ask(t, s, tt.keys, tt.local)
		require.Equal(t, 200, status)
		require.NotEmpty(t, keys["keys"])
	}
	status, _ := ask(t, s, base+"nobody.example/.well-known/openid-configuration", "")
	require.Equal(t, 400, status)
}

func TestInstance(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, tt := range []struct {
		endpoint, version string
		code              float64 // zero: an answer
	}{
		{base + "common/oauth2/v2.0/authorize", "1.1", 0},
		{base + "common/oauth2/authorize", "1.0", 0},
		{"https://login.evil.example/common/oauth2/authorize", "1.1", 50049},
		{"http://login.microsoftonline.com/common/oauth2/authorize", "1.1", 50050},
		{base, "1.1", 50050},
		{base + "common/oauth2/authorize", "2", 50050},
		{"://", "1.1", 50050},
	} {
		_, got := ask(t, s, base+"common/discovery/instance?"+url.Values{"authorization_endpoint": {tt.endpoint}, "api-version": {tt.version}}.Encode(), "")
		if tt.code != 0 {
			require.Equal(t, []any{tt.code}, got["error_codes"], tt.endpoint)
			continue
		}
		require.Contains(t, got["tenant_discovery_endpoint"], base+"common/")
		_, aliases := got["metadata"]
		require.Equal(t, tt.version == "1.1", aliases)
	}
}

func TestRealm(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, tt := range []struct{ upn, kind string }{
		{"alice@contoso.example", "Managed"}, {"fay@fed.example", "Federated"}, {"mallory@nowhere.example", "Unknown"},
	} {
		_, v1 := ask(t, s, base+"common/UserRealm/"+tt.upn+"?api-version=1.0", "")
		require.Equal(t, tt.kind, v1["account_type"])
		_, v2 := ask(t, s, base+"common/UserRealm/"+tt.upn+"?api-version=2.0", "")
		require.Equal(t, tt.kind, v2["NameSpaceType"])
		_, srf := ask(t, s, base+"GetUserRealm.srf?login="+tt.upn, "")
		require.Equal(t, v2, srf)
		if tt.kind == "Federated" {
			require.Equal(t, "https://sts.fed.example/adfs/services/trust/mex", v1["federation_metadata_url"])
			require.Equal(t, "https://sts.fed.example/adfs/ls/", v2["AuthURL"])
		}
	}
}

func TestFederationProvider(t *testing.T) {
	t.Parallel()
	s := newService(t)
	status, got := ask(t, s, "https://odc.officeapps.live.com/odc/v2.1/federationProvider?domain=contoso.example", "")
	require.Equal(t, 200, status)
	require.Equal(t, s.Directory.Home().ID, got["tenantId"])
	require.Equal(t, "login.microsoftonline.com", got["authority_host"])
	status, _ = ask(t, s, "https://odc.officeapps.live.com/odc/v2.1/federationProvider?domain=nowhere.example", "")
	require.Equal(t, 404, status)
}
