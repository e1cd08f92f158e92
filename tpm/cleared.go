package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// TPM2_Clear changes the seed of the storage hierarchy and leaves that of the
// endorsement hierarchy. So a TPM that was cleared has another storage root
// key and the attestation key it always had.

// attestationName returns the name of the attestation key, asked for once;
// none where the endorsement hierarchy refuses.
func (t *TPM) attestationName(sp *space) ([]byte, error) {
	t.mu.Lock()
	known := t.akName
	t.mu.Unlock()
	if known != nil {
		return known, nil
	}
	ak, _, err := createEndorsement(sp, akTemplate)
	switch {
	case err == nil:
		sp.flush(ak.handle)
	case isCode(err) && !isStale(err) && !isFull(err):
		ak.name = []byte{}
	default:
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.akName = ak.name
	return ak.name, nil
}

// orCleared tells a TPM that was cleared from another one, where err says that
// the storage root key of a blob that knows ak is not there. It takes the bus's word for it: no
// secret depends on it.
func (t *TPM) orCleared(ctx context.Context, ak []byte, err error) error {
	if !errors.Is(err, ErrKeyUnusable) || len(ak) == 0 {
		return err
	}
	name, aerr := do(ctx, t.keys, func() ([]byte, error) {
		ak, _, err := createEndorsement(t.keys, akTemplate)
		return ak.name, err
	})
	switch {
	case aerr != nil:
		return err
	case bytes.Equal(name, ak):
		return fmt.Errorf("%w, by its attestation key", ErrCleared)
	case !errors.Is(err, ErrTPMChanged):
		return fmt.Errorf("%w, by its attestation key", ErrTPMChanged)
	}
	return err
}

// isAKName reports whether ak may be what [TPM.attestationName] returned.
func isAKName(ak []byte) bool { return len(ak) == 0 || len(ak) == nameSize }
