package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// A Store keeps opaque records by name. The broker seals what it puts there.
// A store is safe for concurrent use and compares versions, so that two
// writers cannot overwrite each other unseen.
//
// A store that several processes share also implements [Leaser].
type Store interface {
	// Get returns a record and its version, or ErrNotFound. The caller owns
	// the data.
	Get(ctx context.Context, name string) (data []byte, v Version, err error)

	// Put writes a record whose version is old, and returns its new version;
	// the zero version means that no such record is there. It returns
	// ErrConflict, and writes nothing, when the version is another one. A
	// reader sees the old record or the new one, also after a crash.
	Put(ctx context.Context, name string, data []byte, old Version) (Version, error)

	// Delete removes a record whose version is old. It returns ErrConflict
	// when the version is another one, and ErrNotFound when there is none. A
	// record that Get finds damaged (ErrStateDamaged) has the zero version.
	Delete(ctx context.Context, name string, old Version) error

	// List returns the names that begin with prefix, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
}

// A Leaser is a Store that also lends a name to one holder at a time, among
// all processes that share it. A lease is the one lock that the broker holds
// over a request: it keeps two processes from renewing one PRT, or from
// registering one device, at once.
type Leaser interface {
	// Lease waits for the name until ctx ends. A lease ends with its holder.
	Lease(ctx context.Context, name string) (release func(), err error)
}

// A Version names one content of a record. No two writes of a record have the
// same. Zero: there is no record.
type Version uint64

var (
	// ErrNotFound: the store has no such record.
	ErrNotFound = errors.New("broker: no such record")
	// ErrConflict: the record's version is another one.
	ErrConflict = errors.New("broker: the record was changed by another writer")
)

const (
	// MaxRecord is the largest record that the stores of this package take,
	// in bytes.
	MaxRecord = 16 << 20

	maxName = 128
)

// CheckName reports whether a name may be a record's: 1 to 128 bytes of
// a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit. Stores can
// therefore use names as file names.
func CheckName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsRune("._-", rune(name[0])) {
		return fmt.Errorf("broker: %q is no name of a record", name)
	}
	for _, c := range []byte(name) {
		if ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("broker: %q is no name of a record", name)
		}
	}
	return nil
}

// nextVersion returns a version that is neither zero nor old.
func nextVersion(old Version) Version {
	for {
		if v := Version(rand.Uint64()); v != 0 && v != old {
			return v
		}
	}
}

// MemoryStore keeps records as long as the process lives. Its zero value is
// empty and ready. Several brokers of one process may share it.
type MemoryStore struct {
	mu      sync.Mutex // guards all below
	records map[string]memoryRecord
	leases  map[string]chan struct{}
}

type memoryRecord struct {
	data []byte
	v    Version
}

// Get implements [Store].
func (s *MemoryStore) Get(ctx context.Context, name string) ([]byte, Version, error) {
	if err := check(ctx, name); err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[name]
	if !ok {
		return nil, 0, ErrNotFound
	}
	return slices.Clone(r.data), r.v, nil
}

// Put implements [Store].
func (s *MemoryStore) Put(ctx context.Context, name string, data []byte, old Version) (Version, error) {
	if err := check(ctx, name); err != nil {
		return 0, err
	}
	if len(data) > MaxRecord {
		return 0, errRecordSize(name, len(data))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[name].v != old {
		return 0, ErrConflict
	}
	if s.records == nil {
		s.records = map[string]memoryRecord{}
	}
	v := nextVersion(old)
	s.records[name] = memoryRecord{slices.Clone(data), v}
	return v, nil
}

// Delete implements [Store].
func (s *MemoryStore) Delete(ctx context.Context, name string, old Version) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[name]
	if !ok {
		return ErrNotFound
	}
	if r.v != old {
		return ErrConflict
	}
	delete(s.records, name)
	return nil
}

// List implements [Store].
func (s *MemoryStore) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.Sorted(maps.Keys(s.records))
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) }), nil
}

// Lease implements [Leaser] among the brokers of this process.
func (s *MemoryStore) Lease(ctx context.Context, name string) (func(), error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.leases == nil {
		s.leases = map[string]chan struct{}{}
	}
	free, ok := s.leases[name]
	if !ok {
		free = make(chan struct{}, 1)
		s.leases[name] = free
	}
	s.mu.Unlock()
	select {
	case free <- struct{}{}:
		return sync.OnceFunc(func() { <-free }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return CheckName(name)
}

func errRecordSize(name string, n int) error {
	return fmt.Errorf("broker: record %s has %d bytes; at most %d are allowed", name, n, MaxRecord)
}

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
