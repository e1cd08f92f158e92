// Package house holds the tests of the house itself: who may import whom.
package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/prtbroker/prtbroker"

// allowed lists, for each package, which packages of this module its code may
// import; a trailing slash covers what is below. Arrows never point up. The
// emulator imports neither the broker nor the client's protocol code, so that
// client and service cannot share a mistake.
var allowed = map[string][]string{
	"claims":                              {"internal/strictjson"},
	"claims/verify":                       {"claims", "internal/strictjson"},
	"tpm":                                 {"internal/kdf", "internal/secret", "tpm/internal/"},
	"tpm/softkeys":                        {"tpm", "tpm/internal/", "internal/kdf", "internal/secret"},
	"tpm/tpmtest":                         {"tpm", "tpm/softkeys", "internal/kdf"},
	"policy/policytest":                   {"claims", "policy"},
	"policy":                              {"claims", "policy/internal/"},
	"prt":                                 {"claims", "internal/clock", "internal/wire", "internal/kdf", "internal/secret", "internal/strictjson"},
	"broker":                              {"prt", "tpm", "claims", "policy", "internal/", "broker/internal/"},
	"broker/oauth2broker":                 {"broker"},
	"broker/internal/tokencache":          {"internal/clock"},
	"broker/internal/flight":              {},
	"broker/internal/nonce":               {"broker/internal/flight", "internal/clock"},
	"broker/internal/retry":               {"internal/aadsts", "internal/clock"},
	"broker/storetest":                    {"broker"},
	"broker/entratest":                    {"policy", "claims", "claims/verify", "internal/wire", "internal/kdf", "broker/entratest/internal/"},
	"broker/entratest/internal/verify":    {"claims", "internal/wire", "internal/kdf"},
	"broker/entratest/internal/directory": {"policy", "claims", "internal/wire", "broker/entratest/internal/ids", "broker/entratest/internal/totp"},
	"broker/entratest/internal/ids":       {},
	"broker/entratest/internal/pages":     {},
	"broker/entratest/internal/totp":      {},
	"broker/entratest/internal/seal":      {},
	"internal/clock":                      {},
	"internal/clock/clocktest":            {},
	"internal/wire":                       {},
	"internal/kdf":                        {},
	"internal/secret":                     {},
	"internal/strictjson":                 {},
	"internal/aadsts":                     {},
	"claims":                           {"internal/strictjson"},
	"claims/verify":                    {"claims", "internal/strictjson"},
	"tpm":                              {"internal/kdf", "internal/secret", "tpm/internal/"},
	"tpm/softkeys":                     {"tpm", "tpm/internal/", "internal/kdf", "internal/secret"},
	"tpm/tpmtest":                      {"tpm", "tpm/softkeys", "internal/kdf"},
	"policy/policytest":                {"claims", "policy"},
	"policy":                           {"claims", "policy/internal/"},
	"prt":                              {"claims", "internal/clock", "internal/wire", "internal/kdf", "internal/secret", "internal/strictjson"},
	"broker":                           {"prt", "tpm", "claims", "policy", "internal/", "broker/internal/"},
	"broker/oauth2broker":              {"broker"},
	"broker/prompt/terminal":           {"broker"},
	"broker/internal/tokencache":       {"internal/clock"},
	"broker/internal/flight":           {},
	"broker/internal/nonce":            {"broker/internal/flight", "internal/clock"},
	"broker/internal/retry":            {"internal/aadsts", "internal/clock"},
	"broker/storetest":                 {"broker"},
	"broker/entratest":                 {"policy", "claims", "claims/verify", "internal/wire", "internal/kdf", "broker/entratest/internal/"},
	"broker/entratest/internal/verify": {"claims", "internal/wire", "internal/kdf"},
	"broker/entratest/internal/pages":  {},
	"broker/entratest/internal/seal":   {},
	"internal/clock":                   {},
	"internal/clock/clocktest":         {},
	"internal/wire":                    {},
	"internal/kdf":                     {},
	"internal/secret":                  {},
	"internal/strictjson":              {},
	"internal/aadsts":                  {},
}

// banned lists imports from outside that a package must not have.
var banned = map[string][]string{
	"claims": {"net/http", "github.com/lestrrat-go/"},
	"policy": {"net/http", "github.com/lestrrat-go/"},
	"prt":    {"net/http", "github.com/lestrrat-go/"},
}

type pkg struct {
	ImportPath string
	Name       string
	Imports    []string
	Standard   bool
	CgoFiles   []string
	Module     *struct{ Path string }
}

func TestImportRules(t *testing.T) {
	for _, p := range list(t, module+"/...") {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		rules, ok := allowed[name]
		for _, imp := range p.Imports {
			for _, b := range banned[name] {
				require.Falsef(t, strings.HasPrefix(imp, b), "%s imports %s", name, imp)
			}
			ours, inside := strings.CutPrefix(imp, module+"/")
			if !ok || !inside {
				continue
			}
			require.Truef(t, slices.ContainsFunc(rules, func(r string) bool {
				return r == ours || strings.HasSuffix(r, "/") && strings.HasPrefix(ours, r)
			}), "%s imports %s", name, ours)
		}
	}
}

// Importers of the broker get neither cgo nor the tools of its tests.
func TestBrokerDependencies(t *testing.T) {
	modules := map[string]bool{}
	for _, p := range list(t, "-deps", module+"/broker") {
		if p.Standard {
			continue
		}
		require.Emptyf(t, p.CgoFiles, "%s uses cgo", p.ImportPath)
		modules[p.Module.Path] = true
	}
	require.NotContains(t, modules, "github.com/stretchr/testify")
	require.NotContains(t, modules, "github.com/google/go-tpm-tools")
	for _, m := range []string{"github.com/spf13/cobra", "golang.org/x/term", "rsc.io/qr", "github.com/rogpeppe/go-internal"} {
		require.NotContains(t, modules, m, "a program's dependency reached the importers of broker")
	}
	require.LessOrEqual(t, len(modules), 10, "modules: %v", modules)
}

func list(t *testing.T, args ...string) (pkgs []pkg) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Imports,Standard,CgoFiles,Module"}, args...)...)
	out, err := cmd.Output()
	require.NoError(t, err)
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		require.NoError(t, err)
		pkgs = append(pkgs, p)
	}
}
