//go:build unix

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// lockFlags open a lock file: a link in its place is refused.
const lockFlags = os.O_CREATE | os.O_RDWR | syscall.O_NOFOLLOW

func openNoFollow(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link: %w", path, fs.ErrPermission)
	}
	return f, err
}

// checkOwner refuses what another user owns: its owner could change it.
func checkOwner(path string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("store: %s belongs to user %d, not to %d: %w", path, st.Uid, os.Geteuid(), fs.ErrPermission)
}

// ofRoot reports whether root owns a file.
func ofRoot(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Uid == 0
}

func loose(fi fs.FileInfo) bool { return fi.Mode().Perm()&0o077 != 0 }

// syncDir makes a rename or a removal survive a crash.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("store: syncing the state: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("store: syncing the state: %w", err)
	}
	return nil
}
