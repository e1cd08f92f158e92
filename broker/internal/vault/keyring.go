package vault

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

// A Keyring wraps the data keys of all owners in a store under one root key,
// which the key store seals: opening it costs a TPM three commands, however
// many accounts there are. Erasing an owner still means only erasing its
// wrapped data key.
//
// A wrapped data key is a mark (8 bytes), a nonce (12), the ciphertext and the
// tag (16). The cipher is AES-256-GCM under a key of its own for each owner, by
// HKDF-SHA-256 from the root key and what the data key is for.
type Keyring struct {
	keys  tpm.KeyStore
	store store.Store
	rand  io.Reader

	// turn holds one token; its holder owns the fields below. It is a channel so
	// that waiting for the key store ends with the context.
	turn chan struct{}
	root []byte        // nil: not open
	from store.Version // of the record that it came from
}

const (
	rootName    = "root" + KeySuffix
	rootPurpose = "prtbroker root key 1"
	wrapPurpose = "prtbroker wrapped data key 1 "
	wrappedMark = "prtwrap1"
	nonceSize   = 12
)

// NewKeyring returns the keyring of a store. It opens the root key when it is
// first needed.
func NewKeyring(keys tpm.KeyStore, s store.Store, rand io.Reader) *Keyring {
	k := &Keyring{keys: keys, store: s, rand: rand, turn: make(chan struct{}, 1)}
	k.turn <- struct{}{}
	return k
}

// Close forgets the root key.
func (k *Keyring) Close() {
	<-k.turn
	k.forget()
	k.turn <- struct{}{}
}

func (k *Keyring) forget() {
	clear(k.root)
	k.root, k.from = nil, 0
}

func (k *Keyring) take(ctx context.Context) (func(), error) {
	select {
	case <-k.turn:
		return func() { k.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wrap seals a data key for a purpose, and makes the root key if there is none.
func (k *Keyring) wrap(ctx context.Context, key, purpose []byte) ([]byte, error) {
	give, err := k.take(ctx)
	if err != nil {
		return nil, err
	}
	defer give()
	// Do not trust what is in memory: the directory may have been emptied.
	if err := k.current(ctx); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	} else if err != nil {
		if err := k.create(ctx); err != nil {
			return nil, err
		}
	}
	aead, err := k.cipher(purpose)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(k.rand, nonce); err != nil {
		return nil, fmt.Errorf("broker: reading randomness: %w", err)
	}
	return aead.Seal(append([]byte(wrappedMark), nonce...), nonce, key, purpose), nil
}

// unwrap returns the key that wrap sealed. It also opens a data key that the
// key store itself sealed, from before there was a root key.
func (k *Keyring) unwrap(ctx context.Context, wrapped, purpose []byte) ([]byte, error) {
	if !bytes.HasPrefix(wrapped, []byte(wrappedMark)) {
		return k.keys.Unseal(ctx, wrapped, purpose)
	}
	give, err := k.take(ctx)
	if err != nil {
		return nil, err
	}
	defer give()
	if k.root == nil {
		if err := k.open(ctx); err != nil {
			return nil, err
		}
	}
	key, err := k.decrypt(wrapped, purpose)
	if err == nil {
		return key, nil
	}
	// Another process may have made all of it again.
	if err := k.open(ctx); err != nil {
		return nil, err
	}
	return k.decrypt(wrapped, purpose)
}

func (k *Keyring) decrypt(wrapped, purpose []byte) ([]byte, error) {
	damaged := fmt.Errorf("%w: a wrapped data key", store.ErrDamaged)
	sealed := wrapped[len(wrappedMark):]
	if len(sealed) < nonceSize {
		return nil, damaged
	}
	aead, err := k.cipher(purpose)
	if err != nil {
		return nil, err
	}
	key, err := aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], purpose)
	if err != nil {
		return nil, damaged
	}
	return key, nil
}

func (k *Keyring) cipher(purpose []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.root, nil, wrapPurpose+string(purpose), KeySize)
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

// open unseals the root key that the store has now. If it is missing, the state is
// damaged: the key to open was wrapped under it.
func (k *Keyring) open(ctx context.Context) error {
	err := k.current(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: the root key %s is missing", store.ErrDamaged, rootName)
	}
	return err
}

// current opens the root key that the store has now, unless it is open.
func (k *Keyring) current(ctx context.Context) error {
	sealed, version, err := k.store.Get(ctx, rootName)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			k.forget()
		}
		return err
	}
	if k.root != nil && k.from == version {
		return nil
	}
	root, err := k.keys.Unseal(ctx, sealed, []byte(rootPurpose))
	if err != nil {
		return err
	}
	if len(root) != KeySize {
		clear(root)
		return fmt.Errorf("%w: the root key has %d bytes", store.ErrDamaged, len(root))
	}
	k.forget()
	k.root, k.from = root, version
	return nil
}

// create makes the root key, unless something was wrapped under one before.
func (k *Keyring) create(ctx context.Context) error {
	if err := k.unused(ctx); err != nil {
		return err
	}
	root := make([]byte, KeySize)
	if _, err := io.ReadFull(k.rand, root); err != nil {
		return fmt.Errorf("broker: reading randomness: %w", err)
	}
	sealed, err := k.keys.Seal(ctx, root, []byte(rootPurpose))
	if err != nil {
		return err
	}
	version, err := k.store.Put(ctx, rootName, sealed, 0)
	switch {
	case errors.Is(err, store.ErrConflict): // another process made it meanwhile
		clear(root)
		return k.open(ctx)
	case err != nil:
		return err
	}
	k.root, k.from = root, version
	return nil
}

// unused returns an error if a data key in the store needs a root key that is
// gone.
func (k *Keyring) unused(ctx context.Context) error {
	names, err := k.store.List(ctx, "")
	if err != nil {
		return err
	}
	for _, n := range names {
		if !strings.HasSuffix(n, KeySuffix) || n == rootName {
			continue
		}
		wrapped, _, err := k.store.Get(ctx, n)
		switch {
		case err == nil && bytes.HasPrefix(wrapped, []byte(wrappedMark)):
			// Another process may have made the root key and this one meanwhile.
			if _, _, err := k.store.Get(ctx, rootName); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return fmt.Errorf("%w: the root key %s is missing, and %s needs it", store.ErrDamaged, rootName, n)
		case err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged):
			return err
		}
	}
	return nil
}

// probe asks the key store whether it opens a data key, even if the result is
// already in memory.
func (k *Keyring) probe(ctx context.Context, wrapped, purpose []byte) error {
	if bytes.HasPrefix(wrapped, []byte(wrappedMark)) {
		sealed, _, err := k.store.Get(ctx, rootName)
		if err != nil {
			return err
		}
		wrapped, purpose = sealed, []byte(rootPurpose)
	}
	key, err := k.keys.Unseal(ctx, wrapped, purpose)
	clear(key)
	return err
}
