package softkeys

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// Store is a [tpm.KeyStore] in software.
type Store struct {
	mu     sync.RWMutex // guards master
	master secret.Value // zero when closed

	cost argonCost // of a PIN
}

var _ tpm.Importer = (*Store)(nil)

// An Option changes how a store works.
type Option func(*Store)

// InsecureFastPINs makes new PINs cost next to nothing to try: one pass of
// Argon2id over 8 KiB instead of three over 64 MiB, microseconds instead of 150
// ms. It is for tests that set many PINs. An attacker with the files and the
// master key finds a PIN of six digits within seconds. A record carries its own
// cost, so stores with and without the option read each other's records.
func InsecureFastPINs() Option { return func(s *Store) { s.cost = insecureCost } }

// Open opens a store under a master key.
func Open(m Master, opts ...Option) (*Store, error) {
	if m.load == nil {
		return nil, fmt.Errorf("softkeys: no master key given")
	}
	master, err := m.load()
	if err != nil {
		return nil, err
	}
	s := &Store{master: secret.New(master), cost: productionCost}
	for _, o := range opts {
		o(s)
	}
	return s, nil
}

// Close forgets the master key.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.master.Clear()
	return nil
}

func (s *Store) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.master.IsZero() {
		return tpm.ErrClosed
	}
	return nil
}

// Info identifies the store as a software store.
func (s *Store) Info(ctx context.Context) (tpm.Info, error) {
	if err := s.ready(ctx); err != nil {
		return tpm.Info{}, err
	}
	return tpm.Info{Backend: "softkeys"}, nil
}

// Seal encrypts 1 to [tpm.MaxSeal] bytes, the limit of a TPM.
func (s *Store) Seal(ctx context.Context, plaintext, aad []byte) ([]byte, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if len(plaintext) == 0 || len(plaintext) > tpm.MaxSeal {
		return nil, fmt.Errorf("softkeys: sealing: %d bytes; it takes 1 to %d", len(plaintext), tpm.MaxSeal)
	}
	return s.encrypt(envelope.Sealed, nil, plaintext, aad)
}

// Unseal returns what Seal protected. With a different aad the error is
// [tpm.ErrInvalidBlob].
func (s *Store) Unseal(ctx context.Context, sealed, aad []byte) ([]byte, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	_, plaintext, err := s.decrypt(envelope.Sealed, sealed, aad)
	if err != nil {
		return nil, fmt.Errorf("softkeys: unsealing: %w", err)
	}
	return plaintext, nil
}

// sessionKey is decrypted for each derivation and cleared after it.
type sessionKey struct {
	s      *Store
	blob   []byte
	closed atomic.Bool
}

// OpenSession opens a session key.
func (s *Store) OpenSession(ctx context.Context, blob []byte) (tpm.SessionKey, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	k := &sessionKey{s: s, blob: bytes.Clone(blob)}
	key, err := k.open()
	if err != nil {
		return nil, fmt.Errorf("softkeys: opening a session key: %w", err)
	}
	clear(key)
	return k, nil
}

func (k *sessionKey) open() ([]byte, error) {
	_, key, err := k.s.decrypt(envelope.Session, k.blob, nil)
	if err != nil {
		return nil, err
	}
	if len(key) != kdf.KeySize {
		clear(key)
		return nil, fmt.Errorf("%w: size of the session key", tpm.ErrInvalidBlob)
	}
	return key, nil
}

func (k *sessionKey) Blob() []byte { return bytes.Clone(k.blob) }

func (k *sessionKey) Close() error {
	k.closed.Store(true)
	return nil
}

func (k *sessionKey) Derive(ctx context.Context, label, context []byte) ([32]byte, error) {
	if err := k.s.ready(ctx); err != nil {
		return [32]byte{}, err
	}
	if k.closed.Load() {
		return [32]byte{}, tpm.ErrClosed
	}
	key, err := k.open()
	if err != nil {
		return [32]byte{}, fmt.Errorf("softkeys: deriving: %w", err)
	}
	defer clear(key)
	return kdf.Derive(key, label, context), nil
}
