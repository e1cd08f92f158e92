package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// script is an MSAL in another language behind a line protocol.
type script struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

// reply is a reply of a script.
type reply struct {
	Exception   string    `json:"exception"`
	Error       string    `json:"error"`
	Description string    `json:"error_description"`
	Suberror    string    `json:"suberror"`
	Codes       []float64 `json:"error_codes"`
	AccessToken string    `json:"access_token"`
	IDToken     string    `json:"id_token"`
	Source      string    `json:"token_source"` // MSAL Python
	FromCache   bool      `json:"fromCache"`    // MSAL Node
	UserCode    string    `json:"user_code"`
	URL         string    `json:"url"`
	Accounts    []string  `json:"accounts"`
}

func (r reply) code() int {
	if len(r.Codes) == 0 {
		return 0
	}
	return int(r.Codes[0])
}

// saw is what goes into the table of a refusal.
func (r reply) saw() string {
	name := r.Error
	if r.Exception != "" {
		name = r.Exception + " " + r.Error
	}
	if r.Suberror != "" {
		name += " / " + r.Suberror
	}
	return fmt.Sprintf("refused: %s, AADSTS%d", name, r.code())
}

// scriptFile is a file of testdata where its interpreter finds the modules.
func scriptFile(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", file))
	require.NoError(t, err)
	if filepath.Ext(file) != ".mjs" {
		return path
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	path, err = filepath.Abs("node_modules/" + file) // modules are found from where the file is
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o644))
	return path
}

func startScript(t *testing.T, interpreter, file string) *script {
	t.Helper()
	cmd := running.command(t, interpreter, scriptFile(t, file))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s := &script{in: in, out: bufio.NewScanner(out)}
	s.out.Buffer(nil, 1<<20)
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	s.open(t, appID, nil)
	return s
}

// open makes the script another client: an app with nothing in its cache.
func (s *script) open(t *testing.T, client string, more map[string]any) {
	t.Helper()
	c := map[string]any{"client": client, "authority": "https://login.microsoftonline.com/" + running.tenantID}
	maps.Copy(c, more)
	r := s.do(t, "open_app", c)
	require.Empty(t, r.Exception, "%+v", r)
}

func (s *script) send(t *testing.T, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	_, err = s.in.Write(append(text, '\n'))
	require.NoError(t, err)
}

func (s *script) do(t *testing.T, command string, args map[string]any) reply {
	t.Helper()
	c := map[string]any{"do": command, "user": alice, "redirect": loopback}
	maps.Copy(c, args)
	s.send(t, c)
	require.True(t, s.out.Scan(), "the script ended: %v", s.out.Err())
	var r reply
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &r), "%s", s.out.Bytes())
	return r
}

// ok asserts a token.
func (r reply) ok(t *testing.T) reply {
	t.Helper()
	require.NotEmpty(t, r.AccessToken, "%+v", r)
	return r
}

func (r reply) fromCache() bool { return r.FromCache || r.Source == "cache" }

// runScript runs the flows that MSAL Python and MSAL Node share.
func runScript(t *testing.T, client string, s *script) {
	scopes := map[string]any{"scopes": []string{userRead}}
	with := func(kv map[string]any) map[string]any { out := maps.Clone(scopes); maps.Copy(out, kv); return out }

	flow(t, client, "device code", func(t *testing.T) string {
		code := s.do(t, "device_start", scopes).UserCode
		require.NotEmpty(t, code)
		if client == "MSAL Python" {
			require.Equal(t, "authorization_pending", s.do(t, "device_pending", nil).Error)
		}
		require.NoError(t, person().ApproveDeviceCode(t.Context(), running.http, code))
		s.do(t, "device_finish", nil).ok(t)
		return "token, after authorization_pending"
	})
	flow(t, client, "silent from cache", func(t *testing.T) string {
		require.True(t, s.do(t, "silent", scopes).ok(t).fromCache())
		return "token from the cache"
	})
	flow(t, client, "authorization code with PKCE", func(t *testing.T) string {
		start := s.do(t, "code_start", scopes)
		require.NotEmpty(t, start.URL, "%+v", start)
		u, err := url.Parse(start.URL)
		require.NoError(t, err)
		require.Equal(t, "S256", u.Query().Get("code_challenge_method"))
		s.do(t, "code_finish", map[string]any{"scopes": scopes["scopes"], "response": running.authorize(t, person(), running.http, start.URL, loopback)}).ok(t)
		return "token"
	})
	flow(t, client, "password (ROPC)", func(t *testing.T) string {
		s.do(t, "ropc", with(map[string]any{"user": bob, "password": bobPwd})).ok(t)
		return "token"
	})
	flow(t, client, "silent by refresh token", func(t *testing.T) string {
		require.False(t, s.do(t, "silent", with(map[string]any{"force": true})).ok(t).fromCache())
		return "token from the service"
	})
	flow(t, client, "silent for another resource", func(t *testing.T) string {
		s.do(t, "silent", map[string]any{"scopes": []string{"https://management.azure.com/.default"}}).ok(t)
		return "token from the service"
	})
	flow(t, client, "MFA wanted in a password sign-in", func(t *testing.T) string {
		r := s.do(t, "ropc", map[string]any{"scopes": []string{payroll}, "user": bob, "password": bobPwd})
		require.Contains(t, []int{50076, 50079}, r.code(), "%+v", r)
		return r.saw()
	})
	flow(t, client, "wrong password", func(t *testing.T) string {
		r := s.do(t, "ropc", with(map[string]any{"user": bob, "password": "wrong"}))
		require.Equal(t, "invalid_grant", r.Error, "%+v", r)
		require.Equal(t, 50126, r.code())
		return r.saw()
	})
	flow(t, client, "blocked by policy", func(t *testing.T) string {
		r := s.do(t, "silent", map[string]any{"scopes": []string{secrets}})
		require.Equal(t, 53003, r.code(), "%+v", r)
		return r.saw()
	})
	flow(t, client, "disabled device", func(t *testing.T) string {
		var r reply
		withDisabled(t, func(d *device) {
			start := s.do(t, "code_start", scopes)
			got := running.authorize(t, person(), d.browser(t), start.URL, loopback)
			s.do(t, "code_finish", map[string]any{"scopes": scopes["scopes"], "response": got}).ok(t)
			s.do(t, "silent", with(map[string]any{"force": true})).ok(t)
		}, func() { r = s.do(t, "silent", with(map[string]any{"force": true})) })
		require.Equal(t, 135011, r.code(), "%+v", r)
		require.Equal(t, "invalid_grant", r.Error)
		return r.saw()
	})
	flow(t, client, "remove the account", func(t *testing.T) string {
		r := s.do(t, "remove", nil)
		require.Empty(t, r.Exception, "%+v", r)
		require.NotContains(t, r.Accounts, alice)
		return "gone from the cache"
	})
}

func TestMSALPython(t *testing.T) {
	t.Parallel()
	s := startScript(t, "python", "msal_flows.py")
	runScript(t, "MSAL Python", s)
	runWebScript(t, "MSAL Python", s)
	runFederatedScript(t, "MSAL Python", s)
	runPageScript(t, "MSAL Python", s)
}

func TestMSALNode(t *testing.T) {
	t.Parallel()
	s := startScript(t, "node", "msal_flows.mjs")
	runScript(t, "MSAL Node", s)
	runWebScript(t, "MSAL Node", s)
	runFederatedScript(t, "MSAL Node", s)
	runPageScript(t, "MSAL Node", s)
}
