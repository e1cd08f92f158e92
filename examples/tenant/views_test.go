package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

const shopApp, ordersApp = "5b0c0a52-0000-4000-8000-000000000001", "5b0c0a52-0000-4000-8000-000000000003"

// views is a dashboard without a program around it.
type views struct {
	*dashboard
	t     *testing.T
	clock *entratest.Clock
	log   *strings.Builder
}

func newViews(t *testing.T) *views {
	t.Helper()
	var log strings.Builder
	clock := entratest.NewClock(time.Time{})
	srv, err := entratest.Start(entratest.Options{Clock: clock, Domain: "shop.example", ReplicationLag: -1,
		Logf:   func(format string, args ...any) { log.WriteString(format) },
		Users:  []entratest.User{{Username: "ann", Password: "correct horse"}, {Username: "ben", Password: "battery staple"}},
		Groups: []entratest.Group{{Name: "Managers", Members: []string{"ann"}}, {Name: "Staff", Members: []string{"Managers", "ben"}}},
		Apps: []entratest.App{{ClientID: shopApp, Name: "Shop front", Public: true, Redirects: []string{"http://localhost"}},
			{ClientID: ordersApp, Name: "Orders", URIs: []string{"api://orders"}}},
		Policies: []byte(`[
			{"id":"p1","displayName":"Orders need MFA","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + ordersApp + `"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["mfa"]}},
			{"id":"p2","displayName":"Tried out","state":"enabledForReportingButNotEnforced","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["compliantDevice"]}},
			{"id":"p3","displayName":"Browsers","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},"clientAppTypes":["browser"]},"grantControls":{"operator":"OR","builtInControls":["block"]}}]`),
	})
	require.NoError(t, err)
	t.Cleanup(srv.Close)
	return &views{newDashboard(srv, clock, nil, "127.0.0.1:8471"), t, clock, &log}
}

func (v *views) password(scope string) string {
	v.t.Helper()
	resp, err := v.srv.Client().PostForm("https://login.microsoftonline.com/shop.example/oauth2/v2.0/token", url.Values{"grant_type": {"password"},
		"client_id": {shopApp}, "username": {"ann@shop.example"}, "password": {"correct horse"}, "scope": {scope}})
	require.NoError(v.t, err)
	defer func() { _ = resp.Body.Close() }()
	return bodyOf(v.t, resp)
}

func (v *views) page(method, path string, form url.Values) (int, string) {
	r := httptest.NewRequest(method, "http://127.0.0.1:8471"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	w := httptest.NewRecorder()
	v.ServeHTTP(w, r)
	require.Equal(v.t, contentPolicy, w.Header().Get("Content-Security-Policy"))
	require.Equal(v.t, "no-store", w.Header().Get("Cache-Control"))
	return w.Code, w.Body.String()
}

// A sign-in reads like one of Entra's log: the result of each policy, and which
// condition did not match.
func TestSignInPage(t *testing.T) {
	v := newViews(t)
	require.NoError(t, v.srv.AddApp(entratest.App{ClientID: shopApp, Name: "Shop front", Public: true, AdminConsent: true}))
	require.Contains(t, v.password("api://orders/.default"), "50079", "ann has no method")
	status, html := v.page("GET", "/sign-ins/1", nil)
	require.Equal(t, http.StatusOK, status)
	for _, said := range []string{"Basic info", "Location", "Device info", "Authentication details", "ann@shop.example", "50079", "Mobile apps and desktop clients",
		"Orders need MFA <span class=\"tag bad\">Failure", "Tried out <span class=\"tag trial\">Report-only: Failure",
		"Browsers <span class=\"tag \">Not applied", "Not matched: <b>Client apps</b>", "mfa: not satisfied", "127.0.0.1"} {
		require.Contains(t, html, said)
	}
	require.NotContains(t, html, "Unique token identifier", "nothing was issued")
	require.Contains(t, v.password(shopApp+"/.default"), "access_token")
	_, html = v.page("GET", "/sign-ins/2", nil)
	require.Contains(t, html, "Not matched: <b>Target resources</b>")
	require.Contains(t, html, "Unique token identifier")
	for _, path := range []string{"/sign-ins/3", "/sign-ins/0", "/sign-ins/x"} {
		status, _ = v.page("GET", path, nil)
		require.Equal(t, http.StatusNotFound, status, path)
	}
}

// A pasted token is explained, and stays nowhere: neither in the state, nor in the log,
// nor on the page itself.
func TestTokensPage(t *testing.T) {
	v := newViews(t)
	reply := v.password("openid offline_access " + shopApp + "/.default")
	access, refresh := member(t, reply, "access_token"), member(t, reply, "refresh_token")
	before := v.log.String()
	paste := func(token string) string {
		status, html := v.page("POST", "/tokens", url.Values{"token": {token}})
		require.Equal(t, http.StatusOK, status)
		require.NotContains(t, html, token, "it is not repeated")
		return html
	}
	html := paste(access)
	for _, said := range []string{"access token <span class=\"tag good\">valid here", "ann@shop.example", "Shop front", "current key of this tenant", "/sign-ins/1", "Not matched: <b>Target resources</b>", "&#34;scp&#34;"} {
		require.Contains(t, html, said)
	}
	require.Contains(t, paste(refresh), "refresh token <span class=\"tag good\">valid here")
	require.Contains(t, paste(member(t, reply, "id_token")), "id_token <span class=\"tag good\">valid here")
	changed := access[:len(access)-8] + "AAAAAAAA"
	require.Contains(t, paste(changed), "the signature is not of a key that this server publishes")
	require.Contains(t, paste("telepathy"), "neither a JWT nor")
	v.clock.Advance(2 * time.Hour)
	require.Contains(t, paste(access), "it ended at")
	require.NoError(t, v.srv.Revoke("ann"))
	require.Contains(t, paste(refresh), "AADSTS50173")

	require.Equal(t, before, v.log.String())
	state, err := v.srv.State()
	require.NoError(t, err)
	for _, token := range []string{access, refresh, changed} {
		require.NotContains(t, string(state), token)
	}
	require.Len(t, v.srv.SignIns(), 1)
	require.Empty(t, v.notes)
}

// The page lists what the tenant has, and the search leaves what matches.
func TestSearch(t *testing.T) {
	v := newViews(t)
	v.password(shopApp + "/.default")
	_, html := v.page("GET", "/", nil)
	for _, said := range []string{`>Managers</h3>`, "Managers, ben@shop.example", "Orders", "api://orders", "Shop front"} {
		require.Contains(t, html, said)
	}
	_, html = v.page("GET", "/?q=ORDERS", nil)
	require.Contains(t, html, `id="app-`+ordersApp+`"`)
	require.NotContains(t, html, `id="app-`+shopApp+`"`)
	require.NotContains(t, html, `>Managers</h3>`)
	require.NotContains(t, html, `id="sign-in-1"`)
	require.Contains(t, html, "None matches.")
	_, html = v.page("GET", "/?q=ann%40shop", nil)
	require.Contains(t, html, `id="sign-in-1"`)
	require.Contains(t, html, `>Managers</h3>`, "the group has her")
	require.Contains(t, html, `href="/?q=ann%40shop#users"`, "other sections keep the search")
}

// What a user consented to is shown, and can be withdrawn.
func TestConsentCards(t *testing.T) {
	v := newViews(t)
	require.NoError(t, v.srv.SetPolicies([]byte("[]")))
	p := entratest.Person{Username: "ann@shop.example", Password: "correct horse"}
	_, err := p.Authorize(t.Context(), v.srv.Client(), "https://login.microsoftonline.com/shop.example/oauth2/v2.0/authorize?"+url.Values{
		"client_id": {shopApp}, "response_type": {"code"}, "redirect_uri": {"http://localhost"}, "scope": {"openid api://orders/user_impersonation"}}.Encode(), "http://localhost")
	require.NoError(t, err)
	require.Equal(t, []entratest.Consent{{Username: "ann@shop.example", ClientID: shopApp, Resource: ordersApp, Scopes: []string{"user_impersonation"}}}, v.srv.Consents())
	_, html := v.page("GET", "/", nil)
	require.Contains(t, html, "ann@shop.example <small>to Shop front")
	require.Contains(t, v.password("api://orders/user_impersonation"), "access_token")
	status, _ := v.page("POST", "/do/withdraw-consent", url.Values{"user": {"ann@shop.example"}, "client": {shopApp}})
	require.Equal(t, http.StatusSeeOther, status)
	require.Empty(t, v.srv.Consents())
	require.Contains(t, v.password("api://orders/user_impersonation"), "65001")
	require.ErrorContains(t, v.srv.WithdrawConsent("ann", shopApp), "has not consented")
	require.Equal(t, "ann@shop.example withdrew the consent to Shop front", v.notes[len(v.notes)-1].Text, strconv.Itoa(len(v.notes)))
}

func bodyOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(text)
}

// member is a text of a JSON object.
func member(t *testing.T, object, name string) string {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(object), &v))
	text, _ := v[name].(string)
	require.NotEmpty(t, text, object)
	return text
}
