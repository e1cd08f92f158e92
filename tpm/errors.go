package tpm

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors of a key store. Test for them with errors.Is; none of them means that
// a registration should be deleted.
var (
	// ErrNoTPM: there is no TPM, or this process may not use it.
	ErrNoTPM = errors.New("tpm: no TPM")

	// ErrKeyUnusable: the blob is intact but this TPM does not accept it: the
	// TPM was cleared, or the blob belongs to another TPM.
	ErrKeyUnusable = errors.New("tpm: the key cannot be used with this TPM")

	// ErrTPMChanged: the TPM that answers is not the one whose storage root key
	// was pinned. It is also an ErrKeyUnusable.
	ErrTPMChanged = fmt.Errorf("tpm: the keys belong to another TPM: %w", ErrKeyUnusable)

	// ErrCleared: by its attestation key this is the same TPM, but its storage
	// root key is gone: the TPM was cleared or, if that key was persistent, its
	// owner removed it. It is also an ErrKeyUnusable. Only data sealed by Seal
	// or SealPIN can tell.
	ErrCleared = fmt.Errorf("tpm: the TPM was cleared: %w", ErrKeyUnusable)

	// ErrExpired: the [Limit] of data sealed under a PIN has passed. No try was
	// counted.
	ErrExpired = errors.New("tpm: the PIN's time limit is over")

	// ErrWrongPIN: see [WrongPINError], which carries the tries left.
	ErrWrongPIN = errors.New("tpm: wrong PIN")

	// ErrLockedOut: see [LockedOutError], which carries the time to wait.
	ErrLockedOut = errors.New("tpm: locked out after wrong PINs")

	// ErrAuth: the key needs another auth value ([Config.KeyAuth]), or the
	// owner hierarchy does ([Config.OwnerAuth]).
	ErrAuth = errors.New("tpm: wrong auth value")

	// ErrBusy: the TPM has no room for an object even after this store's
	// objects were flushed, or it kept asking to be tried again.
	ErrBusy = errors.New("tpm: busy")

	// ErrWrongStore: the blob was made by another kind of store.
	ErrWrongStore = errors.New("tpm: the blob belongs to another kind of key store")

	// ErrInvalidBlob: the blob is damaged, of another kind or version, or, in
	// Unseal and UnsealPIN, the aad is not the one it was sealed with.
	ErrInvalidBlob = errors.New("tpm: invalid blob")

	// ErrDecrypt: the wrapped data is not a 32-byte session key encrypted to
	// this transport key.
	ErrDecrypt = errors.New("tpm: cannot unwrap the session key")

	// ErrPurpose: the key was made for another purpose.
	ErrPurpose = errors.New("tpm: the key has another purpose")

	// ErrClosed: the store or the key is closed.
	ErrClosed = errors.New("tpm: closed")
)

// WrongPINError is an [ErrWrongPIN] that says how many tries are left.
type WrongPINError struct {
	// TriesLeft is how many wrong PINs are left before the TPM locks out;
	// -1 means unknown. The count is the whole TPM's, not this key's.
	TriesLeft int
}

// Error says how many tries are left, if that is known.
func (e *WrongPINError) Error() string {
	if e.TriesLeft < 0 {
		return ErrWrongPIN.Error()
	}
	return fmt.Sprintf("%v, %d tries left", ErrWrongPIN, e.TriesLeft)
}

// Is reports whether target is ErrWrongPIN.
func (e *WrongPINError) Is(target error) bool { return target == ErrWrongPIN }

// LockedOutError is an [ErrLockedOut] that says how long it lasts.
type LockedOutError struct {
	// RetryAfter is the time until the TPM forgives one try; 0 means unknown.
	RetryAfter time.Duration
}

// Error says when to try again, if that is known.
func (e *LockedOutError) Error() string {
	if e.RetryAfter <= 0 {
		return ErrLockedOut.Error()
	}
	return fmt.Sprintf("%v, try again in %v", ErrLockedOut, e.RetryAfter)
}

// Is reports whether target is ErrLockedOut.
func (e *LockedOutError) Is(target error) bool { return target == ErrLockedOut }

// failed wraps err with the operation that failed, naming the package once.
func failed(op string, err error) error { return &opError{op, err} }

type opError struct {
	op  string
	err error
}

func (e *opError) Error() string {
	return "tpm: " + e.op + ": " + strings.TrimPrefix(e.err.Error(), "tpm: ")
}

func (e *opError) Unwrap() error { return e.err }
