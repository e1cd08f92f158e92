package arm_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/arm"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

type world struct {
	*arm.Service
	dir *directory.Directory
}

func newWorld(t *testing.T) *world {
	t.Helper()
	source := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{
		Domain: "contoso.example",
		Users:  []directory.UserSpec{{Username: "alice"}},
	}}, 5, source)
	require.NoError(t, err)
	clock := func() time.Time { return now }
	w := &world{dir: dir}
	keeper := &session.Keeper{Directory: dir, Rand: source, Now: clock}
	w.Service = &arm.Service{Keeper: keeper, Mint: &mint.Mint{Keys: mint.NewKeys(), Keeper: keeper},
		Web: web.New(web.Config{Directory: dir, Rand: source, Now: clock, Logf: t.Logf, Log: directory.NewSignInLog(1)})}
	w.Routes()
	return w
}

// ask sends a request with a token of the user for the scopes.
func (w *world) ask(t *testing.T, user, scopes, method, path, body string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, "https://management.azure.com"+path, strings.NewReader(body))
	if user != "" {
		u := w.dir.User(user + "@contoso.example")
		ss := w.Keeper.NewSession(u, claims.Password)
		in := &mint.Issuance{Client: w.dir.App(u.Tenant, wire.ClientBroker), User: u, Session: &ss, Now: now,
			Resource: w.dir.Resource(u.Tenant, "https://management.azure.com"), Audience: "https://management.azure.com", Scopes: strings.Fields(scopes)}
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
	return rec.Code, out
}

func TestLists(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/tenants", "/subscriptions"} {
		status, got := w.ask(t, "alice", "user_impersonation", "GET", path+"?api-version=2022-12-01", "")
		require.Equal(t, http.StatusOK, status, path)
		require.Len(t, got["value"], 1)
		require.Equal(t, w.dir.Home().ID, got["value"].([]any)[0].(map[string]any)["tenantId"])
		status, _ = w.ask(t, "alice", "user_impersonation", "GET", path, "")
		require.Equal(t, http.StatusBadRequest, status, "without a version")
		status, _ = w.ask(t, "", "", "GET", path+"?api-version=2022-12-01", "")
		require.Equal(t, http.StatusUnauthorized, status, "without a token")
	}
}
