package tpm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"github.com/google/go-tpm/tpm2"
)

// A connError says that the connection failed, not the command.
type connError struct{ err error }

func (e *connError) Error() string { return "the connection to the TPM failed: " + e.err.Error() }
func (e *connError) Unwrap() error { return e.err }

// lost are the codes of handles and sessions that a reset took away.
var lost = []tpm2.TPMRC{
	tpm2.TPMRCHandle,
	tpm2.TPMRCReferenceH0, tpm2.TPMRCReferenceH1, tpm2.TPMRCReferenceH2,
	tpm2.TPMRCReferenceS0, tpm2.TPMRCReferenceS1, tpm2.TPMRCReferenceS2,
}

func isAny(err error, codes []tpm2.TPMRC) bool {
	return slices.ContainsFunc(codes, func(rc tpm2.TPMRC) bool { return errors.Is(err, rc) })
}

func isStale(err error) bool {
	var conn *connError
	return errors.As(err, &conn) || errors.Is(err, errShort) || isAny(err, lost) ||
		errors.Is(err, tpm2.TPMRCValue) || errors.Is(err, tpm2.TPMRCInitialize)
}

// isForeign reports whether err is how a session fails on a TPM that did not
// start it.
func isForeign(err error) bool {
	return errors.Is(err, errForged) || errors.Is(err, tpm2.TPMRCBadAuth)
}

func isFull(err error) bool {
	return isAny(err, []tpm2.TPMRC{
		tpm2.TPMRCObjectMemory, tpm2.TPMRCSessionMemory, tpm2.TPMRCMemory,
		tpm2.TPMRCObjectHandles, tpm2.TPMRCSessionHandles, tpm2.TPMRCContextGap,
	})
}

// sentinels are the errors that need no translation.
var sentinels = []error{
	ErrNoTPM, ErrKeyUnusable, ErrExpired, ErrWrongPIN, ErrLockedOut, ErrAuth, ErrBusy, ErrWrongStore,
	ErrInvalidBlob, ErrDecrypt, ErrPurpose, ErrAttestation, ErrClosed, context.Canceled, context.DeadlineExceeded,
}

// translate gives an error that survived recovery its meaning. A TPM's response
// code says something about a key only where the specification gives it such a
// meaning; any other failure, transient or not, does not condemn a key.
func translate(err error) error {
	var conn *connError
	switch {
	case err == nil:
		return nil
	case slices.ContainsFunc(sentinels, func(s error) bool { return errors.Is(err, s) }):
		return err
	case errors.Is(err, errForged):
		return fmt.Errorf("%w (%w)", ErrTPMChanged, err)
	case errors.As(err, &conn), errors.Is(err, errShort):
		return fmt.Errorf("%w: %w", ErrNoTPM, err)
	case errors.Is(err, tpm2.TPMRCLockout):
		return &LockedOutError{}
	case isRefusal(err):
		return fmt.Errorf("%w: %w", ErrAuth, err)
	case isCode(err):
		return troubleError(err)
	}
	return fmt.Errorf("tpm: %w", err)
}

// troubleError translates a code that says nothing about the keys.
func troubleError(err error) error {
	var rc tpm2.TPMRC
	switch {
	case !errors.As(err, &rc), errors.Is(err, ErrNoTPM), errors.Is(err, ErrBusy):
		return err
	case isFull(err):
		return fmt.Errorf("%w: no slot is free: %w", ErrBusy, err)
	case isAny(err, lost):
		return fmt.Errorf("%w: it lost what was loaded: %w", ErrNoTPM, err)
	case rc.IsWarning():
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, tpm2.TPMRCFailure), errors.Is(err, tpm2.TPMRCInitialize), errors.Is(err, tpm2.TPMRCNeedsTest),
		errors.Is(err, tpm2.TPMRCReboot):
		return fmt.Errorf("%w: it reports a failure: %w", ErrNoTPM, err)
	}
	return fmt.Errorf("%w: it refuses a command: %w", ErrNoTPM, err)
}

// noTPM explains why the TPM could not be opened.
func noTPM(err error) error {
	if errors.Is(err, ErrNoTPM) {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: permission denied (is the user in the group tss?): %w", ErrNoTPM, err)
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%w: another process has it open (/dev/tpmrm0 can be shared, by the group tss): %w", ErrNoTPM, err)
	}
	return fmt.Errorf("%w (on Linux it needs /dev/tpmrm0 and the group tss): %w", ErrNoTPM, err)
}
