package broker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

// An expired password is changed on the service's page. The PRT of the
// password is over, the sign-in that changed it gives a new one, and what the
// PRT of a Hello key carries stays.
func TestPasswordExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	acct := w.hello()
	w.clock.Advance(time.Second) // so that the sign-in by the PIN is the later one
	_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.NoError(t, err)
	w.signIn()
	hello := w.status(acct)
	require.Equal(t, prt.ByHello, hello.Credential)
	require.NoError(t, w.srv.ExpirePassword(alice))
	w.clock.Advance(time.Hour)

	_, err = w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.NotErrorIs(t, err, broker.ErrBadCredential, "expired is not wrong")
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 50055, e.Code)
	require.Contains(t, e.Error(), "expired")
	w.silent(payroll) // the Hello key's PRT knows no password

	const changed = "a new horse, battery, staple"
	w.person.NewPassword = changed
	prompts := w.person.prompts()
	res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice})
	require.NoError(t, err)
	require.Equal(t, acct, res.Account)
	require.Equal(t, prompts+1, w.person.prompts())
	require.Equal(t, claims.No, res.Metadata.MFA.MFA, "the new PRT is one of a password alone")

	now := w.status(acct)
	require.Equal(t, hello.MFA, now.MFA, "the Hello key's claim is what it was")
	w.silent(payroll, broker.WithForceRefresh())
	_, err = w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.ErrorIs(t, err, broker.ErrBadCredential)
	_, err = w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: changed})
	require.NoError(t, err)

	// Without the Hello key the claim of the old password's PRT is gone with
	// it, and MFA is asked for once more.
	require.NoError(t, w.b.RemoveHello(t.Context(), acct))
	_, err = w.b.AcquireTokenSilent(t.Context(), ledger)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	w.person.Password = changed
	_, err = w.b.AcquireTokenInteractive(t.Context(), ledger)
	require.NoError(t, err)
	require.Equal(t, prompts+2, w.person.prompts())
	w.silent(payroll)
}
