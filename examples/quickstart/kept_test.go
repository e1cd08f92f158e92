package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain runs the program instead of the tests in a process that was started
// for that.
func TestMain(m *testing.M) {
	if os.Getenv("QUICKSTART_MAIN") == "1" {
		main()
	}
	os.Exit(m.Run())
}

// With -state the story can be told again and again: the tenant is kept beside
// the device that it knows, and wrong PINs of earlier runs lock nobody out.
func TestStateIsKept(t *testing.T) {
	for _, kind := range []string{"software", "swtpm"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "swtpm" {
				requireSwtpm(t)
			}
			dir := filepath.Join(t.TempDir(), "kept")
			code, out, errs := runQuickstart(t, "-tpm", kind, "-state", dir)
			require.Zero(t, code, errs)
			tellsTheStory(t, out)
			first := deviceID.FindString(out)
			runs := 1
			if kind == "swtpm" && !testing.Short() {
				runs = 2 // more, and its wrong PINs would lock the TPM
			}
			for range runs {
				code, out, errs := runQuickstart(t, "-tpm", kind, "-state", dir)
				require.Zero(t, code, errs)
				tellsTheStory(t, out)
				require.Equal(t, first, deviceID.FindString(out))
				require.Contains(t, out, "the registration that -state keeps")
			}
			require.NoDirExists(t, filepath.Join(dir, "other"))

			code, _, errs = runQuickstart(t, "-tpm", kind, "-state", dir, "-tenant", "contoso.example")
			require.Equal(t, 1, code)
			require.Contains(t, errs, "holds the state of the emulated tenant")
		})
	}
}

// A state that the emulated tenant does not know is refused before anything is
// done to it.
func TestStateOfARealTenant(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "state"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "state", "root.key.rec"), nil, 0o600))
	code, out, errs := runQuickstart(t, "-tpm", "software", "-state", dir)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "holds the state of a real tenant")
	require.Empty(t, out)
	require.NoDirExists(t, filepath.Join(dir, "keys"))

	require.NoError(t, os.WriteFile(filepath.Join(dir, tenantFile), []byte("{"), 0o600))
	_, _, errs = runQuickstart(t, "-tpm", "software", "-state", dir)
	require.Contains(t, errs, "is damaged")
}

// Nothing with keys in it stays behind when the reader of the output goes away,
// as head does.
func TestBrokenPipe(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("has no SIGPIPE")
	}
	for _, kind := range []string{"software", "swtpm"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "swtpm" {
				requireSwtpm(t)
			}
			temp, err := os.MkdirTemp("", "qs") // short, for the socket of swtpm
			require.NoError(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(temp) })
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-tpm", kind)
			cmd.Env = append(os.Environ(), "QUICKSTART_MAIN=1", "TMPDIR="+temp)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			require.Contains(t, line, "1. A device is registered")
			held, err := os.ReadDir(temp)
			require.NoError(t, err)
			require.NotEmpty(t, held, "the program keeps its temporary files elsewhere")
			require.NoError(t, out.Close())
			var failed *exec.ExitError
			require.ErrorAs(t, cmd.Wait(), &failed)
			require.Equal(t, 1, failed.ExitCode(), "%v", failed)
			held, err = os.ReadDir(temp)
			require.NoError(t, err)
			require.Empty(t, held)
		})
	}
}
