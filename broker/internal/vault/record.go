package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/prtbroker/prtbroker/broker/store"
)

// A Record is a record as it was read or written. The zero Record means that
// there is none.
type Record struct {
	Plain      []byte
	Version    store.Version
	Generation uint64        // counted anew under each data key
	Key        store.Version // of the record of that data key
}

// Read returns a record that is not older than the newest one that this
// process, or the mark beside the state, knows of.
func (v *Vault) Read(ctx context.Context, suffix string) (Record, error) {
	for range MaxConflicts {
		from := v.KeyVersion()
		r, err := v.read(ctx, suffix, from)
		if v.KeyVersion() == from {
			return r, err
		}
		// Another call opened the vault under a new data key meanwhile. Generations
		// of the two do not compare.
		clear(r.Plain)
	}
	return Record{}, errRekeyed
}

func (v *Vault) read(ctx context.Context, suffix string, from store.Version) (Record, error) {
	// Only what was known before the record is read counts: another call may
	// write a newer one meanwhile. The mark is written after the state, so it is
	// read first, too.
	known := v.known(suffix)
	mark, marked, err := uint64(0), true, error(nil)
	if suffix == StateSuffix {
		if mark, marked, err = v.readMark(ctx); err != nil {
			return Record{}, err
		}
	}
	r, err := v.Get(ctx, suffix)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) && mark > 0 {
			return r, fmt.Errorf("%w: %s is missing", store.ErrDamaged, v.owner+suffix)
		}
		return r, err
	}
	if !marked {
		// The first mark is written before the state, which may have come after the
		// look for the mark.
		if mark, marked, err = v.readMark(ctx); err != nil {
			return Record{}, err
		} else if !marked {
			return Record{}, fmt.Errorf("%w: %s is missing, so %s may be an older copy", store.ErrDamaged, v.owner+markSuffix, v.owner+suffix)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.from != from {
		return r, errRekeyed
	}
	newest := max(mark, min(known, v.seen[suffix]))
	if r.Generation < newest {
		return Record{}, fmt.Errorf("%w: %s has generation %d, but %d was written", store.ErrDamaged, v.owner+suffix, r.Generation, newest)
	}
	v.seen[suffix] = max(v.seen[suffix], r.Generation)
	return r, nil
}

// readMark returns the generation that was written last, and whether there is a
// mark.
func (v *Vault) readMark(ctx context.Context) (mark uint64, there bool, err error) {
	m, err := v.Get(ctx, markSuffix)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case len(m.Plain) != 8:
		return 0, false, fmt.Errorf("%w: %s has %d bytes", store.ErrDamaged, v.owner+markSuffix, len(m.Plain))
	}
	return binary.BigEndian.Uint64(m.Plain), true, nil
}

// known is the newest generation of a record that this process read or wrote.
func (v *Vault) known(suffix string) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen[suffix]
}

// Get is Read without the protection against an older record being put back.
func (v *Vault) Get(ctx context.Context, suffix string) (Record, error) {
	raw, version, err := v.store.Get(ctx, v.owner+suffix)
	if err != nil {
		return Record{}, err
	}
	from := v.KeyVersion()
	plain, generation, err := v.unseal(suffix, raw, from)
	return Record{plain, version, generation, from}, err
}

// Write replaces old. It returns store.ErrConflict when another writer was
// faster.
func (v *Vault) Write(ctx context.Context, suffix string, plain []byte, old Record) (Record, error) {
	from := v.KeyVersion()
	if suffix == StateSuffix && old.Version == 0 {
		if err := v.mark(ctx, 0, from); err != nil { // a state is never without a mark
			return Record{}, err
		}
	}
	r, err := v.put(ctx, suffix, plain, old, from)
	if err != nil {
		return r, err
	}
	if !v.saw(suffix, r) {
		return Record{}, errRekeyed
	}
	if suffix != StateSuffix {
		return r, nil
	}
	return r, v.mark(ctx, r.Generation, from)
}

// saw notes a record that was written, unless the vault is open under another data
// key by now.
func (v *Vault) saw(suffix string, r Record) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.from != r.Key {
		return false
	}
	v.seen[suffix] = max(v.seen[suffix], r.Generation)
	return true
}

// mark records that generation was written under the data key from.
func (v *Vault) mark(ctx context.Context, generation uint64, from store.Version) error {
	for {
		m, err := v.Get(ctx, markSuffix)
		if errors.Is(err, store.ErrDamaged) && v.replaced(ctx, from) {
			return errRekeyed
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if len(m.Plain) == 8 && binary.BigEndian.Uint64(m.Plain) >= generation {
			return nil
		}
		_, err = v.put(ctx, markSuffix, binary.BigEndian.AppendUint64(nil, generation), m, from)
		if !errors.Is(err, store.ErrConflict) || errors.Is(err, errRekeyed) {
			return err
		}
	}
}

// replaced reports whether the store no longer has the data key of version from.
func (v *Vault) replaced(ctx context.Context, from store.Version) bool {
	_, now, err := v.store.Get(ctx, v.owner+KeySuffix)
	return err == nil && now != from || errors.Is(err, store.ErrNotFound)
}

// errRekeyed reports a record that was made under a data key that another process
// has replaced or erased meanwhile.
var errRekeyed = fmt.Errorf("broker: the data key was replaced meanwhile: %w", store.ErrConflict)

// Put is Write without the protection against an older record being put back.
func (v *Vault) Put(ctx context.Context, suffix string, plain []byte, old Record) (Record, error) {
	return v.put(ctx, suffix, plain, old, v.KeyVersion())
}

func (v *Vault) put(ctx context.Context, suffix string, plain []byte, old Record, from store.Version) (Record, error) {
	generation := old.Generation + 1
	if old.Version == 0 && from != 0 && v.replaced(ctx, from) {
		return Record{}, errRekeyed // most often it is noticed here, before anyone sees the record
	}
	raw, err := v.seal(suffix, plain, generation, from)
	if err != nil {
		return Record{}, err
	}
	version, err := v.store.Put(ctx, v.owner+suffix, raw, old.Version)
	if err == nil && old.Version == 0 {
		err = v.takeBack(ctx, suffix, version, from)
	}
	return Record{plain, version, generation, from}, err
}

// takeBack removes a record that was made under a data key that is gone. A record
// that replaces another cannot be one: the other was erased with the key.
func (v *Vault) takeBack(ctx context.Context, suffix string, version, from store.Version) error {
	if from == 0 {
		return nil // a key of its own, not from the store
	}
	_, now, err := v.store.Get(ctx, v.owner+KeySuffix)
	switch {
	case err == nil && now == from:
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	err = v.store.Delete(ctx, v.owner+suffix, version)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
		return err
	}
	return errRekeyed
}

// cipher is that of a record under the data key from.
func (v *Vault) cipher(suffix string, from store.Version) (cipher.AEAD, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.key == nil {
		return nil, ErrClosed
	}
	if v.from != from {
		return nil, errRekeyed
	}
	key, err := hkdf.Key(sha256.New, v.key, nil, recordPurpose+v.owner+suffix, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Seal returns plain as a sealed record.
func (v *Vault) Seal(suffix string, plain []byte, generation uint64) ([]byte, error) {
	return v.seal(suffix, plain, generation, v.KeyVersion())
}

func (v *Vault) seal(suffix string, plain []byte, generation uint64, from store.Version) ([]byte, error) {
	aead, err := v.cipher(suffix, from)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, recordHeader, recordHeader+len(plain)+aead.Overhead())
	raw[0] = recordFormat
	binary.BigEndian.PutUint64(raw[1:], generation)
	if _, err := io.ReadFull(v.rand, raw[9:recordHeader]); err != nil {
		return nil, fmt.Errorf("broker: reading randomness: %w", err)
	}
	return aead.Seal(raw, raw[9:recordHeader], plain, v.aad(suffix, raw)), nil
}

// Unseal opens what Seal returned for the same suffix.
func (v *Vault) Unseal(suffix string, raw []byte) (plain []byte, generation uint64, err error) {
	return v.unseal(suffix, raw, v.KeyVersion())
}

func (v *Vault) unseal(suffix string, raw []byte, from store.Version) (plain []byte, generation uint64, err error) {
	damaged := fmt.Errorf("%w: record %s", store.ErrDamaged, v.owner+suffix)
	if len(raw) < recordHeader {
		return nil, 0, damaged
	}
	if raw[0] != recordFormat {
		return nil, 0, fmt.Errorf("broker: record %s has format %d; this version reads %d: %w", v.owner+suffix, raw[0], recordFormat, errors.ErrUnsupported)
	}
	aead, err := v.cipher(suffix, from)
	if err != nil {
		return nil, 0, err
	}
	plain, err = aead.Open(nil, raw[9:recordHeader], raw[recordHeader:], v.aad(suffix, raw))
	if err != nil {
		return nil, 0, damaged
	}
	return plain, binary.BigEndian.Uint64(raw[1:]), nil
}

func (v *Vault) aad(suffix string, raw []byte) []byte {
	return append([]byte(recordPurpose+v.owner+suffix+"\x00"), raw[:9]...)
}
