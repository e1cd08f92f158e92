package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The Makefile finds the modules without git, and a place without any is an
// error: a check of nothing must not pass.
func TestMakefileFindsModules(t *testing.T) {
	program, err := exec.LookPath("make")
	if err != nil {
		t.Skip("make is not installed")
	}
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	run := func(target string) (string, error) {
		cmd := exec.Command(program, "-n", target)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	write("Makefile", string(makefile))
	targets := []string{"check", "race", "demo", "quick"}
	for _, target := range targets {
		out, err := run(target)
		require.ErrorContains(t, err, "exit status", target)
		require.Contains(t, out, "no go.mod found", target)
	}
	write("go.mod", "module example\n")
	write("deep/er/go.mod", "module example/deep/er\n")
	write("node_modules/x/go.mod", "module x\n")
	write("tools/go.mod", "module tools\n")
	for _, target := range targets {
		out, err := run(target)
		require.NoError(t, err, "%s: %s", target, out)
		require.NotContains(t, out, "git", target)
	}
	out, err := run("race")
	require.NoError(t, err)
	require.Contains(t, out, "for m in . ./deep/er;", "the root, and what is nested; not the tools, nor what others install")
}
