package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// A real Chromium starts nativehost, as it starts it for linux-entra-sso, and
// signs in at the emulator's page with the cookie that the host returned:
// nobody types anything. Without the cookie the same page asks who is there.
func TestNativeHostInChromium(t *testing.T) {
	const who = "Chromium with nativehost"
	d := newDesk(t)
	program := filepath.Join(d.dir, "nativehost")
	out, err := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-o", program, "./examples/nativehost").CombinedOutput()
	require.NoError(t, err, "%s", out)
	install := exec.Command(program, "-install")
	install.Env = append(os.Environ(), "HOME="+d.dir)
	out, err = install.CombinedOutput()
	require.NoError(t, err, "%s", out)

	authorize := "https://login.microsoftonline.com/" + d.srv.TenantID() + "/oauth2/v2.0/authorize?" + url.Values{"client_id": {appID},
		"response_type": {"code"}, "redirect_uri": {native}, "scope": {"openid profile " + userRead}}.Encode()
	_, port, err := net.SplitHostPort(d.srv.Addr())
	require.NoError(t, err)
	toEmulator := []chromedp.ExecAllocatorOption{chromedp.Flag("proxy-server", false), chromedp.Flag("proxy-bypass-list", false),
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1:"+port)}

	flow(t, who, "without the cookie", func(t *testing.T) string {
		p := openBrowser(t, 900, toEmulator...)
		p.run(t, chromedp.Navigate(authorize))
		p.until(t, `document.querySelector("#i0116") !== null`)
		p.check(t, "desk-without-cookie")
		return "the page asks who is there"
	})
	flow(t, who, "signs in with the host's cookie", func(t *testing.T) string {
		extension, err := filepath.Abs(filepath.Join("testdata", "extension"))
		require.NoError(t, err)
		// Chromium calls an extension that has no key by the hash of its path.
		sum := sha256.Sum256([]byte(extension))
		id := strings.Map(func(r rune) rune {
			if r >= 'a' {
				return r - 'a' + 'k'
			}
			return r - '0' + 'a'
		}, hex.EncodeToString(sum[:16]))
		profile := filepath.Join(d.dir, ".config", "chromium")
		allow(t, filepath.Join(profile, "NativeMessagingHosts", "linux_entra_sso.json"), id)
		p := openBrowser(t, 900, append(toEmulator, chromedp.UserDataDir(profile), chromedp.Env(d.env...),
			chromedp.Flag("load-extension", extension), chromedp.Flag("disable-features", "DisableLoadExtensionCommandLineSwitch"))...)
		state := func(want string) {
			p.run(t, chromedp.Navigate("chrome-extension://"+id+"/state.html"))
			p.until(t, `document.querySelector("#state").textContent === "`+want+`"`)
		}
		state("ready, nonce none")
		var log []any
		require.NoError(t, json.Unmarshal([]byte(p.eval(t, `document.querySelector("#log").textContent`)), &log))
		require.Equal(t, "brokerStateChanged", log[0])
		require.ElementsMatch(t, []any{"brokerStateChanged", "getVersion", "getAccounts", []any{alice}, "acquirePrtSsoCookie"}, log)
		// A cookie for no page has no nonce: the emulator sends the browser for
		// one, and again with sso_reload. The host is asked for a cookie each
		// time, which may be there before the second page.
		p.run(t, chromedp.Navigate(authorize))
		p.until(t, `location.search.includes("sso_reload=") || location.search.includes("code=")`)
		if page, err := url.Parse(p.eval(t, `location.href`)); err == nil && !page.Query().Has("code") {
			state("ready, nonce " + page.Query().Get("sso_nonce"))
			p.run(t, chromedp.Navigate(page.String()))
		}
		p.signedIn(t)
		p.screenshot(t, "desk-with-cookie")
		require.Zero(t, d.person.asked.Load())
		return "signed in with the cookie for the page's nonce; no page asked anything"
	})
}

// allow puts an extension into a native-messaging manifest, in place of the one
// of the store.
func allow(t *testing.T, file, id string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(text, &m))
	require.Equal(t, []any{"chrome-extension://jlnfnnolkbjieggibinobhkjdfbpcohn/"}, m["allowed_origins"])
	m["allowed_origins"] = []string{"chrome-extension://" + id + "/"}
	text, err = json.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, text, 0o600))
}
