package interop

import (
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// pages signs a user in on the pages, with an authorization code.
func (s *script) pages(t *testing.T, user, password, claims string) reply {
	t.Helper()
	args := map[string]any{"scopes": []string{userRead}, "user": user}
	if claims != "" {
		args["claims"] = claims
	}
	start := s.do(t, "code_start", args)
	require.NotEmpty(t, start.URL, "%+v", start)
	args["response"] = running.authorize(t, entratest.Person{Username: user, Password: password}, running.http, start.URL, loopback)
	return s.do(t, "code_finish", args)
}

// runPageScript runs the flows that depend on what the pages do.
func runPageScript(t *testing.T, client string, s *script) {
	s.open(t, appID, nil)
	scopes := []string{userRead}
	flow(t, client, "interactive (loopback listener, Chromium)", func(t *testing.T) string {
		start := s.do(t, "interactive_start", map[string]any{"scopes": scopes, "user": bob})
		require.NotEmpty(t, start.URL, "%+v", start)
		signInWithChromium(t, start.URL, bobPwd)
		s.do(t, "interactive_finish", nil).ok(t)
		return "token"
	})
	flow(t, client, "silent sign-in (prompt=none)", func(t *testing.T) string {
		args := map[string]any{"scopes": scopes, "prompt": "none"}
		return promptNone(t, s.do(t, "code_start", args).URL, func(got map[string]string) string {
			args["response"] = got
			return s.do(t, "code_finish", args).ok(t).AccessToken
		})
	})
	flow(t, client, "refresh token of another library", func(t *testing.T) string {
		foreign := curlForm(t, map[string]string{"grant_type": "password", "client_id": appID, "scope": userRead + " offline_access", "username": bob, "password": bobPwd})
		require.NotEmpty(t, foreign.RefreshToken)
		s.do(t, "by_refresh_token", map[string]any{"scopes": scopes, "refresh_token": foreign.RefreshToken}).ok(t)
		return "token"
	})
	if client == "MSAL Python" {
		flow(t, client, "maximum age of the sign-in (max_age)", func(t *testing.T) string {
			args := map[string]any{"scopes": scopes, "max_age": 60}
			start := s.do(t, "code_start", args)
			args["response"] = running.authorize(t, person(), running.http, start.URL, loopback)
			r := s.do(t, "code_finish", args).ok(t)
			require.InDelta(t, time.Now().Unix(), claimsOf(t, r.IDToken)["auth_time"], 60)
			return "token, auth_time checked"
		})
		return
	}
	flow(t, client, "instance_aware", func(t *testing.T) string {
		s.open(t, appID, map[string]any{"instanceAware": true})
		start := s.do(t, "code_start", map[string]any{"scopes": scopes})
		u, err := url.Parse(start.URL)
		require.NoError(t, err)
		require.Equal(t, "true", u.Query().Get("instance_aware"))
		got := running.authorize(t, person(), running.http, start.URL, loopback)
		require.Equal(t, "login.microsoftonline.com", got["cloud_instance_host_name"])
		s.do(t, "code_finish", map[string]any{"scopes": scopes, "response": got}).ok(t)
		return "token from the host that was named"
	})
}

// signInWithChromium opens the page that a program wants shown, signs in, and
// waits until the program's own page is there.
func signInWithChromium(t *testing.T, start, password string) {
	t.Helper()
	p := openBrowser(t, 900)
	p.run(t, chromedp.Navigate(start))
	p.until(t, `document.querySelector("#i0118") !== null`)
	p.run(t, chromedp.Focus("#i0118"))
	p.typeKeys(t, password+kb.Enter)
	p.until(t, `location.hostname === "localhost" && document.body.innerText !== ""`)
	p.screenshot(t, "loopback")
}
