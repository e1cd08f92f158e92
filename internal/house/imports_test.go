// Package house holds the tests of the house itself: who may import whom.
package house

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/prtbroker/prtbroker"

// allowed reads, for each package, which packages of this module its code may
// import: a line a package in testdata/imports.txt, so that a row more is a line
// more. A slash at the end covers what is below. Arrows never point up. The
// emulator imports neither the broker nor the client's protocol code, so that
// client and service cannot share a mistake.
func allowed(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "imports.txt"))
	require.NoError(t, err)
	rows := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		name, imports, ok := strings.Cut(strings.TrimSpace(line), ":")
		require.Truef(t, ok, "imports.txt: %q has no colon", line)
		require.NotContainsf(t, rows, name, "imports.txt has two lines for %s", name)
		rows[name] = strings.Fields(imports)
	}
	return rows
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
	GoFiles    []string
	Dir        string
	Export     string // the file of its export data
	Standard   bool
	CgoFiles   []string
	Module     *struct{ Path string }
}

func TestImportRules(t *testing.T) {
	rows := allowed(t)
	pkgs := list(t, module+"/...")
	for _, dir := range nested(t) {
		pkgs = append(pkgs, listIn(t, dir, "./...")...)
	}
	for _, p := range pkgs {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		rules, ok := rows[name]
		if !ok && p.Name != "main" && p.ImportPath != module && len(p.GoFiles) > 0 && name != "internal/house" {
			t.Errorf("package %s has no row in imports.txt: say what it may import, and why it is a room of its own", name)
		}
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
		for _, above := range []string{"/examples/", "/broker/prompt/", "/broker/entratest", "/broker/dbus", "/broker/webflow", "/broker/oauth2broker"} {
			require.NotContains(t, p.ImportPath, module+above, "importers of broker compile what stands on it")
		}
		modules[p.Module.Path] = true
	}
	require.NotContains(t, modules, "github.com/stretchr/testify")
	require.NotContains(t, modules, "github.com/google/go-tpm-tools")
	for _, m := range []string{"github.com/spf13/cobra", "golang.org/x/term", "rsc.io/qr", "github.com/rogpeppe/go-internal"} {
		require.NotContains(t, modules, m, "a program's dependency reached the importers of broker")
	}
	require.LessOrEqual(t, len(modules), 10, "modules: %v", modules)
}

// nested finds the modules of their own that others import: those with a go.mod
// that are not internal.
func nested(t *testing.T) (dirs []string) {
	t.Helper()
	root := filepath.Join("..", "..", "broker")
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == "go.mod" {
			dirs = append(dirs, filepath.Dir(path))
		}
		return err
	}))
	require.NotEmpty(t, dirs)
	return dirs
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	return listIn(t, ".", args...)
}

func listIn(t *testing.T, dir string, args ...string) (pkgs []pkg) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Imports,GoFiles,Dir,Export,Standard,CgoFiles,Module"}, args...)...)
	cmd.Dir = dir
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
