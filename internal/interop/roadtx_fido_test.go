package interop

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// helloSignIn answers the passkey challenge of the first page with what roadlib
// signs. roadtx fidoauth itself puts a script of its own into that page, which
// the content security policy of the page forbids, as Microsoft's does.
func helloSignIn(t *testing.T, d *device, keyFile string) string {
	t.Helper()
	start := "https://login.microsoftonline.com/common/oauth2/authorize?" + url.Values{"client_id": {appID}, "response_type": {"code"},
		"redirect_uri": {native}, "resource": {"https://graph.microsoft.com"}, "login_hint": {alice}}.Encode()
	cfg := pageConfig(t, start)
	script, err := filepath.Abs(filepath.Join("testdata", "roadlib_fido.py"))
	require.NoError(t, err)
	cmd := running.command(t, "python", script, keyFile, running.tenantID, d.token(t)["oid"].(string), cfg["sFidoChallenge"].(string))
	cmd.Dir = d.dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	noFollow := *running.http
	noFollow.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	// The fields are those that roadtx sends (selenium.py).
	resp, err := noFollow.PostForm(cfg["urlPost"].(string), url.Values{
		cfg["sCanaryTokenName"].(string): {cfg["canary"].(string)}, cfg["sFTName"].(string): {cfg["sFT"].(string)},
		"lmcCanary": {cfg["sCrossDomainCanary"].(string)}, "ctx": {cfg["sCtx"].(string)}, "hpgrequestid": {cfg["sessionId"].(string)},
		"type": {"23"}, "ps": {"23"}, "assertion": {strings.TrimSpace(string(out))}})
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	to, err := url.Parse(resp.Header.Get("Location"))
	require.NoError(t, err)
	require.NotEmpty(t, to.Query().Get("code"))
	d.must(t, "codeauth", "-c", appID, "-r", "msgraph", "-ru", native, to.Query().Get("code"))
	require.Equal(t, []any{"rsa", "mfa"}, d.token(t)["amr"])
	return "token, signed in by the Hello key"
}

// pageConfig is the $Config object of a sign-in page, cut off where roadtx does.
func pageConfig(t *testing.T, start string) map[string]any {
	t.Helper()
	resp, err := running.http.Get(start)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(body), "$Config=")
	require.True(t, ok, html.EscapeString(string(body)))
	text, _, ok = strings.Cut(text, ";\n//]]></script>")
	require.True(t, ok)
	var cfg map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &cfg))
	return cfg
}
