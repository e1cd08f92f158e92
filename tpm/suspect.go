package tpm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// A response code does not prove that a TPM is another one: a TPM that was not
// started after a resume, is in failure mode or is out of memory gives the same
// codes when it should use the storage root key. The evidence is the key
// itself, by its name.

var errOtherSRK = fmt.Errorf("%w: it has another storage root key", ErrTPMChanged)

// A suspectError is a refusal to use a storage root key that a TPM without the
// key would give, and that a TPM with the key may give too.
type suspectError struct {
	t   *TPM
	key *storageKey
	err error
}

func (e *suspectError) Error() string { return e.err.Error() }
func (e *suspectError) Unwrap() error { return e.err }

// A parentRefusal says that the TPM did not accept the proof of the parent's
// auth value, which should be empty: either it is not empty, or the key of the
// session differs because the TPM could not decrypt the salt.
type parentRefusal struct{ err error }

func (e *parentRefusal) Error() string { return e.err.Error() }
func (e *parentRefusal) Unwrap() error { return e.err }

func isRefusal(err error) bool {
	return errors.Is(err, tpm2.TPMRCBadAuth) || errors.Is(err, tpm2.TPMRCAuthFail)
}

// errParentMoved says that the operation should be tried once more, under
// another parent.
var errParentMoved = errors.New("tpm: the storage root key needs an auth value")

// judge resolves the suspicion in err; an error without one is returned as it
// is.
func (sp *space) judge(err error) error {
	var s *suspectError
	if !errors.As(err, &s) {
		return err
	}
	_, verdict := once(sp, func() (none struct{}, _ error) { return none, s.t.judge(sp, s) })
	return verdict
}

func (t *TPM) judge(sp *space, s *suspectError) error {
	if other := t.another(sp, s.key); other != nil {
		return fmt.Errorf("%w (%w)", other, s.err)
	}
	var refused *parentRefusal
	if !errors.As(s.err, &refused) || s.key.proved.Load() {
		return troubleError(s.err)
	}
	wants := fmt.Errorf("%w: the storage root key needs one (%w)", ErrAuth, refused.err)
	if s.key.transient() || s.key != t.defaultParent() {
		return wants
	}
	// If both were made from the same template, they have the same name.
	primary, err := t.learnPrimary(sp)
	if err != nil || !t.isPinned(primary) {
		return wants
	}
	t.setParent(primary)
	return errParentMoved
}

// another returns an [ErrKeyUnusable] if the TPM does not have the storage root
// key k. If the TPM does not say, it is assumed to have it. The answer is not
// authenticated: no secret depends on it.
func (t *TPM) another(sp *space, k *storageKey) error {
	if !k.transient() {
		now, err := t.readPersistent(sp, k.handle)
		switch {
		case isNoHandle(err):
			if err := t.missing(sp, k.handle, err); errors.Is(err, ErrKeyUnusable) {
				return err
			}
			return nil
		case err == nil && !bytes.Equal(now.name, k.name):
			return errOtherSRK
		}
		return nil
	}
	h, now, err := t.createPrimary(sp)
	if err != nil {
		return nil
	}
	sp.flush(h)
	if !bytes.Equal(now.name, k.name) {
		return errOtherSRK
	}
	return nil
}

// missing explains err, which says that nothing is at a persistent handle: the
// list of the existing handles is the evidence.
func (t *TPM) missing(sp *space, h tpm2.TPMHandle, err error) error {
	rsp, lerr := tpm2.GetCapability{
		Capability:    tpm2.TPMCapHandles,
		Property:      uint32(h),
		PropertyCount: 1,
	}.Execute(sp)
	if lerr != nil {
		return troubleError(lerr)
	}
	list, lerr := rsp.CapabilityData.Data.Handles()
	if lerr != nil || slices.Contains(list.Handle, h) {
		return troubleError(err)
	}
	return fmt.Errorf("%w: its storage root key %#x is gone", ErrKeyUnusable, h)
}
