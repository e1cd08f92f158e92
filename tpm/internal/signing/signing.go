// Package signing defines what every key store can sign.
package signing

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
)

var hashes = map[crypto.Hash]bool{crypto.SHA256: true, crypto.SHA384: true, crypto.SHA512: true}

// Check refuses what some store cannot sign, so that all stores accept the
// same: digests of SHA-256, SHA-384 and SHA-512, and PSS only with a salt as
// long as the hash, which is what a TPM makes.
func Check(digest []byte, opts crypto.SignerOpts) error {
	if opts == nil {
		return errors.New("tpm: signing: no hash given")
	}
	hash := opts.HashFunc()
	if _, ok := hashes[hash]; !ok {
		return fmt.Errorf("tpm: signing: hash %v is not SHA-256, SHA-384 or SHA-512", hash)
	}
	if len(digest) != hash.Size() {
		return fmt.Errorf("tpm: signing: digest of %d bytes; %v has %d", len(digest), hash, hash.Size())
	}
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		if s := pss.SaltLength; s != rsa.PSSSaltLengthEqualsHash && s != rsa.PSSSaltLengthAuto && s != hash.Size() {
			return fmt.Errorf("tpm: signing: PSS salt of %d bytes; a TPM makes it as long as the hash", s)
		}
	}
	return nil
}
