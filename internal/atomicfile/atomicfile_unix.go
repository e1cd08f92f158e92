//go:build unix

// Package atomicfile replaces a file as a whole, so that a crash leaves the old
// content or the new one.
package atomicfile

import (
	"io/fs"

	"github.com/google/renameio/v2"
)

// Write replaces the file at path by one with data and mode perm.
func Write(path string, data []byte, perm fs.FileMode) error {
	return renameio.WriteFile(path, data, perm)
}
