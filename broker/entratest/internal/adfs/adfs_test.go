package adfs_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

const (
	base   = "https://sts.fed.example"
	secret = "JBSWY3DPEHPK3PXP"
)

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func newServer(t *testing.T) *adfs.Server {
	t.Helper()
	source := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{Domain: "contoso.example", Federated: []string{"fed.example"}, Users: []directory.UserSpec{
		{Username: "alice@fed.example", Password: "p<w"}, {Username: "bob@fed.example", Password: "pw", FederationTOTP: secret}, {Username: "carol", Password: "pw"},
	}}}, 1, source)
	require.NoError(t, err)
	clock := func() time.Time { return now }
	keeper := &session.Keeper{Directory: dir, Rand: source, Now: clock, Box: seal.New(source.Bytes(32), source)}
	s := &adfs.Server{Keeper: keeper, Mint: &mint.Mint{Keys: mint.NewKeys(), Keeper: keeper},
		Web:         web.New(web.Config{Directory: dir, Rand: source, Now: clock, Logf: t.Logf}),
		ErrorPage:   func(w http.ResponseWriter, _ *web.Request, err error) { http.Error(w, err.Error(), http.StatusOK) },
		FormTargets: func(*session.Flow) string { return "https://app.example" },
	}
	s.Routes()
	return s
}

func ask(s *adfs.Server, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, base+path, strings.NewReader(body))
	if method == http.MethodPost && !strings.Contains(path, "trust") {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	s.Web.ServeHTTP(w, r)
	return w
}

func rst(user, password, tokenType, appliesTo string) string {
	return `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header><o:Security xmlns:o="o"><o:UsernameToken><o:Username>` + user +
		`</o:Username><o:Password>` + adfs.Escape(password) + `</o:Password></o:UsernameToken></o:Security></s:Header><s:Body><t:RequestSecurityToken xmlns:t="t"><p:AppliesTo xmlns:p="p"><a:EndpointReference xmlns:a="a"><a:Address>` +
		appliesTo + `</a:Address></a:EndpointReference></p:AppliesTo><t:TokenType>` + tokenType + `</t:TokenType></t:RequestSecurityToken></s:Body></s:Envelope>`
}

// read finds the assertion of a reply and checks its signature.
func read(t *testing.T, s *adfs.Server, text string) *verify.SAML {
	t.Helper()
	from, to := strings.Index(text, "<saml:Assertion"), strings.LastIndex(text, "</saml:Assertion>")
	require.Positive(t, from, text)
	a, err := verify.ParseSAML([]byte(text[from:to+len("</saml:Assertion>")]), s.Mint.Keys.Public())
	require.NoError(t, err)
	return a
}

func TestWSTrust(t *testing.T) {
	s := newServer(t)
	u := s.Keeper.Directory.User("alice@fed.example")
	for path, tokenType := range map[string]string{"2005": "urn:oasis:names:tc:SAML:1.0:assertion", "13": "urn:oasis:names:tc:SAML:2.0:assertion"} {
		w := ask(s, "POST", "/adfs/services/trust/"+path+"/usernamemixed", rst("alice@fed.example", "p<w", tokenType, adfs.CloudAudience))
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		a := read(t, s, w.Body.String())
		require.Equal(t, adfs.ImmutableID(u), a.ImmutableID)
		require.Equal(t, adfs.Issuer("sts.fed.example"), a.Issuer)
		require.Equal(t, adfs.CloudAudience, a.Audience)
		require.Equal(t, "alice@fed.example", a.UPN)
		require.False(t, a.MultipleAuthn)
		require.Equal(t, time.Hour, a.NotOnOrAfter.Sub(a.NotBefore))
	}
	for name, body := range map[string]string{
		"no XML":            "{",
		"another audience":  rst("alice@fed.example", "p<w", "", "urn:x"),
		"a wrong password":  rst("alice@fed.example", "x", "", adfs.CloudAudience),
		"nobody":            rst("mallory@fed.example", "x", "", adfs.CloudAudience),
		"of another domain": rst("carol@contoso.example", "pw", "", adfs.CloudAudience),
	} {
		w := ask(s, "POST", "/adfs/services/trust/2005/usernamemixed", body)
		require.Equal(t, http.StatusInternalServerError, w.Code, name)
		require.Contains(t, w.Body.String(), "<s:Fault>", name)
	}
	w := ask(s, "GET", "/adfs/services/trust/mex", "")
	require.Contains(t, w.Body.String(), base+"/adfs/services/trust/13/usernamemixed")
}

func TestPage(t *testing.T) {
	s := newServer(t)
	to, err := url.Parse(adfs.URL("alice@fed.example", "ctx"))
	require.NoError(t, err)
	require.Equal(t, "sts.fed.example", to.Host)
	path := to.RequestURI()
	require.Contains(t, ask(s, "GET", path, "").Body.String(), `id="loginForm"`)
	require.Contains(t, ask(s, "GET", "/adfs/ls/?wa=x", "").Body.String(), "AADSTS50107")
	require.Contains(t, ask(s, "POST", path, url.Values{"UserName": {"alice@fed.example"}, "Password": {"x"}}.Encode()).Body.String(), "50126")
	done := ask(s, "POST", path, url.Values{"UserName": {"alice@fed.example"}, "Password": {"p<w"}}.Encode())
	require.Contains(t, done.Body.String(), `name="wresult"`)
	require.Contains(t, done.Body.String(), `value="ctx"`)
	require.NotContains(t, done.Body.String(), "multipleauthn")

	form := url.Values{"UserName": {"bob@fed.example"}, "Password": {"pw"}}
	require.Contains(t, ask(s, "POST", path, form.Encode()).Body.String(), "Enter code")
	form.Set("otc", "000000")
	require.Contains(t, ask(s, "POST", path, form.Encode()).Body.String(), "500121")
	raw, err := totp.Secret(secret)
	require.NoError(t, err)
	form.Set("otc", totp.Code(raw, uint64(now.Unix())/totp.Step))
	require.Contains(t, ask(s, "POST", path, form.Encode()).Body.String(), "multipleauthn")
}
