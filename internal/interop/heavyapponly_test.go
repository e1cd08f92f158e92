package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// Programs without a user, by the libraries of other languages.
var appOnlyLibraries = []struct {
	client  string
	program func() []string
	flows   int
	managed bool // one of the flows asks a managed identity
}{
	{"MSAL Java", func() []string {
		return []string{"java", "-cp", filepath.Join(cacheDir, "msal4j", "*"), testdata("msal4j", "AppOnlyFlows.java")}
	}, 5, false},
	{"azure-identity Python", func() []string {
		return []string{filepath.Join(cacheDir, "azure", "bin", "python"), testdata("azure-identity", "apponly.py")}
	}, 7, true},
	{"azure-identity Node", func() []string { return []string{"node", filepath.Join(cacheDir, "node", "apponly.mjs")} }, 7, true},
}

func TestHeavyAppOnly(t *testing.T) {
	for _, lib := range appOnlyLibraries {
		t.Run(lib.client, func(t *testing.T) {
			heavy(t, lib.client)
			e, key, cert := newDaemonTenant(t)
			front, err := public.New(frontID, public.WithAuthority("https://login.microsoftonline.com/"+e.TenantID()), public.WithHTTPClient(e.Client()))
			require.NoError(t, err)
			signedIn, err := ropc(t, front, []string{"api://orders/user_impersonation"}, alice, alicePwd)
			require.NoError(t, err)
			if lib.managed {
				served(t, e, entratest.ManagedIdentity{Service: entratest.AppService, ClientID: machineID, Header: "h"})
			}

			program := lib.program()
			switch lib.client {
			case "MSAL Java":
				program = append(program[:1], append(javaFlags(t, e), program[1:]...)...)
			case "azure-identity Node":
				copyFile(t, testdata("azure-identity", "apponly.mjs"), program[1])
			}
			cmd := exec.CommandContext(t.Context(), program[0], append(program[1:], e.TenantID(), daemonID, daemonSecret, pemOf(t, key, cert),
				clusterToken(t, e, account), clusterToken(t, e, "system:serviceaccount:shop:other"), ordersID, ordersSecret, signedIn.AccessToken)...)
			cmd.Env, cmd.Stderr, cmd.Dir = append(e.env, managedEnvironment()...), os.Stderr, t.TempDir()
			out, err := cmd.Output()
			require.NoError(t, err)
			n := 0
			for line := range strings.Lines(string(out)) {
				n++
				name, r := appOnlyReply(t, lib.client, line)
				flow(t, lib.client, name, func(t *testing.T) string { return r.outcome(t, name) })
			}
			require.Equal(t, lib.flows, n, "%s", out)
		})
	}
}

// clusterToken is a file with the token of a service account.
func clusterToken(t *testing.T, e *emulator, subject string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(e.FederatedToken(entratest.FederatedCredential{Issuer: cluster, Subject: subject})), 0o600))
	return file
}

// managedEnvironment leads the child to the managed identity that this process is led
// to.
func managedEnvironment() (env []string) {
	env = []string{"NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"} // where the endpoint is
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	return env
}

func appOnlyReply(t *testing.T, client, line string) (name string, r reply) {
	t.Helper()
	if client != "MSAL Java" {
		var v struct {
			Flow string `json:"flow"`
			reply
		}
		require.NoError(t, json.Unmarshal([]byte(line), &v), "%s", line)
		return v.Flow, v.reply
	}
	words := strings.SplitN(strings.TrimSpace(line), "\t", 3)
	require.Len(t, words, 3, "%s", line)
	if words[1] == "token" {
		return words[0], reply{AccessToken: words[2]}
	}
	return words[0], reply{Error: words[1], Description: words[2]}
}

// outcome holds a reply against what its flow must bring.
func (r reply) outcome(t *testing.T, name string) string {
	t.Helper()
	wanted := ""
	switch {
	case strings.HasSuffix(name, "wrong secret"):
		wanted = "AADSTS7000215"
	case strings.HasSuffix(name, "another service account"):
		wanted = "AADSTS700213"
	case name == "OnBehalfOfCredential", name == "on behalf of a user":
		require.NotEmpty(t, r.AccessToken, "%+v", r)
		require.Equal(t, alice, claimsOf(t, r.AccessToken)["upn"])
		return "token of the user for Graph"
	}
	if wanted != "" {
		require.Empty(t, r.AccessToken)
		require.Contains(t, r.Description, wanted)
		return "refused: " + r.Error + ", " + wanted
	}
	require.NotEmpty(t, r.AccessToken, "%+v", r)
	return sawApp(t, r.AccessToken, nil)
}
