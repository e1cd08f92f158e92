package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/prtbroker/prtbroker/policy"
)

// loadPolicies compiles the Conditional Access policies of a file or a
// directory, as Microsoft Graph exports them.
func loadPolicies(path string) (*policy.Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("--policies: %w", err)
	}
	var fsys fs.FS = os.DirFS(path)
	if !info.IsDir() {
		fsys = oneFile{os.DirFS(filepath.Dir(path)), filepath.Base(path)}
	}
	bundle, _, err := policy.LoadFS(fsys)
	if err != nil {
		return nil, fmt.Errorf("--policies %s: %w", path, err)
	}
	if len(bundle.Policies) == 0 {
		return nil, usagef("--policies: there is no Conditional Access policy in %s", path)
	}
	set, err := policy.Compile(bundle)
	if err != nil {
		return nil, fmt.Errorf("--policies %s: %w", path, err)
	}
	return set, nil
}

// oneFile shows one file of a directory and hides the others.
type oneFile struct {
	fs.FS
	name string
}

// ReadDir implements [fs.ReadDirFS].
func (f oneFile) ReadDir(dir string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(f.FS, dir)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if dir == "." && e.Name() == f.name {
			return []fs.DirEntry{e}, nil
		}
	}
	return nil, nil
}
