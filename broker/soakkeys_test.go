package broker_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/prtbroker/prtbroker/tpm"
)

// soakKeys are software keys that also seal under a PIN, as a TPM does, for a time
// that the clock of the world measures: years of it pass in seconds, which no TPM's
// clock does. Keys under a PIN are in turn one of two RSA keys of their owner.
type soakKeys struct {
	*pooled
	now   func() time.Time
	owner string // of keys that are made now
}

func newSoakKeys(t testing.TB, now func() time.Time) *soakKeys {
	return &soakKeys{pooled: pooledKeys(t).(*pooled), now: now}
}

var _ tpm.PINSealer = (*soakKeys)(nil)

func (s *soakKeys) GenerateKey(ctx context.Context, spec tpm.KeySpec) (tpm.Key, error) {
	kind := keyKind{purpose: spec.Purpose, algorithm: spec.Algorithm, pin: string(spec.PIN)}
	if spec.PIN != nil {
		kind.pin += " of " + s.owner
		s.mu.Lock()
		s.made[kind]++
		n := s.made[kind]
		s.mu.Unlock()
		kind.nth = n % 2
	}
	return s.pool.generate(ctx, kind, spec)
}

func (s *soakKeys) SealPIN(ctx context.Context, plaintext, aad, pin []byte, l tpm.Limit) ([]byte, error) {
	return s.sealUntil(ctx, plaintext, aad, pin, s.now().Add(l.Time).Unix())
}

func (s *soakKeys) sealUntil(ctx context.Context, plaintext, aad, pin []byte, until int64) ([]byte, error) {
	blob := binary.BigEndian.AppendUint64(nil, uint64(until))
	sealed, err := s.Seal(ctx, plaintext, underPIN(blob, aad, pin))
	return append(blob, sealed...), err
}

// underPIN is associated data that only the right PIN makes.
func underPIN(until, aad, pin []byte) []byte {
	h := sha256.New()
	for _, part := range [][]byte{until, aad, pin} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	return h.Sum(nil)
}

func (s *soakKeys) UnsealPIN(ctx context.Context, sealed, aad, pin []byte) ([]byte, error) {
	if _, err := s.Left(ctx, sealed, aad); err != nil {
		return nil, err
	}
	plain, err := s.Unseal(ctx, sealed[8:], underPIN(sealed[:8], aad, pin))
	if err != nil {
		return nil, &tpm.WrongPINError{TriesLeft: 1}
	}
	return plain, nil
}

func (s *soakKeys) Left(_ context.Context, sealed, _ []byte) (tpm.Limit, error) {
	if len(sealed) < 8 {
		return tpm.Limit{}, tpm.ErrInvalidBlob
	}
	left := time.Unix(int64(binary.BigEndian.Uint64(sealed)), 0).Sub(s.now())
	if left <= 0 {
		return tpm.Limit{}, tpm.ErrExpired
	}
	return tpm.Limit{Time: left, Resets: aWeek.Resets, Restarts: aWeek.Restarts}, nil
}

func (s *soakKeys) ChangeSealPIN(ctx context.Context, sealed, aad, pin, newPIN []byte) ([]byte, error) {
	plain, err := s.UnsealPIN(ctx, sealed, aad, pin)
	if err != nil {
		return nil, err
	}
	return s.sealUntil(ctx, plain, aad, newPIN, int64(binary.BigEndian.Uint64(sealed)))
}
