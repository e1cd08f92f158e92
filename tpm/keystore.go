package tpm

import (
	"context"
	"crypto"
)

// A KeyStore makes and uses keys that never leave it. [TPM] implements it over
// a TPM 2.0, package softkeys without one. A store is safe for concurrent use.
//
// A store keeps no files: it returns blobs, which are safe at rest and open
// only in the store that made them, and the caller stores them. A store that
// also accepts keys made elsewhere is an [Importer].
type KeyStore interface {
	// GenerateKey makes a key for one purpose. On a hardware TPM an RSA key
	// takes from 2 to 15 seconds.
	GenerateKey(ctx context.Context, spec KeySpec) (Key, error)

	// OpenKey opens a key from the blob that Key.Blob returned. The result is
	// a [Signer] when the key was made to sign, and a [PINKey] when it has a
	// PIN.
	OpenKey(ctx context.Context, blob []byte, opts ...OpenOption) (Key, error)

	// UnwrapSession takes a session key of exactly 32 bytes that the service
	// encrypted to the transport key with RSA-OAEP under SHA-1 and an empty
	// label. The plaintext does not cross this interface.
	UnwrapSession(ctx context.Context, transport Key, wrapped []byte) (SessionKey, error)

	// OpenSession opens a session key from the blob that SessionKey.Blob
	// returned.
	OpenSession(ctx context.Context, blob []byte) (SessionKey, error)

	// Seal protects a small secret of at most 128 bytes, such as a data key.
	// Unsealing it needs the same aad.
	Seal(ctx context.Context, plaintext, aad []byte) ([]byte, error)

	// Unseal returns what Seal protected.
	Unseal(ctx context.Context, sealed, aad []byte) ([]byte, error)

	// Info says what protects the keys.
	Info(ctx context.Context) (Info, error)

	// Close releases the store and everything loaded through it.
	Close() error
}

// A Key is an asymmetric key inside a store.
type Key interface {
	// Public returns an *rsa.PublicKey or an *ecdsa.PublicKey.
	Public() crypto.PublicKey
	// Blob returns what [KeyStore.OpenKey] opens. It is safe at rest.
	Blob() []byte
	// Close releases what the key holds in the store. The blob stays valid.
	Close() error
}

// A Signer is a key made to sign. Its Sign method, from [crypto.Signer], uses a
// background context; SignContext returns when its context ends.
type Signer interface {
	Key
	crypto.Signer
	SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// A PINKey is a signer with a PIN ([KeySpec].PIN), which can be changed. A key
// without a PIN is not a PINKey.
type PINKey interface {
	Signer
	// ChangePIN gives the same key another PIN and returns its new blob; the
	// key itself uses the new PIN from then on. The current PIN is the one
	// given to [WithPIN] or [KeySpec]: if it is wrong, the error is
	// [ErrWrongPIN] and the try counts. On an error nothing changes.
	//
	// The old blob cannot be revoked: anyone with a copy of it and the old PIN
	// can still use the key, in this store only.
	ChangePIN(ctx context.Context, pin []byte) (blob []byte, err error)
}

// A SessionKey is the symmetric key that binds a PRT to this device.
type SessionKey interface {
	// Derive computes the SP 800-108 KDF in counter mode with HMAC-SHA-256,
	// one iteration (MS-OAPXBC 3.1.5.1.3.3). The label carries no terminator.
	Derive(ctx context.Context, label, context []byte) ([32]byte, error)
	// Blob returns what [KeyStore.OpenSession] opens. It is safe at rest.
	Blob() []byte
	// Close releases what the key holds in the store. The blob stays valid.
	Close() error
}

// A Purpose is what a key may be used for; a key has exactly one.
type Purpose uint8

const (
	// Sign is for device keys and Hello keys.
	Sign Purpose = iota + 1
	// Unwrap is for transport keys, which receive session keys.
	Unwrap
)

// An Algorithm is the kind of an asymmetric key.
type Algorithm uint8

const (
	// RSA2048 is the zero value: what Entra registers.
	RSA2048 Algorithm = iota
	// P256 is for signing only.
	P256
)

// A KeySpec says what key to make.
type KeySpec struct {
	Purpose   Purpose
	Algorithm Algorithm // zero: RSA2048
	// PIN, if not nil, is needed each time the key is opened. The TPM counts
	// wrong PINs and locks out (dictionary-attack protection).
	PIN []byte
}

// Info says what protects the keys of a store.
type Info struct {
	Hardware     bool   `json:"hardware"`               // a TPM holds the keys; only the manufacturer can say whether it is a chip
	Backend      string `json:"backend"`                // "tpm" or "softkeys"
	Manufacturer string `json:"manufacturer,omitempty"` // the TPM's vendor id, such as "INTC", "IBM"; empty without a TPM
	Model        string `json:"model,omitempty"`        // the TPM's vendor string
	Firmware     string `json:"firmware,omitempty"`     // the TPM's firmware version
}

// An OpenOption changes how a key is opened.
type OpenOption struct{ PIN []byte }

// WithPIN gives the PIN of a key that has one.
func WithPIN(pin []byte) OpenOption { return OpenOption{PIN: pin} }
