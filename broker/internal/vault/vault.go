// Package vault seals the records of an account or a registration before they
// go to a store, and detects an older state that was put back. It also provides
// the leases that keep several processes apart.
package vault

import (
	"bytes"
	"context"
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

	mu     sync.Mutex        // guards all below; not held over I/O
	key    []byte            // the data key; nil before it is open
	closed bool              // for good
	from   store.Version     // of the record that the data key came from
	seen   map[string]uint64 // the newest generations under that data key
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
	other.key = key
	return other
}

// Owner is the owner's name, with which the names of its records begin.
func (v *Vault) Owner() string { return v.owner }

// Open makes the data key available. It returns store.ErrNotFound if there is
// none, store.ErrDamaged if it is missing although the owner was not erased,
// and otherwise ErrClosed after Close.
func (v *Vault) Open(ctx context.Context) error {
	if v.dataKey() != nil {
		return nil
	}
	sealed, version, err := v.wrappedKey(ctx)
	if err != nil {
		return err
	}
	return v.unwrap(ctx, sealed, version)
}

func (v *Vault) unwrap(ctx context.Context, sealed []byte, version store.Version) error {
	if v.isClosed() {
		return ErrClosed // without a command of the key store
	}
	key, err := v.ring.unwrap(ctx, sealed, v.purpose())
	if err != nil {
		return fmt.Errorf("opening the state: %w", err)
	}
	if len(key) != KeySize {
		return fmt.Errorf("%w: data key of %s has %d bytes", store.ErrDamaged, v.owner, len(key))
	}
	return v.setKey(key, version)
}

// Check returns the error of Open for a missing data key, even if the key is
// already in memory.
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
		// The state is read twice: erasing an owner is announced by a record of its
		// own before the data key goes, and that record goes after the state. A state
		// that was there both times without such a record has lost its key.
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
			return nil, 0, fmt.Errorf("%w: the data key %s is missing, but its state is there", store.ErrDamaged, v.owner+KeySuffix)
		}
	}
	return nil, 0, store.ErrConflict
}

// Probe asks the key store whether it opens the data key, even if that is
// already in memory, and returns what the key store says.
func (v *Vault) Probe(ctx context.Context) error {
	sealed, _, err := v.store.Get(ctx, v.owner+KeySuffix)
	if err != nil {
		return err
	}
	return v.ring.probe(ctx, sealed, v.purpose())
}

// purpose is what the data key is sealed for.
func (v *Vault) purpose() []byte { return []byte(dataKeyPurpose + v.owner) }

// Rekeyed opens the vault again if another process erased it and made a new
// one. Until then it stays open under the old data key for other calls.
func (v *Vault) Rekeyed(ctx context.Context) (bool, error) {
	sealed, version, err := v.wrappedKey(ctx)
	if err != nil {
		return false, err
	}
	v.mu.Lock()
	same := v.from == version
	v.mu.Unlock()
	if same {
		return false, nil
	}
	return true, v.unwrap(ctx, sealed, version)
}

// Create opens the vault, or makes it if it does not exist. What is in memory
// is not trusted: another process may have erased the vault.
func (v *Vault) Create(ctx context.Context) error {
	err := v.openCurrent(ctx)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	// Without a data key, records of the owner are leftovers of a removal.
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
	return v.setKey(key, version)
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

// setKey holds a data key. A vault that was closed while the key was being
// unwrapped forgets it.
func (v *Vault) setKey(key []byte, from store.Version) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		clear(key)
		return ErrClosed
	}
	clear(v.key)
	if from != v.from {
		v.seen = map[string]uint64{} // generations start over
	}
	v.key, v.from = key, from
	return nil
}

func (v *Vault) isClosed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closed
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

// Close forgets the data key. A closed vault cannot be opened again.
func (v *Vault) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.key)
	v.key, v.closed = nil, true
}
