package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// Blob keeps all its records in one value, for programs that have their own
// place for the state of each user: a field of a JSON file, a row of a
// database, a secret of a cluster. Several brokers of one process may share it.
//
// The broker seals its records before they get here, so the value is opaque,
// does not show a user's name and opens only with the key store that it was
// made with.
//
// Two processes must not use the value of one user at the same time, since
// neither sees what the other writes: lock its place from [NewBlob] until the
// broker is closed. A new process does not notice that an older value was put
// back; who may write to the place is up to the program.
type Blob struct {
	records Memory // what is saved

	save func(context.Context, []byte) error
	turn chan struct{} // a token; whoever has it writes. Held over save
}

// The value is a magic, the SHA-256 of what follows, and the records in the
// order of their names. A record is the length of its name (1 byte), the name,
// its version (8), the length of its data (4) and the data. Numbers are
// big-endian.
const (
	blobMagic  = "prtblob1" // with the version of the format
	blobHeader = len(blobMagic) + sha256.Size
	blobRecord = 1 + 8 + 4 // beside name and data
)

// NewBlob returns a store with the records of value, as returned by
// [Blob.Bytes] or given to save. An empty value is an empty store. A damaged
// value, or anything else, is ErrDamaged.
//
// Each change is saved before it takes effect: save is called with the whole
// new value, one call at a time and in order, and must return when its context
// ends. If it returns an error, the change fails with that error and is not
// made. So a crash loses nothing that the service knows already, such as a
// registration. If save is nil, nothing is saved: the caller keeps Bytes once
// the broker is closed.
func NewBlob(value []byte, save func(ctx context.Context, value []byte) error) (*Blob, error) {
	s := &Blob{save: save, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	if len(value) == 0 {
		return s, nil
	}
	records, err := parseBlob(value)
	if err != nil {
		return nil, err
	}
	s.records.records = records
	return s, nil
}

// Bytes returns the value for [NewBlob] with everything that was saved. The
// caller owns it.
func (s *Blob) Bytes() []byte { return encodeBlob(s.records.snapshot()) }

// Get implements [Store].
func (s *Blob) Get(ctx context.Context, name string) ([]byte, Version, error) {
	return s.records.Get(ctx, name)
}

// List implements [Store].
func (s *Blob) List(ctx context.Context, prefix string) ([]string, error) {
	return s.records.List(ctx, prefix)
}

// Lease implements [Leaser] among the brokers of this process.
func (s *Blob) Lease(ctx context.Context, name string) (func(), error) {
	return s.records.Lease(ctx, name)
}

// Put implements [Store].
func (s *Blob) Put(ctx context.Context, name string, data []byte, old Version) (Version, error) {
	if err := check(ctx, name); err != nil {
		return 0, err
	}
	if len(data) > MaxRecord {
		return 0, errRecordSize(name, len(data))
	}
	v := nextVersion(old)
	err := s.change(ctx, func(records map[string]memoryRecord) error {
		if records[name].v != old {
			return ErrConflict
		}
		records[name] = memoryRecord{slices.Clone(data), v}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return v, nil
}

// Delete implements [Store].
func (s *Blob) Delete(ctx context.Context, name string, old Version) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	return s.change(ctx, func(records map[string]memoryRecord) error {
		r, ok := records[name]
		switch {
		case !ok:
			return ErrNotFound
		case r.v != old:
			return ErrConflict
		}
		delete(records, name)
		return nil
	})
}

// change saves the records as do changes them, and then makes them visible to
// readers.
func (s *Blob) change(ctx context.Context, do func(map[string]memoryRecord) error) error {
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	records := s.records.snapshot()
	if err := do(records); err != nil {
		return err
	}
	if s.save != nil {
		if err := s.save(ctx, encodeBlob(records)); err != nil {
			return fmt.Errorf("store: saving the value: %w", err)
		}
	}
	s.records.replace(records)
	return nil
}

func encodeBlob(records map[string]memoryRecord) []byte {
	size := blobHeader
	for name, r := range records {
		size += blobRecord + len(name) + len(r.data)
	}
	out := make([]byte, blobHeader, size)
	copy(out, blobMagic)
	for _, name := range slices.Sorted(maps.Keys(records)) {
		r := records[name]
		out = append(out, byte(len(name)))
		out = append(out, name...)
		out = binary.BigEndian.AppendUint64(out, uint64(r.v))
		out = binary.BigEndian.AppendUint32(out, uint32(len(r.data)))
		out = append(out, r.data...)
	}
	sum := sha256.Sum256(out[blobHeader:])
	copy(out[len(blobMagic):], sum[:])
	return out
}

func parseBlob(value []byte) (map[string]memoryRecord, error) {
	if len(value) < blobHeader || string(value[:len(blobMagic)]) != blobMagic {
		return nil, fmt.Errorf("%w: the value was not written by this store", ErrDamaged)
	}
	rest := value[blobHeader:]
	if sum := sha256.Sum256(rest); !bytes.Equal(sum[:], value[len(blobMagic):blobHeader]) {
		return nil, fmt.Errorf("%w: the value was changed after it was written", ErrDamaged)
	}
	records, last := map[string]memoryRecord{}, ""
	for len(rest) > 0 {
		name, r, left, ok := parseRecord(rest)
		if !ok || name <= last {
			return nil, fmt.Errorf("%w: a record in the value", ErrDamaged)
		}
		records[name], rest, last = r, left, name
	}
	return records, nil
}

// parseRecord reads the first record of b.
func parseRecord(b []byte) (name string, r memoryRecord, rest []byte, ok bool) {
	nameEnd := 1 + int(b[0])
	dataAt := nameEnd + blobRecord - 1
	if len(b) < dataAt {
		return "", r, nil, false
	}
	name = string(b[1:nameEnd])
	r.v = Version(binary.BigEndian.Uint64(b[nameEnd:]))
	size := int64(binary.BigEndian.Uint32(b[nameEnd+8:]))
	if CheckName(name) != nil || r.v == 0 || size > MaxRecord || int64(len(b)-dataAt) < size {
		return "", r, nil, false
	}
	end := dataAt + int(size)
	r.data = bytes.Clone(b[dataAt:end])
	return name, r, b[end:], true
}
