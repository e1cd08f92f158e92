package benchpeers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkImport builds the programs of this module and says what a library
// adds to one: bytes of the binary without symbols, packages outside of the
// standard library, modules they come from, and the time to build once the
// standard library is. The program that only asks for a page is what any client
// of a service has. It is meant to be run with -benchtime 1x.
func BenchmarkImport(b *testing.B) {
	compiled := b.TempDir()
	env := append(os.Environ(), "GOCACHE="+compiled, "CGO_ENABLED=0")
	build := func(name string) (size int64, took time.Duration) {
		out := filepath.Join(b.TempDir(), name)
		begin := time.Now()
		run(b, env, "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./programs/"+name)
		took = time.Since(begin)
		info, err := os.Stat(out)
		require.NoError(b, err)
		return info.Size(), took
	}
	build("http")
	run(b, env, "build", "std") // nobody builds that anew for a library
	for _, name := range []string{"http", "prtbroker", "msal"} {
		b.Run("program="+name, func(b *testing.B) {
			packages, modules := linked(b, name)
			var size int64
			var took time.Duration
			for b.Loop() {
				size, took = build(name)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(size), "binary-bytes")
			b.ReportMetric(float64(packages), "packages")
			b.ReportMetric(float64(modules), "modules")
			b.ReportMetric(took.Seconds(), "build-sec")
		})
	}
}

// linked counts what a program links that is neither of the standard library
// nor the program itself.
func linked(tb testing.TB, name string) (packages, modules int) {
	tb.Helper()
	list := run(tb, append(os.Environ(), "CGO_ENABLED=0"), "list", "-deps", "-f", "{{if not .Standard}}{{.Module.Path}} {{.ImportPath}}{{end}}", "./programs/"+name)
	seen := map[string]bool{}
	for line := range strings.Lines(list) {
		module, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		if path == "" || strings.Contains(path, "/internal/benchpeers/") {
			continue
		}
		packages++
		seen[module] = true
	}
	return packages, len(seen)
}

func run(tb testing.TB, env []string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "go", args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	require.NoError(tb, err, "%s", out)
	return string(out)
}

// Importers of the broker stay lean: packages and modules are counted, not
// bytes or seconds, which depend on the compiler.
func TestImportBudget(t *testing.T) {
	packages, modules := linked(t, "prtbroker")
	require.LessOrEqual(t, packages, 60)
	require.LessOrEqual(t, modules, 8)
}
