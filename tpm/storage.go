package tpm

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/google/go-tpm/tpm2"
)

// persistentSRK is where the TCG's provisioning guidance puts the SRK, and
// where Windows and systemd leave it.
const persistentSRK tpm2.TPMHandle = 0x81000001

// srkTemplate is template H-2 of the TCG EK Credential Profile: P-256, empty
// unique. go-tpm's ECCSRKTemplate has a unique of 64 zero bytes, which makes
// another key.
var srkTemplate = tpm2.TPMTPublic{
	Type:    tpm2.TPMAlgECC,
	NameAlg: tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
		UserWithAuth: true, NoDA: true, Restricted: true, Decrypt: true,
	},
	Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
		Symmetric: tpm2.TPMTSymDefObject(aes128CFB),
		CurveID:   tpm2.TPMECCNistP256,
	}),
	Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
}

// A storageKey is a parent of our keys, pinned: its name is the hash of its
// public area, and sessions are salted to that public area, so that no other
// TPM can stand in for this one.
type storageKey struct {
	handle tpm2.TPMHandle // persistent, or TPM_RH_OWNER for the transient primary
	public tpm2.TPMTPublic
	name   []byte

	// salt is the key that sessions are salted to; nil means this one. Some
	// firmware fails on salts to an RSA SRK made by Windows (systemd#28655).
	salt atomic.Pointer[storageKey]
	// salted says that a session was salted to this key itself, so the firmware
	// can do that; proved says that the TPM used it as a parent, so its auth
	// value is empty.
	salted, proved atomic.Bool
}

func (k *storageKey) anchor() *storageKey {
	if salt := k.salt.Load(); salt != nil {
		return salt
	}
	return k
}

func (k *storageKey) transient() bool { return k.handle == tpm2.TPMRHOwner }

// chooseParent finds the SRK for new keys: a persistent one if it is sound,
// otherwise the transient primary. Whether the persistent one needs an auth
// value is known only when it is first used: see [TPM.judge].
func (t *TPM) chooseParent(sp *space) (*storageKey, error) {
	k, err := t.readPersistent(sp, persistentSRK)
	switch {
	case err != nil && !isNoHandle(err):
		return nil, err
	case err != nil || !soundStorageKey(&k.public) || !t.isPinned(k):
		return t.learnPrimary(sp)
	}
	return t.remember(k), nil
}

// isPinned reports whether k may be the parent of new keys.
func (t *TPM) isPinned(k *storageKey) bool {
	return t.cfg.SRKName == nil || bytes.Equal(t.cfg.SRKName, k.name)
}

// isNoHandle reports whether err says that nothing is at a persistent handle.
func isNoHandle(err error) bool {
	return errors.Is(err, tpm2.TPMRCHandle) || errors.Is(err, tpm2.TPMRCValue)
}

func (t *TPM) readPersistent(sp *space, h tpm2.TPMHandle) (*storageKey, error) {
	rsp, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(sp)
	if err != nil {
		return nil, err
	}
	public, err := parsePublic(rsp.OutPublic.Bytes())
	if err != nil {
		// Without a public area the key is not sound, so nothing is made under
		// it.
		return &storageKey{handle: h, name: nameOf(rsp.OutPublic.Bytes())}, nil
	}
	return &storageKey{handle: h, public: *public, name: nameOf(rsp.OutPublic.Bytes())}, nil
}

// soundStorageKey accepts an RSA-2048 or P-256 storage key that cannot leave
// its TPM and that wrong auth values cannot lock.
func soundStorageKey(p *tpm2.TPMTPublic) bool {
	a := p.ObjectAttributes
	if !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin || !a.Restricted || !a.Decrypt ||
		a.SignEncrypt || !a.UserWithAuth || !a.NoDA || p.NameAlg != tpm2.TPMAlgSHA256 {
		return false
	}
	switch p.Type {
	case tpm2.TPMAlgRSA:
		d, err := p.Parameters.RSADetail()
		return err == nil && d.KeyBits == 2048
	case tpm2.TPMAlgECC:
		d, err := p.Parameters.ECCDetail()
		return err == nil && d.CurveID == tpm2.TPMECCNistP256
	}
	return false
}

// tryParent sends a Load that must fail on its empty parameters: a TPM checks
// the authorisation first, so any error that is not about authorisation shows
// that the parent's auth value is empty.
func (t *TPM) tryParent(sp *space, k *storageKey) error {
	if k.proved.Load() {
		return nil
	}
	return t.underParent(sp, k, func(parent object) error {
		load := command{
			code:    tpm2.TPMCCLoad,
			handles: []object{parent},
			auths:   []auth{{session: sp.session}},
			params:  make([]byte, 4),
		}
		_, err := load.run(sp)
		switch {
		case isRefusal(err):
			return &parentRefusal{err}
		case isAny(err, []tpm2.TPMRC{tpm2.TPMRCSize, tpm2.TPMRCInsufficient, tpm2.TPMRCType}):
			return nil
		}
		return err
	})
}

func isCode(err error) bool {
	var rc tpm2.TPMRC
	return errors.As(err, &rc)
}

// learnPrimary makes the transient primary to learn its name, and flushes it.
func (t *TPM) learnPrimary(sp *space) (*storageKey, error) {
	if k := t.known(tpm2.TPMRHOwner); k != nil {
		return k, nil
	}
	h, k, err := t.createPrimary(sp)
	if err != nil {
		return nil, err
	}
	k = t.remember(k)
	t.settle(sp, h, k)
	return k, nil
}

// settle keeps the primary loaded for the next operation if new keys are made
// under it: making it again takes a TPM as long as making a key. It then
// occupies one of three slots, and the session key another. Behind a resource
// manager the session key's space holds nothing else, since each command would
// swap it.
func (t *TPM) settle(sp *space, h tpm2.TPMHandle, k *storageKey) {
	if parent := t.defaultParent(); sp == t.keys && (parent == nil || parent == k) {
		sp.holdPrimary(h, k)
		return
	}
	sp.flush(h)
}

func (t *TPM) createPrimary(sp *space) (tpm2.TPMHandle, *storageKey, error) {
	owner, err := t.ownerAuth(sp)
	if err != nil {
		return 0, nil, err
	}
	if owner.session != nil {
		defer sp.flush(owner.session.handle)
	}
	template := tpm2.Marshal(srkTemplate)
	params := append2B(nil, make([]byte, 4)) // no auth value, no data
	params = append2B(params, template)
	params = append(params, 0, 0, 0, 0, 0, 0) // no outside info, no PCRs
	cmd := command{
		code:     tpm2.TPMCCCreatePrimary,
		handles:  []object{permanent(tpm2.TPMRHOwner)},
		auths:    []auth{owner},
		params:   params,
		makesObj: true,
	}
	rsp, err := cmd.run(sp)
	if err != nil {
		if errors.Is(err, tpm2.TPMRCBadAuth) || errors.Is(err, tpm2.TPMRCAuthFail) {
			return 0, nil, fmt.Errorf("%w of the owner hierarchy (Config.OwnerAuth): %w", ErrAuth, err)
		}
		return 0, nil, err
	}
	sp.loaded = append(sp.loaded, rsp.handle)
	area := first(rsp.params)
	public, err := parsePublic(area)
	if err != nil {
		return 0, nil, fmt.Errorf("tpm: SRK: %w", err)
	}
	return rsp.handle, &storageKey{handle: tpm2.TPMRHOwner, public: *public, name: nameOf(area)}, nil
}

// ownerAuth authorises the owner hierarchy. Its auth value is empty on nearly
// every machine; where it is not, an HMAC session proves it without sending it.
func (t *TPM) ownerAuth(sp *space) (auth, error) {
	if t.cfg.OwnerAuth == nil {
		return auth{}, nil
	}
	value, err := t.cfg.OwnerAuth(sp.ctx)
	if err != nil || len(value) == 0 {
		return auth{}, err
	}
	s, err := startSession(sp, tpm2.TPMSEHMAC, 0, nil)
	if err != nil {
		return auth{}, err
	}
	return auth{session: s, value: value}, nil
}

// known returns the pinned storage key of a handle, or nil.
func (t *TPM) known(h tpm2.TPMHandle) *storageKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.storage[h]
}

// remember pins k; the first key pinned for a handle stays.
func (t *TPM) remember(k *storageKey) *storageKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.storage[k.handle]; old != nil {
		return old
	}
	t.storage[k.handle] = k
	return k
}

// storageOf returns the parent that a blob names. A blob without names comes
// from another program; its parent is pinned from now on.
func (t *TPM) storageOf(sp *space, b *keyBlob) (*storageKey, error) {
	k := t.known(b.parent)
	var err error
	switch {
	case k != nil:
	case b.parent == tpm2.TPMRHOwner:
		k, err = t.learnPrimary(sp)
	default:
		k, err = t.readPersistent(sp, b.parent)
		switch {
		case isNoHandle(err):
			err = t.missing(sp, b.parent, err)
		case err == nil && len(b.parentName) > 0 && !bytes.Equal(b.parentName, k.name):
		case err == nil && !soundStorageKey(&k.public):
			err = fmt.Errorf("%w: its parent %#x is not a storage key", ErrInvalidBlob, b.parent)
		case err == nil:
			k = t.remember(k)
		}
	}
	if err != nil {
		return nil, err
	}
	if len(b.parentName) > 0 && !bytes.Equal(b.parentName, k.name) {
		return nil, errOtherSRK
	}
	return k, nil
}

// underParentOf gives fn the parent that a blob names, loaded.
func (t *TPM) underParentOf(sp *space, b *keyBlob, fn func(k *storageKey, parent object) error) error {
	k, err := t.storageOf(sp, b)
	if err != nil {
		return err
	}
	return t.underParent(sp, k, func(parent object) error { return fn(k, parent) })
}

// underParent gives fn the loaded parent and the session salted to it.
func (t *TPM) underParent(sp *space, k *storageKey, fn func(parent object) error) error {
	h := k.handle
	if k.transient() {
		var err error
		if h, err = t.loadPrimary(sp, k); err != nil {
			return err
		}
		defer t.settle(sp, h, k)
	}
	if err := t.ensureSession(sp, k, h); err != nil {
		return err
	}
	err := fn(object{h, k.name})
	var refused *parentRefusal
	switch {
	case err == nil:
		k.proved.Store(true)
	case errors.As(err, &refused):
		return &suspectError{t, k, err}
	}
	return err
}

func (t *TPM) loadPrimary(sp *space, k *storageKey) (tpm2.TPMHandle, error) {
	if sp.primary.key == k {
		return sp.primary.handle, nil
	}
	h, made, err := t.createPrimary(sp)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(made.name, k.name) {
		sp.flush(h)
		return 0, errOtherSRK
	}
	return h, nil
}

// ensureSession starts the session salted to k, which is loaded at h, unless
// it is there.
func (t *TPM) ensureSession(sp *space, k *storageKey, h tpm2.TPMHandle) error {
	if sp.session != nil && sp.session.anchor == string(k.anchor().name) {
		return nil
	}
	sp.dropSession()
	s, err := t.startSalted(sp, tpm2.TPMSEHMAC, k, h)
	if err != nil {
		return err
	}
	sp.session, sp.fresh = s, true
	return nil
}

// startSalted starts a session salted to k, which is loaded at h.
func (t *TPM) startSalted(sp *space, kind tpm2.TPMSE, k *storageKey, h tpm2.TPMHandle) (*session, error) {
	if k.salt.Load() != nil {
		return t.startElsewhere(sp, kind, k)
	}
	s, err := startSession(sp, kind, h, k)
	switch {
	case err == nil:
		k.salted.Store(true)
		return s, nil
	case !isCode(err) || isFull(err):
		return nil, err
	case k.public.Type != tpm2.TPMAlgRSA || k.salted.Load() || isStale(err) && !errors.Is(err, tpm2.TPMRCValue):
		return nil, &suspectError{t, k, err}
	}
	// Either this firmware cannot do it, or this is another TPM, which cannot
	// either.
	if other := t.another(sp, k); other != nil {
		return nil, other
	}
	primary, perr := t.learnPrimary(sp)
	if perr != nil {
		return nil, &suspectError{t, k, err}
	}
	k.salt.Store(primary)
	return t.startElsewhere(sp, kind, k)
}

// startElsewhere starts a session salted to the transient primary instead of k.
func (t *TPM) startElsewhere(sp *space, kind tpm2.TPMSE, k *storageKey) (*session, error) {
	primary := k.anchor()
	h, err := t.loadPrimary(sp, primary)
	if err != nil {
		return nil, err
	}
	defer t.settle(sp, h, primary)
	s, err := startSession(sp, kind, h, primary)
	if err != nil && isCode(err) && !isFull(err) {
		return nil, &suspectError{t, primary, err}
	}
	return s, err
}

// healthy tells a TPM in failure mode from one that answers TPM_RC_FAILURE to
// a ciphertext it cannot decrypt.
func healthy(sp *space) bool {
	_, err := tpm2.GetRandom{BytesRequested: 8}.Execute(sp)
	return err == nil
}
