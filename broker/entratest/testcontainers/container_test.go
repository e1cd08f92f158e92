package entracontainer

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/policy"
)

const frontID = "5b0c0a52-0000-4000-8000-000000000001"

// shop is a tenant that says a bit of everything.
func shop() entratest.Options {
	return entratest.Options{
		Domain: "shop.example", TenantID: "5b0c0a52-00ff-4000-8000-000000000001", DisplayName: "Shop",
		Users:          []entratest.User{{Username: "ann", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}, {Username: "ben", Password: "battery staple"}},
		Groups:         []entratest.Group{{Name: "Managers", Members: []string{"ann"}}},
		Apps:           []entratest.App{{ClientID: frontID, Name: "Front", Public: true, Redirects: []string{"http://localhost"}, AdminConsent: true, Certificates: [][]byte{{1, 2}}, RoleAssignments: map[string][]string{}}},
		Policies:       json.RawMessage(`[{"displayName":"Nobody","state":"disabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["block"]}}]`),
		OtherTenants:   []entratest.Tenant{{Domain: "other.example", Users: []entratest.User{{Username: "cleo@other.example", Password: "paper clip"}}}},
		TTL:            entratest.TTL{AccessToken: 5 * time.Minute},
		ReplicationLag: -1, RefuseTOTPReuse: true, Pages: entratest.Pages{Intermediate: true},
		Faults: []entratest.Fault{{Endpoint: entratest.EndpointDeviceCode, Kind: entratest.Throttle, RetryAfter: 7 * time.Second, Times: -1}},
	}
}

// What the container is asked for, without one.
func TestRequest(t *testing.T) {
	own, err := request(shop(), "docker.test", "the-token")
	require.NoError(t, err)
	r := testcontainers.GenericContainerRequest{ContainerRequest: testcontainers.ContainerRequest{
		Image: "tenant:1", Env: map[string]string{"TENANT_HOSTS": "edge.test,localhost", "TENANT_V": "true"}, Cmd: []string{"-v"},
		NetworkAliases: map[string][]string{"net": {"entra"}}, WaitingFor: wait.ForLog("# ready"),
	}}
	require.NoError(t, own(&r))
	require.Equal(t, "tenant:1", r.Image)
	require.Equal(t, map[string]string{"TENANT_HOSTS": "docker.test,edge.test,entra,localhost", "TENANT_API_TOKEN": "the-token", "TENANT_V": "true"}, r.Env)
	require.Equal(t, []string{"8443/tcp", "8470/tcp", "8471/tcp"}, r.ExposedPorts)
	require.Equal(t, []string{"-v", "-config", "/tenant.json"}, r.Cmd)
	require.Len(t, r.Files, 1)
	require.Equal(t, "/tenant.json", r.Files[0].ContainerFilePath)
	require.Equal(t, int64(0o444), r.Files[0].FileMode, "the user of the image, which is not root, reads it")
	file, err := io.ReadAll(r.Files[0].Reader)
	require.NoError(t, err)
	require.Contains(t, string(file), `"domain":"shop.example"`)
	both, ok := r.WaitingFor.(*wait.MultiStrategy)
	require.True(t, ok)
	require.Len(t, both.Strategies, 2)
	health, ok := both.Strategies[1].(*wait.HTTPStrategy)
	require.True(t, ok)
	require.Equal(t, "/health", health.Path)
	require.Equal(t, "8471/tcp", health.Port.String())

	var bare testcontainers.GenericContainerRequest
	require.NoError(t, own(&bare))
	require.IsType(t, &wait.HTTPStrategy{}, bare.WaitingFor)
	require.Equal(t, "docker.test,localhost", bare.Env["TENANT_HOSTS"])
}

// The ports, names and variables of the request are those that the recipe of the image
// serves and reads.
func TestRequestFitsTheImage(t *testing.T) {
	recipe, err := os.ReadFile("../../../examples/tenant/image/Dockerfile")
	require.NoError(t, err)
	for variable, port := range map[string]string{"TENANT_LISTEN": authorityPort, "TENANT_PROXY": proxyPort, "TENANT_DASHBOARD": dashboardPort} {
		require.Contains(t, string(recipe), variable+"=0.0.0.0:"+strings.TrimSuffix(port, "/tcp"))
	}
	script, err := os.ReadFile("../../../scripts/image")
	require.NoError(t, err)
	require.Contains(t, string(script), "tag=${1:-"+Image+"}")
}

func TestWhatAContainerCannotBeGiven(t *testing.T) {
	for want, o := range map[string]entratest.Options{
		"field Clock":                {Clock: entratest.NewClock(time.Time{})},
		"field Logf":                 {Logf: t.Logf},
		"field Judge":                {Judge: func(*policy.Bundle, *policy.SignIn) entratest.Judgement { return entratest.Judgement{} }},
		"field ClientAddress":        {ClientAddress: func(*http.Request) (netip.Addr, string) { return netip.Addr{}, "" }},
		"field State":                {State: []byte("{}")},
		"field Faults with a Match":  {Faults: []entratest.Fault{{Match: func(*http.Request) bool { return true }}}},
		"field Users with passkeys":  {Users: []entratest.User{{Passkeys: []entratest.Passkey{{ID: []byte{1}}}}}},
		"field Users with passkeys ": {OtherTenants: []entratest.Tenant{{Users: []entratest.User{{Passkeys: []entratest.Passkey{{ID: []byte{1}}}}}}}},
	} {
		_, err := request(o, "localhost", "x")
		require.ErrorContains(t, err, strings.TrimSpace(want)+" works inside the process only")
	}
	// Nothing else of Options needs the process.
	for _, f := range reflect.VisibleFields(reflect.TypeFor[entratest.Options]()) {
		switch f.Type.Kind() {
		case reflect.Func, reflect.Pointer, reflect.Interface, reflect.Chan:
			require.Contains(t, []string{"Clock", "Logf", "Judge", "ClientAddress"}, f.Name)
		}
	}
}

// program compiles examples/tenant into a directory.
func program(t *testing.T, dir string) string {
	t.Helper()
	bin := filepath.Join(dir, "tenant")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../../..", "-trimpath", "-o", bin, "./examples/tenant")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}

// The program reads what the module writes, and the container's methods find their way
// in it: without a container, on loopback.
func TestProgramTakesTheOptions(t *testing.T) {
	config, err := configOf(shop())
	require.NoError(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "tenant.json")
	require.NoError(t, os.WriteFile(file, config, 0o600))
	cmd := exec.CommandContext(t.Context(), program(t, dir), "-config", file, "-exit-with-parent", "-proxy", "127.0.0.1:0", "-dashboard", "127.0.0.1:0",
		"-listen", "localhost:0", "-api-token", "the-token", "-ca", filepath.Join(dir, "ca.pem"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var said strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan() && lines.Text() != "# ready"; {
		said.WriteString(lines.Text() + "\n")
	}
	word := func(before string) string {
		m := regexp.MustCompile(`(?m)^` + before + `(\S+)$`).FindStringSubmatch(said.String())
		require.NotNil(t, m, said.String())
		return m[1]
	}
	c := &Container{dashboard: strings.TrimSuffix(word("# Dashboard: "), "/"), proxy: word("export HTTPS_PROXY="), token: secret.FromString("the-token")}
	authority, err := url.Parse(word("# Authority: "))
	require.NoError(t, err)
	c.base = "https://" + authority.Host
	require.NoError(t, c.introduce(t.Context()))
	check(t, c)
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}

// check signs in at a tenant made of shop.
func check(t *testing.T, c *Container) {
	t.Helper()
	require.Equal(t, shop().TenantID, c.TenantID())
	client := c.Client()
	t.Cleanup(client.CloseIdleConnections)
	read := func(resp *http.Response, err error) (int, map[string]any) {
		t.Helper()
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		v := map[string]any{}
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&v))
		return resp.StatusCode, v
	}
	_, discovery := read(client.Get(c.Authority() + "/v2.0/.well-known/openid-configuration"))
	require.Equal(t, c.Authority()+"/v2.0", discovery["issuer"])
	status, reply := read(client.PostForm(c.Authority()+"/oauth2/v2.0/token", url.Values{"grant_type": {"password"}, "client_id": {frontID},
		"username": {"ben@shop.example"}, "password": {"battery staple"}, "scope": {"openid User.Read"}}))
	require.Equal(t, http.StatusOK, status, "%v", reply)
	require.Equal(t, 300.0, reply["expires_in"], "of TTL")
	require.True(t, strings.HasPrefix(c.Authority(), c.BaseURL()))
	r, err := client.PostForm(c.Authority()+"/oauth2/v2.0/devicecode", url.Values{"client_id": {frontID}, "scope": {"openid"}})
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, http.StatusTooManyRequests, r.StatusCode, "of Faults")
	require.Equal(t, "7", r.Header.Get("Retry-After"))

	// Under the real host names, through the proxy.
	proxied := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(c.ProxyURL()), TLSClientConfig: &tls.Config{RootCAs: c.CertPool(), MinVersion: tls.VersionTLS12}}}
	t.Cleanup(proxied.CloseIdleConnections)
	_, discovery = read(proxied.Get("https://login.microsoftonline.com/shop.example/v2.0/.well-known/openid-configuration"))
	require.Equal(t, "https://login.microsoftonline.com/"+shop().TenantID+"/v2.0", discovery["issuer"])

	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.AdminURL()+"/users/ben/disable", nil)
	require.NoError(t, err)
	q.Header.Set("Authorization", "Bearer "+c.AdminToken())
	r, err = http.DefaultClient.Do(q)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, http.StatusNoContent, r.StatusCode)
	_, reply = read(client.PostForm(c.Authority()+"/oauth2/v2.0/token", url.Values{"grant_type": {"password"}, "client_id": {frontID},
		"username": {"ben@shop.example"}, "password": {"battery staple"}, "scope": {"openid"}}))
	require.Contains(t, reply["error_description"], "AADSTS50057")
}

func TestIntroduceSaysWhatFailed(t *testing.T) {
	ill := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(ill.Close)
	c := &Container{dashboard: ill.URL, token: secret.FromString("the-token")}
	err := c.introduce(t.Context())
	require.ErrorContains(t, err, ill.URL+"/ca.pem answered 404 Not Found")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", c, c, c), "the-token")
}

// TestMain disables the container that testcontainers-go runs to clean up after others:
// its image would have to be pulled.
func TestMain(m *testing.M) {
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// A real container, built by the recipe of the image.
func TestContainer(t *testing.T) {
	if why := noContainerTool(t); why != "" {
		t.Skip("no container tool answers here, so that no container was started: " + why)
	}
	dir := t.TempDir()
	program(t, dir)
	recipe, err := os.ReadFile("../../../examples/tenant/image/Dockerfile")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), recipe, 0o600))
	c, err := Run(t.Context(), "", shop(), testcontainers.WithDockerfile(testcontainers.FromDockerfile{Context: dir}))
	if c != nil {
		testcontainers.CleanupContainer(t, c)
	}
	require.NoError(t, err)
	check(t, c)
}

func noContainerTool(t *testing.T) (why string) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil { // testcontainers-go panics where it finds no socket
			why = fmt.Sprint(v)
		}
	}()
	p, err := testcontainers.NewDockerProvider()
	if err == nil {
		err = p.Health(t.Context())
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
