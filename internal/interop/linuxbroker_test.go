package interop

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
)

// answer is what msalruntime made of a reply of the broker.
type answer struct {
	Exception string `json:"exception"`
	Error     *struct {
		Status  string `json:"status"`
		Code    int64  `json:"code"`
		Tag     int64  `json:"tag"`
		Context string `json:"context"`
	} `json:"error"`
	Token    string         `json:"token"`
	PoP      bool           `json:"pop"`
	Scopes   []string       `json:"scopes"`
	Expires  int64          `json:"expires"`
	Account  deskAccount    `json:"account"`
	Accounts []deskAccount  `json:"accounts"`
	IDToken  string         `json:"id_token"`
	Claims   map[string]any `json:"id_token_claims"`
}

type deskAccount struct{ ID, Home, Environment, Realm, Username, Name string }

// msalruntime is Microsoft's library in a Python program.
type msalruntime struct {
	*driven
	d *desk
}

func (m *msalruntime) do(t *testing.T, command string, args map[string]any) answer {
	t.Helper()
	c := map[string]any{"do": command, "client": cliApp, "authority": "https://login.microsoftonline.com/" + m.d.srv.TenantID(), "scopes": []string{"https://management.azure.com/.default"}}
	for k, v := range args {
		c[k] = v
	}
	m.send(t, c)
	var a answer
	m.read(t, &a)
	require.Empty(t, a.Exception)
	return a
}

func (a answer) ok(t *testing.T) answer {
	t.Helper()
	require.Nil(t, a.Error, "%+v", a.Error)
	require.NotEmpty(t, a.Token)
	require.Equal(t, alice, a.Account.Username)
	return a
}

func (a answer) refused(t *testing.T, status, text string) string {
	t.Helper()
	require.NotNil(t, a.Error)
	require.Equal(t, status, a.Error.Status, "%+v", a.Error)
	require.Contains(t, a.Error.Context, text)
	return "refused: " + status + ", " + text
}

// Microsoft's own library, unmodified, judges the broker on the bus.
func TestMSALRuntime(t *testing.T) {
	d := newDesk(t)
	m := &msalruntime{d.drive(t, nil, python(t), filepath.Join("testdata", "msalruntime.py")), d}
	const who = "msalruntime (pymsalruntime)"
	var in answer
	flow(t, who, "discover accounts", func(t *testing.T) string {
		a := m.do(t, "discover", nil)
		require.Nil(t, a.Error)
		require.Len(t, a.Accounts, 1)
		require.Equal(t, alice, a.Accounts[0].Username)
		return "the account"
	})
	flow(t, who, "sign in silently", func(t *testing.T) string {
		in = m.do(t, "signin_silently", nil).ok(t)
		require.Contains(t, in.Scopes, "https://management.azure.com/.default")
		require.Greater(t, in.Expires, time.Now().Unix())
		tok, err := claims.Parse(in.Token)
		require.NoError(t, err)
		require.Equal(t, d.device, tok.DeviceID)
		require.Zero(t, d.person.asked.Load())
		return "token with the device id"
	})
	flow(t, who, "sign in interactively", func(t *testing.T) string {
		a := m.do(t, "signin_interactively", map[string]any{"hint": alice}).ok(t)
		require.Zero(t, d.person.asked.Load(), "nothing asks for more")
		require.Equal(t, in.Account.Home, a.Account.Home)
		return "token, and nobody was asked"
	})
	flow(t, who, "silent", func(t *testing.T) string {
		a := m.do(t, "acquire_silently", map[string]any{"account": in.Account.ID}).ok(t)
		require.Equal(t, in.Token, a.Token)
		return "the same token"
	})
	flow(t, who, "silent, bare scope", func(t *testing.T) string {
		a := m.do(t, "acquire_silently", map[string]any{"account": in.Account.ID, "client": appID, "scopes": []string{"User.Read"}}).ok(t)
		require.Contains(t, a.Scopes, "User.Read")
		return "token; no scope counts as declined"
	})
	flow(t, who, "renewal", func(t *testing.T) string {
		a := m.do(t, "acquire_silently", map[string]any{"account": in.Account.ID, "renew": in.Token}).ok(t)
		require.NotEqual(t, in.Token, a.Token)
		return "another token"
	})
	flow(t, who, "claims", func(t *testing.T) string {
		a := m.do(t, "acquire_silently", map[string]any{"account": in.Account.ID, "client": appID, "scopes": []string{"https://graph.microsoft.com/.default"}, "claims": `{"access_token":{"xms_cc":{"values":["cp1"]}}}`}).ok(t)
		tok, err := claims.Parse(a.Token)
		require.NoError(t, err)
		require.Contains(t, strings.ToLower(strings.Join(tok.Capabilities, " ")), "cp1")
		return "token with CP1"
	})
	flow(t, who, "proof of possession", func(t *testing.T) string {
		a := m.do(t, "acquire_silently", map[string]any{"account": in.Account.ID, "pop": []string{"GET", "graph.microsoft.com", "/v1.0/me", "nonce-1"}}).ok(t)
		require.True(t, a.PoP)
		scheme, shr, ok := strings.Cut(a.Token, " ")
		require.True(t, ok)
		require.Equal(t, "pop", scheme)
		require.Equal(t, 2, strings.Count(shr, "."))
		return "signed HTTP request"
	})
	flow(t, who, "MFA is asked for", func(t *testing.T) string {
		args := map[string]any{"client": appID, "scopes": []string{"api://payroll/.default"}}
		silent := m.do(t, "signin_silently", args)
		said := silent.refused(t, "InteractionRequired", "AADSTS50076")
		args["hint"] = alice
		m.do(t, "signin_interactively", args).ok(t)
		require.Equal(t, int32(1), d.person.asked.Load())
		m.do(t, "signin_silently", args).ok(t)
		return said + "; token after one prompt, silent afterwards"
	})
	flow(t, who, "refused by policy", func(t *testing.T) string {
		args := map[string]any{"client": appID, "scopes": []string{"api://vault/.default"}}
		said := m.do(t, "signin_silently", args).refused(t, "InteractionRequired", "AADSTS53003")
		args["hint"] = alice
		said += "; interactive " + m.do(t, "signin_interactively", args).refused(t, "IncorrectConfiguration", "AADSTS53003")
		return said
	})
	flow(t, who, "cancel", func(t *testing.T) string {
		d.person.leave.Store(true)
		defer d.person.leave.Store(false)
		a := m.do(t, "cancel", map[string]any{"client": appID, "scopes": []string{"https://graph.microsoft.com/.default"}, "hint": bob})
		return a.refused(t, "UserCanceled", "canceled")
	})
	flow(t, who, "another user signs in", func(t *testing.T) string {
		d.person.Username = bob
		defer func() { d.person.Username = alice }()
		a := m.do(t, "signin_interactively", map[string]any{"hint": bob})
		require.Nil(t, a.Error, "%+v", a.Error)
		require.Equal(t, bob, a.Account.Username)
		require.Len(t, m.do(t, "discover", nil).Accounts, 2)
		return "token of the other user; two accounts"
	})
	flow(t, who, "the broker's own tokens", func(t *testing.T) string {
		said := m.do(t, "acquire_silently", map[string]any{"account": in.Account.ID, "client": "29d9ed98-a469-4536-ade2-f981bc1d605e"}).refused(t, "IncorrectConfiguration", "callers get neither tokens of the broker client")
		m.do(t, "acquire_silently", map[string]any{"account": in.Account.ID, "scopes": []string{"01cb2876-7ebd-4aa4-9cc9-d28bd4d359a9/.default"}}).refused(t, "IncorrectConfiguration", "callers get neither tokens of the broker client")
		return said
	})
	flow(t, who, "disabled device", func(t *testing.T) string {
		require.NoError(t, d.srv.DisableDevice(d.device))
		return m.do(t, "acquire_silently", map[string]any{"account": in.Account.ID, "scopes": []string{"https://vault.azure.net/.default"}}).refused(t, "DeviceNotRegistered", "AADSTS135011")
	})
	flow(t, who, "sign out", func(t *testing.T) string {
		a := m.do(t, "signout", map[string]any{"account": in.Account.ID})
		require.Nil(t, a.Error)
		return "done, in the library alone"
	})
}

// Microsoft's library in a container, whose bus has dsreg in the place of a
// broker, is served by that of the host.
func TestMSALRuntimeProxied(t *testing.T) {
	d := newDeskOn(t, (*desk).proxied)
	m := &msalruntime{d.drive(t, nil, python(t), filepath.Join("testdata", "msalruntime.py")), d}
	const who = "msalruntime by dsreg broker proxy"
	flow(t, who, "discover accounts", func(t *testing.T) string {
		a := m.do(t, "discover", nil)
		require.Nil(t, a.Error)
		require.Len(t, a.Accounts, 1)
		require.Equal(t, alice, a.Accounts[0].Username)
		return "the account of the host"
	})
	var in answer
	flow(t, who, "sign in silently", func(t *testing.T) string {
		in = m.do(t, "signin_silently", nil).ok(t)
		tok, err := claims.Parse(in.Token)
		require.NoError(t, err)
		require.Equal(t, d.device, tok.DeviceID)
		return "token with the device id of the host"
	})
	flow(t, who, "renewal", func(t *testing.T) string {
		require.NotEqual(t, in.Token, m.do(t, "acquire_silently", map[string]any{"account": in.Account.ID, "renew": in.Token}).ok(t).Token)
		return "another token"
	})
	flow(t, who, "proof of possession", func(t *testing.T) string {
		a := m.do(t, "acquire_silently", map[string]any{"account": in.Account.ID, "pop": []string{"GET", "graph.microsoft.com", "/v1.0/me", "nonce-1"}}).ok(t)
		require.True(t, a.PoP)
		return "signed HTTP request"
	})
	flow(t, who, "MFA is asked for", func(t *testing.T) string {
		args := map[string]any{"client": appID, "scopes": []string{"api://payroll/.default"}}
		said := m.do(t, "signin_silently", args).refused(t, "InteractionRequired", "AADSTS50076")
		args["hint"] = alice
		m.do(t, "signin_interactively", args).ok(t)
		require.Equal(t, int32(1), d.person.asked.Load())
		return said + "; token after one prompt on the host"
	})
	flow(t, who, "refused by policy", func(t *testing.T) string {
		args := map[string]any{"client": appID, "scopes": []string{"api://vault/.default"}, "hint": alice}
		return m.do(t, "signin_interactively", args).refused(t, "IncorrectConfiguration", "AADSTS53003")
	})
	flow(t, who, "cancel", func(t *testing.T) string {
		d.person.leave.Store(true)
		defer d.person.leave.Store(false)
		a := m.do(t, "cancel", map[string]any{"client": appID, "scopes": []string{"https://graph.microsoft.com/.default"}, "hint": bob})
		return a.refused(t, "UserCanceled", "canceled")
	})
}

// MSAL Python, as an app uses it, gets its tokens from the broker on the bus.
func TestMSALPythonBroker(t *testing.T) {
	d := newDesk(t)
	p := d.drive(t, d.proxy(t), python(t), filepath.Join("testdata", "msal_broker.py"), cliApp, "https://login.microsoftonline.com/"+d.srv.TenantID(), alice)
	const who = "MSAL Python with the broker"
	type step struct {
		Step, Username, Error, Scope string
		Token                        string `json:"access_token"`
		Type                         string `json:"token_type"`
		Source                       string `json:"token_source"`
		Description                  string `json:"error_description"`
		Left                         int
	}
	next := func(t *testing.T, name string) step {
		t.Helper()
		var s step
		p.read(t, &s)
		require.Equal(t, name, s.Step)
		require.Empty(t, s.Error, s.Description)
		return s
	}
	var first step
	flow(t, who, "acquire_token_interactive", func(t *testing.T) string {
		first = next(t, "interactive")
		require.Equal(t, "broker", first.Source)
		require.Equal(t, alice, first.Username)
		tok, err := claims.Parse(first.Token)
		require.NoError(t, err)
		require.Equal(t, d.device, tok.DeviceID)
		require.Zero(t, d.person.asked.Load())
		return "token with the device id, and nobody was asked"
	})
	flow(t, who, "acquire_token_silent", func(t *testing.T) string {
		require.Equal(t, first.Token, next(t, "silent").Token)
		require.Equal(t, "broker", next(t, "refresh").Source)
		return "token"
	})
	flow(t, who, "remove_account", func(t *testing.T) string {
		require.Zero(t, next(t, "removed").Left)
		return "no account left in the library"
	})
}

// MSAL Node, as an app uses it, with Microsoft's runtime from npm.
func TestMSALNodeBroker(t *testing.T) {
	d := newDesk(t)
	script, err := filepath.Abs(filepath.Join("testdata", "msal_node_broker.mjs"))
	require.NoError(t, err)
	p := d.drive(t, d.proxy(t), "node", script, cliApp, "https://login.microsoftonline.com/"+d.srv.TenantID(), alice, appID)
	const who = "MSAL Node with the broker (msal-node-runtime)"
	type step struct {
		Step, Username, Error, Description string
		Token                              string `json:"access_token"`
		Type                               string `json:"token_type"`
		Broker                             bool   `json:"from_broker"`
		Scopes, Accounts                   []string
	}
	next := func(t *testing.T, name string) step {
		t.Helper()
		var s step
		p.read(t, &s)
		require.Equal(t, name, s.Step)
		return s
	}
	ok := func(t *testing.T, name string) step {
		t.Helper()
		s := next(t, name)
		require.Empty(t, s.Error, s.Description)
		return s
	}
	var first step
	flow(t, who, "acquireTokenInteractive", func(t *testing.T) string {
		first = ok(t, "interactive")
		require.True(t, first.Broker)
		require.Equal(t, alice, first.Username)
		tok, err := claims.Parse(first.Token)
		require.NoError(t, err)
		require.Equal(t, d.device, tok.DeviceID)
		require.Zero(t, d.person.asked.Load())
		return "token with the device id, and nobody was asked"
	})
	flow(t, who, "getAllAccounts", func(t *testing.T) string {
		require.Equal(t, []string{alice}, ok(t, "accounts").Accounts)
		return "the account"
	})
	flow(t, who, "acquireTokenSilent", func(t *testing.T) string {
		s := ok(t, "silent")
		require.True(t, s.Broker)
		require.Equal(t, first.Token, s.Token)
		return "the same token"
	})
	flow(t, who, "acquireTokenSilent, bare scope", func(t *testing.T) string {
		require.Contains(t, ok(t, "bare scope").Scopes, "User.Read")
		return "token; no scope counts as declined"
	})
	flow(t, who, "acquireTokenSilent, claims", func(t *testing.T) string {
		tok, err := claims.Parse(ok(t, "claims").Token)
		require.NoError(t, err)
		require.Contains(t, strings.ToLower(strings.Join(tok.Capabilities, " ")), "cp1")
		return "token with CP1"
	})
	flow(t, who, "acquireTokenSilent, proof of possession", func(t *testing.T) string {
		s := ok(t, "pop")
		require.Equal(t, "pop", s.Type)
		require.Equal(t, 2, strings.Count(s.Token, "."))
		return "signed HTTP request"
	})
	flow(t, who, "MFA is asked for", func(t *testing.T) string {
		s := next(t, "mfa")
		require.Contains(t, s.Description, "AADSTS50076")
		require.Contains(t, s.Error, "InteractionRequiredAuthError")
		return "refused: " + s.Error + ", AADSTS50076"
	})
	flow(t, who, "refused by policy", func(t *testing.T) string {
		s := next(t, "blocked")
		require.Contains(t, s.Description, "AADSTS53003")
		return "refused: " + s.Error + ", AADSTS53003"
	})
	flow(t, who, "signOut", func(t *testing.T) string {
		ok(t, "sign out")
		require.Zero(t, d.person.asked.Load())
		return "done, in the library alone"
	})
}

// gdbus of GLib and busctl of systemd call every method and are answered in JSON.
func TestBusTools(t *testing.T) {
	const who = "gdbus and busctl"
	d := newDesk(t)
	const name, path = "com.microsoft.identity.broker1", "/com/microsoft/identity/broker1"
	auth := func(more string) string {
		return `{"authParameters":{"clientId":"` + cliApp + `","requestedScopes":["https://management.azure.com/.default"],"username":"` + alice + `"` + more + `}}`
	}
	calls := []struct{ method, request, answer string }{
		{"getLinuxBrokerVersion", `{}`, "linuxBrokerVersion"},
		{"getAccounts", `{"clientId":"` + cliApp + `"}`, alice},
		{"acquireTokenSilently", auth(``), "accessToken"},
		{"acquireTokenInteractively", auth(`,"authorizationType":6`), "accessToken"},
		{"acquirePrtSsoCookie", `{"ssoUrl":"https://login.microsoftonline.com/"}`, "x-ms-RefreshTokenCredential"},
		{"generateSignedHttpRequest", `{"clientId":"` + cliApp + `","popParams":{"httpMethod":"GET","uriHost":"api.example"}}`, "signedHttpRequest"},
		{"cancelInteractiveFlow", `{}`, "{}"},
		{"removeAccount", `{"account":{"username":"nobody@contoso.example"}}`, "not signed in"},
	}
	tools := map[string]func(method, request string) []string{
		"gdbus": func(m, r string) []string {
			return []string{"call", "--address", d.bus.Address, "--dest", name, "--object-path", path, "--method", "com.microsoft.identity.Broker1." + m, "0.0", "", r}
		},
		"busctl": func(m, r string) []string {
			return []string{"--address=" + d.bus.Address, "call", name, path, "com.microsoft.identity.Broker1", m, "sss", "0.0", "", r}
		},
	}
	for _, tool := range []string{"gdbus", "busctl"} {
		flow(t, who, tool, func(t *testing.T) string {
			for _, c := range calls {
				out, err := exec.Command(tool, tools[tool](c.method, c.request)...).CombinedOutput()
				require.NoError(t, err, "%s: %s", c.method, out)
				require.Contains(t, string(out), c.answer, c.method)
			}
			require.Zero(t, d.person.asked.Load())
			return "every method is answered"
		})
	}
}

// The Azure CLI signs in by the broker on the bus. It has the broker of MSAL on
// Windows and macOS by a setting; testdata/az_broker.py turns it on for Linux.
func TestAzureCLIBroker(t *testing.T) {
	const who = "Azure CLI with the broker"
	heavyAs(t, who, "Azure CLI")
	d := newDesk(t)
	env := append(d.proxy(t), "AZURE_CONFIG_DIR="+t.TempDir(), "AZURE_CORE_COLLECT_TELEMETRY=0", "AZURE_CORE_LOGIN_EXPERIENCE_V2=off", "AZURE_CORE_NO_COLOR=1", "BROWSER=/bin/false")
	az := func(t *testing.T, args ...string) (string, string, error) {
		t.Helper()
		cmd := exec.Command(filepath.Join(cacheDir, "azure", "bin", "python3"), append([]string{filepath.Join("testdata", "az_broker.py")}, args...)...)
		cmd.Env = append(append([]string{}, d.env...), env...)
		var out, said strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &said
		err := cmd.Run()
		return out.String(), said.String(), err
	}
	token := func(t *testing.T, resource string) string {
		t.Helper()
		out, said, err := az(t, "account", "get-access-token", "--resource", resource, "--query", "accessToken", "-o", "tsv")
		require.NoError(t, err, said)
		tok, err := claims.Parse(strings.TrimSpace(out))
		require.NoError(t, err)
		require.Equal(t, d.device, tok.DeviceID)
		return strings.TrimSpace(out)
	}
	var first string
	flow(t, who, "az login", func(t *testing.T) string {
		out, said, err := az(t, "login", "--tenant", d.srv.TenantID(), "-o", "json")
		require.NoError(t, err, said)
		require.Contains(t, out, d.srv.TenantID())
		require.Contains(t, out, alice)
		require.Zero(t, d.person.asked.Load())
		return "signed in, and nobody was asked"
	})
	flow(t, who, "az account get-access-token", func(t *testing.T) string {
		first = token(t, "https://management.azure.com")
		require.Equal(t, first, token(t, "https://management.azure.com"))
		return "token with the device id, twice the same"
	})
	flow(t, who, "az account get-access-token, another resource", func(t *testing.T) string {
		require.NotEqual(t, first, token(t, "https://vault.azure.net"))
		return "token with the device id"
	})
	flow(t, who, "az account get-access-token, disabled device", func(t *testing.T) string {
		require.NoError(t, d.srv.DisableDevice(d.device))
		_, said, err := az(t, "account", "get-access-token", "--resource", "https://storage.azure.com")
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		require.Contains(t, said, "AADSTS135011")
		return "refused: AADSTS135011"
	})
	flow(t, who, "az logout", func(t *testing.T) string {
		_, said, err := az(t, "logout")
		require.NoError(t, err, said)
		require.Zero(t, d.person.asked.Load())
		return "signed out of the CLI alone"
	})
}
