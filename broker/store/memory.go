package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory keeps records as long as the process lives. Its zero value is
// empty and ready. Several brokers of one process may share it.
type Memory struct {
	mu      sync.Mutex // guards all below
	records map[string]memoryRecord
	leases  map[string]chan struct{}
}

type memoryRecord struct {
	data []byte
	v    Version
}

// Get implements [Store].
func (s *Memory) Get(ctx context.Context, name string) ([]byte, Version, error) {
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
func (s *Memory) Put(ctx context.Context, name string, data []byte, old Version) (Version, error) {
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
func (s *Memory) Delete(ctx context.Context, name string, old Version) error {
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
func (s *Memory) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.Sorted(maps.Keys(s.records))
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) }), nil
}

// Lease implements [Leaser] among the brokers of this process.
func (s *Memory) Lease(ctx context.Context, name string) (func(), error) {
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

// snapshot returns the records. Their data is never changed in place.
func (s *Memory) snapshot() map[string]memoryRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	records := make(map[string]memoryRecord, len(s.records))
	maps.Copy(records, s.records)
	return records
}

// replace makes records the content of the store; the caller no longer uses
// them.
func (s *Memory) replace(records map[string]memoryRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = records
}
