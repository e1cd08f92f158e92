//go:build unix

// Package atomicfile replaces a file as a whole, so that a crash leaves the old
// content or the new one.
package atomicfile

import (
	"io/fs"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Write replaces the file at path by one with data and mode perm. Its temporary
// file is in the same directory. The new content is synced; to make the
// replacement itself survive a power loss, the caller syncs the directory.
func Write(path string, data []byte, perm fs.FileMode) error {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(perm))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
