package interop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lineClient is a client in another language: a command a line, words separated by
// tabs; a reply a line, "ok" or "error", a tab and what the client saw.
type lineClient struct {
	*emulator
	in  io.Writer
	out *bufio.Scanner
}

func startLineClient(t *testing.T, e *emulator, name string, args ...string) *lineClient {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir, cmd.Stderr = e.env, t.TempDir(), os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	return &lineClient{e, in, lines}
}

// run sends a command and returns what the client saw.
func (c *lineClient) run(t *testing.T, words ...string) (saw string, ok bool) {
	t.Helper()
	_, err := fmt.Fprintln(c.in, strings.Join(words, "\t"))
	require.NoError(t, err)
	require.True(t, c.out.Scan(), "the program ended at %v", words)
	kind, saw, _ := strings.Cut(c.out.Text(), "\t")
	return saw, kind == "ok"
}

func (c *lineClient) must(t *testing.T, words ...string) string {
	t.Helper()
	saw, ok := c.run(t, words...)
	require.True(t, ok, "%v: %s", words, saw)
	return saw
}

// refused runs a command that fails.
func (c *lineClient) refused(t *testing.T, want string, words ...string) string {
	t.Helper()
	saw, ok := c.run(t, words...)
	require.False(t, ok, "%v: %s", words, saw)
	require.Contains(t, saw, want)
	return "refused: " + saw
}
