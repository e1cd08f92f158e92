package entratest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func stateForm(t *testing.T, s *Server, form url.Values) (int, map[string]any) {
	t.Helper()
	resp, err := s.Client().PostForm("https://login.microsoftonline.com/organizations/oauth2/v2.0/token", form)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var reply map[string]any
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&reply))
	return resp.StatusCode, reply
}

func TestState(t *testing.T) {
	first, err := Start(Options{
		Seed: 3, Clock: NewRunningClock(time.Now()),
		Users:  []User{{Username: "alice", Password: "pw", TOTPSecret: "JBSWY3DPEHPK3PXP"}},
		Groups: []Group{{Name: "Inner", Members: []string{"alice"}}, {Name: "Outer", Members: []string{"Inner"}}},
		Apps:   []App{{ClientID: "7a11e51e-0001-4000-8000-0000000000aa", Name: "App", Public: true, AdminConsent: true}},
	})
	require.NoError(t, err)
	form := url.Values{"grant_type": {"password"}, "username": {"alice@contoso.example"}, "password": {"pw"},
		"client_id": {"7a11e51e-0001-4000-8000-0000000000aa"}, "scope": {"https://graph.microsoft.com/.default offline_access openid"}}
	status, reply := stateForm(t, first, form)
	require.Equal(t, http.StatusOK, status, reply)
	first.clock.Advance(48 * time.Hour)
	require.NoError(t, first.SetRisk("alice", "low", "none"))
	state, err := first.State()
	require.NoError(t, err)
	again, err := first.State()
	require.NoError(t, err)
	require.Equal(t, string(state), string(again), "equal states, equal bytes")
	first.Close()

	second, err := Start(Options{State: state, Clock: NewRunningClock(time.Now())})
	require.NoError(t, err)
	defer second.Close()
	require.Equal(t, first.TenantID(), second.TenantID())
	require.Equal(t, first.CA(), second.CA())
	require.InDelta(t, 48*3600, time.Until(second.Now()).Seconds(), 10)
	require.Len(t, second.SignIns(), 1)
	users := second.Users()
	require.Len(t, users, 1)
	require.Equal(t, []string{"Inner", "Outer"}, users[0].Groups)
	require.Equal(t, "low", users[0].UserRisk)

	status, reply = stateForm(t, second, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {reply["refresh_token"].(string)},
		"client_id": form["client_id"], "scope": form["scope"]})
	require.Equal(t, http.StatusOK, status, reply)
	log := second.SignIns()
	require.Len(t, log, 2)
	require.EqualValues(t, 2, log[1].Seq)

	for name, bad := range map[string]string{"no JSON": "x", "another format": `{"Format":99}`} {
		_, err := Start(Options{State: []byte(bad)})
		require.ErrorContains(t, err, "state", name)
	}
}
