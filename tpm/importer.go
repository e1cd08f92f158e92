package tpm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
)

// ErrNoImport: the store does not accept keys made elsewhere. It is also an
// errors.ErrUnsupported.
var ErrNoImport = fmt.Errorf("tpm: the key store cannot import keys: %w", errors.ErrUnsupported)

// An Importer is a [KeyStore] that also accepts keys made elsewhere, such as
// the software store of package softkeys. [TPM] is not an Importer: the value
// of its keys is that they never were outside the TPM.
type Importer interface {
	KeyStore
	// ImportKey is GenerateKey with a private key that the caller supplies, an
	// *rsa.PrivateKey of 2048 bits or an *ecdsa.PrivateKey on P-256 as spec
	// says. The caller still has that key: the store cannot vouch for its
	// copies.
	ImportKey(ctx context.Context, spec KeySpec, private crypto.PrivateKey) (Key, error)
}

// CheckImport refuses a spec that no store can serve, and a private key that is
// damaged or does not match the spec's algorithm.
func (s KeySpec) CheckImport(private crypto.PrivateKey) error {
	if err := s.Check(); err != nil {
		return err
	}
	intact := false
	switch k := private.(type) {
	case *rsa.PrivateKey:
		if s.Algorithm != RSA2048 || k == nil || k.N == nil || k.N.BitLen() != 2048 {
			return errors.New("tpm: the key to import is RSA, and not of 2048 bits as asked for")
		}
		intact = k.Validate() == nil
	case *ecdsa.PrivateKey:
		if s.Algorithm != P256 || k == nil || k.Curve != elliptic.P256() {
			return errors.New("tpm: the key to import is ECDSA, and not on P-256 as asked for")
		}
		intact = intactP256(k)
	default:
		return fmt.Errorf("tpm: the key to import is a %T; only RSA keys of 2048 bits and ECDSA keys on P-256 are accepted", private)
	}
	if !intact {
		return errors.New("tpm: the key to import is damaged")
	}
	return nil
}

// intactP256 reports whether both halves of a key on P-256 are there and belong
// together. Package ecdsa panics when a number is missing.
func intactP256(k *ecdsa.PrivateKey) (intact bool) {
	defer func() {
		if r := recover(); r != nil {
			intact = false
		}
	}()
	d, err := k.ECDH()
	public, perr := k.PublicKey.ECDH()
	return err == nil && perr == nil && d.PublicKey().Equal(public)
}
