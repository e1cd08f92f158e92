//go:build amd64 || arm64

package stepper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// An Op is a change of a file below a directory.
type Op struct {
	Kind string // create, write, sync, rename, remove, mkdir or mark
	Path string // relative to the directory; "." is the directory itself
	To   string // of a rename
	Data []byte // of a write, at the end of the file
	Mark int
	Flag int // of a create
}

// Op returns what the call changes below dir. False: nothing there. The program must
// be waiting in the call, as it is during visit.
func (c Call) Op(dir string) (op Op, ok bool, err error) {
	if c.Mark != 0 {
		return Op{Kind: "mark", Mark: c.Mark}, true, nil
	}
	switch c.Name {
	case "write", "fsync", "fdatasync", "ftruncate", "pwrite64", "writev", "pwritev", "pwritev2", "fallocate":
		path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.pid, c.args[0]))
		if err != nil {
			return op, false, err
		}
		if op.Path, ok = below(dir, path); !ok {
			return op, false, nil
		}
		switch c.Name {
		case "write":
			op.Kind = "write"
			op.Data = make([]byte, c.args[2])
			return op, true, c.read(op.Data, uintptr(c.args[1]))
		case "fsync", "fdatasync":
			op.Kind = "sync"
			return op, true, nil
		}
		return op, false, fmt.Errorf("stepper: %s of %s is not recorded", c.Name, path)
	case "openat":
		op.Kind, op.Flag = "create", int(c.args[2])
		op.Path, ok, err = c.path(dir, c.args[1])
	case "renameat", "renameat2":
		op.Kind = "rename"
		if op.Path, ok, err = c.path(dir, c.args[1]); err == nil && ok {
			op.To, ok, err = c.path(dir, c.args[3])
		}
	case "unlinkat":
		op.Kind = "remove"
		op.Path, ok, err = c.path(dir, c.args[1])
	case "mkdirat":
		op.Kind = "mkdir"
		op.Path, ok, err = c.path(dir, c.args[1])
	}
	return op, ok, err
}

// path reads the path at an address of the program.
func (c Call) path(dir string, address uint64) (string, bool, error) {
	buf := make([]byte, unix.PathMax)
	// A path may end just before memory that is not there.
	for n := len(buf); ; n /= 2 {
		if n < 16 {
			return "", false, errors.New("stepper: cannot read a path")
		}
		if err := c.read(buf[:n], uintptr(address)); err != nil {
			continue
		}
		if i := bytes.IndexByte(buf[:n], 0); i >= 0 {
			rel, ok := below(dir, string(buf[:i]))
			return rel, ok, nil
		}
		return "", false, errors.New("stepper: a path without an end")
	}
}

func (c Call) read(into []byte, address uintptr) error {
	if len(into) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &into[0]}}
	local[0].SetLen(len(into))
	n, err := unix.ProcessVMReadv(c.pid, local, []unix.RemoteIovec{{Base: address, Len: len(into)}}, 0)
	if err == nil && n != len(into) {
		err = errors.New("read less than was asked for")
	}
	if err != nil {
		return fmt.Errorf("stepper: reading the program's memory: %w", err)
	}
	return nil
}

func below(dir, path string) (string, bool) {
	if !filepath.IsAbs(path) {
		return "", false
	}
	rel, err := filepath.Rel(dir, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	return rel, true
}
