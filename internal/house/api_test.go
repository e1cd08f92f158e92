package house

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite testdata/api")

// What a package shows (`go doc -all`) is written down, so that a change of it
// is seen and reviewed, and none comes with a change that means to make none.
func TestPublicAPI(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("testdata", "api")
	left := map[string]bool{}
	old, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	require.NoError(t, err)
	for _, f := range old {
		left[f] = true
	}
	pkgs := list(t, module+"/...")
	for _, dir := range nested(t) {
		pkgs = append(pkgs, listIn(t, dir, "./...")...)
	}
	for _, p := range pkgs {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if p.Name == "main" || strings.HasPrefix(name, "internal/") || strings.Contains(name, "/internal/") {
			continue
		}
		if name == "" {
			name = filepath.Base(module)
		}
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "_")+".txt")
		delete(left, file)
		doc := exec.Command("go", "doc", "-all", p.ImportPath)
		doc.Dir = p.Dir
		got, err := doc.Output()
		require.NoError(t, err, p.ImportPath)
		if *update {
			require.NoError(t, os.WriteFile(file, got, 0o600))
		}
		want, err := os.ReadFile(file)
		if err != nil || string(want) != string(got) {
			t.Errorf("what package %s shows has changed. Review the difference:\n\tgo test ./internal/house -run TestPublicAPI -update && git diff -- internal/house/testdata/api\n%s",
				name, firstDifference(string(want), string(got)))
		}
	}
	for f := range left {
		if *update {
			require.NoError(t, os.Remove(f))
			continue
		}
		t.Errorf("%s is about a package that is not there any more", f)
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < len(w) || i < len(g); i++ {
		a, b := lineAt(w, i), lineAt(g, i)
		if a != b {
			return "first difference:\n\t- " + a + "\n\t+ " + b
		}
	}
	return ""
}

func lineAt(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(end)"
}
