package interop

import (
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// TestBrowserSession is Chromium with a session of its own.
func TestBrowserSession(t *testing.T) {
	t.Parallel()
	const client = "Chromium"
	authorize := func(kv ...string) string {
		q := url.Values{"client_id": {appID}, "response_type": {"code"}, "redirect_uri": {native}, "scope": {userRead + " openid"}}
		for i := 0; i < len(kv); i += 2 {
			q.Set(kv[i], kv[i+1])
		}
		return "https://login.microsoftonline.com/" + running.tenantID + "/oauth2/v2.0/authorize?" + q.Encode()
	}
	flow(t, client, "single sign-on, prompt=none, sign out", func(t *testing.T) string {
		p := openBrowser(t, 900)
		p.run(t, chromedp.Navigate(authorize("prompt", "none")))
		p.until(t, `location.search.includes("error=login_required")`)
		p.run(t, chromedp.Navigate(authorize("login_hint", bob)))
		p.until(t, `document.querySelector("#i0118") !== null`)
		p.run(t, chromedp.Focus("#i0118"))
		p.typeKeys(t, bobPwd+kb.Enter)
		p.until(t, `location.search.includes("code=")`)
		p.run(t, chromedp.Navigate(authorize("prompt", "none", "response_mode", "fragment")))
		p.until(t, `location.hash.includes("code=")`)
		p.run(t, chromedp.Navigate(authorize("prompt", "none", "max_age", "0")))
		p.until(t, `location.search.includes("error=login_required")`)
		p.run(t, chromedp.Navigate("https://login.microsoftonline.com/"+running.tenantID+"/oauth2/v2.0/logout"))
		p.until(t, `document.querySelector("h1").innerText.includes("signed out")`)
		p.check(t, "signed-out")
		p.run(t, chromedp.Navigate(authorize("prompt", "none")))
		p.until(t, `location.search.includes("error=login_required")`)
		return "silent after one sign-in; login_required before, after, and beyond max_age"
	})
	flow(t, client, "federated user at phone width, keyboard alone", func(t *testing.T) string {
		sessions.Lock()
		defer sessions.Unlock()
		p := openBrowser(t, 360)
		p.run(t, chromedp.Navigate(authorize()))
		p.until(t, `document.querySelector("#i0116") !== null`)
		p.tabTo(t, "#i0116")
		p.typeKeys(t, dave+kb.Enter)
		p.until(t, `location.hostname === "sts.corp.contoso.example" && document.querySelector("#passwordInput") !== null`)
		p.check(t, "federation")
		require.Equal(t, dave, p.eval(t, `document.querySelector("#userNameInput").value`))
		p.run(t, chromedp.Focus("#passwordInput"))
		p.typeKeys(t, "wrong"+kb.Enter)
		p.until(t, `document.querySelector("[role=alert]") !== null`)
		p.check(t, "federation-wrong-password")
		p.run(t, chromedp.Focus("#passwordInput"))
		p.typeKeys(t, davePwd+kb.Enter)
		p.until(t, `location.search.includes("code=")`)
		return "sent to the federation server and back"
	})
	flow(t, client, "Enter after the user name", func(t *testing.T) string {
		p := openBrowser(t, 360)
		p.run(t, chromedp.Navigate(authorize()))
		p.until(t, `document.querySelector("#i0116") !== null`)
		p.run(t, chromedp.Focus("#i0116"))
		p.typeKeys(t, bob+kb.Enter)
		p.until(t, `document.activeElement.id === "i0118"`)
		p.typeKeys(t, bobPwd+kb.Enter)
		p.until(t, `location.search.includes("code=")`)
		return "goes on to the password"
	})
}
