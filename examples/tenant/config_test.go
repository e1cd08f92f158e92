package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/camel"
)

// example is the file of docs/emulator.md.
func example(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/emulator.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(page), "```yaml\n")
	require.True(t, ok)
	text, _, ok := strings.Cut(rest, "```")
	require.True(t, ok)
	return text
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tenant.yaml")
	require.NoError(t, os.WriteFile(file, []byte(example(t)), 0o600))
	ten, err := start(options{proxy: "127.0.0.1:0", dashboard: "127.0.0.1:0", domain: "contoso.example", config: file, listen: "localhost:0", insecureHTTP: true}, io.Discard)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ten.close() })
	require.Equal(t, "shop.example", ten.srv.Domain())

	t.Run("the authority of its own", func(t *testing.T) {
		resp, err := http.PostForm(ten.authority+"shop.example/oauth2/v2.0/token", map[string][]string{"grant_type": {"client_credentials"},
			"client_id": {"5b0c0a52-0000-4000-8000-000000000002"}, "client_secret": {"night job secret"}, "scope": {"api://orders/.default"}})
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode, "%s", body)
	})
	t.Run("its policies", func(t *testing.T) {
		resp, err := http.PostForm(ten.authority+"shop.example/oauth2/v2.0/token", map[string][]string{"grant_type": {"password"}, "username": {"ann@shop.example"}, "password": {"correct horse"},
			"client_id": {"5b0c0a52-0000-4000-8000-000000000001"}, "scope": {"api://orders/.default"}})
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(body), "AADSTS50076", "the policy of the file asks for MFA")
	})
	t.Run("health", func(t *testing.T) {
		resp, err := http.Get("http://" + ten.dashLn.Addr().String() + "/health")
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		require.Equal(t, 200, resp.StatusCode)
	})
	t.Run("the announcement ends when it is ready", func(t *testing.T) {
		var out bytes.Buffer
		ten.announce(&out)
		require.True(t, strings.HasSuffix(out.String(), "\n# ready\n"))
		require.Contains(t, out.String(), "# Authority: "+ten.authority)
		require.NotContains(t, out.String(), "payroll", "that is of the tenant without a file")
	})
}

func TestConfigRefused(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"an unknown key":             {"domain: a.example\nusres: []\n", `2:1: "usres" is not a key here; known are domain, tenantID`},
		"one inside":                 {"users:\n  - username: ann\n    pasword: x\n", `3:5: "users[].pasword" is not a key here`},
		"one in JSON":                {`{"apps": [{"clientID": "x", "redirect": []}]}`, `1:29: "apps[].redirect" is not a key here`},
		"a list for a string":        {"users:\n  - username: [ann]\n", `2:15: "users[].username" must be a string`},
		"a string for a list":        {"groups: all\n", `1:9: "groups" must be a list`},
		"a string for a mapping":     {"pages: all\n", `1:8: "pages" must be a mapping`},
		"a number for a boolean":     {"gcmReplies: 2\n", `1:13: "gcmReplies" must be true or false`},
		"a word for a number":        {"deviceQuota: many\n", `1:14: "deviceQuota" must be a whole number`},
		"no duration":                {"ttl:\n  code: soon\n", `2:9: "ttl.code" must be a duration, such as 90s or 4h`},
		"no fault":                   {"faults:\n  - kind: bang\n", `"bang" is not a kind of fault`},
		"the state":                  {"state: x\n", `1:1: "state" is not a key here`},
		"what only Go can say":       {"judge: x\n", `1:1: "judge" is not a key here`},
		"an unknown key in a merge":  {"users:\n  - &a {username: a}\n  - {<<: {nme: x}}\n", `3:11: "users[].nme" is not a key here`},
		"a key twice":                {"domain: a.example\ndomain: b.example\n", `2:1: "domain" is set twice, first in line 1`},
		"a key twice in two cases":   {"domain: a.example\nDomain: b.example\n", `2:1: "Domain" is set twice, first in line 1`},
		"no YAML":                    {"users: [\n", "did not find expected node content"},
		"policies that are not here": {"policies: nowhere.json\n", "nowhere.json"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tenant.yaml")
			require.NoError(t, os.WriteFile(file, []byte(tt.text), 0o600))
			_, err := readConfig(file)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, file)
		})
	}
}

// A file can say what entratest.Options can, in words.
func TestConfigSaysAll(t *testing.T) {
	c, err := configOf([]byte(`
clock: 2026-03-02T09:00:00Z
ttl: {prt: 336h, code: 1m30s}
pages: {registrationDays: 3}
faults: [{endpoint: token, kind: throttle, retryAfter: 2s}]
x-users: {}
`), "env", ".")
	require.ErrorContains(t, err, `"x-users" is not a key here`)
	require.Nil(t, c)
	c, err = configOf([]byte(`
clock: 2026-03-02T09:00:00Z
replicationLag: 0s
refuseTOTPReuse: true
ttl: {prt: 336h, code: 1m30s}
pages: {registrationDays: 3}
faults: [{endpoint: token, kind: throttle, retryAfter: 2s}]
users:
  - &ann {username: ann, password: 0123, roles: [62e90394-69f5-4237-9190-012177145e10]}
  - {<<: *ann, username: ben}
`), "env", ".")
	require.NoError(t, err)
	require.Equal(t, "2026-03-02T09:00:00Z", c.Clock)
	var o entratest.Options
	require.NoError(t, c.apply(&o))
	require.Equal(t, time.Duration(-1), o.ReplicationLag)
	require.True(t, o.RefuseTOTPReuse)
	require.Equal(t, entratest.TTL{PRT: 336 * time.Hour, Code: 90 * time.Second}, o.TTL)
	require.Equal(t, 3, o.Pages.RegistrationDays)
	require.Equal(t, []entratest.Fault{{Endpoint: entratest.EndpointToken, Kind: entratest.Throttle, RetryAfter: 2 * time.Second}}, o.Faults)
	require.Equal(t, []entratest.User{
		{Username: "ann", Password: "0123", Roles: []string{"62e90394-69f5-4237-9190-012177145e10"}},
		{Username: "ben", Password: "0123", Roles: []string{"62e90394-69f5-4237-9190-012177145e10"}},
	}, o.Users)
	// What is left out can only be said in Go.
	keys := keysOf(reflect.TypeFor[config]())
	for _, f := range reflect.VisibleFields(reflect.TypeFor[entratest.Options]()) {
		switch f.Name {
		case "Logf", "Judge", "ClientAddress", "State":
			require.NotContains(t, keys, camel.Name(f.Name))
		default:
			require.Contains(t, keys, camel.Name(f.Name))
		}
	}
}

// The schema is published with the documentation, for editors.
func TestSchemaIsPublished(t *testing.T) {
	text, err := schema()
	require.NoError(t, err)
	published, err := os.ReadFile("../../docs/tenant.schema.json")
	require.NoError(t, err)
	require.Equal(t, string(text)+"\n", string(published), "go run ./examples/tenant -schema >docs/tenant.schema.json")
}

func TestSchema(t *testing.T) {
	text, err := schema()
	require.NoError(t, err)
	var v struct {
		Properties map[string]struct {
			Items struct {
				Properties           map[string]any
				AdditionalProperties *bool
			}
		}
	}
	require.NoError(t, json.Unmarshal(text, &v))
	require.Contains(t, v.Properties["users"].Items.Properties, "totpSecret")
	require.False(t, *v.Properties["apps"].Items.AdditionalProperties)
}

func TestEnvironmentStandsForFlags(t *testing.T) {
	t.Setenv("TENANT_DOMAIN", "env.example")
	t.Setenv("TENANT_PROXY", "127.0.0.1:1")
	o, err := parseOptions([]string{"-proxy", "127.0.0.1:2"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "env.example", o.domain)
	require.Equal(t, "127.0.0.1:2", o.proxy, "the command line counts more")
	t.Setenv("TENANT_SEED", "many")
	_, err = parseOptions(nil, io.Discard)
	require.ErrorContains(t, err, "TENANT_SEED")
}

// A test runner that goes away, however it does, takes the tenant with it.
func TestExitsWithItsParent(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "tenant")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	cmd := exec.CommandContext(t.Context(), bin, "-proxy", "127.0.0.1:0", "-dashboard", "127.0.0.1:0", "-exit-with-parent")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != "# ready" {
	}
	require.Equal(t, "# ready", lines.Text())
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait(), "it ends by itself, well")
}
