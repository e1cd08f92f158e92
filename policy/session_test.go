package policy_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

func TestSessionControlsMerge(t *testing.T) {
	n := func(v int) *int { return &v }
	yes := true
	session := func(id string, s policy.SessionControls) policy.Policy {
		return rule(id, nil, func(p *policy.Policy) { p.GrantControls, p.SessionControls = nil, &s })
	}
	s := setOf(t,
		session("a", policy.SessionControls{
			SignInFrequency:   &policy.SignInFrequency{IsEnabled: true, Type: "days", Value: n(1)},
			PersistentBrowser: &policy.PersistentBrowser{IsEnabled: true, Mode: "always"},
			CloudAppSecurity:  &policy.CloudAppSecurity{IsEnabled: true, Type: "blockDownloads"},
		}),
		session("b", policy.SessionControls{
			SignInFrequency:            &policy.SignInFrequency{IsEnabled: true, Type: "hours", Value: n(8)},
			PersistentBrowser:          &policy.PersistentBrowser{IsEnabled: true, Mode: "never"},
			CloudAppSecurity:           &policy.CloudAppSecurity{IsEnabled: true, Type: "monitorOnly"},
			DisableResilienceDefaults:  &yes,
			ContinuousAccessEvaluation: &policy.ContinuousAccess{Mode: "strictLocation"},
			SecureSignInSession:        &policy.Switch{IsEnabled: true},
		}),
		session("c", policy.SessionControls{
			ApplicationEnforcedRestrictions: &policy.Switch{IsEnabled: true},
			SignInFrequency:                 &policy.SignInFrequency{IsEnabled: true, Interval: "everyTime", AuthenticationType: "secondaryAuthentication"},
			GlobalSecureAccessProfile:       &policy.SecureAccess{IsEnabled: true, ProfileID: "x"},
		}),
		session("off", policy.SessionControls{SignInFrequency: &policy.SignInFrequency{Type: "hours", Value: n(1)}}))
	now := time.Now()
	d := s.Evaluate(ask(func(in *policy.SignIn) { in.Now, in.AuthTime, in.Methods, in.Bound = now, now, claims.FIDO2, true }))
	require.Equal(t, policy.OutcomeGrant, d.Outcome)
	require.Equal(t, policy.Session{
		SignInFrequency: 8 * time.Hour, EveryTimeMFA: true, PersistentBrowser: policy.BrowserNever, CloudAppSecurity: policy.CloudAppSecurityBlockDownloads,
		ContinuousAccess: policy.ContinuousAccessStrictLocation, AppEnforcedRestrictions: true, TokenProtection: true, ResilienceDisabled: true, SecureAccessProfiles: 1,
	}, d.Session)
}

// A report-only policy fails where no prompt could help, and is interrupted
// where one could ("Analyze Conditional Access policy impact", report-only
// results).
func TestReportOnlyResults(t *testing.T) {
	hour := 1
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	and := func(p *policy.Policy) { p.GrantControls.Operator = "AND" }
	hourly := func(p *policy.Policy) {
		p.SessionControls = &policy.SessionControls{SignInFrequency: &policy.SignInFrequency{IsEnabled: true, Type: "hours", Value: &hour}}
	}
	fresh := func(in *policy.SignIn) { in.Now, in.AuthTime, in.MFATime, in.Methods = now, now, now, claims.FIDO2 }
	old := func(in *policy.SignIn) { fresh(in); in.Now = now.Add(2 * time.Hour) }
	legacy := func(in *policy.SignIn) { old(in); in.ClientApp = policy.ClientOther }
	for _, tt := range []struct {
		name   string
		policy policy.Policy
		change func(*policy.SignIn)
		want   policy.Result
	}{
		{"what is done", rule("p", []string{"mfa"}), fresh, policy.ResultReportOnlySuccess},
		{"what a prompt can do", rule("p", []string{"mfa", "compliantDevice"}), func(*policy.SignIn) {}, policy.ResultReportOnlyInterrupted},
		{"what no prompt can do", rule("p", []string{"compliantDevice", "domainJoinedDevice"}), fresh, policy.ResultReportOnlyFailure},
		{"half done, and no prompt can do the rest", rule("p", []string{"mfa", "compliantDevice"}, and), fresh, policy.ResultReportOnlyFailure},
		{"half done, and a prompt can do the rest", rule("p", []string{"mfa", "passwordChange"}, and), fresh, policy.ResultReportOnlyInterrupted},
		{"a device, and a prompt can do the rest", rule("p", []string{"mfa", "compliantDevice"}, and), func(in *policy.SignIn) { in.Device = compliantLaptop }, policy.ResultReportOnlyInterrupted},
		{"a fresh authentication", rule("p", nil, hourly), fresh, policy.ResultReportOnlySuccess},
		{"an old authentication", rule("p", nil, hourly), old, policy.ResultReportOnlyInterrupted},
		{"an old authentication that nothing renews", rule("p", nil, hourly), legacy, policy.ResultReportOnlyFailure},
		{"an old authentication and no device", rule("p", []string{"compliantDevice"}, hourly), old, policy.ResultReportOnlyFailure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.policy.State = policy.StateReportOnly
			var r policy.Results
			d := setOf(t, tt.policy).EvaluateInto(ask(tt.change), &r)
			require.Equal(t, policy.OutcomeGrant, d.Outcome)
			require.Equal(t, []policy.Result{tt.want}, r.Policies)
		})
	}
}

// No session begins where no token is issued.
func TestBlockLimitsNoSession(t *testing.T) {
	s := setOf(t, rule("p", []string{"compliantDevice"}, func(p *policy.Policy) {
		p.SessionControls = &policy.SessionControls{PersistentBrowser: &policy.PersistentBrowser{IsEnabled: true, Mode: "never"}}
	}))
	d := s.Evaluate(ask())
	require.Equal(t, policy.OutcomeInterrupt, d.Outcome)
	require.Equal(t, policy.BrowserNever, d.Session.PersistentBrowser)
	d = s.Evaluate(ask(func(in *policy.SignIn) { in.Flow = policy.TransferDeviceCode }))
	require.Equal(t, policy.OutcomeBlock, d.Outcome)
	require.Zero(t, d.Session)
}

// A frequency of every time has five minutes of tolerance ("Conditional Access
// adaptive session lifetime policies", 2025-03-03); what is not known is due.
func TestSignInFrequencyIsDue(t *testing.T) {
	hour := 1
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) func(*policy.SignIn) {
		return func(in *policy.SignIn) { in.Now, in.AuthTime, in.MFATime = now, now.Add(-d), now.Add(-d) }
	}
	for _, second := range []string{"primaryAndSecondaryAuthentication", "secondaryAuthentication"} {
		every := policy.SignInFrequency{IsEnabled: true, Interval: "everyTime", AuthenticationType: second}
		hourly := policy.SignInFrequency{IsEnabled: true, Type: "hours", Value: &hour, AuthenticationType: second}
		for _, tt := range []struct {
			name      string
			frequency policy.SignInFrequency
			change    func(*policy.SignIn)
			want      policy.Outcome
		}{
			{"every time, within the tolerance", every, ago(5 * time.Minute), policy.OutcomeGrant},
			{"every time, after it", every, ago(5*time.Minute + 1), policy.OutcomeInterrupt},
			{"hourly, before", hourly, ago(time.Hour - 1), policy.OutcomeGrant},
			{"hourly, after", hourly, ago(time.Hour), policy.OutcomeInterrupt},
			{"no time of authentication", hourly, func(in *policy.SignIn) { in.Now = now }, policy.OutcomeInterrupt},
			{"no time of the sign-in", hourly, func(in *policy.SignIn) { in.AuthTime, in.MFATime = now, now }, policy.OutcomeInterrupt},
		} {
			t.Run(second+"/"+tt.name, func(t *testing.T) {
				limited := rule("limited", nil, func(p *policy.Policy) {
					p.GrantControls, p.SessionControls = nil, &policy.SessionControls{SignInFrequency: &tt.frequency}
				})
				s := setOf(t, limited, rule("other", nil, func(p *policy.Policy) {
					p.GrantControls, p.SessionControls = nil, &policy.SessionControls{PersistentBrowser: &policy.PersistentBrowser{IsEnabled: true, Mode: "never"}}
				}))
				d := s.Evaluate(ask(tt.change, func(in *policy.SignIn) { in.Methods = claims.FIDO2 }))
				require.Equal(t, tt.want, d.Outcome)
				first, mfa := tt.frequency.Interval != "" && second[0] == 'p', tt.frequency.Interval != "" && second[0] == 's'
				require.Equal(t, [2]bool{first, mfa}, [2]bool{d.Session.EveryTime, d.Session.EveryTimeMFA}, "whichever policies apply beside")
			})
		}
	}
}

// What cannot be asked again blocks, and the decision names it.
func TestNobodyToAskAgain(t *testing.T) {
	hour := 1
	for second, want := range map[string]policy.ControlKind{"primaryAndSecondaryAuthentication": policy.Reauthenticate, "secondaryAuthentication": policy.ReauthenticateMFA} {
		t.Run(second, func(t *testing.T) {
			s := setOf(t, rule("p", nil, func(p *policy.Policy) {
				p.SessionControls = &policy.SessionControls{SignInFrequency: &policy.SignInFrequency{IsEnabled: true, Type: "hours", Value: &hour, AuthenticationType: second}}
			}))
			d := s.Evaluate(ask(atNoon, func(in *policy.SignIn) { in.ClientApp = policy.ClientOther }))
			require.Equal(t, policy.Unsatisfiable, d.Reason)
			require.Equal(t, []policy.Control{{Kind: want}}, slices.Collect(d.Missing()))
		})
	}
}

// A period is of 1 to 100,000 hours or days.
func TestSignInFrequencyPeriods(t *testing.T) {
	for value, want := range map[int]bool{-1: false, 0: false, 1: true, 100_000: true, 100_001: false} {
		s := compile(t, &policy.Bundle{Policies: []policy.Policy{rule("p", nil, func(p *policy.Policy) {
			p.SessionControls = &policy.SessionControls{SignInFrequency: &policy.SignInFrequency{IsEnabled: true, Type: "days", Value: &value}}
		})}})
		require.Equal(t, want, s.Evaluable(0), "%d", value)
		if want {
			require.Equal(t, time.Duration(value)*24*time.Hour, s.Evaluate(ask(atNoon)).Session.SignInFrequency)
		}
	}
}
