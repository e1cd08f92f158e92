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

	"github.com/prtbroker/prtbroker/broker/store"
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
	_, err = store.NewFile(s.Dir() + "/below")
	require.ErrorIs(t, err, fs.ErrPermission, "that the directory is missing is not the cause")
}

// In a directory that others may write to, nothing is deleted, damaged or not.
func TestFileDeletesNothingInAnOpenDirectory(t *testing.T) {
	t.Parallel()
	s := fileStore(t, t.TempDir()+"/state")
	v, err := s.Put(t.Context(), "x", []byte("1"), 0)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.Dir()+"/damaged.rec", []byte("prtb"), 0o600))
	require.NoError(t, os.Chmod(s.Dir(), 0o777))
	require.ErrorIs(t, s.Delete(t.Context(), "x", v), fs.ErrPermission)
	require.ErrorIs(t, s.Delete(t.Context(), "damaged", 0), fs.ErrPermission)
	require.FileExists(t, s.Dir()+"/damaged.rec")
}

// A parent may let the user make a directory in it and not be read, so that its name
// cannot be synced.
func TestFileInAnUnreadableParent(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		asNobody(t) // root reads everything
		return
	}
	parent := t.TempDir()
	require.NoError(t, os.Chmod(parent, 0o300))
	defer func() { _ = os.Chmod(parent, 0o700) }()
	s := fileStore(t, parent+"/state")
	_, err := s.Put(t.Context(), "x", []byte("1"), 0)
	require.NoError(t, err)
}

// Under systemd, StateDirectory= with DynamicUser=yes is a link that root owns into
// a directory of the dynamic user, which is not root.
func TestFileOfADynamicUser(t *testing.T) {
	const at = "PRTBROKER_TEST_STATE_DIRECTORY"
	link := os.Getenv(at)
	if link == "" {
		if os.Geteuid() != 0 {
			t.Skip("needs root to make the link")
		}
		dir, err := os.MkdirTemp("", "systemd")
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		require.NoError(t, os.Chmod(dir, 0o755))
		require.NoError(t, os.MkdirAll(dir+"/private/app", 0o755))
		require.NoError(t, os.Chmod(dir+"/private/app", 0o755))
		require.NoError(t, os.Chown(dir+"/private/app", 65534, 65534))
		require.NoError(t, os.Symlink("private/app", dir+"/app"))
		t.Setenv(at, dir+"/app")
		asNobody(t)
		return
	}
	_, err := store.NewFile(link)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "StateDirectoryMode=0700", "the default is 0755")
	require.NoError(t, os.Chmod(link, 0o700))
	s, err := store.NewFile(link)
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "x", []byte("1"), 0)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(filepath.Dir(link), "private", "app", "x.rec"))
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
