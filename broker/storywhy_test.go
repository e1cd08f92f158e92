package broker_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/why"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

func policySet(t *testing.T, graphJSON string) func() *policy.Set {
	t.Helper()
	bundle, _, err := policy.Load(strings.NewReader(graphJSON))
	require.NoError(t, err)
	set, err := policy.Compile(bundle)
	require.NoError(t, err)
	return func() *policy.Set { return set }
}

// 8. The conditions list: registered? certificate? strong authentication from
// this device? session key? Status answers each line, and Why says for one app
// whether the user will be asked, and because of what.
func TestStoryStatusAndWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Policies = policySet(t, mfaForMoney)
	w.b = w.open()
	facts := why.Facts{User: &policy.User{}, Compliant: claims.No}
	in := broker.WhyInput{Scopes: payroll, ResourceID: payrollID, Facts: facts}

	explained, err := w.b.Why(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, why.Asked, explained.Verdict)
	require.Contains(t, explained.Because, "not registered")
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, s.String(), "AzureAdJoined : NO")
	require.Contains(t, s.String(), "AzureAdPrt : NO")

	d := w.join()
	explained, err = w.b.Why(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, why.Asked, explained.Verdict)
	require.Contains(t, explained.Because, "nobody is signed in")

	acct := w.signIn()
	explained, err = w.b.Why(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, why.Asked, explained.Verdict, explained)
	require.Contains(t, explained.Because, "“MFA for money” asks for MFA")
	d2, err := w.b.Preflight(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, policy.OutcomeInterrupt, d2.Outcome)
	_, err = w.b.AcquireTokenSilent(t.Context(), payroll)
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "as it said")

	_, err = w.b.AcquireTokenInteractive(t.Context(), payroll)
	require.NoError(t, err)
	explained, err = w.b.Why(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, why.Silent, explained.Verdict)
	require.Contains(t, explained.Because, "token in memory")
	require.NoError(t, w.b.Close())
	w.b = w.open() // the memory is gone, the PRT is not
	explained, err = w.b.Why(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, why.Silent, explained.Verdict, explained)
	require.Contains(t, explained.Because, "the PRT carries the MFA claim, earned 2026-03-02")
	require.Equal(t, why.OutcomeSilent, explained.Last.Outcome)
	require.Contains(t, explained.String(), "is not asked, because")

	// Facts that are not given make the answer Unknown only where they count.
	none := broker.WhyInput{Scopes: payroll, ResourceID: payrollID}
	explained, err = w.b.Why(t.Context(), none)
	require.NoError(t, err)
	require.Equal(t, why.Silent, explained.Verdict, explained)
	w.cfg.Policies = policySet(t, strings.ReplaceAll(mfaForMoney, `"includeUsers":["All"]`, `"includeGroups":["33333333-0000-4000-8000-000000000001"]`))
	w.signOutMFA(t, acct)
	w.b = w.open()
	explained, err = w.b.Why(t.Context(), none)
	require.NoError(t, err)
	require.Equal(t, why.Unknown, explained.Verdict)
	require.Contains(t, explained.Because, "groups")
	empty, err := w.b.Preflight(t.Context(), none)
	require.NoError(t, err)
	require.Equal(t, policy.OutcomeInvalid, empty.Outcome)

	// Without policies: what was last observed.
	w.cfg.Policies = nil
	w.b = w.open()
	explained, err = w.b.Why(t.Context(), none)
	require.NoError(t, err)
	require.Equal(t, why.Unknown, explained.Verdict)
	require.Contains(t, explained.Because, "the last request")

	s, err = w.b.Status(t.Context())
	require.NoError(t, err)
	text := s.String()
	for _, line := range []string{
		"AzureAdJoined : YES", "DeviceId : " + d.ID, "Thumbprint : " + d.Thumbprint, "CertificateValid : YES",
		"TpmProtected : NO", "software keys", "AzureAdPrt : YES", "SessionKey : YES", "MfaClaim : NO",
	} {
		require.Contains(t, text, line)
	}
	require.NotEqual(t, s.Device.NotAfter, s.PRTs[0].ExpiresOn, "the certificate's validity and the PRT's are two things")
	w.clock.Advance(11 * 365 * 24 * time.Hour)
	s, err = w.b.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, s.String(), "CertificateValid : NO")
	raw, err := json.Marshal(s)
	require.NoError(t, err)
	require.Contains(t, string(raw), `"thumbprint":"`+d.Thumbprint+`"`)
}

// signOutMFA leaves the account with a PRT of its password alone.
func (w *world) signOutMFA(t *testing.T, acct broker.Account) {
	t.Helper()
	require.NoError(t, w.b.RemoveAccount(t.Context(), acct))
	w.signIn()
	_, err := w.b.AcquireTokenSilent(t.Context(), payroll)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.NoError(t, w.b.Close())
}

// 9. A device that was never registered, or has no TPM, degrades as
// documented: software keys are named as such; a store once opened with a TPM
// never falls back silently.
func TestStoryWithoutTPM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.ErrorIs(t, err, broker.ErrDeviceNotRegistered)
	_, err = w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrDeviceNotRegistered)
	w.join()
	w.signIn()
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.False(t, s.Protection.Hardware)
	require.Contains(t, s.String(), "TpmProtected : NO")
	require.Contains(t, s.String(), "anyone who reads the files has the keys")

	keys, _ := softwareTPM(t)
	hard := newWorld(t, withKeys(keys))
	hard.join()
	hard.signIn()
	s, err = hard.b.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Protection.Hardware)
	require.Contains(t, s.String(), "TpmProtected : YES")
	require.NoError(t, hard.b.Close())
	before, err := hard.store.List(t.Context(), "")
	require.NoError(t, err)
	hard.cfg.Keys = softwareKeys(t)
	_, err = broker.New(t.Context(), hard.cfg)
	require.ErrorIs(t, err, broker.ErrKeyUnusable)
	after, err := hard.store.List(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, before, after, "nothing is wiped")
}

// 10. A compliant-device grant, a block, a report-only policy, a sign-in
// frequency, an authentication strength: each seen end to end.
func TestStoryPolicies(t *testing.T) {
	t.Parallel()
	onPayroll := func(state, rest string) string {
		return `[{"id":"99999999-0000-4000-8000-000000000009","displayName":"the policy","state":"` + state + `",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payrollID + `"]},"clientAppTypes":["all"]},` + rest + `}]`
	}
	grant := func(c string) string { return `"grantControls":{"operator":"OR","builtInControls":["` + c + `"]}` }
	phishingResistant := `"grantControls":{"operator":"OR","builtInControls":[],"authenticationStrength":{"id":"` + policy.StrengthPhishingResistant + `"}}`
	frequency := `"sessionControls":{"signInFrequency":{"isEnabled":true,"type":"hours","value":1,"authenticationType":"primaryAndSecondaryAuthentication","frequencyInterval":"timeBased"}}`
	for _, tt := range []struct {
		name    string
		policy  string
		prepare func(*world, *broker.Device)
		want    error // nil: silent
		code    int
	}{
		{"compliant device, and it is not", onPayroll("enabled", grant("compliantDevice")), nil, broker.ErrDeviceNotCompliant, 53000},
		{"compliant device, and it is", onPayroll("enabled", grant("compliantDevice")), func(w *world, d *broker.Device) {
			require.NoError(w.t, w.srv.SetCompliant(d.ID, true))
		}, nil, 0},
		{"hybrid device", onPayroll("enabled", grant("domainJoinedDevice")), nil, broker.ErrDeviceNotCompliant, 53001},
		{"block", onPayroll("enabled", grant("block")), nil, broker.ErrBlocked, 53003},
		{"report-only block", onPayroll("enabledForReportingButNotEnforced", grant("block")), nil, nil, 0},
		{"sign-in frequency, not due", onPayroll("enabled", frequency), nil, nil, 0},
		{"sign-in frequency, due", onPayroll("enabled", frequency), func(w *world, _ *broker.Device) { w.clock.Advance(2 * time.Hour) }, broker.ErrInteractionRequired, 70043},
		{"MFA, done by password and code", onPayroll("enabled", grant("mfa")), nil, nil, 0},
		{"strength that password and code do not reach", onPayroll("enabled", phishingResistant), nil, broker.ErrInteractionRequired, 50076},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, withPolicies(tt.policy))
			w.cfg.Policies = policySet(t, tt.policy)
			w.b = w.open()
			d := w.join()
			res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
			require.NoError(t, err)
			require.Equal(t, claims.Yes, w.status(res.Account).MFA.MFA)
			if tt.prepare != nil {
				tt.prepare(w, d)
			}
			facts := why.Facts{User: &policy.User{}, Compliant: claims.No, IP: netip.MustParseAddr("127.0.0.1")}
			if strings.HasPrefix(tt.name, "strength") {
				// The service's amr says MFA and not how, so that nobody can tell.
				explained, err := w.b.Why(t.Context(), broker.WhyInput{Scopes: payroll, ResourceID: payrollID, Facts: facts})
				require.NoError(t, err)
				require.Equal(t, why.Unknown, explained.Verdict, explained)
				require.Contains(t, explained.Because, "by which method MFA was done")
				facts.Methods = claims.Password | claims.SoftwareOATH
			}
			if strings.HasSuffix(tt.name, "and it is") {
				facts.Compliant = claims.Yes
			}
			explained, err := w.b.Why(t.Context(), broker.WhyInput{Scopes: payroll, ResourceID: payrollID, Facts: facts})
			require.NoError(t, err)
			prompts := w.person.prompts()
			_, err = w.b.AcquireTokenSilent(t.Context(), payroll)
			require.Equal(t, prompts, w.person.prompts())
			require.Equal(t, verdictOf(t, err), explained.Verdict, explained)
			w.silent(open)
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tt.want)
			var e *broker.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.code, e.Code)
		})
	}
}
