package broker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/prt"
)

// The PRT of the latest MFA is used first. Where a policy refuses it, one that
// has a stronger method is tried before the user is asked, and Why knows.
func TestAnotherPRTServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicies(resistant))
	w.cfg.Policies = policySet(t, resistant)
	softwareHello(w)
	w.join()
	acct := w.hello()
	_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.NoError(t, err)
	w.clock.Advance(time.Hour)
	_, err = w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
	require.NoError(t, err)
	require.Equal(t, prt.ByRefreshToken, w.status(acct).Credential)
	prompts := w.person.prompts()

	why, err := w.b.Why(t.Context(), broker.WhyInput{Scopes: ledger, ResourceID: ledgerID, Facts: broker.Facts{User: &policy.User{}, Compliant: claims.No}})
	require.NoError(t, err)
	require.Equal(t, broker.WhySilent, why.Verdict, why)
	last := why.Chain[len(why.Chain)-1]
	require.Equal(t, claims.Yes, last.Answer)
	require.Contains(t, last.Detail, "born of hello")

	w.wire.take()
	require.Contains(t, amr(t, w.silent(ledger)), "rsa")
	require.Equal(t, []string{"token", "token"}, w.wire.take(), "the strongest, then the one of the Hello key")
	w.silent(payroll)
	require.Equal(t, []string{"token"}, w.wire.take(), "the strongest is enough")
	require.Equal(t, prompts, w.person.prompts())
}

// A PRT that has nothing that the refused one lacks costs no request.
func TestNoOtherPRTCanServe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicies(resistant))
	w.join()
	w.signIn()
	w.clock.Advance(time.Hour)
	_, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
	require.NoError(t, err)
	for range 2 {
		w.wire.take()
		_, err = w.b.AcquireTokenSilent(t.Context(), ledger)
		require.ErrorIs(t, err, broker.ErrInteractionRequired)
		require.Equal(t, []string{"token"}, w.wire.take())
		w.clock.Advance(time.Minute)
		w.signIn() // a later one, of a password, has no strength either
	}
}
