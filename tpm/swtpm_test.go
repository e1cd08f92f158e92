//go:build unix

package tpm_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
)

// The command in the documentation of Swtpm is run as it stands there.
func TestSwtpmDocumentation(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("swtpm"); err != nil {
		require.NotEqual(t, "1", os.Getenv("PRTBROKER_REQUIRE_TPM"), "swtpm is missing")
		t.Skip("swtpm is not installed")
	}
	source, err := os.ReadFile("swtpm.go")
	require.NoError(t, err)
	doc, _, ok := strings.Cut(string(source), "\nfunc Swtpm(")
	require.True(t, ok)
	doc = doc[strings.LastIndex(doc, "\n\n"):]
	var command strings.Builder
	for _, line := range regexp.MustCompile(`(?m)^//\t(.*)$`).FindAllStringSubmatch(doc, -1) {
		command.WriteString(line[1] + "\n")
	}
	require.Contains(t, command.String(), "swtpm socket")

	home, err := os.MkdirTemp("", "home") // short, for the socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command.String())
	cmd.Env = append(os.Environ(), "HOME="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	socket := filepath.Join(home, "swtpm", "socket")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var s *tpm.TPM
	for {
		s, err = tpm.Open(ctx, tpm.Swtpm(socket), tpm.Config{})
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) { // bound, and not listening yet
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("swtpm does not listen")
		}
	}
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Check(t.Context()))
}
