package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// recipe puts the pieces of docs/emulator.md into a directory, each under its name,
// and the program of examples/tenant on the path.
func recipe(t *testing.T, names map[string]string) (dir string, env []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/emulator.md")
	require.NoError(t, err)
	dir = t.TempDir()
	for _, m := range regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		name := names[m[1]]
		if first, _, _ := strings.Cut(m[2], "\n"); strings.HasPrefix(first, "// ") {
			name = strings.TrimPrefix(first, "// ")
		}
		if name != "" {
			require.NoFileExists(t, filepath.Join(dir, name), "one piece under that name")
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(m[2]), 0o600))
		}
	}
	bin := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-C", "../..", "-o", filepath.Join(bin, "tenant"), "./examples/tenant").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, kv := range os.Environ() { // without what leads other tests elsewhere
		if name, _, _ := strings.Cut(kv, "="); !strings.HasSuffix(strings.ToLower(name), "_proxy") && !strings.HasSuffix(name, "_CA_BUNDLE") {
			env = append(env, kv)
		}
	}
	return dir, append(env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

func TestRecipePytest(t *testing.T) {
	flow(t, "MSAL Python", "the pytest of docs/emulator.md", func(t *testing.T) string {
		dir, env := recipe(t, map[string]string{"yaml": "tenant.yaml", "python": "test_orders.py"})
		cmd := running.command(t, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_orders.py")
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "2 passed")
		return "2 passed"
	})
}

func TestRecipePlaywright(t *testing.T) {
	flow(t, "MSAL.js in Chromium", "the Playwright test of docs/emulator.md", func(t *testing.T) string {
		dir, env := recipe(t, map[string]string{"yaml": "tenant.yaml", "html": "index.html"})
		modules, err := filepath.Abs("node_modules")
		require.NoError(t, err)
		require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
		chromium, err := exec.LookPath("chromium")
		require.NoError(t, err)
		// What npx playwright install would bring is on the machine already.
		require.NoError(t, os.WriteFile(filepath.Join(dir, "here.config.mjs"), []byte(`import config from "./playwright.config.mjs";
export default { ...config, use: { ...config.use, launchOptions: { executablePath: "`+chromium+`", args: ["--no-sandbox"] } } };
`), 0o600))
		cmd := running.command(t, "node", filepath.Join(modules, "@playwright/test/cli.js"), "test", "-c", "here.config.mjs", "--reporter=line")
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "1 passed")
		return "1 passed: code with PKCE, MFA, storage state"
	})
}

// The administration API as docs/emulator.md uses it, with curl, and its description
// before somebody else's validator.
func TestRecipeAdministration(t *testing.T) {
	dir, env := recipe(t, map[string]string{"yaml": "tenant.yaml", "sh": "api.sh"})
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", `
mkfifo in; tenant -config tenant.yaml -proxy 127.0.0.1:0 -dashboard 127.0.0.1:0 -exit-with-parent < in > out & exec 3> in
until grep -q '^# ready' out; do sleep 0.1; done
grep '^export' out > environment; . ./environment
echo '[]' > policies.json
. ./api.sh
api "$TENANT_API/openapi.json" > openapi.json`)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	flow(t, "curl and OpenSSL", "the administration API of docs/emulator.md", func(t *testing.T) string {
		require.NotContains(t, string(out), `"error":`)
		require.Contains(t, string(out), `"totp":`)
		require.Contains(t, string(out), `"token":"ey`)
		return "users, policies, faults, clock, codes, log and tokens"
	})
	flow(t, "openapi-spec-validator", "the description of the administration API", func(t *testing.T) string {
		cmd := running.command(t, "python", "-m", "openapi_spec_validator", "--errors", "all", "openapi.json")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "OK")
		return "valid OpenAPI 3.1"
	})
}

// The published schema says of the file in docs/emulator.md what tenant says of it.
func TestSchemaOfTheFile(t *testing.T) {
	flow(t, "jsonschema (Python)", "the schema of docs/emulator.md's file", func(t *testing.T) string {
		dir, _ := recipe(t, map[string]string{"yaml": "tenant.yaml"})
		schema, err := filepath.Abs("../../docs/tenant.schema.json")
		require.NoError(t, err)
		out, err := running.command(t, "python", scriptFile(t, "schema.py"), schema, filepath.Join(dir, "tenant.yaml")).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "'pasword' was unexpected")
		return "valid; an unknown key is refused"
	})
}
