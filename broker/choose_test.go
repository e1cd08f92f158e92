package broker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/why"
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

	explained, err := w.b.Why(t.Context(), broker.WhyInput{Scopes: ledger, ResourceID: ledgerID, Facts: why.Facts{User: &policy.User{}, Compliant: claims.No}})
	require.NoError(t, err)
	require.Equal(t, why.Silent, explained.Verdict, explained)
	last := explained.Chain[len(explained.Chain)-1]
	require.Equal(t, claims.Yes, last.Answer)
	require.Contains(t, last.Detail, "from hello")

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

// noDeviceCode blocks for ledger what began with a device code, and requires MFA
// there.
const noDeviceCode = `[{"id":"99999999-0000-4000-8000-000000000001","displayName":"No device code for ledger","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + ledgerID + `"]},"clientAppTypes":["all"],"authenticationFlows":{"transferMethods":"deviceCodeFlow"}},
 "grantControls":{"operator":"OR","builtInControls":["block"]}},
 {"id":"99999999-0000-4000-8000-000000000002","displayName":"MFA for ledger","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + ledgerID + `"]},"clientAppTypes":["all"]},
 "grantControls":{"operator":"OR","builtInControls":["mfa"]}}]`

// Where one PRT is blocked and the other lacks MFA, what would help is said: the
// user is needed.
func TestStepUpWinsOverBlocked(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][]broker.Credential{
		"the blocked one first": {broker.DeviceCodeFlow{MFA: true}, broker.Password{Username: alice, Password: password}},
		"the blocked one last":  {broker.Password{Username: alice, Password: password}, broker.DeviceCodeFlow{MFA: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withPolicies(noDeviceCode))
			w.join()
			for _, c := range order {
				_, err := w.b.SignIn(t.Context(), c)
				require.NoError(t, err)
				w.clock.Advance(time.Minute)
			}
			w.wire.take()
			_, err := w.b.AcquireTokenSilent(t.Context(), ledger)
			require.Equal(t, 2, count(w.wire.take(), "token"))
			require.ErrorIs(t, err, broker.ErrInteractionRequired)
			require.NotErrorIs(t, err, broker.ErrBlocked)
			var e *broker.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, 50076, e.Code)
		})
	}
}

// A policy that blocks what began with a device code does not block a sign-in on
// a page, so the user must be asked. Without a page the user is not asked for
// another device code, which would be blocked as well.
func TestAPageHelpsWhereADeviceCodeIsBlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicies(noDeviceCode))
	w.join()
	_, err := w.b.SignIn(t.Context(), broker.DeviceCodeFlow{MFA: true})
	require.NoError(t, err)
	_, err = w.b.AcquireTokenSilent(t.Context(), ledger)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.NotErrorIs(t, err, broker.ErrBlocked)
	require.ErrorContains(t, err, "a sign-in on a page may be let in")
	require.ErrorContains(t, err, "AADSTS53003")

	codes := w.person.codes.Load()
	w.person.none.Store(true)
	_, err = w.b.AcquireTokenInteractive(t.Context(), ledger)
	require.ErrorIs(t, err, broker.ErrBlocked)
	require.NotErrorIs(t, err, broker.ErrInteractionRequired)
	require.Equal(t, codes, w.person.codes.Load())

	w.person.none.Store(false)
	res, err := w.b.AcquireTokenInteractive(t.Context(), ledger)
	require.NoError(t, err)
	require.NotEmpty(t, res.AccessToken)
	w.silent(ledger)
}

// When a policy blocks whatever the user does, asking is pointless, even if a
// PRT from a device code was among those it blocked.
func TestBlockedIsBlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicies(`[{"id":"99999999-0000-4000-8000-000000000001","displayName":"Nobody","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["`+ledgerID+`"]},"clientAppTypes":["all"]},
 "grantControls":{"operator":"OR","builtInControls":["block"]}}]`))
	w.join()
	for _, c := range []broker.Credential{broker.DeviceCodeFlow{MFA: true}, broker.Password{Username: alice, Password: password}} {
		_, err := w.b.SignIn(t.Context(), c)
		require.NoError(t, err)
	}
	_, err := w.b.AcquireTokenInteractive(t.Context(), ledger)
	require.ErrorIs(t, err, broker.ErrBlocked)
	require.NotErrorIs(t, err, broker.ErrInteractionRequired)
}
