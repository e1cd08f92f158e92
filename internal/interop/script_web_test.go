package interop

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
)

// runWebScript runs the flows of a web server, with a secret.
func runWebScript(t *testing.T, client string, s *script) {
	s.open(t, webID, map[string]any{"secret": webSecret})
	code := func(t *testing.T, more map[string]any) reply {
		t.Helper()
		args := map[string]any{"scopes": []string{userRead}, "redirect": webRedirect}
		maps.Copy(args, more)
		start := s.do(t, "code_start", args)
		require.NotEmpty(t, start.URL, "%+v", start)
		args["response"] = running.authorize(t, person(), running.http, start.URL, webRedirect)
		return s.do(t, "code_finish", args)
	}
	flow(t, client, "web app: authorization code with PKCE", func(t *testing.T) string {
		r := code(t, nil).ok(t)
		require.Equal(t, "1", claimsOf(t, r.AccessToken)["appidacr"])
		return "token"
	})
	flow(t, client, "web app: authorization code, response_mode=form_post", func(t *testing.T) string {
		code(t, map[string]any{"response_mode": "form_post"}).ok(t)
		return "token"
	})
	flow(t, client, "web app: silent by refresh token", func(t *testing.T) string {
		require.False(t, s.do(t, "silent", map[string]any{"scopes": []string{userRead}, "force": true}).ok(t).fromCache())
		return "token from the service"
	})
	flow(t, client, "web app: blocked by policy", func(t *testing.T) string {
		r := s.do(t, "silent", map[string]any{"scopes": []string{secrets}})
		require.Equal(t, 53003, r.code(), "%+v", r)
		return r.saw()
	})
	flow(t, client, "web app: password (ROPC)", func(t *testing.T) string {
		s.do(t, "ropc", map[string]any{"scopes": []string{userRead}, "user": bob, "password": bobPwd}).ok(t)
		return "token"
	})
	flow(t, client, "web app: wrong password", func(t *testing.T) string {
		r := s.do(t, "ropc", map[string]any{"scopes": []string{userRead}, "user": bob, "password": "wrong"})
		require.Equal(t, 50126, r.code(), "%+v", r)
		return r.saw()
	})
	flow(t, client, "web app: disabled device", func(t *testing.T) string {
		s.open(t, webID, map[string]any{"secret": webSecret})
		var r reply
		withDisabled(t, func(d *device) {
			args := map[string]any{"scopes": []string{userRead}, "redirect": webRedirect}
			start := s.do(t, "code_start", args)
			args["response"] = running.authorize(t, person(), d.browser(t), start.URL, webRedirect)
			s.do(t, "code_finish", args).ok(t)
		}, func() { r = s.do(t, "silent", map[string]any{"scopes": []string{userRead}, "force": true}) })
		require.Equal(t, 135011, r.code(), "%+v", r)
		return r.saw()
	})
	flow(t, client, "web app: wrong secret", func(t *testing.T) string {
		s.open(t, webID, map[string]any{"secret": "wrong"})
		r := code(t, nil)
		require.Equal(t, 7000215, r.code(), "%+v", r)
		return r.saw()
	})
}
