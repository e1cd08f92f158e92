package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/prtbroker/prtbroker/internal/atomicfile"
)

// File keeps records in the files of a directory that several processes may
// share. The directory has mode 0700 and its files 0600; a directory or a file
// that is a symbolic link, or that another user owns, is refused. The only link
// that is followed is one that root owns, in place of the directory, to a
// directory of the user, as systemd makes them for StateDirectory= with
// DynamicUser=yes; a unit also needs StateDirectoryMode=0700.
//
// A write goes to a temporary file, which is synced and renamed over the old
// one, and then the directory is synced: after a crash a record is the old one
// or the new one. Writers exclude each other by an advisory lock on the
// directory, held for the write alone; [File.Lease] has locks of its own.
type File struct{ dir string }

const (
	fileSuffix = ".rec"
	lockSuffix = ".lock"
	writeLock  = ".write" + lockSuffix // not of a record: no name begins with a dot
	fileMagic  = "prtbrec1"            // with the version of the format of a file
	fileHeader = len(fileMagic) + 8
	lockRetry  = 5 * time.Millisecond
)

// NewFile returns a store in dir, which it creates if it does not exist, with
// its parents, accessible to the user only. Temporary files that a killed
// process left behind are removed.
func NewFile(dir string) (*File, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store: state directory: %w", err)
	}
	if dir, err = followRoots(dir); err != nil {
		return nil, err
	}
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("store: state directory: %w", err)
	}
	s := &File{dir: dir}
	if err := s.checkDir(); err != nil {
		return nil, err
	}
	s.sweep()
	return s, nil
}

// makeDir makes a directory and its missing parents, each of which survives a power
// loss: without that, everything that is synced in it later would be lost with its
// name. One that is there already may be one whose maker was killed in between.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err // a parent that others own cannot always be opened
	}
	return nil
}

// followRoots follows one symbolic link that root owns.
func followRoots(dir string) (string, error) {
	fi, err := os.Lstat(dir)
	if err != nil || fi.Mode()&fs.ModeSymlink == 0 || !ofRoot(fi) {
		return dir, nil // an error shows when it is used
	}
	to, err := os.Readlink(dir)
	if err != nil {
		return "", fmt.Errorf("store: state directory: %w", err)
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(dir), to)
	}
	return to, nil
}

// leftOver matches the names of temporary files of records.
var leftOver = regexp.MustCompile(`^\.(.+\.rec[0-9]+|tmp-.+)$`)

// sweep removes temporary files. A writer holds the write lock, so under that
// lock all of them are left over. While another process has the lock, they
// stay.
func (s *File) sweep() {
	if len(s.leftOver()) == 0 {
		return
	}
	l := flock.New(filepath.Join(s.dir, writeLock), flock.SetFlag(lockFlags), flock.SetPermissions(0o600))
	if ok, err := l.TryLock(); err != nil || !ok {
		return
	}
	defer l.Close()
	for _, name := range s.leftOver() {
		_ = os.Remove(filepath.Join(s.dir, name))
	}
}

func (s *File) leftOver() (names []string) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil // an error shows where the store is used
	}
	for _, e := range entries {
		if e.Type().IsRegular() && leftOver.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// Dir returns the directory.
func (s *File) Dir() string { return s.dir }

func (s *File) checkDir() error {
	fi, err := os.Lstat(s.dir)
	if err != nil {
		return fmt.Errorf("store: state directory: %w", err)
	}
	switch {
	case fi.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("store: state directory %s is a symbolic link that root does not own: %w", s.dir, fs.ErrPermission)
	case !fi.IsDir():
		return fmt.Errorf("store: state directory %s is not a directory: %w", s.dir, fs.ErrExist)
	}
	if err := checkOwner(s.dir, fi); err != nil {
		return err
	}
	if loose(fi) {
		return fmt.Errorf("store: state directory %s is open to others (mode %04o, want 0700; in a systemd unit StateDirectoryMode=0700): %w",
			s.dir, fi.Mode().Perm(), fs.ErrPermission)
	}
	return nil
}

func (s *File) path(name string) string { return filepath.Join(s.dir, name+fileSuffix) }

// Get implements [Store].
func (s *File) Get(ctx context.Context, name string) ([]byte, Version, error) {
	if err := check(ctx, name); err != nil {
		return nil, 0, err
	}
	return s.read(name)
}

func (s *File) read(name string) ([]byte, Version, error) {
	f, err := openNoFollow(s.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, ErrNotFound
	case err != nil:
		return nil, 0, fmt.Errorf("store: reading the state: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("store: reading the state: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("store: record %s is not a regular file: %w", name, fs.ErrPermission)
	}
	if err := checkOwner(s.path(name), fi); err != nil {
		return nil, 0, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, int64(fileHeader+MaxRecord+1)))
	if err != nil {
		return nil, 0, fmt.Errorf("store: reading the state: %w", err)
	}
	return parseFile(name, raw)
}

func parseFile(name string, raw []byte) ([]byte, Version, error) {
	if len(raw) < fileHeader || string(raw[:len(fileMagic)]) != fileMagic || len(raw) > fileHeader+MaxRecord {
		return nil, 0, fmt.Errorf("%w: record %s has no envelope", ErrDamaged, name)
	}
	v := Version(binary.BigEndian.Uint64(raw[len(fileMagic):]))
	if v == 0 {
		return nil, 0, fmt.Errorf("%w: record %s has no version", ErrDamaged, name)
	}
	return raw[fileHeader:], v, nil
}

// Put implements [Store].
func (s *File) Put(ctx context.Context, name string, data []byte, old Version) (v Version, err error) {
	if err := check(ctx, name); err != nil {
		return 0, err
	}
	if len(data) > MaxRecord {
		return 0, errRecordSize(name, len(data))
	}
	err = s.write(ctx, name, old, func() error {
		v = nextVersion(old)
		raw := make([]byte, 0, fileHeader+len(data))
		raw = append(raw, fileMagic...)
		raw = binary.BigEndian.AppendUint64(raw, uint64(v))
		raw = append(raw, data...)
		if err := atomicfile.Write(s.path(name), raw, 0o600); err != nil {
			return fmt.Errorf("store: writing the state: %w", err)
		}
		return syncDir(s.dir)
	})
	if err != nil {
		return 0, err
	}
	return v, nil
}

// Delete implements [Store].
func (s *File) Delete(ctx context.Context, name string, old Version) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if old == 0 {
		return s.removeDamaged(ctx, name)
	}
	return s.write(ctx, name, old, func() error { return s.remove(name) })
}

// removeDamaged removes a file that is not a valid record, and nothing else.
func (s *File) removeDamaged(ctx context.Context, name string) error {
	if err := s.checkDir(); err != nil {
		return err
	}
	unlock, err := s.lock(ctx, writeLock)
	if err != nil {
		return err
	}
	defer unlock()
	switch _, _, err := s.read(name); {
	case err == nil:
		return ErrConflict // written meanwhile
	case !errors.Is(err, ErrDamaged):
		return err
	}
	return s.remove(name)
}

func (s *File) remove(name string) error {
	if err := os.Remove(s.path(name)); err != nil {
		return fmt.Errorf("store: writing the state: %w", err)
	}
	return syncDir(s.dir)
}

// write runs do under the write lock if the record's version is old.
func (s *File) write(ctx context.Context, name string, old Version, do func() error) error {
	if err := s.checkDir(); err != nil {
		return err
	}
	unlock, err := s.lock(ctx, writeLock)
	if err != nil {
		return err
	}
	defer unlock()
	_, v, err := s.read(name)
	switch {
	case errors.Is(err, ErrNotFound):
		if old != 0 {
			return ErrNotFound
		}
	case err != nil:
		return err
	case v != old:
		return ErrConflict
	}
	return do()
}

// List implements [Store].
func (s *File) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("store: reading the state: %w", err)
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), fileSuffix)
		if ok && strings.HasPrefix(name, prefix) && CheckName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Lease implements [Leaser] among all processes that share the directory. The
// operating system ends a lease with its process.
func (s *File) Lease(ctx context.Context, name string) (func(), error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	return s.lock(ctx, name+lockSuffix)
}

// lock opens the file again for each holder, so that the lock also excludes
// goroutines of one process.
func (s *File) lock(ctx context.Context, file string) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(s.dir, file), flock.SetFlag(lockFlags), flock.SetPermissions(0o600))
	if err := untilLocked(ctx, l.TryLockContext); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { _ = l.Close() }), nil
}

// untilLocked tries again when a signal interrupts the system, as it may on a
// network file system.
func untilLocked(ctx context.Context, try func(context.Context, time.Duration) (bool, error)) error {
	for {
		ok, err := try(ctx, lockRetry)
		switch {
		case err == nil && ok:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("store: locking the state: %w", err)
		}
	}
}
