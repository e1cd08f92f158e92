package login_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The cookie of a session signs in until the request, or the tenant's settings,
// want more.
func TestBrowserSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.AskToStaySignedIn = true
	kmsi := w.typed("alice")
	require.Equal(t, "KmsiInterrupt", kmsi.page(), kmsi.body)
	w.post("/kmsi", "ctx", kmsi.str("sCtx"))
	require.Len(t, w.kept, 2)
	for _, c := range w.kept {
		require.True(t, c.Secure && c.HttpOnly, c.Name)
	}
	require.Equal(t, "ESTSAUTHPERSISTENT", w.kept[1].Name)
	require.Equal(t, 90*24*3600, w.kept[1].MaxAge)
	cookie := w.kept[1].String()
	cookie = cookie[:strings.Index(cookie, ";")]
	silent := func(kv ...string) *reply { return w.get(start(append(kv, "prompt", "none")...), "Cookie", cookie) }

	r := silent()
	require.NotEmpty(t, r.location(t).Get("code"), r.header)
	require.False(t, w.last().Interactive)
	require.Equal(t, "AADSTS50058", silent("login_hint", "bob@contoso.example").error(t), "somebody else")
	require.NotEmpty(t, silent("login_hint", "alice@contoso.example").location(t).Get("code"))
	require.Equal(t, "AADSTS50076", silent("amr_values", "mfa").error(t))
	require.Equal(t, "AADSTS65001", silent("client_id", "44444444-5555-4666-8777-888888888888", "resource", "", "scope", "Mail.Read", "path", "/common/oauth2/v2.0/authorize").error(t))
	require.Equal(t, "ConvergedSignIn", w.get(start("prompt", "login"), "Cookie", cookie).page())
	require.Equal(t, "ConvergedSignIn", w.get(start(), "Cookie", "ESTSAUTH=forged").page())
	require.Equal(t, "ConvergedError 50020", w.get(start(fabrikam...), "Cookie", cookie).page(), "a guest nowhere")
	w.now = w.now.Add(time.Minute)
	require.Equal(t, "AADSTS50058", silent("max_age", "59").error(t), "too long ago")
	w.policy(`"termsOfUse":["t"]`)
	require.Equal(t, "AADSTS50158", silent().error(t))
	w.policy(builtIn("block"))
	require.Equal(t, "AADSTS53003", silent().error(t))
	require.NoError(t, w.dir.Revoke("alice@contoso.example", w.now.Add(time.Second)))
	require.Equal(t, "AADSTS50058", silent().error(t))
}

// Only a client's own redirect URI ends a logout.
func TestLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.get("/common/oauth2/logout")
	require.Equal(t, "ConvergedMessage", r.page())
	require.Len(t, w.kept, 2)
	for _, c := range w.kept {
		require.Negative(t, c.MaxAge)
	}
	r = w.get("/common/oauth2/v2.0/logout?state=a%26b&post_logout_redirect_uri=" + url.QueryEscape("msauth.third://auth?x=1"))
	require.Equal(t, "msauth.third://auth?state=a%26b&x=1", r.header.Get("Location"))
	r = w.get("/common/oauth2/logout?post_logout_redirect_uri=https%3A%2F%2Fevil.example")
	require.Equal(t, "ConvergedError 50011", r.page())
	require.Empty(t, r.header.Get("Location"))
	require.Contains(t, w.get("/common/oauth2/nativeclient?error=access_denied").body, "access_denied")
	require.Contains(t, w.get("/common/oauth2/nativeclient?code=1").body, "Back to the program")
}
