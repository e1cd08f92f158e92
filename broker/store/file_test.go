package store_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/broker/store/storetest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Store { return &store.Memory{} })
}

func TestFile(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return fileStore(t, t.TempDir()+"/state") })
}

// Two stores over one directory are what two processes have.
func TestFileShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/state"
	a, b := fileStore(t, dir), fileStore(t, dir)
	v, err := a.Put(t.Context(), "x", []byte("1"), 0)
	require.NoError(t, err)
	_, err = b.Put(t.Context(), "x", []byte("2"), 0)
	require.ErrorIs(t, err, store.ErrConflict)
	_, err = b.Put(t.Context(), "x", []byte("2"), v)
	require.NoError(t, err)
	_, err = a.Put(t.Context(), "x", []byte("3"), v)
	require.ErrorIs(t, err, store.ErrConflict)
}

func TestFileModes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/state"
	s := fileStore(t, dir)
	_, err := s.Put(t.Context(), "x", []byte("1"), 0)
	require.NoError(t, err)
	release, err := s.Lease(t.Context(), "x")
	require.NoError(t, err)
	defer release()
	fi, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), fi.Mode().Perm())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3) // the record and two locks: no temporary file stays
	for _, e := range entries {
		fi, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), fi.Mode().Perm(), e.Name())
	}
}

// The lock of the writers is none that a lease can hold.
func TestFileLeasesDoNotKeepWriters(t *testing.T) {
	t.Parallel()
	s := fileStore(t, t.TempDir()+"/state")
	_, err := s.Put(t.Context(), "x", []byte("1"), 0)
	require.NoError(t, err)
	locks, err := filepath.Glob(s.Dir() + "/*.lock")
	require.NoError(t, err)
	require.Len(t, locks, 1)
	name := strings.TrimSuffix(filepath.Base(locks[0]), ".lock")
	require.ErrorContains(t, store.CheckName(name), "is not a valid record name")
	_, err = s.Lease(t.Context(), name)
	require.ErrorContains(t, err, "is not a valid record name")
}

func TestFileRefusals(t *testing.T) {
	t.Parallel()
	t.Run("directory is a link that root does not own", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(dir+"/real", 0o700))
		require.NoError(t, os.Symlink(dir+"/real", dir+"/state"))
		if os.Geteuid() == 0 {
			require.NoError(t, os.Lchown(dir+"/state", 4242, 4242))
		}
		_, err := store.NewFile(dir + "/state")
		require.ErrorIs(t, err, fs.ErrPermission)
	})
	t.Run("directory is open to others", func(t *testing.T) {
		dir := t.TempDir() + "/state"
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, os.Chmod(dir, 0o755))
		_, err := store.NewFile(dir)
		require.ErrorIs(t, err, fs.ErrPermission)
		require.ErrorContains(t, err, "0755")
	})
	t.Run("directory is a file", func(t *testing.T) {
		p := t.TempDir() + "/state"
		require.NoError(t, os.WriteFile(p, nil, 0o600))
		_, err := store.NewFile(p)
		require.ErrorIs(t, err, fs.ErrExist)
	})
	t.Run("parent is a file", func(t *testing.T) {
		p := t.TempDir() + "/state"
		require.NoError(t, os.WriteFile(p, nil, 0o600))
		_, err := store.NewFile(p + "/a/b")
		require.ErrorIs(t, err, syscall.ENOTDIR)
	})
	t.Run("record is a link", func(t *testing.T) {
		dir := t.TempDir()
		s := fileStore(t, dir+"/state")
		require.NoError(t, os.WriteFile(dir+"/other", []byte("prtbrec1\x00\x00\x00\x00\x00\x00\x00\x01x"), 0o600))
		require.NoError(t, os.Symlink(dir+"/other", filepath.Join(s.Dir(), "x.rec")))
		_, _, err := s.Get(t.Context(), "x")
		require.ErrorIs(t, err, fs.ErrPermission)
		_, err = s.Put(t.Context(), "x", []byte("y"), 1)
		require.ErrorIs(t, err, fs.ErrPermission)
		b, err := os.ReadFile(dir + "/other")
		require.NoError(t, err)
		require.Equal(t, byte('x'), b[len(b)-1])
	})
	t.Run("lock is a link", func(t *testing.T) {
		dir := t.TempDir()
		s := fileStore(t, dir+"/state")
		require.NoError(t, os.Symlink(dir+"/other", filepath.Join(s.Dir(), ".write.lock")))
		_, err := s.Put(t.Context(), "x", []byte("y"), 0)
		require.ErrorIs(t, err, syscall.ELOOP)
		_, err = os.Stat(dir + "/other")
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
	t.Run("record of another user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root to change an owner")
		}
		s := fileStore(t, t.TempDir()+"/state")
		_, err := s.Put(t.Context(), "x", []byte("1"), 0)
		require.NoError(t, err)
		require.NoError(t, os.Chown(filepath.Join(s.Dir(), "x.rec"), 4242, 4242))
		_, _, err = s.Get(t.Context(), "x")
		require.ErrorIs(t, err, fs.ErrPermission)
	})
	t.Run("damaged record", func(t *testing.T) {
		s := fileStore(t, t.TempDir()+"/state")
		for _, raw := range []string{"", "short", "other000\x00\x00\x00\x00\x00\x00\x00\x01x", "prtbrec1\x00\x00\x00\x00\x00\x00\x00\x00x"} {
			require.NoError(t, os.WriteFile(filepath.Join(s.Dir(), "x.rec"), []byte(raw), 0o600))
			_, _, err := s.Get(t.Context(), "x")
			require.ErrorIs(t, err, store.ErrDamaged)
			_, err = s.Put(t.Context(), "x", []byte("y"), 0)
			require.ErrorIs(t, err, store.ErrDamaged, "a damaged record is not overwritten")
		}
	})
}

// Version 0 deletes what is not a valid record, and only that.
func TestFileDeletesDamaged(t *testing.T) {
	t.Parallel()
	s, ctx := fileStore(t, t.TempDir()+"/state"), t.Context()
	require.ErrorIs(t, s.Delete(ctx, "missing", 0), store.ErrNotFound)

	v, err := s.Put(ctx, "good", []byte("1"), 0)
	require.NoError(t, err)
	require.ErrorIs(t, s.Delete(ctx, "good", 0), store.ErrConflict)
	_, still, err := s.Get(ctx, "good")
	require.NoError(t, err)
	require.Equal(t, v, still)

	damaged := filepath.Join(s.Dir(), "damaged.rec")
	require.NoError(t, os.WriteFile(damaged, []byte("prtb"), 0o600))
	require.ErrorIs(t, s.Delete(ctx, "damaged", 1), store.ErrDamaged)
	require.FileExists(t, damaged)
	require.NoError(t, s.Delete(ctx, "damaged", 0))
	require.NoFileExists(t, damaged)
	_, err = s.Put(ctx, "damaged", []byte("1"), 0)
	require.NoError(t, err)

	directory := filepath.Join(s.Dir(), "directory.rec")
	require.NoError(t, os.Mkdir(directory, 0o700))
	_, _, err = s.Get(ctx, "directory")
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "record directory is not a regular file")
	require.ErrorIs(t, s.Delete(ctx, "directory", 0), fs.ErrPermission)
	require.DirExists(t, directory)
}

// Parents are made, for the user alone.
func TestFileMakesParents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := fileStore(t, dir+"/a/b/state")
	_, err := s.Put(t.Context(), "x", []byte("1"), 0)
	require.NoError(t, err)
	for _, d := range []string{"/a", "/a/b", "/a/b/state"} {
		fi, err := os.Stat(dir + d)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o700), fi.Mode().Perm(), d)
	}
}

// What a killed process left behind goes, nothing else, and not while somebody
// writes.
func TestFileSweeps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/state"
	s := fileStore(t, dir)
	_, err := s.Put(t.Context(), "x", []byte("1"), 0)
	require.NoError(t, err)
	left := []string{".x.rec1234567", ".account-1.key.rec98", ".tmp-77"}
	stays := []string{"notes.txt", ".hidden", ".x.record1", "y.rec"}
	for _, name := range append(left, stays...) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("?"), 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".d.rec5"), 0o700))
	writing := flock.New(filepath.Join(dir, ".write.lock"))
	require.NoError(t, writing.Lock())
	fileStore(t, dir)
	require.FileExists(t, filepath.Join(dir, left[0]), "somebody writes")
	require.NoError(t, writing.Close())
	fileStore(t, dir)
	for _, name := range left {
		require.NoFileExists(t, filepath.Join(dir, name))
	}
	for _, name := range append(stays, "x.rec") {
		require.FileExists(t, filepath.Join(dir, name))
	}
	require.DirExists(t, filepath.Join(dir, ".d.rec5"))
}

func fileStore(t testing.TB, dir string) *store.File {
	t.Helper()
	s, err := store.NewFile(dir)
	require.NoError(t, err)
	return s
}

// Each store takes and returns a record of exactly MaxRecord bytes.
func TestLargestRecord(t *testing.T) {
	t.Parallel()
	data := make([]byte, store.MaxRecord)
	data[0], data[len(data)-1] = 1, 2
	for name, s := range map[string]store.Store{
		"Memory":        &store.Memory{},
		"File":          fileStore(t, t.TempDir()+"/state"),
		"Blob reopened": &reopened{t: t, turn: make(chan struct{}, 1)},
	} {
		_, err := s.Put(t.Context(), "a", data, 0)
		require.NoError(t, err, name)
		got, _, err := s.Get(t.Context(), "a")
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(data, got), name)
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "z", "0", "9", "az09._-", strings.Repeat("a", 128)} {
		require.NoError(t, store.CheckName(name), name)
	}
	for _, name := range []string{"", ".a", "_a", "-a", "A", "a/b", "a:b", "a`b", "a{b", strings.Repeat("a", 129)} {
		require.ErrorContains(t, store.CheckName(name), "is not a valid record name", name)
	}
}
