package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// MaxSeal is the most that Seal takes, in bytes (MAX_SYM_DATA of Part 2,
// 11.1.14).
const MaxSeal = 128

var sealTemplate = tpm2.TPMTPublic{
	Type:    tpm2.TPMAlgKeyedHash,
	NameAlg: tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, UserWithAuth: true, NoDA: true,
	},
	Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{}),
	Unique:     tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{}),
}

// A sealed is a blob made by Seal.
type sealed struct {
	keyBlob
	ak []byte // name of the attestation key; empty: the TPM gave none
}

func (s *sealed) marshal() []byte {
	return envelope.Marshal(envelope.TPM, envelope.Sealed, append(s.fields(), s.ak)...)
}

func unmarshalSealed(data []byte) (*sealed, error) {
	f, err := unmarshalFields(data, envelope.Sealed, envelopeFields+1)
	if err != nil {
		return nil, err
	}
	b, err := blobOf(f[:envelopeFields])
	if err != nil {
		return nil, err
	}
	return &sealed{*b, bytes.Clone(f[envelopeFields])}, nil
}

// Seal turns plaintext, 1 to [MaxSeal] bytes, into an object of the TPM. It
// takes one command if the session is loaded; the first Seal of a store that
// has not unsealed anything also makes the attestation key, with two more.
func (t *TPM) Seal(ctx context.Context, plaintext, aad []byte) ([]byte, error) {
	if len(plaintext) == 0 || len(plaintext) > MaxSeal {
		return nil, fmt.Errorf("tpm: sealing: %d bytes; it takes 1 to %d", len(plaintext), MaxSeal)
	}
	plaintext, aad = bytes.Clone(plaintext), bytes.Clone(aad)
	s, err := do(ctx, t.keys, func() (*sealed, error) {
		ak, err := t.attestationName(t.keys)
		if err != nil {
			return nil, err
		}
		b, err := t.create(t.keys, sensitiveCreate(t.sealAuth(aad, ak), plaintext), sealTemplate)
		if err != nil {
			return nil, err
		}
		return &sealed{*b, ak}, nil
	}, plaintext)
	if err != nil {
		return nil, failed("sealing", err)
	}
	return s.marshal(), nil
}

// Unseal returns what Seal protected. Load, Unseal and Flush are three
// commands. With a different aad the error is [ErrInvalidBlob], on a cleared
// TPM [ErrCleared], on another TPM [ErrTPMChanged].
func (t *TPM) Unseal(ctx context.Context, blob, aad []byte) ([]byte, error) {
	s, err := unmarshalSealed(blob)
	if err != nil {
		return nil, failed("unsealing", err)
	}
	value := t.sealAuth(aad, s.ak)
	plaintext, err := do(ctx, t.keys, func() ([]byte, error) {
		o, err := t.load(t.keys, &s.keyBlob)
		if err != nil {
			return nil, err
		}
		cmd := command{
			code:    tpm2.TPMCCUnseal,
			handles: []object{o},
			auths:   []auth{{session: t.keys.session, value: value, dir: encryptOut}},
		}
		rsp, err := cmd.run(t.keys)
		if errors.Is(err, tpm2.TPMRCBadAuth) {
			// The session was proved by loading the object in it.
			return nil, fmt.Errorf("%w: damaged, or sealed with another aad or key auth", ErrInvalidBlob)
		}
		if err != nil {
			return nil, err
		}
		defer rsp.clear()
		t.learnAttestationName(s.ak)
		return bytes.Clone(first(rsp.params)), nil
	})
	if err != nil {
		return nil, failed("unsealing", t.orCleared(ctx, &s.keyBlob, s.ak, err))
	}
	return plaintext, nil
}
