//go:build !unix

package store

import (
	"fmt"
	"io/fs"
	"os"
)

// lockFlags open a lock file.
const lockFlags = os.O_CREATE | os.O_RDWR

func openNoFollow(path string) (*os.File, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("%s is a symbolic link: %w", path, fs.ErrPermission)
	}
	return os.Open(path)
}

// Access is a matter of the directory's access control list here, which a
// user's profile inherits.
func checkOwner(string, fs.FileInfo) error { return nil }
func loose(fs.FileInfo) bool               { return false }

func replaceFile(dir, path string, data []byte) (err error) {
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func syncDir(string) error { return nil }
