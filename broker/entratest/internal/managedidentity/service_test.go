package managedidentity_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/managedidentity"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

const (
	systemID   = "7a11e51e-0001-4000-8000-0000000000aa"
	userID     = "7a11e51e-0002-4000-8000-0000000000aa"
	objectID   = "7a11e51e-0003-4000-8000-0000000000aa"
	disabledID = "7a11e51e-0004-4000-8000-0000000000aa"
	otherID    = "7a11e51e-0005-4000-8000-0000000000aa"
	resourceID = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/backup"
	header     = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"
)

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func newService(t *testing.T, kind managedidentity.Kind) *managedidentity.Service {
	t.Helper()
	source := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{Domain: "contoso.example", Apps: []directory.AppSpec{
		{ClientID: systemID, Name: "the machine"},
		{ClientID: userID, Name: "backup", ServicePrincipalID: objectID, ManagedIdentity: resourceID, Permissions: map[string][]string{"api://orders": {"Orders.Read"}}},
		{ClientID: disabledID, Name: "gone", ManagedIdentity: resourceID + "-old", Disabled: true},
		{ClientID: otherID, Name: "orders", Secret: "s", URIs: []string{"api://orders"}, Roles: []string{"Orders.Read"}, AssignmentRequired: true},
	}}}, 5, source)
	require.NoError(t, err)
	clock := func() time.Time { return now }
	keeper := &session.Keeper{Directory: dir, Rand: source, Now: clock, Logf: t.Logf, TTL: session.TTL{AccessToken: time.Hour}}
	router := web.New(web.Config{Directory: dir, Rand: source, Now: clock, Logf: t.Logf, Log: directory.NewSignInLog(10)})
	return &managedidentity.Service{Kind: kind, System: systemID, Header: header, KeyDir: t.TempDir(), Tenant: dir.Home(), Keeper: keeper, Web: router,
		Endpoint: &tokenendpoint.Service{Keeper: keeper, Access: &access.Engine{Keeper: keeper}, Mint: &mint.Mint{Keys: mint.NewKeys(), Keeper: keeper}, Web: router}}
}

// ask sends a request as programs do; headers are pairs.
func ask(t *testing.T, s *managedidentity.Service, method string, query url.Values, headers ...string) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, "http://169.254.169.254/metadata/identity/oauth2/token?"+query.Encode(), nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var out map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &out), w.Body.String())
	return w, out
}

func query(kv ...string) url.Values {
	v := url.Values{"api-version": {"2018-02-01"}, "resource": {"https://graph.microsoft.com/"}}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	return v
}

func claimsOf(t *testing.T, reply map[string]any) (out map[string]any) {
	t.Helper()
	token, ok := reply["access_token"].(string)
	require.Truef(t, ok, "%v", reply)
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &out))
	return out
}

// The reply of a virtual machine, field by field as Microsoft's page shows it ("How
// to use managed identities for Azure resources on an Azure VM to acquire an access
// token", "Get a token using HTTP": all values are texts).
func TestVirtualMachine(t *testing.T) {
	s := newService(t, managedidentity.IMDS)
	w, got := ask(t, s, http.MethodGet, query(), "Metadata", "true")
	require.Equal(t, http.StatusOK, w.Code, got)
	c := claimsOf(t, got)
	delete(got, "access_token")
	require.Equal(t, map[string]any{"client_id": systemID, "expires_in": "3600", "ext_expires_in": "3600", "expires_on": "1772445600",
		"not_before": "1772442000", "resource": "https://graph.microsoft.com/", "token_type": "Bearer"}, got)
	require.Contains(t, w.Header().Get("Cache-Control"), "no-store")
	require.Equal(t, systemID, c["appid"])
	require.Equal(t, "app", c["idtyp"])
	require.Equal(t, "2", c["appidacr"], "proved by a certificate that Azure keeps")

	log := s.Web.Log.All()
	require.Len(t, log, 1)
	require.Equal(t, "managed_identity", log[0].Grant)
	require.Equal(t, systemID, log[0].ClientID)
}

func TestIdentities(t *testing.T) {
	for name, c := range map[string]struct {
		query  url.Values
		system string
		want   string // client id; "": none
	}{
		"system-assigned":                {query(), systemID, systemID},
		"there is no system-assigned":    {query(), "", ""},
		"by client id":                   {query("client_id", userID), systemID, userID},
		"by client id in capitals":       {query("client_id", strings.ToUpper(userID)), "", userID},
		"by object id":                   {query("object_id", objectID), systemID, userID},
		"by principal id":                {query("principal_id", objectID), systemID, userID},
		"by resource id":                 {query("msi_res_id", resourceID), systemID, userID},
		"by resource id, App Service":    {query("mi_res_id", strings.ToLower(resourceID)), systemID, userID},
		"an ordinary application":        {query("client_id", otherID), systemID, ""},
		"a disabled one":                 {query("client_id", disabledID), systemID, ""},
		"one that is not there":          {query("client_id", objectID), systemID, ""},
		"the system-assigned by its id":  {query("client_id", systemID), systemID, systemID},
		"not assigned to this machine":   {query("client_id", systemID), "", ""},
		"no object id beside the others": {query("object_id", otherID), systemID, ""},
	} {
		s := newService(t, managedidentity.IMDS)
		s.System = c.system
		w, got := ask(t, s, http.MethodGet, c.query, "Metadata", "true")
		if c.want == "" {
			require.Equal(t, http.StatusBadRequest, w.Code, name)
			require.Equal(t, map[string]any{"error": "invalid_request", "error_description": "Identity not found"}, got, name)
			continue
		}
		require.Equal(t, c.want, got["client_id"], name)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		method  string
		query   url.Values
		headers []string
		status  int
		code    string
		text    string
	}{
		"another method":      {http.MethodPut, query(), []string{"Metadata", "true"}, http.StatusMethodNotAllowed, "invalid_request", "not allowed"},
		"no header":           {http.MethodGet, query(), nil, http.StatusBadRequest, "bad_request_102", "Required metadata header not specified"},
		"forwarded":           {http.MethodGet, query(), []string{"Metadata", "true", "X-Forwarded-For", "10.0.0.1"}, http.StatusBadRequest, "bad_request", "forwarded"},
		"no version":          {http.MethodGet, query("api-version", ""), []string{"Metadata", "true"}, http.StatusBadRequest, "bad_request_101", "api-version"},
		"no resource":         {http.MethodGet, query("resource", ""), []string{"Metadata", "true"}, http.StatusBadRequest, "bad_request_102", "audience"},
		"an unknown resource": {http.MethodGet, query("resource", "api://nowhere"), []string{"Metadata", "true"}, http.StatusBadRequest, "invalid_resource", "AADSTS500011"},
		"no role of it":       {http.MethodGet, query("resource", "api://orders"), []string{"Metadata", "true"}, http.StatusBadRequest, "invalid_request", "AADSTS501051"},
	} {
		w, got := ask(t, newService(t, managedidentity.IMDS), c.method, c.query, c.headers...)
		require.Equal(t, c.status, w.Code, name)
		require.Equal(t, c.code, got["error"], name)
		require.Contains(t, got["error_description"], c.text, name)
	}
	s := newService(t, managedidentity.IMDS)
	_, got := ask(t, s, http.MethodGet, query("resource", "api://orders/.default", "client_id", userID), "metadata", "True")
	require.Equal(t, []any{"Orders.Read"}, claimsOf(t, got)["roles"])
}

// App Service proves the program by a secret in its environment (Microsoft, "How to
// use managed identities for App Service and Azure Functions", "REST endpoint
// reference").
func TestAppService(t *testing.T) {
	s := newService(t, managedidentity.AppService)
	w, got := ask(t, s, http.MethodGet, query("api-version", "2019-08-01"), "X-IDENTITY-HEADER", header)
	require.Equal(t, http.StatusOK, w.Code, got)
	delete(got, "access_token")
	require.Equal(t, map[string]any{"client_id": systemID, "expires_on": "1772445600", "resource": "https://graph.microsoft.com/", "token_type": "Bearer"}, got)
	for name, headers := range map[string][]string{"none": nil, "another": {"X-IDENTITY-HEADER", "x"}, "that of a virtual machine": {"Metadata", "true"}} {
		w, got := ask(t, s, http.MethodGet, query(), headers...)
		require.Equal(t, http.StatusUnauthorized, w.Code, name)
		require.Equal(t, "unauthorized", got["error"], name)
	}
	s.Header = ""
	w, _ = ask(t, s, http.MethodGet, query(), "X-IDENTITY-HEADER", "")
	require.Equal(t, http.StatusUnauthorized, w.Code, "without a secret nobody is let in")
}

// Azure Arc proves the program by a file that only programs of the machine read
// (Microsoft, "Authenticate against Azure resources with Azure Arc-enabled servers").
func TestArc(t *testing.T) {
	s := newService(t, managedidentity.Arc)
	w, got := ask(t, s, http.MethodGet, query(), "Metadata", "true")
	require.Equal(t, http.StatusUnauthorized, w.Code, got)
	file, ok := strings.CutPrefix(w.Header().Get("WWW-Authenticate"), "Basic realm=")
	require.True(t, ok)
	require.Equal(t, s.KeyDir, filepath.Dir(file))
	require.Equal(t, ".key", filepath.Ext(file))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	key, err := os.ReadFile(file)
	require.NoError(t, err)

	w, _ = ask(t, s, http.MethodGet, query(), "Metadata", "true", "Authorization", "Basic x")
	require.Equal(t, http.StatusUnauthorized, w.Code)
	w, _ = ask(t, s, http.MethodGet, query(), "Metadata", "true", "Authorization", "Basic ")
	require.Equal(t, http.StatusUnauthorized, w.Code)
	w, got = ask(t, s, http.MethodGet, query(), "Metadata", "true", "Authorization", "Basic "+string(key))
	require.Equal(t, http.StatusOK, w.Code, got)
	w, _ = ask(t, s, http.MethodGet, query(), "Metadata", "true", "Authorization", "Basic "+string(key))
	require.Equal(t, http.StatusUnauthorized, w.Code, "it is good for one request")

	s.KeyDir = filepath.Join(s.KeyDir, "nowhere")
	w, got = ask(t, s, http.MethodGet, query(), "Metadata", "true")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Equal(t, "internal_error", got["error"])
}

// What the clients of Microsoft read from their environment.
func TestEnvironment(t *testing.T) {
	const base = "http://127.0.0.1:40123"
	for kind, want := range map[managedidentity.Kind][]string{
		managedidentity.IMDS:       {"AZURE_POD_IDENTITY_AUTHORITY_HOST=" + base},
		managedidentity.AppService: {"IDENTITY_ENDPOINT=" + base + "/msi/token", "IDENTITY_HEADER=" + header},
		managedidentity.Arc:        {"IDENTITY_ENDPOINT=" + base + "/metadata/identity/oauth2/token", "IMDS_ENDPOINT=" + base},
	} {
		require.Equal(t, want, (&managedidentity.Service{Kind: kind, Header: header}).Environment(base), kind)
	}
}
