package broker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// resistant asks for phishing-resistant MFA for ledger, and for MFA for payroll.
const resistant = `[{"id":"99999999-0000-4000-8000-000000000001","displayName":"MFA for payroll","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payrollID + `"]},"clientAppTypes":["all"]},
 "grantControls":{"operator":"OR","builtInControls":["mfa"]}},
 {"id":"99999999-0000-4000-8000-000000000003","displayName":"Phishing-resistant for ledger","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + ledgerID + `"]},"clientAppTypes":["all"]},
 "grantControls":{"operator":"OR","builtInControls":[],"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004"}}}]`

// 1. A Hello sign-in is MFA: the PRT carries the claim; an app whose policy
// requires MFA, and one whose policy requires phishing-resistant MFA, get
// their tokens without a prompt, and no MFA service is called.
func TestStoryHelloIsMFA(t *testing.T) {
	t.Parallel()
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		counting := tpmtest.NewCounting(e.Opener())
		keys, err := tpm.Open(t.Context(), counting.Opener(), tpm.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = keys.Close() })
		w := newWorld(t, withKeys(keys), withPolicies(resistant))
		w.join()
		acct := w.signIn()
		require.NoError(t, w.b.ProvisionHello(t.Context(), acct, rightPIN))
		require.Equal(t, 1, w.person.prompts(), "MFA, once, to set the PIN up")
		require.NoError(t, w.srv.ChangePassword(alice, "forgotten")) // and with it the other PRTs' grounds

		w.clock.Advance(30 * 24 * time.Hour)
		log := len(w.srv.SignIns())
		w.wire.take()
		res, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
		require.NoError(t, err)
		require.Equal(t, []string{"nonce", "token"}, w.wire.take(), "one request, and a nonce for it")
		require.Equal(t, acct, res.Account)
		mfa := w.status(acct).MFA
		require.Equal(t, claims.Yes, mfa.MFA)
		require.Equal(t, claims.SourceHello, mfa.Source)
		require.Equal(t, w.clock.Now(), mfa.At)
		require.True(t, mfa.Methods.Has(claims.WindowsHello))

		for _, scopes := range [][]string{payroll, ledger} {
			token := w.silent(scopes)
			require.Equal(t, broker.SourcePRT, token.Metadata.Source)
			require.Contains(t, amr(t, token), "mfa")
		}
		require.Equal(t, 1, w.person.prompts())
		require.Zero(t, w.person.pins.Load())
		for _, s := range w.srv.SignIns()[log:] {
			require.Zero(t, s.MFAPrompts)
			require.NotEqual(t, entratest.EndpointAuthorize, s.Endpoint)
			require.NotEqual(t, entratest.EndpointLogin, s.Endpoint)
			require.Zero(t, s.ErrorCode)
		}
	})
}
