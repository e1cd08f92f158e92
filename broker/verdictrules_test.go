package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// What the rooms and the key store say becomes an Error that callers can test for; the
// end of a context, an Error and what nobody knows stay what they are.
func TestVerdict(t *testing.T) {
	t.Parallel()
	unknown := errors.New("something else")
	own := &Error{Op: "sign in", kind: ErrBlocked, cause: tpm.ErrBusy}
	require.NoError(t, verdict(nil))
	require.NoError(t, opError("sign in", nil))
	for _, err := range []error{unknown, own, fmt.Errorf("more: %w", own), context.Canceled, context.DeadlineExceeded} {
		require.Equal(t, err, verdict(err))
	}
	// A TPM that was busy when the caller gave up says nothing of its own.
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		both := errors.Join(end, tpm.ErrBusy)
		require.Equal(t, both, verdict(both))
		require.Equal(t, both, keyError("opening", both))
		require.NotErrorIs(t, verdict(both), ErrTransient)
	}
	var e *Error
	require.ErrorAs(t, keyError("opening", unknown), &e)
	for says, err := range map[string]error{
		"broker: Key is encrypted":                                              &device.ImportError{Why: "Key is encrypted"},
		"broker: no cookie for that address: " + "no TLS":                       &signon.AddressError{Err: errors.New("no TLS")},
		"broker: the request is incomplete: wrapped: " + prt.ErrRequest.Error(): prt.ErrRequest,
		"broker: temporary failure: wrapped: " + tpm.ErrBusy.Error():            tpm.ErrBusy,
		"broker: the account is locked: Unlock opens it by the PIN":             account.ErrLocked,
		"broker: the PRT was revoked (AADSTS1)":                                 &account.Death{Code: 1, Verdict: aadsts.SignInAgain},
	} {
		got := verdict(fmt.Errorf("wrapped: %w", err))
		require.ErrorAs(t, got, &e, says)
		require.EqualError(t, got, says)
	}
	row, _ := aadsts.Lookup(50173)
	require.ErrorContains(t, deathError(&account.Death{Code: 50173, Verdict: aadsts.SignInAgain}), row.Meaning)
}

// Only what the service leaves open is explained by the key store.
func TestServiceErrorOfTheKeyStore(t *testing.T) {
	t.Parallel()
	busy := serviceError("sign in", &sts.Error{Verdict: aadsts.Fail, Cause: tpm.ErrBusy})
	require.ErrorIs(t, busy, ErrTransient)
	blocked := serviceError("sign in", &sts.Error{Verdict: aadsts.Blocked, Cause: tpm.ErrBusy})
	require.ErrorIs(t, blocked, ErrBlocked)
	require.NotErrorIs(t, blocked, ErrTransient)
}
