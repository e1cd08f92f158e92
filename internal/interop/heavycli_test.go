package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// tool is a command-line client of the emulator.
type tool struct {
	*emulator
	path string
	env  []string
}

func (c *tool) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Env, cmd.Dir = append(c.emulator.env, c.env...), t.TempDir()
	return cmd
}

func (c *tool) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := c.command(t, args...).CombinedOutput()
	return string(out), err
}

func (c *tool) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.run(t, args...)
	require.NoError(t, err, "%v\n%s", args, out)
	return out
}

// refused runs a command that fails with a code of Entra.
func (c *tool) refused(t *testing.T, code string, args ...string) string {
	t.Helper()
	out, err := c.run(t, args...)
	require.ErrorContains(t, err, "exit status", "%v\n%s", args, out)
	require.Contains(t, out, code)
	return "refused: " + code
}

var userCode = regexp.MustCompile(`\b([A-Z0-9]{9})\b`)

// byDeviceCode runs a command that prints a code, and approves it as alice.
func (c *tool) byDeviceCode(t *testing.T, args ...string) string {
	t.Helper()
	cmd := c.command(t, args...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var said strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if m := userCode.FindStringSubmatch(lines.Text()); m != nil {
			require.NoError(t, person().ApproveDeviceCode(t.Context(), c.Client(), m[1]))
		}
	}
	require.NoError(t, cmd.Wait(), "%s", said.String())
	return stdout.String()
}

func TestHeavyAzureCLI(t *testing.T) {
	t.Parallel()
	const client = "Azure CLI"
	heavy(t, client)
	az := &tool{himmelblauTenant(t), filepath.Join(cacheDir, "azure", "bin", "az"), []string{
		"AZURE_CONFIG_DIR=" + t.TempDir(), "AZURE_CORE_COLLECT_TELEMETRY=0", "AZURE_CORE_LOGIN_EXPERIENCE_V2=off", "AZURE_CORE_NO_COLOR=1"}}
	row := func(name string, run func(t *testing.T) string) { flow(t, client, name, run) }
	subscription := func(t *testing.T, out string) string {
		var list []struct{ TenantID, State string }
		require.NoError(t, json.Unmarshal([]byte(out[strings.Index(out, "["):]), &list), out)
		require.Len(t, list, 1)
		require.Equal(t, az.TenantID(), list[0].TenantID)
		return "signed in, with the subscription of the tenant"
	}
	row("az login --use-device-code", func(t *testing.T) string {
		return subscription(t, az.byDeviceCode(t, "login", "--use-device-code", "--tenant", az.TenantID(), "-o", "json"))
	})
	token := func(t *testing.T, resource string) string {
		return az.must(t, "account", "get-access-token", "--resource", resource, "--query", "accessToken", "-o", "tsv")
	}
	row("az account get-access-token", func(t *testing.T) string {
		c := claimsOf(t, strings.TrimSpace(token(t, "https://graph.microsoft.com")))
		require.Contains(t, c["scp"], "User.Read.All")
		require.NotContains(t, c["scp"], "Mail.Read")
		return "token with the published scopes of the Azure CLI"
	})
	row("az account get-access-token for a tenant's own API", func(t *testing.T) string {
		return az.refused(t, "AADSTS65001", "account", "get-access-token", "--resource", "api://payroll")
	})
	row("az account list", func(t *testing.T) string { return subscription(t, az.must(t, "account", "list", "-o", "json")) })
	var pc *pc
	browser := newOpener(t)
	row("az login, on a device with a PRT", func(t *testing.T) string {
		pc = newPC(t, az.emulator)
		out, err := browser.run(t, az.command(t, "login", "--tenant", az.TenantID(), "-o", "json", "--only-show-errors"), func(start, redirect string) (string, error) {
			return pc.authorize(t, start, redirect)
		})
		require.NoError(t, err)
		require.Equal(t, pc.id, claimsOf(t, strings.TrimSpace(token(t, "https://database.windows.net")))["deviceid"])
		return subscription(t, out)
	})
	row("az account get-access-token, disabled device", func(t *testing.T) (saw string) {
		pc.disabled(t, func() {
			saw = az.refused(t, "AADSTS135011", "account", "get-access-token", "--resource", "https://storage.azure.com")
		})
		return saw
	})
	row("az account get-access-token, sessions revoked", func(t *testing.T) string {
		az.clock.Advance(2 * time.Hour)
		require.NoError(t, az.Revoke(alice))
		return az.refused(t, "AADSTS50173", "account", "get-access-token", "--resource", "https://vault.azure.net")
	})
	row("az login -u -p", func(t *testing.T) string {
		return subscription(t, az.must(t, "login", "-u", alice, "-p", alicePwd, "--tenant", az.TenantID(), "-o", "json", "--only-show-errors"))
	})
	row("az login -u -p, wrong password", func(t *testing.T) string {
		return az.refused(t, "AADSTS50126", "login", "-u", alice, "-p", "wrong", "--tenant", az.TenantID())
	})
	row("az login -u -p, blocked by policy", func(t *testing.T) string {
		require.NoError(t, az.SetPolicies([]byte(`{"value":[`+policyFor("p3", "Azure is blocked", "797f4846-ba00-4fd7-ba43-dac1f8f63013", "block")+`]}`)))
		return az.refused(t, "AADSTS53003", "login", "-u", bob, "-p", bobPwd, "--tenant", az.TenantID())
	})
	row("az logout", func(t *testing.T) string { az.must(t, "logout"); return "signed out" })
}

func TestHeavyKubelogin(t *testing.T) {
	t.Parallel()
	const client = "kubelogin"
	heavy(t, client)
	const server, aks = "6dae42f8-4368-4678-94ff-3960e28e3630", "80faf920-1908-4b52-b5ef-a8e7bedfc67a"
	k := &tool{himmelblauTenant(t), filepath.Join(cacheDir, "bin", "kubelogin"), nil}
	row := func(name string, run func(t *testing.T) string) { flow(t, client, name, run) }
	args := func(t *testing.T, more ...string) []string {
		return append([]string{"get-token", "--server-id", server, "--client-id", aks, "--tenant-id", k.TenantID(),
			"--token-cache-dir", t.TempDir()}, more...)
	}
	credential := func(t *testing.T, out string) string {
		var cred struct{ Status struct{ Token string } }
		require.NoError(t, json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &cred), out)
		require.Equal(t, server, claimsOf(t, cred.Status.Token)["aud"])
		return "token for the cluster"
	}
	row("get-token --login devicecode", func(t *testing.T) string {
		return credential(t, k.byDeviceCode(t, args(t, "--login", "devicecode")...))
	})
	ropc := func(t *testing.T, user, password string) []string {
		return args(t, "--login", "ropc", "--username", user, "--password", password)
	}
	row("get-token --login ropc", func(t *testing.T) string { return credential(t, k.must(t, ropc(t, alice, alicePwd)...)) })
	browser, pc := newOpener(t), newPC(t, k.emulator)
	interactive := func(t *testing.T) (string, error) {
		return browser.run(t, k.command(t, args(t, "--login", "interactive", "--redirect-url", "http://localhost:"+freePort(t))...), func(start, redirect string) (string, error) {
			return pc.authorize(t, start, redirect)
		})
	}
	row("get-token --login interactive, on a device with a PRT", func(t *testing.T) string {
		out, err := interactive(t)
		require.NoError(t, err)
		return credential(t, out)
	})
	row("get-token --login interactive, disabled device", func(t *testing.T) (saw string) {
		pc.disabled(t, func() {
			_, err := interactive(t)
			saw = pageError(t, err, "AADSTS135011")
		})
		return saw
	})
	row("get-token --login ropc, wrong password", func(t *testing.T) string {
		return k.refused(t, "AADSTS50126", ropc(t, alice, "wrong")...)
	})
	row("get-token --login ropc, blocked by policy", func(t *testing.T) string {
		require.NoError(t, k.SetPolicies([]byte(`{"value":[`+policyFor("p4", "Clusters are blocked", server, "block")+`]}`)))
		return k.refused(t, "AADSTS53003", ropc(t, alice, alicePwd)...)
	})
}

func TestHeavyOAuth2Proxy(t *testing.T) {
	t.Parallel()
	const client = "oauth2-proxy"
	heavy(t, client)
	const proxyID, secret = "7a11e51e-0009-4000-8000-000000000009", "web.app~secret"
	for _, provider := range []string{"oidc", "entra-id"} {
		e := himmelblauTenant(t)
		address := "localhost:" + freePort(t)
		callback := "http://" + address + "/oauth2/callback"
		require.NoError(t, e.AddApp(entratest.App{ClientID: proxyID, Name: "Behind a proxy", Secret: secret, AdminConsent: true,
			Redirects: []string{callback}, OptionalClaims: []string{"email", "groups"}}))
		p := &tool{e, filepath.Join(cacheDir, "bin", "oauth2-proxy"), nil}
		cmd := p.command(t, "--provider="+provider, "--oidc-issuer-url=https://login.microsoftonline.com/"+e.TenantID()+"/v2.0",
			"--client-id="+proxyID, "--client-secret="+secret, "--redirect-url="+callback, "--http-address="+address,
			"--upstream=static://200", "--email-domain=*", "--cookie-secret=0123456789abcdef0123456789abcdef", "--cookie-secure=false",
			"--oidc-email-claim=preferred_username", "--insecure-oidc-allow-unverified-email", "--skip-provider-button", "--code-challenge-method=S256")
		var said said
		cmd.Stdout, cmd.Stderr = &said, &said
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		browser := &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		get := func(t *testing.T, u string) *http.Response {
			var resp *http.Response
			require.Eventually(t, func() bool {
				resp, err = browser.Get(u)
				return err == nil
			}, time.Minute, 50*time.Millisecond, "%s", &said)
			_ = resp.Body.Close()
			return resp
		}
		start := func(t *testing.T) string {
			to := get(t, "http://"+address+"/oauth2/start?rd=/").Header.Get("Location")
			require.True(t, strings.HasPrefix(to, "https://login.microsoftonline.com/"), "%s\n%s", to, &said)
			return to
		}
		flow(t, client, provider+", sign-in", func(t *testing.T) string {
			got, err := person().Authorize(t.Context(), e.Client(), start(t), callback)
			require.NoError(t, err)
			require.Equal(t, http.StatusFound, get(t, got).StatusCode, "%s", &said)
			require.Equal(t, http.StatusOK, get(t, "http://"+address+"/").StatusCode)
			return "let through to the site"
		})
		flow(t, client, provider+", disabled device", func(t *testing.T) (saw string) {
			pc := newPC(t, e)
			got, err := pc.authorize(t, start(t), callback)
			require.NoError(t, err)
			require.Equal(t, http.StatusFound, get(t, got).StatusCode, "%s", &said)
			pc.disabled(t, func() {
				_, err := pc.authorize(t, start(t), callback)
				saw = pageError(t, err, "AADSTS135011")
			})
			return saw
		})
		flow(t, client, provider+", without a session", func(t *testing.T) string {
			browser.Jar, _ = cookiejar.New(nil)
			require.Equal(t, http.StatusFound, get(t, "http://"+address+"/").StatusCode)
			return "sent to sign in"
		})
		flow(t, client, provider+", wrong password", func(t *testing.T) string {
			_, err := entratest.Person{Username: alice, Password: "wrong"}.Authorize(t.Context(), e.Client(), start(t), callback)
			require.ErrorContains(t, err, "AADSTS50126")
			return "a page that says AADSTS50126"
		})
		flow(t, client, provider+", blocked by policy", func(t *testing.T) string {
			require.NoError(t, e.SetPolicies([]byte(`{"value":[`+policyFor("p5", "Everything is blocked", "All", "block")+`]}`)))
			_, err := person().Authorize(t.Context(), e.Client(), start(t), callback)
			require.ErrorContains(t, err, "AADSTS53003")
			return "a page that says AADSTS53003"
		})
		flow(t, client, provider+", a code that was changed", func(t *testing.T) string {
			q, err := url.Parse(start(t))
			require.NoError(t, err)
			resp := get(t, callback+"?code=changed&state="+url.QueryEscape(q.Query().Get("state")))
			require.Equal(t, http.StatusInternalServerError, resp.StatusCode, "%s", &said)
			require.Eventually(t, func() bool { return strings.Contains(said.String(), "AADSTS70000") }, time.Minute, 10*time.Millisecond, "%s", &said)
			return "refused: AADSTS70000"
		})
	}
}

func TestHeavyGitCredentialAzure(t *testing.T) {
	t.Parallel()
	heavy(t, "git-credential-azure")
	t.Fatal("it can be installed now: write its flows")
}

// said keeps what a program says while it runs.
type said struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}
