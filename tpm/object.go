package tpm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// load loads a key under its parent. It is flushed when the operation ends,
// unless the caller keeps it.
func (t *TPM) load(sp *space, b *keyBlob) (loaded object, err error) {
	err = t.underParentOf(sp, b, func(_ *storageKey, parent object) error {
		loaded, err = sp.load(parent, b)
		return err
	})
	return loaded, err
}

// load loads a key under its loaded parent.
func (sp *space) load(parent object, b *keyBlob) (object, error) {
	return sp.loadIn(parent, b, auth{session: sp.session, dir: encryptAll})
}

// loadProving loads a key and has the TPM prove, with no extra command, that p
// is the session that was started: the answer is encrypted with p's key. With
// last the space's session ends, again with no extra command.
func (sp *space) loadProving(parent object, b *keyBlob, p *session, last bool) (object, error) {
	o, err := sp.loadIn(parent, b, auth{session: sp.session, dir: encryptIn, last: last}, auth{session: p, dir: encryptOut})
	if err == nil && last {
		sp.session = nil
	}
	return o, err
}

func (sp *space) loadIn(parent object, b *keyBlob, auths ...auth) (object, error) {
	sp.dropHeld(sp.spares)
	cmd := command{
		code:     tpm2.TPMCCLoad,
		handles:  []object{parent},
		auths:    auths,
		params:   append2B(append2B(nil, b.private), b.public),
		makesObj: true,
	}
	rsp, err := cmd.run(sp)
	switch {
	case errors.Is(err, tpm2.TPMRCIntegrity) && len(b.parentName) > 0:
		// The parent's name shows that it is the right one.
		return object{}, fmt.Errorf("%w: private area: %w", ErrInvalidBlob, err)
	case errors.Is(err, tpm2.TPMRCIntegrity):
		return object{}, fmt.Errorf("%w: a key of another parent, or damaged: %w", ErrKeyUnusable, err)
	}
	if err != nil {
		return object{}, parentError(err)
	}
	sp.loaded = append(sp.loaded, rsp.handle)
	if !bytes.Equal(first(rsp.params), b.name) {
		return object{}, fmt.Errorf("%w: the key loaded under another name", ErrTPMChanged)
	}
	return object{rsp.handle, b.name}, nil
}

// parentError explains a refusal at the parent.
func parentError(err error) error {
	switch {
	case isRefusal(err):
		return &parentRefusal{err}
	case errors.Is(err, errForged):
		return fmt.Errorf("%w (%w)", ErrTPMChanged, err)
	case errors.Is(err, tpm2.TPMRCSize), errors.Is(err, tpm2.TPMRCType), errors.Is(err, tpm2.TPMRCAttributes),
		errors.Is(err, tpm2.TPMRCInsufficient), errors.Is(err, tpm2.TPMRCHash), errors.Is(err, tpm2.TPMRCKey),
		errors.Is(err, tpm2.TPMRCBinding), errors.Is(err, tpm2.TPMRCReservedBits):
		return fmt.Errorf("%w: %w", ErrInvalidBlob, err)
	}
	return err
}

// changeAuth gives the object of b, which is loaded, another auth value and
// returns its new private area. The public area stays, and with it name,
// attributes and policy.
func (t *TPM) changeAuth(sp *space, b *keyBlob, parent, loaded object, value, next []byte) ([]byte, error) {
	cmd := command{
		code:    tpm2.TPMCCObjectChangeAuth,
		handles: []object{loaded, parent},
		auths:   []auth{{session: sp.session, value: value, dir: encryptAll}},
		params:  append2B(nil, next),
	}
	rsp, err := cmd.run(sp)
	if err != nil {
		return nil, t.authError(sp, b, err)
	}
	return bytes.Clone(first(rsp.params)), nil
}

// create makes an object under the default parent. sensitive is encrypted in
// place.
func (t *TPM) create(sp *space, sensitive []byte, template tpm2.TPMTPublic) (b *keyBlob, err error) {
	k := t.defaultParent()
	err = t.underParent(sp, k, func(parent object) error {
		b, err = sp.create(parent, sensitive, template)
		return err
	})
	if err != nil {
		return nil, err
	}
	return b.under(k), nil
}

// under says which key is the parent of a new blob.
func (b *keyBlob) under(k *storageKey) *keyBlob {
	b.parent, b.parentName = k.handle, k.name
	return b
}

// create makes an object under a loaded parent.
func (sp *space) create(parent object, sensitive []byte, template tpm2.TPMTPublic) (*keyBlob, error) {
	sp.dropHeld(sp.spares)
	params := append2B(sensitive, tpm2.Marshal(template))
	params = append(params, 0, 0, 0, 0, 0, 0) // no outside info, no PCRs
	cmd := command{
		code:    tpm2.TPMCCCreate,
		handles: []object{parent},
		auths:   []auth{{session: sp.session, dir: encryptAll}},
		params:  params,
	}
	rsp, err := cmd.run(sp)
	if isRefusal(err) {
		return nil, &parentRefusal{err}
	}
	if err != nil {
		return nil, err
	}
	r := &reader{b: rsp.params}
	b := &keyBlob{private: bytes.Clone(r.sized()), public: bytes.Clone(r.sized())}
	if r.failed {
		return nil, errShort
	}
	b.name = nameOf(b.public)
	return b, nil
}

// sensitiveCreate encodes a TPM2B_SENSITIVE_CREATE with room for what follows
// it in TPM2_Create, so that a secret in it is not copied again.
func sensitiveCreate(auth, data []byte) []byte {
	size := 2 + len(auth) + 2 + len(data)
	b := make([]byte, 0, size+514)
	b = append(b, byte(size>>8), byte(size))
	return append2B(append2B(b, auth), data)
}
