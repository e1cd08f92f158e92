//go:build unix

package store_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFileUnwritable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		asNobody(t) // root writes everywhere
		return
	}
	s := fileStore(t, t.TempDir()+"/state")
	require.NoError(t, os.Chmod(s.Dir(), 0o500))
	defer func() { _ = os.Chmod(s.Dir(), 0o700) }()
	_, err := s.Put(t.Context(), "x", []byte("y"), 0)
	require.ErrorIs(t, err, fs.ErrPermission)
}

// asNobody runs the calling test again as a user without rights.
func asNobody(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "nobody")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777)) // the directory of the test binary is closed to others
	binary := filepath.Join(dir, "broker.test")
	b, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(binary, b, 0o755))

	cmd := exec.Command(binary, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: "+t.Name())
}
