package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// TPM2_Clear changes the seed of the storage hierarchy but not that of the
// endorsement hierarchy. A cleared TPM therefore has another storage root key
// and the same attestation key.

// learnAttestationName takes the name from a blob that the TPM has just opened,
// whose auth value covers the name. That saves making the key.
func (t *TPM) learnAttestationName(ak []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.akName == nil && len(ak) > 0 {
		t.akName = ak
	}
}

// attestationName returns the name of the attestation key, which it asks the
// TPM for once; it is empty if the endorsement hierarchy refuses. After any
// other error code, such as one saying that the TPM cannot write just now, it
// is empty too, but the next blob asks again.
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
	case isAny(err, []tpm2.TPMRC{tpm2.TPMRCBadAuth, tpm2.TPMRCAuthFail, tpm2.TPMRCHierarchy}):
		ak.name = []byte{}
	case isCode(err) && !isStale(err) && !isFull(err):
		return []byte{}, nil
	default:
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.akName = ak.name
	return ak.name, nil
}

// orCleared tells a cleared TPM from another TPM when err says that b, which
// names ak, cannot be used. It first asks whether the storage root key is gone:
// if it is not, the TPM was neither cleared nor replaced, and the error has
// another cause, such as a lost session or an altered response. It accepts
// unauthenticated answers to both questions: no secret depends on them.
func (t *TPM) orCleared(ctx context.Context, b *keyBlob, ak []byte, err error) error {
	if !errors.Is(err, ErrKeyUnusable) || len(ak) == 0 {
		return err
	}
	why, aerr := do(ctx, t.keys, func() (error, error) {
		gone, err := t.storageGone(t.keys, b)
		if err != nil || !gone {
			return nil, err
		}
		made, _, err := createEndorsement(t.keys, akTemplate)
		if err == nil && bytes.Equal(made.name, ak) {
			return ErrCleared, nil
		}
		return ErrTPMChanged, err
	})
	if aerr != nil || why == nil || errors.Is(err, why) {
		return err
	}
	return fmt.Errorf("%w, according to its attestation key", why)
}

// storageGone reports whether the TPM no longer has the storage root key that b
// was made under.
func (t *TPM) storageGone(sp *space, b *keyBlob) (bool, error) {
	if b.parent != tpm2.TPMRHOwner {
		k, err := t.readPersistent(sp, b.parent)
		if isNoHandle(err) {
			return errors.Is(t.missing(sp, b.parent, err), ErrKeyUnusable), nil
		}
		return err == nil && !bytes.Equal(k.name, b.parentName), err
	}
	h, k, err := t.createPrimary(sp)
	if err != nil {
		return false, err
	}
	sp.flush(h)
	return !bytes.Equal(k.name, b.parentName), nil
}
