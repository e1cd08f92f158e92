// Package vault seals the records of an account or a registration before they
// go to a store, and finds an older state that was put back. It also lends the
// leases that keep several processes apart.
package vault

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
)

// A Vault seals the records of one owner, an account or a registration, under
// one data key. The data key is wrapped by the [Keyring], unwrapped once and
// held, so that writing and reading records costs no command of the TPM.
//
// A sealed record is, in this order: the format (1 byte), the generation (8
// bytes), the nonce (12), the ciphertext and the tag (16). The cipher is
// AES-256-GCM under a key of its own per record, by HKDF-SHA-256 from the data
// key. Format, generation and the record's name are authenticated with it.
type Vault struct {
	ring  *Keyring
	store store.Store
	rand  io.Reader
	owner string

	mu   sync.Mutex    // guards all below; not held over I/O
	key  []byte        // the data key; nil before it is open
	from store.Version // of the record that the data key came from
	seen map[string]uint64
}

const (
	recordFormat = 1
	recordHeader = 1 + 8 + 12
	// KeySize is the size of a data key in bytes.
	KeySize        = 32
	dataKeyPurpose = "prtbroker data key 1 "
	recordPurpose  = "prtbroker record 1 "

	// KeySuffix and StateSuffix end the names of an owner's data key and of its
	// state, which has a mark beside it against being put back.
	KeySuffix   = ".key"
	StateSuffix = ".state"
	markSuffix  = ".mark" // the generation of the state that was written last
	// erasingSuffix ends the name of a record that is there while the owner is
	// being erased: without it, a data key that is missing is damage.
	erasingSuffix = ".erasing"
)

// ErrClosed: the vault was closed, and its data key is forgotten.
var ErrClosed = errors.New("broker: closed")

// MaxConflicts bounds how often a change is tried against other writers.
const MaxConflicts = 32

// New returns the vault of an owner. It is closed until Open or Create.
func New(ring *Keyring, s store.Store, rand io.Reader, owner string) *Vault {
	return &Vault{ring: ring, store: s, rand: rand, owner: owner, seen: map[string]uint64{}}
}

// Beside returns an open vault of the same owner under another data key, which
// it owns from now on.
func (v *Vault) Beside(key []byte) *Vault {
	other := New(v.ring, v.store, v.rand, v.owner)
	other.setKey(key, 0)
	return other
}

// Owner is the owner's name, with which the names of its records begin.
func (v *Vault) Owner() string { return v.owner }

// Open makes the data key available; it is store.ErrNotFound when there is none,
// and store.ErrDamaged when there is none any more although nobody erased it.
func (v *Vault) Open(ctx context.Context) error {
	if v.dataKey() != nil {
		return nil
	}
	sealed, version, err := v.wrappedKey(ctx)
	if err != nil {
		return err
	}
	key, err := v.ring.unwrap(ctx, sealed, v.purpose())
	if err != nil {
		return fmt.Errorf("opening the state: %w", err)
	}
	if len(key) != KeySize {
		return fmt.Errorf("%w: data key of %s has %d bytes", store.ErrDamaged, v.owner, len(key))
	}
	v.setKey(key, version)
	return nil
}

// Check is the error of Open when the data key is missing, also when it is in
// memory already.
func (v *Vault) Check(ctx context.Context) error {
	_, _, err := v.wrappedKey(ctx)
	return err
}

// wrappedKey returns the record of the data key.
func (v *Vault) wrappedKey(ctx context.Context) ([]byte, store.Version, error) {
	sealed, version, err := v.store.Get(ctx, v.owner+KeySuffix)
	if !errors.Is(err, store.ErrNotFound) {
		return sealed, version, err
	}
	for range MaxConflicts {
		// The state is looked at twice: whoever erases an owner says so before the
		// data key goes, and takes it back after the state has gone. A state that
		// was there all the time, while nobody said so, has lost its key.
		_, before, err := v.store.Get(ctx, v.owner+StateSuffix)
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, 0, err
		}
		sealed, version, err := v.store.Get(ctx, v.owner+KeySuffix)
		if !errors.Is(err, store.ErrNotFound) {
			return sealed, version, err // made meanwhile
		}
		_, _, err = v.store.Get(ctx, v.owner+erasingSuffix)
		if err == nil || errors.Is(err, store.ErrDamaged) {
			return nil, 0, store.ErrNotFound
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, 0, err
		}
		_, after, err := v.store.Get(ctx, v.owner+StateSuffix)
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, 0, err
		}
		if before == after {
			return nil, 0, fmt.Errorf("%w: the data key %s is gone, and its state is there", store.ErrDamaged, v.owner+KeySuffix)
		}
	}
	return nil, 0, store.ErrConflict
}

// Probe asks the key store whether it opens the data key, also when that is in
// memory already, and says what the key store says.
func (v *Vault) Probe(ctx context.Context) error {
	sealed, _, err := v.store.Get(ctx, v.owner+KeySuffix)
	if err != nil {
		return err
	}
	return v.ring.probe(ctx, sealed, v.purpose())
}

// purpose is what the data key is sealed for.
func (v *Vault) purpose() []byte { return []byte(dataKeyPurpose + v.owner) }

// Rekeyed opens the vault anew if another process erased it and made it again.
func (v *Vault) Rekeyed(ctx context.Context) (bool, error) {
	_, version, err := v.wrappedKey(ctx)
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
	return true, v.Open(ctx)
}

// Create opens the vault, or makes it when it is not there. What is in memory
// is not believed: another process may have erased the vault.
func (v *Vault) Create(ctx context.Context) error {
	err := v.openCurrent(ctx)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	// Without a data key, records of the owner are what a removal left.
	if err := v.sweep(ctx); err != nil {
		return err
	}
	key := make([]byte, KeySize)
	if _, err := io.ReadFull(v.rand, key); err != nil {
		return fmt.Errorf("broker: reading randomness: %w", err)
	}
	sealed, err := v.ring.wrap(ctx, key, v.purpose())
	if err != nil {
		return fmt.Errorf("sealing a data key: %w", err)
	}
	version, err := v.store.Put(ctx, v.owner+KeySuffix, sealed, 0)
	if errors.Is(err, store.ErrConflict) {
		clear(key)
		return v.Open(ctx) // another process made it meanwhile
	}
	if err != nil {
		return err
	}
	v.setKey(key, version)
	return nil
}

// openCurrent is Open with the data key that the store has now.
func (v *Vault) openCurrent(ctx context.Context) error {
	if v.dataKey() == nil {
		return v.Open(ctx)
	}
	_, err := v.Rekeyed(ctx)
	if errors.Is(err, store.ErrNotFound) {
		v.drop()
	}
	return err
}

// drop forgets a data key that is erased, and what was sealed under it.
func (v *Vault) drop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.key)
	v.key, v.seen = nil, map[string]uint64{}
}

func (v *Vault) setKey(key []byte, from store.Version) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.key, v.from = key, from
}

// KeyVersion is the version of the record that the data key came from, also
// when the vault is closed.
func (v *Vault) KeyVersion() store.Version {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.from
}

func (v *Vault) dataKey() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.key
}

// CopyKey returns a copy of the data key, which Close does not clear.
func (v *Vault) CopyKey() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.key)
}

// Close forgets the data key.
func (v *Vault) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.key)
	v.key = nil
}

// Destroy erases the owner's records: the data key first, without which the
// others mean nothing. Before that it says in the store that it erases.
func (v *Vault) Destroy(ctx context.Context) error {
	_, err := v.store.Put(ctx, v.owner+erasingSuffix, []byte("1"), 0)
	if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrDamaged) {
		return err
	}
	if err := v.Erase(ctx, KeySuffix); err != nil {
		return err
	}
	v.Close()
	return v.sweep(ctx)
}

// sweep erases records that a removal left. Where the data key is there again
// they are its maker's, who may be another process: each is erased only in the
// version that was there when the key was not.
func (v *Vault) sweep(ctx context.Context) error {
	for range MaxConflicts {
		_, erasing, err := v.store.Get(ctx, v.owner+erasingSuffix)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		said := err == nil || errors.Is(err, store.ErrDamaged)
		left, err := v.records(ctx)
		if err != nil || len(left) == 0 && !said {
			return err
		}
		if len(left) == 0 {
			left[v.owner+erasingSuffix] = erasing // the last
		}
		if _, _, err := v.store.Get(ctx, v.owner+KeySuffix); !errors.Is(err, store.ErrNotFound) {
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

// records returns the versions of the owner's records, but for the data key's
// and the one that says that they are being erased.
func (v *Vault) records(ctx context.Context) (map[string]store.Version, error) {
	names, err := v.store.List(ctx, v.owner+".")
	if err != nil {
		return nil, err
	}
	all := map[string]store.Version{}
	for _, n := range names {
		if n == v.owner+KeySuffix || n == v.owner+erasingSuffix {
			continue
		}
		_, version, err := v.store.Get(ctx, n)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, err
		}
		all[n] = version
	}
	return all, nil
}

// Erase deletes a record of the owner, in whatever version there is. None is no
// error, and a damaged one goes like any other.
func (v *Vault) Erase(ctx context.Context, suffix string) error {
	name := v.owner + suffix
	for {
		_, version, err := v.store.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		err = v.store.Delete(ctx, name, version)
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// A Record is a record as it was read or written. The zero Record is none.
type Record struct {
	Plain      []byte
	Version    store.Version
	Generation uint64
}

// Read returns a record that is not older than the newest one that this
// process, or the mark beside the state, knows of.
func (v *Vault) Read(ctx context.Context, suffix string) (Record, error) {
	// What is known before the record is read counts: another call may write a
	// newer one meanwhile. The mark is written after the state, so it is read
	// before, too.
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
			return r, fmt.Errorf("%w: %s is gone", store.ErrDamaged, v.owner+suffix)
		}
		return r, err
	}
	if !marked {
		// It is written before the state; the state may have come after the look.
		if mark, marked, err = v.readMark(ctx); err != nil {
			return Record{}, err
		} else if !marked {
			return Record{}, fmt.Errorf("%w: %s is gone, without which %s may be an older one", store.ErrDamaged, v.owner+markSuffix, v.owner+suffix)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	newest := max(mark, min(known, v.seen[suffix]))
	if r.Generation < newest {
		return Record{}, fmt.Errorf("%w: %s is of generation %d, and %d was written", store.ErrDamaged, v.owner+suffix, r.Generation, newest)
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

// Get is Read without the protection against an older record that is put back.
func (v *Vault) Get(ctx context.Context, suffix string) (Record, error) {
	raw, version, err := v.store.Get(ctx, v.owner+suffix)
	if err != nil {
		return Record{}, err
	}
	plain, generation, err := v.Unseal(suffix, raw)
	return Record{plain, version, generation}, err
}

// Write replaces old. It is a store.ErrConflict when another writer was faster.
func (v *Vault) Write(ctx context.Context, suffix string, plain []byte, old Record) (Record, error) {
	if suffix == StateSuffix && old.Version == 0 {
		if err := v.mark(ctx, 0); err != nil { // a state never is without a mark
			return Record{}, err
		}
	}
	r, err := v.Put(ctx, suffix, plain, old)
	if err != nil {
		return r, err
	}
	v.mu.Lock()
	v.seen[suffix] = max(v.seen[suffix], r.Generation)
	v.mu.Unlock()
	if suffix != StateSuffix {
		return r, nil
	}
	return r, v.mark(ctx, r.Generation)
}

// mark records that generation was written.
func (v *Vault) mark(ctx context.Context, generation uint64) error {
	for {
		m, err := v.Get(ctx, markSuffix)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if len(m.Plain) == 8 && binary.BigEndian.Uint64(m.Plain) >= generation {
			return nil
		}
		_, err = v.Put(ctx, markSuffix, binary.BigEndian.AppendUint64(nil, generation), m)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// Put is Write without the protection against an older record that is put back.
func (v *Vault) Put(ctx context.Context, suffix string, plain []byte, old Record) (Record, error) {
	generation := old.Generation + 1
	raw, err := v.Seal(suffix, plain, generation)
	if err != nil {
		return Record{}, err
	}
	version, err := v.store.Put(ctx, v.owner+suffix, raw, old.Version)
	return Record{plain, version, generation}, err
}

func (v *Vault) cipher(suffix string) (cipher.AEAD, error) {
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

// Seal returns plain as a sealed record.
func (v *Vault) Seal(suffix string, plain []byte, generation uint64) ([]byte, error) {
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

// Unseal opens what Seal returned for the same suffix.
func (v *Vault) Unseal(suffix string, raw []byte) (plain []byte, generation uint64, err error) {
	damaged := fmt.Errorf("%w: record %s", store.ErrDamaged, v.owner+suffix)
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

func (v *Vault) aad(suffix string, raw []byte) []byte {
	return append([]byte(recordPurpose+v.owner+suffix+"\x00"), raw[:9]...)
}
