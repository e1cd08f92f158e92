package broker

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

// A vault seals the records of one owner, an account or a registration, under
// one data key. The data key is sealed by the key store, unsealed once and
// held, so that writing and reading records costs no command of the TPM.
//
// A sealed record is, in this order: the format (1 byte), the generation (8
// bytes), the nonce (12), the ciphertext and the tag (16). The cipher is
// AES-256-GCM under a key of its own per record, by HKDF-SHA-256 from the data
// key. Format, generation and the record's name are authenticated with it.
type vault struct {
	keys  tpm.KeyStore
	store store.Store
	rand  io.Reader
	owner string

	mu   sync.Mutex    // guards all below; not held over I/O
	key  []byte        // the data key; nil before it is open
	from store.Version // of the record that the data key came from
	seen map[string]uint64
}

const (
	recordFormat   = 1
	recordHeader   = 1 + 8 + 12
	dataKeySize    = 32
	dataKeyPurpose = "prtbroker data key 1 "
	recordPurpose  = "prtbroker record 1 "

	keySuffix   = ".key"
	stateSuffix = ".state"
	markSuffix  = ".mark" // the generation of the state that was written last
)

func newVault(keys tpm.KeyStore, st store.Store, rand io.Reader, owner string) *vault {
	return &vault{keys: keys, store: st, rand: rand, owner: owner, seen: map[string]uint64{}}
}

// open makes the data key available; it is ErrNotFound when there is none.
func (v *vault) open(ctx context.Context) error {
	if v.dataKey() != nil {
		return nil
	}
	sealed, version, err := v.store.Get(ctx, v.owner+keySuffix)
	if err != nil {
		return err
	}
	key, err := v.keys.Unseal(ctx, sealed, v.purpose())
	if err != nil {
		return keyError("opening the state", err)
	}
	if len(key) != dataKeySize {
		return fmt.Errorf("%w: data key of %s has %d bytes", ErrStateDamaged, v.owner, len(key))
	}
	v.setKey(key, version)
	return nil
}

// purpose is what the data key is sealed for.
func (v *vault) purpose() []byte { return []byte(dataKeyPurpose + v.owner) }

// rekeyed opens the vault anew if another process erased it and made it again.
func (v *vault) rekeyed(ctx context.Context) (bool, error) {
	_, version, err := v.store.Get(ctx, v.owner+keySuffix)
	if err != nil {
		return false, err
	}
	v.mu.Lock()
	same := v.from == version
	v.mu.Unlock()
	if same {
		return false, nil
	}
	v.drop()
	return true, v.open(ctx)
}

// create opens the vault, or makes it when it is not there. What is in memory
// is not believed: another process may have erased the vault.
func (v *vault) create(ctx context.Context) error {
	err := v.reopen(ctx)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	// Without a data key, records of the owner are what a removal left.
	if err := v.sweep(ctx); err != nil {
		return err
	}
	key := make([]byte, dataKeySize)
	if _, err := io.ReadFull(v.rand, key); err != nil {
		return fmt.Errorf("broker: reading randomness: %w", err)
	}
	sealed, err := v.keys.Seal(ctx, key, v.purpose())
	if err != nil {
		return keyError("sealing a data key", err)
	}
	version, err := v.store.Put(ctx, v.owner+keySuffix, sealed, 0)
	if errors.Is(err, store.ErrConflict) {
		clear(key)
		return v.open(ctx) // another process made it meanwhile
	}
	if err != nil {
		return err
	}
	v.setKey(key, version)
	return nil
}

// reopen is open with the data key that the store has now.
func (v *vault) reopen(ctx context.Context) error {
	if v.dataKey() == nil {
		return v.open(ctx)
	}
	_, err := v.rekeyed(ctx)
	if errors.Is(err, store.ErrNotFound) {
		v.drop()
	}
	return err
}

// drop forgets a data key that is erased, and what was sealed under it.
func (v *vault) drop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.key)
	v.key, v.seen = nil, map[string]uint64{}
}

func (v *vault) setKey(key []byte, from store.Version) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.key, v.from = key, from
}

// keyVersion is the version of the record that the data key came from, also
// when the vault is closed.
func (v *vault) keyVersion() store.Version {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.from
}

func (v *vault) dataKey() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.key
}

// copyKey returns a copy of the data key, which close does not clear.
func (v *vault) copyKey() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.key)
}

// close forgets the data key.
func (v *vault) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.key)
	v.key = nil
}

// destroy erases the owner's records: the data key first, without which the
// others mean nothing.
func (v *vault) destroy(ctx context.Context) error {
	err := deleteRecord(ctx, v.store, v.owner+keySuffix)
	if err != nil {
		return err
	}
	v.close()
	return v.sweep(ctx)
}

// sweep erases records that a removal left. Where the data key is there again
// they are its maker's, who may be another process: each is erased only in the
// version that was there when the key was not.
func (v *vault) sweep(ctx context.Context) error {
	for range maxConflicts {
		left, err := v.records(ctx)
		if err != nil || len(left) == 0 {
			return err
		}
		if _, _, err := v.store.Get(ctx, v.owner+keySuffix); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		for name, version := range left {
			err := v.store.Delete(ctx, name, version)
			if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
	}
	return fmt.Errorf("broker: erasing %s: %w", v.owner, store.ErrConflict)
}

// records returns the versions of the owner's records but for the data key's.
func (v *vault) records(ctx context.Context) (map[string]store.Version, error) {
	names, err := v.store.List(ctx, v.owner+".")
	if err != nil {
		return nil, err
	}
	all := map[string]store.Version{}
	for _, n := range names {
		if n == v.owner+keySuffix {
			continue
		}
		_, version, err := v.store.Get(ctx, n)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil && !errors.Is(err, ErrStateDamaged) {
			return nil, err
		}
		all[n] = version
	}
	return all, nil
}

// deleteRecord deletes whatever version there is.
func deleteRecord(ctx context.Context, s store.Store, name string) error {
	for {
		_, v, err := s.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil && !errors.Is(err, ErrStateDamaged) {
			return err
		}
		err = s.Delete(ctx, name, v)
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// A sealedRecord is a record as it was read.
type sealedRecord struct {
	plain      []byte
	version    store.Version
	generation uint64
}

// read returns a record that is not older than the newest one that this
// process, or the mark beside the state, knows of.
func (v *vault) read(ctx context.Context, suffix string) (sealedRecord, error) {
	// What is known before the record is read counts: another call may write a
	// newer one meanwhile. The mark is written after the state, so it is read
	// before, too.
	known := v.known(suffix)
	var mark uint64
	if suffix == stateSuffix {
		m, err := v.get(ctx, markSuffix)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return sealedRecord{}, err
		}
		if err == nil && len(m.plain) == 8 {
			mark = binary.BigEndian.Uint64(m.plain)
		}
	}
	r, err := v.get(ctx, suffix)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) && mark > 0 {
			return r, fmt.Errorf("%w: %s is gone", ErrStateDamaged, v.owner+suffix)
		}
		return r, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	newest := max(mark, min(known, v.seen[suffix]))
	if r.generation < newest {
		return sealedRecord{}, fmt.Errorf("%w: %s is of generation %d, and %d was written", ErrStateDamaged, v.owner+suffix, r.generation, newest)
	}
	v.seen[suffix] = max(v.seen[suffix], r.generation)
	return r, nil
}

// known is the newest generation of a record that this process read or wrote.
func (v *vault) known(suffix string) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen[suffix]
}

func (v *vault) get(ctx context.Context, suffix string) (sealedRecord, error) {
	raw, version, err := v.store.Get(ctx, v.owner+suffix)
	if err != nil {
		return sealedRecord{}, err
	}
	plain, generation, err := v.unseal(suffix, raw)
	return sealedRecord{plain, version, generation}, err
}

// write replaces old, whose zero value is no record.
func (v *vault) write(ctx context.Context, suffix string, plain []byte, old sealedRecord) (sealedRecord, error) {
	r, err := v.put(ctx, suffix, plain, old.version, old.generation+1)
	if err != nil {
		return r, err
	}
	v.mu.Lock()
	v.seen[suffix] = max(v.seen[suffix], r.generation)
	v.mu.Unlock()
	if suffix != stateSuffix {
		return r, nil
	}
	return r, v.mark(ctx, r.generation)
}

// mark records that generation was written.
func (v *vault) mark(ctx context.Context, generation uint64) error {
	for {
		m, err := v.get(ctx, markSuffix)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if len(m.plain) == 8 && binary.BigEndian.Uint64(m.plain) >= generation {
			return nil
		}
		_, err = v.put(ctx, markSuffix, binary.BigEndian.AppendUint64(nil, generation), m.version, m.generation+1)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func (v *vault) put(ctx context.Context, suffix string, plain []byte, old store.Version, generation uint64) (sealedRecord, error) {
	raw, err := v.seal(suffix, plain, generation)
	if err != nil {
		return sealedRecord{}, err
	}
	version, err := v.store.Put(ctx, v.owner+suffix, raw, old)
	return sealedRecord{plain, version, generation}, err
}

func (v *vault) cipher(suffix string) (cipher.AEAD, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.key == nil {
		return nil, ErrClosed
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

func (v *vault) seal(suffix string, plain []byte, generation uint64) ([]byte, error) {
	aead, err := v.cipher(suffix)
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

func (v *vault) unseal(suffix string, raw []byte) (plain []byte, generation uint64, err error) {
	damaged := fmt.Errorf("%w: record %s", ErrStateDamaged, v.owner+suffix)
	if len(raw) < recordHeader {
		return nil, 0, damaged
	}
	if raw[0] != recordFormat {
		return nil, 0, fmt.Errorf("broker: record %s is of format %d; this version reads %d: %w", v.owner+suffix, raw[0], recordFormat, errors.ErrUnsupported)
	}
	aead, err := v.cipher(suffix)
	if err != nil {
		return nil, 0, err
	}
	plain, err = aead.Open(nil, raw[9:recordHeader], raw[recordHeader:], v.aad(suffix, raw))
	if err != nil {
		return nil, 0, damaged
	}
	return plain, binary.BigEndian.Uint64(raw[1:]), nil
}

func (v *vault) aad(suffix string, raw []byte) []byte {
	return append([]byte(recordPurpose+v.owner+suffix+"\x00"), raw[:9]...)
}
