package tpm

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
)

// Check refuses a spec that no store can serve.
func (s KeySpec) Check() error {
	switch {
	case s.Purpose != Sign && s.Purpose != Unwrap:
		return fmt.Errorf("tpm: key purpose %d is neither Sign nor Unwrap", s.Purpose)
	case s.Algorithm != RSA2048 && s.Algorithm != P256:
		return fmt.Errorf("tpm: key algorithm %d is neither RSA2048 nor P256", s.Algorithm)
	case s.Purpose == Unwrap && s.Algorithm != RSA2048:
		return errors.New("tpm: a transport key is RSA2048")
	case s.Purpose == Unwrap && s.PIN != nil:
		return errors.New("tpm: a transport key has no PIN")
	case s.PIN != nil && len(s.PIN) == 0:
		return errors.New("tpm: an empty PIN is none; leave KeySpec.PIN nil")
	}
	return nil
}

// CheckSign refuses what some store cannot sign, so that all stores sign the
// same: digests of SHA-256, SHA-384 and SHA-512, and PSS only with a salt as
// long as the hash, which is what a TPM makes.
func CheckSign(digest []byte, opts crypto.SignerOpts) error {
	if opts == nil {
		return errors.New("tpm: signing: no hash given")
	}
	hash := opts.HashFunc()
	if _, ok := hashAlgs[hash]; !ok {
		return fmt.Errorf("tpm: signing: hash %v is none of SHA-256, SHA-384, SHA-512", hash)
	}
	if len(digest) != hash.Size() {
		return fmt.Errorf("tpm: signing: digest of %d bytes where %v has %d", len(digest), hash, hash.Size())
	}
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		if s := pss.SaltLength; s != rsa.PSSSaltLengthEqualsHash && s != rsa.PSSSaltLengthAuto && s != hash.Size() {
			return fmt.Errorf("tpm: signing: PSS salt of %d bytes; a TPM makes it as long as the hash", s)
		}
	}
	return nil
}
