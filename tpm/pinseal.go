package tpm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// A PINSealer seals small secrets that only a PIN opens, for a time that the
// TPM measures: the secrets that a user unlocks offline. [TPM] implements it. A
// software store does not: nothing there counts wrong PINs or measures time.
type PINSealer interface {
	// SealPIN protects 1 to [MaxSeal] bytes. Unsealing them needs the same aad
	// and the PIN, and the limit l must not have passed.
	SealPIN(ctx context.Context, plaintext, aad, pin []byte, l Limit) ([]byte, error)

	// UnsealPIN returns what SealPIN protected. A wrong PIN is [ErrWrongPIN],
	// and counts. The PIN is tried once: if the connection is lost during the
	// try, the error is [ErrNoTPM]. Problems that can be detected without the
	// PIN cost no try: a different aad or a damaged blob is [ErrInvalidBlob], a
	// limit that has passed [ErrExpired], a cleared TPM [ErrCleared], another
	// TPM [ErrTPMChanged].
	UnsealPIN(ctx context.Context, sealed, aad, pin []byte) ([]byte, error)

	// Left returns what is left of the limit, or [ErrExpired]. It is for
	// display and for sealing again in time: the TPM's answer is not
	// authenticated.
	Left(ctx context.Context, sealed, aad []byte) (Limit, error)

	// ChangeSealPIN returns the same secret sealed under another PIN, with the
	// same limit. The old blob cannot be revoked: until the limit it opens with
	// the old PIN.
	ChangeSealPIN(ctx context.Context, sealed, aad, pin, newPIN []byte) ([]byte, error)
}

var _ PINSealer = (*TPM)(nil)

// pinSealTemplate has a policy to be filled in, cannot be used with the auth
// value alone, and has dictionary-attack protection. Changing the auth value
// needs the old one and keeps the policy.
var pinSealTemplate = tpm2.TPMTPublic{
	Type:             tpm2.TPMAlgKeyedHash,
	NameAlg:          tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true},
	Parameters:       tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{}),
	Unique:           tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{}),
}

// A pinSealed is a sealed object that a PIN opens.
type pinSealed struct {
	keyBlob
	bounds bounds
	ak     []byte // name of the attestation key; empty: the TPM gave none
}

const pinSealedFields = envelopeFields + 2

func (s *pinSealed) marshal() []byte {
	return envelope.Marshal(envelope.TPM, envelope.PINSealed, append(s.fields(), s.bounds.marshal(), s.ak)...)
}

func unmarshalPINSealed(data []byte) (*pinSealed, error) {
	f, err := unmarshalFields(data, envelope.PINSealed, pinSealedFields)
	if err != nil {
		return nil, err
	}
	b, err := blobOf(f[:envelopeFields])
	if err != nil {
		return nil, err
	}
	s := &pinSealed{keyBlob: *b, ak: bytes.Clone(f[envelopeFields+1])}
	s.bounds, err = unmarshalBounds(f[envelopeFields])
	return s, err
}

// demands are what the TPM asks for besides the PIN. The first one commits to
// the fields of the blob and to the aad.
func (s *pinSealed) demands(aad []byte) []comparison {
	sum := sha256.Sum256(aad)
	f := s.fields()
	fields := envelope.Marshal(envelope.TPM, envelope.PINSealed, f[0], f[1], s.salt, s.bounds.marshal(), s.ak, sum[:])
	return append([]comparison{commitment(sha256.Sum256(fields))}, s.bounds.comparisons()...)
}

// template returns the public area to ask for.
func (s *pinSealed) template(aad []byte) tpm2.TPMTPublic {
	t := pinSealTemplate
	t.AuthPolicy = tpm2.TPM2BDigest{Buffer: policyDigest(s.demands(aad))}
	return t
}

// match refuses, without a TPM, a blob that was not sealed with these fields
// and this aad. What it cannot see, the rest of the public area and the private
// one, the TPM refuses to load if it does not match.
func (s *pinSealed) match(aad []byte) error {
	public, err := parsePublic(s.public)
	if err != nil {
		return fmt.Errorf("%w: public area: %w", ErrInvalidBlob, err)
	}
	public.Unique = pinSealTemplate.Unique
	if !bytes.Equal(tpm2.Marshal(public), tpm2.Marshal(s.template(aad))) {
		return fmt.Errorf("%w: damaged, or sealed with another aad", ErrInvalidBlob)
	}
	return nil
}

func openPINSealed(sealed, aad []byte) (*pinSealed, error) {
	s, err := unmarshalPINSealed(sealed)
	if err != nil {
		return nil, err
	}
	return s, s.match(aad)
}

// SealPIN turns plaintext into an object of the TPM whose policy has the limit.
// If the session is loaded it takes two commands, one without a limit, and
// seven on a TPM without TPM2_GetTime or whose endorsement hierarchy has an
// auth value. The first SealPIN of a store that has not unsealed anything also
// makes the attestation key, with two more.
func (t *TPM) SealPIN(ctx context.Context, plaintext, aad, pin []byte, l Limit) ([]byte, error) {
	switch err := l.check(); {
	case len(plaintext) == 0 || len(plaintext) > MaxSeal:
		return nil, fmt.Errorf("tpm: sealing under a PIN: %d bytes; it takes 1 to %d", len(plaintext), MaxSeal)
	case len(pin) == 0:
		return nil, errEmptyPIN
	case err != nil:
		return nil, failed("sealing under a PIN", err)
	}
	salt, err := newSalt()
	if err != nil {
		return nil, failed("sealing under a PIN", err)
	}
	plaintext, aad, value := bytes.Clone(plaintext), bytes.Clone(aad), t.pinSealAuth(pin, salt, aad)
	s, err := do(ctx, t.keys, func() (*pinSealed, error) {
		ak, err := t.attestationName(t.keys)
		if err != nil {
			return nil, err
		}
		s, k := &pinSealed{ak: ak}, t.defaultParent()
		s.salt = salt
		s.under(k)
		return s, t.underParent(t.keys, k, func(parent object) error {
			return t.sealPIN(t.keys, parent, s, sensitiveCreate(value, plaintext), aad, l)
		})
	}, plaintext, value)
	if err != nil {
		return nil, failed("sealing under a PIN", err)
	}
	return s.marshal(), nil
}

func (t *TPM) sealPIN(sp *space, parent object, s *pinSealed, sensitive, aad []byte, l Limit) error {
	s.bounds = l.from(tpm2.TPMSClockInfo{})
	if s.bounds != unbounded {
		now, err := t.provenClock(sp, parent)
		if err != nil {
			return err
		}
		s.bounds = l.from(now)
	}
	b, err := sp.create(parent, sensitive, s.template(aad))
	if err != nil {
		return err
	}
	s.public, s.private, s.name = b.public, b.private, b.name
	return nil
}

// UnsealPIN takes, with all three bounds, nine commands: a policy session,
// which Load proves, five policy commands, Unseal, which ends the session, and
// Flush. The limits are checked before the PIN is used.
func (t *TPM) UnsealPIN(ctx context.Context, sealed, aad, pin []byte) ([]byte, error) {
	s, err := openPINSealed(sealed, aad)
	if err == nil && len(pin) == 0 {
		err = fmt.Errorf("%w: none was given", ErrWrongPIN)
	}
	if err != nil {
		return nil, failed("unsealing with a PIN", err)
	}
	value, demands := t.pinSealAuth(pin, s.salt, aad), s.demands(aad)
	plaintext, err := do(ctx, t.keys, func() ([]byte, error) {
		var o object
		var p *session
		err := t.underParentOf(t.keys, &s.keyBlob, func(k *storageKey, parent object) (err error) {
			if p, err = t.startPolicy(t.keys, k, parent); err != nil {
				return err
			}
			// A resource manager would swap the session around every demand.
			o, err = t.keys.loadProving(parent, &s.keyBlob, p, t.managed())
			return err
		})
		if err != nil {
			return nil, err
		}
		if t.managed() {
			t.keys.dropPrimary() // it would be swapped too
		}
		return t.unsealPIN(t.keys, s, o, p, demands, value)
	}, value)
	if err != nil {
		return nil, failed("unsealing with a PIN", t.orCleared(ctx, &s.keyBlob, s.ak, err))
	}
	return plaintext, nil
}

// Left is one command, or none without a limit.
func (t *TPM) Left(ctx context.Context, sealed, aad []byte) (Limit, error) {
	s, err := openPINSealed(sealed, aad)
	if err != nil {
		return Limit{}, failed("reading a limit", err)
	}
	left, err := do(ctx, t.keys, func() (Limit, error) { return t.keys.left(s.bounds) })
	if err != nil {
		return Limit{}, failed("reading a limit", err)
	}
	return left, nil
}

// startPolicy starts the policy session that proves a PIN. Nothing
// authenticates its start, and in any session other than the one that was
// started the right PIN would look wrong: so load the object with loadProving.
func (t *TPM) startPolicy(sp *space, k *storageKey, parent object) (*session, error) {
	p, err := t.startSalted(sp, tpm2.TPMSEPolicy, k, parent.handle)
	if err == nil {
		sp.loaded = append(sp.loaded, p.handle)
	}
	return p, err
}

// left returns what is left of bounds. The clock that it reads is not
// authenticated.
func (sp *space) left(b bounds) (Limit, error) {
	if b == unbounded {
		return b.left(tpm2.TPMSClockInfo{})
	}
	now, err := sp.clock()
	if err != nil {
		return Limit{}, err
	}
	return b.left(now)
}

// satisfy makes the policy session p satisfy everything but the PIN, which
// comes when p is used.
func (sp *space) satisfy(p *session, demands []comparison) error {
	for _, c := range demands {
		err := sp.demand(p, c)
		if errors.Is(err, tpm2.TPMRCPolicy) { // the commitment cannot fail
			return fmt.Errorf("%w, according to the TPM", ErrExpired)
		}
		if err != nil {
			return err
		}
	}
	_, err := tpm2.PolicyAuthValue{PolicySession: p.handle}.Execute(sp)
	return err
}

// unsealPIN satisfies the policy and proves the auth value.
func (t *TPM) unsealPIN(sp *space, s *pinSealed, o object, p *session, demands []comparison, value []byte) ([]byte, error) {
	if err := sp.satisfy(p, demands); err != nil {
		return nil, err
	}
	cmd := command{
		code:    tpm2.TPMCCUnseal,
		handles: []object{o},
		auths:   []auth{{session: p, value: value, dir: encryptOut, last: true}},
	}
	rsp, err := cmd.run(sp)
	if err != nil {
		return nil, t.authError(sp, &s.keyBlob, err)
	}
	sp.gone(p.handle)
	defer rsp.clear()
	return bytes.Clone(first(rsp.params)), nil
}

// ChangeSealPIN has the TPM change the auth value of the object, whose policy
// stays: Load, ReadClock, ObjectChangeAuth and Flush. The secret does not leave
// the TPM.
func (t *TPM) ChangeSealPIN(ctx context.Context, sealed, aad, pin, newPIN []byte) ([]byte, error) {
	s, err := openPINSealed(sealed, aad)
	switch {
	case err != nil:
	case len(pin) == 0:
		err = fmt.Errorf("%w: none was given", ErrWrongPIN)
	case len(newPIN) == 0:
		err = errEmptyPIN
	}
	if err != nil {
		return nil, failed("changing the PIN of sealed data", err)
	}
	value, next := t.pinSealAuth(pin, s.salt, aad), t.pinSealAuth(newPIN, s.salt, aad)
	private, err := do(ctx, t.keys, func() (private []byte, err error) {
		err = t.underParentOf(t.keys, &s.keyBlob, func(_ *storageKey, parent object) error {
			loaded, err := t.keys.load(parent, &s.keyBlob)
			if err != nil {
				return err
			}
			if _, err := t.keys.left(s.bounds); err != nil {
				return err
			}
			private, err = t.changeAuth(t.keys, &s.keyBlob, parent, loaded, value, next)
			return err
		})
		return private, err
	}, value, next)
	if err != nil {
		return nil, failed("changing the PIN of sealed data", t.orCleared(ctx, &s.keyBlob, s.ak, err))
	}
	changed := *s
	changed.private = private
	return changed.marshal(), nil
}
