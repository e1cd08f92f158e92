package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	shBlock    = regexp.MustCompile("(?s)```sh\n(.*?)```")
	plainBlock = regexp.MustCompile("(?s)```\n(.*?)```")
	size       = regexp.MustCompile(`[0-9]+ bytes`)
)

// Somebody who has nothing but the README gets a token: its commands and its
// program, copied into an empty directory, run and print what it says.
func TestReadmeRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program in a module of its own")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	readme := string(text)
	program := goBlock.FindStringSubmatch(readme)[1]
	require.True(t, strings.HasPrefix(program, "package main"), "the first Go of the README is not a program")
	commands := shBlock.FindAllStringSubmatch(readme, -1)
	require.Len(t, commands, 2)
	_, after, _ := strings.Cut(readme, "It prints:")
	want := plainBlock.FindStringSubmatch(after)[1]

	home := t.TempDir()
	require.NoError(t, os.Symlink(root, filepath.Join(home, "prtbroker")))
	setUp := regexp.MustCompile(`(?m)^git clone .*$`).ReplaceAllString(commands[0][1], "true")
	script := "set -e\n" + setUp + "\ncp ../main.go .\n" + commands[1][1]
	require.NoError(t, os.WriteFile(filepath.Join(home, "main.go"), []byte(program), 0o600))
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "GOPATH="+goEnv(t, "GOPATH"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoErrorf(t, err, "%s", &stderr)
	require.Equal(t, size.ReplaceAllString(want, "n bytes"), size.ReplaceAllString(string(out), "n bytes"))
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
