package login_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/browser"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
)

// The page of a device code: which codes it takes, and that the user is asked which
// app it is for (RFC 8628, 5.4).
func TestDeviceCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := func(user string) {
		w.Keeper.Pending.AddDeviceLogin(&session.DeviceLogin{DeviceCode: "device " + user, UserCode: user, Client: app, Resource: "api://payroll", Expires: w.now.Add(time.Minute).Unix()}, w.now)
	}
	state := func(user string) session.LoginState {
		d, ok := w.Keeper.Pending.DeviceLogin("device " + user)
		require.True(t, ok)
		return d.State
	}
	enter := func(code string) *reply { return w.post("/common/oauth2/deviceauth", "otc", code) }
	require.Equal(t, base+"/common/oauth2/deviceauth?otc=ABC", w.get("https://microsoft.com/devicelogin?otc=ABC").header.Get("Location"))
	require.Contains(t, w.get("/common/oauth2/deviceauth?otc=ABC").body, `value="ABC"`)
	require.Equal(t, "ConvergedRemoteConnect 90119", enter(" ").page())
	require.Equal(t, "ConvergedRemoteConnect 70018", enter("NONE").page())

	begin("GOOD")
	require.NoError(t, browser.Person{Username: "alice@contoso.example", Password: password}.ApproveDeviceCode(t.Context(), &http.Client{Transport: w}, "good"))
	require.Equal(t, session.LoginApproved, state("GOOD"))
	require.Equal(t, "device_code_page", w.last().Grant)
	require.Equal(t, "ConvergedRemoteConnect 90120", enter("GOOD").page(), "used")

	begin("DECLINED")
	first := enter("DECLINED")
	confirm := w.post(first.str("urlPost"), "login", "alice@contoso.example", "passwd", password, "ctx", first.str("sCtx"))
	require.Equal(t, "CmsiInterrupt", confirm.page())
	require.Contains(t, confirm.body, "Payroll")
	w.post("/appverify", "ctx", confirm.str("sCtx"), "ContinueAuth", "false")
	require.Equal(t, session.LoginDeclined, state("DECLINED"))
	require.Equal(t, "ConvergedError 90120", w.post("/appverify", "ctx", confirm.str("sCtx"), "ContinueAuth", "true").page(), "declined is declined")
	require.Equal(t, "ConvergedError 90023", w.post("/appverify", "ctx", w.typed("alice", "amr_values", "mfa").str("sCtx"), "ContinueAuth", "true").page(), "no app waits")

	begin("LATE")
	w.now = w.now.Add(time.Minute)
	require.Equal(t, "ConvergedRemoteConnect 70019", enter("LATE").page())
}

// A tenant may have the user of a native app say that it is the one that was meant.
func TestConfirmApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Traits.ConfirmApp = true
	require.NotEmpty(t, w.typed("alice").location(t).Get("code"), "its redirect URI is https")
	third := []string{"client_id", "44444444-5555-4666-8777-888888888888", "redirect_uri", "msauth.third://auth?x=1", "resource", "https://graph.microsoft.com", "scope", "openid"}
	page := w.typed("alice", third...)
	page = w.post(page.str("urlPost"), "ctx", page.str("sCtx"), "consent", "accept")
	require.Equal(t, "CmsiInterrupt", page.page())
	require.Contains(t, page.body, "Third")
	require.NotContains(t, page.body, "showed you a code")
	signedIn := w.post(page.str("urlPost"), "ctx", page.str("sCtx"), "ContinueAuth", "true")
	require.NotEmpty(t, signedIn.location(t).Get("code"))
	cookie, _, _ := strings.Cut(signedIn.header.Get("Set-Cookie"), ";")
	require.Equal(t, "access_denied", w.post(page.str("urlPost"), "ctx", page.str("sCtx"), "ContinueAuth", "false").location(t).Get("error"))
	require.Equal(t, "interaction_required", w.get(start(append(third, "prompt", "none")...), "Cookie", cookie).location(t).Get("error"))
}
