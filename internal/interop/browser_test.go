package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// page is a browser tab that remembers what its console said.
type page struct {
	ctx     context.Context
	mu      sync.Mutex // guards console
	console []string
}

// openBrowser starts Chromium at the width of a phone or a desk. It reaches
// the tenant through the proxy, and the dashboard past it, unless more options
// lead it elsewhere.
func openBrowser(t *testing.T, width int64, more ...chromedp.ExecAllocatorOption) *page {
	t.Helper()
	// Chromium writes there for a while after its end; TestMain removes it.
	profile, err := os.MkdirTemp(running.dir, "chromium-")
	require.NoError(t, err)
	opts := append(chromedp.DefaultExecAllocatorOptions[:0:0], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.Headless,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.UserDataDir(profile),
		chromedp.ProxyServer(running.proxy), chromedp.Flag("proxy-bypass-list", "127.0.0.1;localhost"),
		// Chromium reads no file of authorities; the clients above verify them.
		chromedp.Flag("ignore-certificate-errors", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(opts, more...)...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 100*time.Second)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := &page{ctx: ctx}
	chromedp.ListenTarget(ctx, func(ev any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			p.console = append(p.console, ev.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if ev.Type == runtime.APITypeError || ev.Type == runtime.APITypeWarning {
				p.console = append(p.console, fmt.Sprint(ev.Type))
			}
		case *cdplog.EventEntryAdded:
			if ev.Entry.Level == cdplog.LevelError || ev.Entry.Level == cdplog.LevelWarning {
				p.console = append(p.console, ev.Entry.Text+" "+ev.Entry.URL)
			}
		}
	})
	p.run(t, cdplog.Enable(), runtime.Enable(), emulation.SetDeviceMetricsOverride(width, 800, 1, width < 500))
	return p
}

func (p *page) run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	require.NoError(t, chromedp.Run(p.ctx, actions...))
}

func (p *page) eval(t *testing.T, js string) (out string) {
	t.Helper()
	p.run(t, chromedp.Evaluate(js, &out))
	return out
}

// until waits for a condition in the page, across navigations.
func (p *page) until(t *testing.T, js string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		var ok bool
		if last = chromedp.Run(p.ctx, chromedp.Evaluate("Boolean("+js+") && document.readyState === 'complete'", &ok)); last == nil && ok {
			return
		}
		select {
		case <-p.ctx.Done():
			t.Fatalf("waited in vain for %s: %v; the page says %q", js, last, p.text())
		case <-tick.C:
		}
	}
}

// text is what the page says, when it can still be asked.
func (p *page) text() (out string) {
	_ = chromedp.Run(p.ctx, chromedp.Evaluate("document.body.innerText.slice(0, 300)", &out))
	return out
}

// check asserts what must hold of every page: a quiet console, no sideways
// scrolling, a name for every control, targets that a finger can hit.
func (p *page) check(t *testing.T, name string) {
	t.Helper()
	p.screenshot(t, name)
	wrong := p.eval(t, `(() => {
		const wrong = [];
		const width = screen.width < 500 ? screen.width : innerWidth; // a phone zooms out of a page that is too wide
		if (document.documentElement.scrollWidth > width) wrong.push("scrolls sideways: " + document.documentElement.scrollWidth + " > " + width);
		if (!document.documentElement.lang) wrong.push("no language");
		if (!document.title) wrong.push("no title");
		if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
		const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
		ids.filter((id, i) => ids.indexOf(id) !== i).forEach(id => wrong.push("two elements #" + id));
		for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea, button, a[href], summary")) {
			const name = e.getAttribute("aria-label") || e.textContent.trim() || [...(e.labels || [])].map(l => l.textContent).join("").trim();
			if (!name) wrong.push("no name: " + e.outerHTML.slice(0, 80));
			const box = e.getBoundingClientRect();
			if (e.matches("button, input") && box.height && box.height < 24) wrong.push("too low: " + e.outerHTML.slice(0, 80));
			if (e.tabIndex > 0) wrong.push("tabindex: " + e.outerHTML.slice(0, 80));
		}
		for (const e of document.querySelectorAll("[src], link[href]")) if (new URL(e.src || e.href).origin !== location.origin) wrong.push("external: " + (e.src || e.href));
		return wrong.join("\n");
	})()`)
	require.Empty(t, wrong, name)
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Empty(t, p.console, name)
}

// screenshot goes to the directory that INTEROP_SCREENSHOTS names, if any.
func (p *page) screenshot(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("INTEROP_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	p.run(t, chromedp.FullScreenshot(&png, 100))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600))
}

// tabTo presses Tab until the element has the focus, as somebody without a
// mouse does, and checks that the focus can be seen.
func (p *page) tabTo(t *testing.T, selector string) {
	t.Helper()
	quoted, err := json.Marshal(selector)
	require.NoError(t, err)
	for range 200 {
		p.run(t, chromedp.KeyEvent(kb.Tab))
		if p.eval(t, `String(document.activeElement.matches(`+string(quoted)+`))`) == "true" {
			require.NotEqual(t, "none", p.eval(t, `getComputedStyle(document.activeElement).outlineStyle`), "the focus on %s is invisible", selector)
			return
		}
	}
	t.Fatalf("Tab does not reach %s", selector)
}

func (p *page) typeKeys(t *testing.T, text string) {
	t.Helper()
	p.run(t, chromedp.KeyEvent(text))
}

// authorizeURL asks for the app, with a redirect that shows a page.
func authorizeURL(scope, hint string) string {
	return "https://login.microsoftonline.com/" + running.tenantID + "/oauth2/v2.0/authorize?" + url.Values{"client_id": {appID}, "response_type": {"code"},
		"redirect_uri": {native}, "scope": {scope + " openid"}, "login_hint": {hint}, "prompt": {"login"}}.Encode()
}

func TestBrowserSignIn(t *testing.T) {
	t.Parallel()
	const client = "Chromium"
	flow(t, client, "sign-in pages at phone width, keyboard alone", func(t *testing.T) string {
		p := openBrowser(t, 360)
		p.run(t, chromedp.Navigate(authorizeURL(payroll, "")))
		p.until(t, `document.querySelector("#i0116") !== null`)
		p.check(t, "signin")
		p.until(t, `document.activeElement.id === "i0116"`) // nobody has to look for the field
		require.Contains(t, p.text(), "to continue to Desktop app")
		p.typeKeys(t, alice)
		p.tabTo(t, "#i0118")
		p.typeKeys(t, "wrong"+kb.Enter)
		p.until(t, `document.querySelector("[role=alert]")?.textContent.includes("username or password")`)
		p.check(t, "signin-wrong-password")
		p.until(t, `document.activeElement.id === "i0118"`)
		p.typeKeys(t, alicePwd+kb.Enter)
		p.until(t, `document.querySelector("#idTxtBx_SAOTCC_OTC") !== null`)
		p.check(t, "code")
		p.run(t, chromedp.Focus("#idTxtBx_SAOTCC_OTC"))
		p.typeKeys(t, oneTimeCode(t)+kb.Enter)
		p.until(t, `location.search.includes("code=")`)
		p.check(t, "nativeclient")
		return "signed in with a password and a code"
	})
	flow(t, client, "number match, answered on the dashboard", func(t *testing.T) string {
		p := openBrowser(t, 360)
		p.run(t, chromedp.Navigate(authorizeURL(payroll, "carol@contoso.example")))
		p.until(t, `document.activeElement.id === "i0118"`)
		p.typeKeys(t, "paper clip"+kb.Enter)
		p.until(t, `/\b\d\d\b/.test(document.querySelector("main").innerText)`)
		p.check(t, "number")
		number := p.eval(t, `document.querySelector("main").innerText.match(/\b\d\d\b/)[0]`)
		running.press(t, "answer", url.Values{"user": {"carol@contoso.example"}, "number": {number}})
		p.tabTo(t, "button")
		p.typeKeys(t, kb.Enter)
		p.until(t, `location.search.includes("code=")`)
		return "signed in"
	})
	flow(t, client, "wrong password", func(t *testing.T) string {
		p := openBrowser(t, 360)
		p.run(t, chromedp.Navigate(authorizeURL(payroll, bob)))
		p.until(t, `document.activeElement.id === "i0118"`)
		p.typeKeys(t, "wrong"+kb.Enter)
		p.until(t, `document.querySelector("[role=alert]")?.dataset.aadsts === "50126"`)
		return "a page that says AADSTS50126"
	})
	flow(t, client, "blocked by policy", func(t *testing.T) string {
		p := openBrowser(t, 360)
		p.run(t, chromedp.Navigate(authorizeURL(secrets, bob)))
		p.until(t, `document.activeElement.id === "i0118"`)
		p.typeKeys(t, bobPwd+kb.Enter)
		p.until(t, `document.body.innerText.includes("53003")`)
		p.screenshot(t, "blocked")
		return "a page that says AADSTS53003"
	})
	flow(t, client, "device code page", func(t *testing.T) string {
		dc, err := newMSAL(t).AcquireTokenByDeviceCode(t.Context(), []string{userRead})
		require.NoError(t, err)
		p := openBrowser(t, 360)
		p.run(t, chromedp.Navigate("https://microsoft.com/devicelogin"))
		p.until(t, `document.activeElement.id === "otc"`)
		p.check(t, "devicelogin")
		p.typeKeys(t, dc.Result.UserCode+kb.Enter)
		p.until(t, `document.activeElement.id === "i0116"`)
		p.typeKeys(t, bob)
		p.tabTo(t, "#i0118")
		p.typeKeys(t, bobPwd+kb.Enter)
		p.until(t, `document.querySelector("h1").innerText.includes("Are you trying to sign in to Desktop app?")`)
		p.check(t, "devicelogin-confirm")
		p.tabTo(t, "#idSIButton9")
		p.typeKeys(t, kb.Enter)
		p.until(t, `document.querySelector("h1").innerText.includes("signed in")`)
		p.check(t, "devicelogin-done")
		_, err = dc.AuthenticationResult(t.Context())
		require.NoError(t, err)
		return "approved"
	})
}

func oneTimeCode(t *testing.T) string {
	t.Helper()
	code := regexpCode.FindStringSubmatch(get(t, running.dashboard))
	require.NotNil(t, code, "the dashboard shows no code")
	return code[1]
}

func TestBrowserDashboard(t *testing.T) {
	t.Parallel()
	const client = "Chromium"
	running.press(t, "sync-computer", computer(t, "9d2b1c5e-2222-4222-8333-944455566677", "LAPTOP"))
	flow(t, client, "dashboard at phone width, keyboard alone", func(t *testing.T) string {
		p := openBrowser(t, 360)
		p.run(t, chromedp.Navigate(running.dashboard))
		p.check(t, "dashboard-phone")
		p.run(t, chromedp.KeyEvent(kb.Tab))
		require.Equal(t, "Skip to the content", p.eval(t, `document.activeElement.textContent`))
		laptop := `#device-9d2b1c5e-2222-4222-8333-944455566677-e`
		p.tabTo(t, laptop)
		p.typeKeys(t, kb.Enter)
		p.until(t, `document.querySelector("`+laptop+`")?.textContent === "Disable"`)
		p.until(t, `document.querySelector("#log").textContent.includes("LAPTOP was enabled")`)
		p.tabTo(t, laptop)
		p.typeKeys(t, kb.Enter)
		p.until(t, `document.querySelector("`+laptop+`")?.textContent === "Enable"`)
		p.check(t, "dashboard-phone-after")
		return "a device enabled and disabled"
	})
	flow(t, client, "deleting asks first, keyboard alone", func(t *testing.T) string {
		const id = "9d2b1c5e-2222-4222-8333-944455566688"
		running.press(t, "sync-computer", computer(t, id, "OLD-PC"))
		there := func() bool {
			return slices.ContainsFunc(running.state(t).Devices, func(d entratest.DeviceStatus) bool { return d.ID == id })
		}
		p := openBrowser(t, 360)
		p.run(t, chromedp.Navigate(running.dashboard))
		p.tabTo(t, "#device-"+id+"-dels")
		p.typeKeys(t, kb.Enter)
		p.until(t, `document.querySelector("#device-`+id+`-del").open`)
		p.check(t, "dashboard-delete")
		require.True(t, there(), "opening the question deleted the device")
		p.tabTo(t, "#device-"+id+"-x")
		require.Equal(t, "Delete the device OLD-PC", p.eval(t, `document.activeElement.textContent`))
		p.typeKeys(t, kb.Enter)
		p.until(t, `document.querySelector("#log").textContent.includes("OLD-PC was deleted")`)
		require.False(t, there())
		return "a device deleted after a question"
	})
	flow(t, client, "dashboard, live", func(t *testing.T) string {
		p := openBrowser(t, 1200)
		p.run(t, chromedp.Navigate(running.dashboard+"?q=wrong-user"))
		p.until(t, `document.querySelector("#log .none") !== null`)
		before := len(running.state(t).SignIns)
		p.run(t, chromedp.Navigate(running.dashboard), chromedp.Evaluate(`document.querySelector("#users details").open = true`, nil),
			chromedp.SendKeys("#users input[name=password]", "half a"))
		_, err := ropc(t, newMSAL(t), []string{payroll}, bob, bobPwd)
		require.ErrorContains(t, err, "AADSTS50079")
		// The rest of the page goes on while somebody types in a part of it.
		p.until(t, fmt.Sprintf(`[...document.querySelectorAll("#log li")].some(l => l.id.startsWith("sign-in-") && +l.id.slice(8) > %d && l.textContent.includes("AADSTS50079 the user must register a second factor"))`, before))
		require.Equal(t, "half a", p.eval(t, `document.activeElement.value`))
		p.run(t, chromedp.Evaluate(`document.querySelector("#log details summary").click()`, nil))
		p.check(t, "dashboard-wide")
		return "a refused sign-in with its policy appears"
	})
	flow(t, client, "dashboard, a sign-in in detail", func(t *testing.T) string {
		_, err := ropc(t, newMSAL(t), []string{payroll}, bob, bobPwd)
		require.ErrorContains(t, err, "AADSTS50079")
		log := running.state(t).SignIns
		for _, width := range []int64{360, 1200} {
			p := openBrowser(t, width)
			p.run(t, chromedp.Navigate(fmt.Sprintf("%ssign-ins/%d", running.dashboard, log[len(log)-1].Seq)))
			p.until(t, `document.body.innerText.includes("Payroll needs MFA")`)
			for _, said := range []string{"Basic info", "Location", "Device info", "Authentication details", "Conditional Access", "Failure", "Not matched: Target resources"} {
				require.Contains(t, p.eval(t, `document.body.innerText`), said)
			}
			p.check(t, fmt.Sprint("dashboard-sign-in-", width))
		}
		return "why each policy applied, or which condition did not match"
	})
	flow(t, client, "dashboard, what is in a token", func(t *testing.T) string {
		r, err := ropc(t, newMSAL(t), []string{appID + "/.default"}, bob, bobPwd)
		require.NoError(t, err)
		for _, width := range []int64{360, 1200} {
			p := openBrowser(t, width)
			p.run(t, chromedp.Navigate(running.dashboard+"tokens"))
			p.check(t, fmt.Sprint("dashboard-tokens-", width))
			p.run(t, chromedp.SetValue("#token", r.AccessToken), chromedp.Click("main button"))
			p.until(t, `document.querySelector("#report") !== null`)
			require.Contains(t, p.eval(t, `document.body.innerText`), "valid here")
			require.Contains(t, p.eval(t, `document.body.innerText`), bob)
			require.Equal(t, running.dashboard+"tokens", p.eval(t, `location.href`))
			p.check(t, fmt.Sprint("dashboard-token-", width))
			p.run(t, chromedp.Click(`a[href^="/sign-ins/"]`))
			p.until(t, `document.body.innerText.includes("Basic info")`)
		}
		return "an access token: valid, whose, and the sign-in that gave it"
	})
	flow(t, client, "dashboard, search", func(t *testing.T) string {
		p := openBrowser(t, 360)
		p.run(t, chromedp.Navigate(running.dashboard), chromedp.SendKeys("#q", "carol"+kb.Enter))
		p.until(t, `location.search === "?q=carol" && document.querySelectorAll("#users article").length === 1`)
		require.Contains(t, p.eval(t, `document.body.innerText`), "carol@")
		require.Equal(t, "0", p.eval(t, `String(document.querySelectorAll("#apps article").length)`))
		p.check(t, "dashboard-search")
		return "users, groups, applications, devices and sign-ins that match"
	})
	flow(t, client, "dashboard without script", func(t *testing.T) string {
		html := get(t, running.dashboard)
		require.Contains(t, html, `formaction="/do/revoke"`)
		require.NotContains(t, strings.ToLower(html), "onclick")
		return "the same page, with forms"
	})
}
