package fido

import (
	"context"
	"errors"
	"fmt"

	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/internal/ctap2"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/internal/ctaphid"
)

// Errors of Assert, for [errors.Is]. Those that the user cannot resolve here are also
// a [webflow.ErrNoMethod], and so an errors.ErrUnsupported: fall back to another
// method or a device code.
var (
	// ErrNoKey means that no security key that speaks CTAP2 is plugged in.
	ErrNoKey error = derived{"fido: no security key is plugged in", webflow.ErrNoMethod}
	// ErrNoCredential means that the key has no credential of this user.
	ErrNoCredential error = derived{"fido: the security key is not registered for this user", webflow.ErrNoMethod}
	// ErrNoPIN means that the key has no PIN and cannot verify its user otherwise.
	// Entra ID does not accept an assertion of such a key.
	ErrNoPIN error = derived{"fido: the security key has no PIN: set one first", webflow.ErrNoMethod}
	// ErrPINChange means that the PIN must be changed before the key accepts it.
	ErrPINChange error = derived{"fido: the PIN of the security key must be changed first", webflow.ErrNoMethod}
	// ErrPINBlocked means that the PIN was wrong too often and the key has to be
	// reset, which erases its credentials.
	ErrPINBlocked error = derived{"fido: the PIN of the security key is blocked: the key must be reset", webflow.ErrNoMethod}
	// ErrReplug means that the PIN was wrong three times in a row. The key accepts
	// another try once it has been unplugged and plugged in again.
	ErrReplug = errors.New("fido: the PIN was wrong too often: unplug the security key and plug it in again")
	// ErrUnplugged means that the key was unplugged during the operation.
	ErrUnplugged = errors.New("fido: the security key was unplugged")
	// ErrWrongPIN means that the PIN was wrong. It is reported in a [PINRequest].
	ErrWrongPIN = errors.New("fido: the PIN is wrong")
	// ErrPINLength means that the PIN is shorter than 4 characters or longer than 63
	// bytes. It is reported in a [PINRequest]; such a PIN is not sent to the key.
	ErrPINLength = errors.New("fido: a PIN has 4 to 63 characters")
	// ErrNotVerified means that the key does not recognize its user and has no PIN to
	// ask for.
	ErrNotVerified = errors.New("fido: the security key does not recognize its user")
	// ErrTimeout means that the key was not touched in time. It is also a
	// [webflow.ErrTimeout].
	ErrTimeout error = derived{"fido: the security key was not touched in time", webflow.ErrTimeout}
	// ErrDenied means that the user entered no PIN, or declined on the key. It is
	// also a [webflow.ErrDenied].
	ErrDenied error = derived{"fido: the user declined", webflow.ErrDenied}
)

// derived is a sentinel error that wraps another one.
type derived struct {
	text string
	is   error
}

func (e derived) Error() string { return e.text }
func (e derived) Unwrap() error { return e.is }

// statuses maps CTAP2 statuses to the errors of this package.
var statuses = map[ctap2.Status]error{
	ctap2.StatusInvalidCredential:  ErrNoCredential,
	ctap2.StatusNoCredentials:      ErrNoCredential,
	ctap2.StatusOperationDenied:    ErrDenied,
	ctap2.StatusKeepAliveCancel:    ErrDenied,
	ctap2.StatusUserActionTimeout:  ErrTimeout,
	ctap2.StatusActionTimeout:      ErrTimeout,
	ctap2.StatusPINInvalid:         ErrWrongPIN,
	ctap2.StatusPINBlocked:         ErrPINBlocked,
	ctap2.StatusPINAuthBlocked:     ErrReplug,
	ctap2.StatusPINNotSet:          ErrNoPIN,
	ctap2.StatusPINRequired:        ErrNoPIN,
	ctap2.StatusPINPolicyViolation: ErrPINChange,
	ctap2.StatusUVInvalid:          ErrNotVerified,
	ctap2.StatusUVBlocked:          ErrNotVerified,
}

// said converts an error of a key into an error of this package. Errors of the
// caller's own, from a prompt or the context, are returned unchanged.
func said(ctx context.Context, err error) error {
	var status ctap2.Status
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &status):
		if e := statuses[status]; e != nil {
			return e
		}
		return fmt.Errorf("fido: the security key refused: %w", err)
	case errors.Is(err, ctaphid.ErrBroken):
		return ErrUnplugged
	case errors.Is(err, ctaphid.ErrMalformed), errors.Is(err, ctaphid.ErrSilent), errors.Is(err, ctap2.ErrMalformed), errors.As(err, new(ctaphid.Error)):
		return fmt.Errorf("fido: %w", err)
	}
	return err
}
