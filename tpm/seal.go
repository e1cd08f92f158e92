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

// Seal makes plaintext, 1 to [MaxSeal] bytes, an object of the TPM. It is one
// command where the session stands and the storage root key is persistent.
func (t *TPM) Seal(ctx context.Context, plaintext, aad []byte) ([]byte, error) {
	if len(plaintext) == 0 || len(plaintext) > MaxSeal {
		return nil, fmt.Errorf("tpm: sealing: %d bytes; it takes 1 to %d", len(plaintext), MaxSeal)
	}
	plaintext, value := bytes.Clone(plaintext), t.sealAuth(aad)
	b, err := do(ctx, t.keys, func() (*keyBlob, error) {
		return t.create(ctx, t.keys, sensitiveCreate(value, plaintext), sealTemplate)
	})
	if err != nil {
		return nil, failed("sealing", err)
	}
	return b.marshal(envelope.Sealed), nil
}

// Unseal returns what Seal took: Load, Unseal and Flush are three commands.
// Another aad is [ErrInvalidBlob].
func (t *TPM) Unseal(ctx context.Context, sealed, aad []byte) ([]byte, error) {
	b, err := unmarshalBlob(sealed, envelope.Sealed)
	if err != nil {
		return nil, failed("unsealing", err)
	}
	value := t.sealAuth(aad)
	plaintext, err := do(ctx, t.keys, func() ([]byte, error) {
		o, err := t.load(t.keys, b)
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
			return nil, fmt.Errorf("%w: sealed with another aad or key auth", ErrInvalidBlob)
		}
		if err != nil {
			return nil, err
		}
		defer rsp.clear()
		return bytes.Clone(first(rsp.params)), nil
	})
	if err != nil {
		return nil, failed("unsealing", err)
	}
	return plaintext, nil
}
