package interop

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
)

// mapPort passes the connections of a port of its own on to another one, as a
// container's runtime does, and returns the port.
func mapPort(t *testing.T, to func() string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", "127.0.0.1:"+to())
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	return port
}

const mappedTenant = "7a11e51e-00ff-4000-8000-000000000001"

const mappedConfig = `{"tenantID": "` + mappedTenant + `", "users": [{"username": "alice", "password": "` + alicePwd + `"}], "apps": [
	{"clientID": "` + daemonID + `", "name": "Daemon", "secret": "` + daemonSecret + `", "permissions": {"api://orders": ["Orders.Read.All"]}},
	{"clientID": "` + ordersID + `", "name": "Orders", "uris": ["api://orders"], "roles": ["Orders.Read.All"]},
	{"clientID": "` + frontID + `", "name": "Front", "public": true, "redirects": ["` + loopback + `"], "adminConsent": true}]}`

// The program as in a container: on all interfaces, configured by its environment, with
// no file that clients could read, and reached through ports that are mapped to others.
func TestMappedPort(t *testing.T) {
	inner, innerDashboard := freePort(t), freePort(t)
	port, dashboard := mapPort(t, func() string { return inner }), mapPort(t, func() string { return innerDashboard })
	bin := filepath.Join(t.TempDir(), "tenant")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-C", "../..", "-o", bin, "./examples/tenant").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, way := range []struct{ name, setting string }{
		{"by the base that is configured", "TENANT_BASE=https://localhost:" + port},
		{"by the host name of the request", "TENANT_HOSTS=localhost"},
	} {
		cmd := exec.CommandContext(t.Context(), bin, "-exit-with-parent")
		cmd.Env = []string{"TMPDIR=/nowhere", "TENANT_INSECURE_EXPOSED=true", "TENANT_PROXY=0.0.0.0:0", "TENANT_DASHBOARD=0.0.0.0:" + innerDashboard,
			"TENANT_LISTEN=0.0.0.0:" + inner, "TENANT_CONFIG_TEXT=" + mappedConfig, way.setting}
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		for lines.Scan() && lines.Text() != "# ready" {
		}
		require.Equal(t, "# ready", lines.Text())

		resp, err := http.Get("http://localhost:" + dashboard + "/ca.pem")
		require.NoError(t, err)
		pem, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM(pem))
		ca := filepath.Join(t.TempDir(), "ca.pem")
		require.NoError(t, os.WriteFile(ca, pem, 0o600))
		authority := "https://localhost:" + port + "/" + mappedTenant

		flow(t, "go-oidc", "authority behind a mapped port, "+way.name, func(t *testing.T) string {
			ctx := oidc.ClientContext(t.Context(), &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}})
			p, err := oidc.NewProvider(ctx, authority+"/v2.0")
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(p.Endpoint().TokenURL, "https://localhost:"+port+"/"), p.Endpoint().TokenURL)
			return "discovery of that port"
		})
		flow(t, "MSAL Python", "authority behind a mapped port, "+way.name, func(t *testing.T) string {
			cmd := running.command(t, "python", scriptFile(t, "localhost.py"), authority)
			cmd.Env = append(slices.DeleteFunc(slices.Clone(running.env), func(kv string) bool {
				name, _, _ := strings.Cut(kv, "=")
				return strings.HasSuffix(strings.ToLower(name), "_proxy")
			}), "REQUESTS_CA_BUNDLE="+ca)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			require.NoError(t, err)
			var r reply
			require.NoError(t, json.Unmarshal(out, &r), "%s", out)
			require.Contains(t, claimsOf(t, r.AccessToken)["iss"], "https://localhost:"+port+"/")
			return sawApp(t, r.AccessToken, nil)
		})
		require.NoError(t, in.Close())
		require.NoError(t, cmd.Wait())
	}
}
