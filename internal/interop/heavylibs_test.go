package interop

import (
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// libraries of Microsoft that have the same flows as MSAL: MSAL for Java, and
// azure-identity of which the Azure CLI and others are built.
var libraries = []struct {
	client  string
	program func() (string, []string)
	has     string // flows beside those that all have
}{
	{"MSAL Java", func() (string, []string) {
		return "java", []string{"-cp", filepath.Join(cacheDir, "msal4j", "*"), testdata("msal4j", "MsalFlows.java")}
	}, "code-url federated interactive-java"},
	{"azure-identity Python", func() (string, []string) {
		return filepath.Join(cacheDir, "azure", "bin", "python"), []string{testdata("azure-identity", "flows.py")}
	}, "code federated interactive secret"},
	{"azure-identity Node", func() (string, []string) {
		return "node", []string{filepath.Join(cacheDir, "node", "flows.mjs")}
	}, "code secret"},
}

func testdata(name ...string) string {
	path, err := filepath.Abs(filepath.Join(append([]string{"testdata"}, name...)...))
	if err != nil {
		panic(err) // the working directory is gone
	}
	return path
}

func TestHeavyLibraries(t *testing.T) {
	for _, lib := range libraries {
		t.Run(lib.client, func(t *testing.T) {
			t.Parallel()
			heavy(t, lib.client)
			e := himmelblauTenant(t)
			name, args := lib.program()
			if lib.client == "MSAL Java" {
				args = append(javaFlags(t, e), args...)
			}
			if lib.client == "azure-identity Node" {
				copyFile(t, testdata("azure-identity", "flows.mjs"), args[0])
			}
			c := startLineClient(t, e, name, args...)
			tenant := e.TenantID()
			if lib.client == "MSAL Java" {
				tenant = "https://login.microsoftonline.com/" + tenant
			}
			c.must(t, "open", tenant, appID)
			row := func(name string, run func(t *testing.T) string) { flow(t, lib.client, name, run) }
			has := func(f string) bool { return strings.Contains(lib.has, f) }

			row("password (ROPC)", func(t *testing.T) string { return c.must(t, "ropc", alice, alicePwd, userRead) })
			row("silent", func(t *testing.T) string { return c.must(t, "silent", userRead) })
			row("silent for another resource", func(t *testing.T) string {
				return c.must(t, "silent", "https://management.azure.com/.default")
			})
			row("wrong password", func(t *testing.T) string { return c.refused(t, "AADSTS50126", "ropc", alice, "wrong", userRead) })
			row("password (ROPC), MFA wanted", func(t *testing.T) string {
				return c.refused(t, "AADSTS50076", "ropc", alice, alicePwd, payroll)
			})
			row("blocked by policy", func(t *testing.T) string { return c.refused(t, "AADSTS53003", "ropc", alice, alicePwd, secrets) })
			row("device code", func(t *testing.T) string {
				require.NoError(t, person().ApproveDeviceCode(t.Context(), c.Client(), c.must(t, "device", userRead)))
				return c.must(t, "device-poll")
			})
			if has("federated") {
				row("federated user (WS-Trust)", func(t *testing.T) string { return c.must(t, "ropc", dave, davePwd, userRead) })
				row("federated user, wrong password", func(t *testing.T) string {
					c.refused(t, "ID3242", "ropc", dave, "wrong", userRead)
					return "refused: SOAP fault ID3242"
				})
			}
			if has("code") {
				row("authorization code", func(t *testing.T) string {
					start := "https://login.microsoftonline.com/" + e.TenantID() + "/oauth2/v2.0/authorize?" + url.Values{"client_id": {appID},
						"response_type": {"code"}, "redirect_uri": {loopback}, "scope": {userRead + " offline_access openid profile"}}.Encode()
					if has("code-url") {
						start = c.must(t, "code-url", userRead, loopback)
					}
					got, err := person().Authorize(t.Context(), c.Client(), start, loopback)
					require.NoError(t, err)
					u, err := url.Parse(got)
					require.NoError(t, err)
					return c.must(t, "code", u.Query().Get("code"), loopback, userRead)
				})
			}
			if has("interactive") {
				row("interactive (loopback listener)", func(t *testing.T) string {
					port := freePort(t)
					start := c.must(t, "interactive", userRead, "http://localhost:"+port)
					got, err := person().Authorize(t.Context(), c.Client(), start, "http://localhost:"+port)
					require.NoError(t, err)
					require.NoError(t, deliver(start, got))
					if has("interactive-java") {
						return c.must(t, "device-poll")
					}
					return c.must(t, "finish")
				})
			}
			row("disabled device", func(t *testing.T) string {
				pc := newPC(t, e)
				got, err := pc.authorize(t, pc.signInURL(userRead), loopback)
				require.NoError(t, err)
				u, err := url.Parse(got)
				require.NoError(t, err)
				saw := ""
				pc.disabled(t, func() { saw = c.refused(t, "AADSTS135011", "code", u.Query().Get("code"), loopback, userRead) })
				return saw
			})
			row("disabled user", func(t *testing.T) string {
				require.NoError(t, e.DisableUser("bob"))
				return c.refused(t, "AADSTS50057", "ropc", bob, bobPwd, userRead)
			})
		})
	}
}

// javaFlags make Java go through the proxy and trust the emulator, which it takes
// from no environment.
func javaFlags(t *testing.T, e *emulator) []string {
	t.Helper()
	var proxy, ca string
	for _, kv := range e.env {
		if v, ok := strings.CutPrefix(kv, "HTTPS_PROXY="); ok {
			proxy = strings.TrimPrefix(v, "http://")
		}
		if v, ok := strings.CutPrefix(kv, "SSL_CERT_FILE="); ok {
			ca = v
		}
	}
	store := filepath.Join(t.TempDir(), "trust.p12")
	out, err := exec.Command("keytool", "-importcert", "-noprompt", "-alias", "emulator", "-file", ca, "-keystore", store,
		"-storetype", "PKCS12", "-storepass", "changeit").CombinedOutput()
	require.NoError(t, err, "%s", out)
	host, port, _ := strings.Cut(proxy, ":")
	return []string{"-Dhttps.proxyHost=" + host, "-Dhttps.proxyPort=" + port, "-Dhttp.nonProxyHosts=",
		"-Djavax.net.ssl.trustStore=" + store, "-Djavax.net.ssl.trustStorePassword=changeit"}
}
