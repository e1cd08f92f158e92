package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// The tests of this file are sentences of Microsoft's pages of 2025 and 2026
// that an evaluator easily gets wrong. Each names its page and the date that
// the page bore.

var anHourAgo = time.Date(2026, 11, 1, 11, 0, 0, 0, time.UTC)

func atNoon(in *policy.SignIn) {
	in.Now, in.AuthTime, in.MFATime = anHourAgo.Add(time.Hour), anHourAgo, anHourAgo
}

func users(u policy.UserCondition) func(*policy.Policy) {
	return func(p *policy.Policy) { p.Conditions.Users = &u }
}

func apps(include, exclude []string) func(*policy.Policy) {
	return func(p *policy.Policy) {
		p.Conditions.Applications = &policy.ApplicationCondition{Include: include, Exclude: exclude}
	}
}

func diagnosed(s *policy.Set, code policy.Code) (out []policy.Diagnostic) {
	for _, d := range s.Diagnostics() {
		if d.Code == code {
			out = append(out, d)
		}
	}
	return out
}

// "Disable agent identities in your tenant", 2026-04-27, policy 2.
func TestPage01AgentUsersAmongUsers(t *testing.T) {
	agent := &policy.SignIn{User: &policy.User{Kind: policy.IdentityAgentUser, ID: "digital worker"}, AppID: exchange}
	s := setOf(t, rule("p", []string{"block"}, users(policy.UserCondition{IncludeUsers: []string{"AllAgentIdUsers"}})))
	require.Equal(t, policy.BlockControl, s.Evaluate(agent).Reason)
	require.Empty(t, applies(s, ask()), "a person is not an agent's user")

	s = setOf(t, rule("p", []string{"block"}, users(policy.UserCondition{IncludeUsers: []string{"All"}})))
	require.Empty(t, applies(s, agent), "all users do not include the user accounts of agents (\"Target agents\", 2026-07-31)")

	s = compile(t, &policy.Bundle{Policies: []policy.Policy{rule("p", []string{"block"}, users(policy.UserCondition{IncludeUsers: []string{"AllRobots"}}))}})
	require.False(t, s.Evaluable(0), "a word that begins with All and is not known means too much to be taken for an id")
	require.Len(t, diagnosed(s, policy.CodeUnknownValue), 1)
	for _, in := range []*policy.SignIn{ask(), agent} {
		require.Equal(t, 1, s.Evaluate(in).Unevaluable, "and may mean anybody")
	}
}

// "Migrate approved client app", 2026-03-24: from 2026-06-30 on "it will be as
// if this grant isn't selected".
func TestPage02ApprovedClientAppIsRetired(t *testing.T) {
	phone := func(change ...func(*policy.SignIn)) *policy.SignIn {
		return ask(append([]func(*policy.SignIn){func(in *policy.SignIn) { in.Platform = policy.PlatformIOS; atNoon(in) }}, change...)...)
	}
	before := func(in *policy.SignIn) {
		in.Now = time.Date(2026, 6, 30, 23, 59, 0, 0, time.UTC)
		in.AuthTime = in.Now.Add(-time.Minute)
	}
	yes := true
	alone := rule("alone", []string{"approvedApplication"}, func(p *policy.Policy) {
		p.SessionControls = &policy.SessionControls{DisableResilienceDefaults: &yes}
	})
	b := &policy.Bundle{Policies: []policy.Policy{alone}}
	s := compile(t, b)
	d := s.Evaluate(phone())
	require.Equal(t, policy.OutcomeGrant, d.Outcome, "alone it asks for nothing")
	require.True(t, d.Session.ResilienceDisabled, "session controls remain")
	require.Contains(t, diagnosed(s, policy.CodeRetired)[0].Message, "protects nothing")
	require.Equal(t, policy.SeverityWarning, diagnosed(s, policy.CodeRetired)[0].Severity)
	require.Equal(t, []policy.ControlKind{policy.ApprovedApplication}, prompts(s.Evaluate(phone(before))), "until then it is enforced")
	require.Equal(t, policy.OutcomeGrant, s.Evaluate(ask(func(in *policy.SignIn) { in.Platform = policy.PlatformIOS })).Outcome, "at an unknown time it is retired")
	kept := compile(t, b, policy.ApprovedAppUntil(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)))
	require.Equal(t, []policy.ControlKind{policy.ApprovedApplication}, prompts(kept.Evaluate(phone())), "the date is an option")

	either := setOf(t, rule("either", []string{"approvedApplication", "compliantApplication"}))
	require.Equal(t, []policy.ControlKind{policy.CompliantApplication}, prompts(either.Evaluate(phone())))
	require.Equal(t, []policy.ControlKind{policy.CompliantApplication}, prompts(either.Evaluate(phone(func(in *policy.SignIn) { in.ApprovedApp = true }))), "an approved app no longer counts")
	require.Equal(t, policy.OutcomeGrant, either.Evaluate(phone(before, func(in *policy.SignIn) { in.ApprovedApp = true })).Outcome)
	require.Len(t, diagnosed(either, policy.CodeRetired), 1)

	for name, other := range map[string]func(*policy.GrantControls){
		"app protection": func(g *policy.GrantControls) { g.BuiltInControls = append(g.BuiltInControls, "compliantApplication") },
		"terms":          func(g *policy.GrantControls) { g.TermsOfUse = []string{"tou"} },
		"custom control": func(g *policy.GrantControls) { g.CustomFactors = []string{"Duo"} },
		"both":           func(g *policy.GrantControls) { g.TermsOfUse, g.CustomFactors = []string{"tou"}, []string{"Duo"} },
		"strength":       func(g *policy.GrantControls) { g.AuthenticationStrength = &policy.Strength{ID: policy.StrengthMFA} },
	} {
		told := diagnosed(setOf(t, rule("p", []string{"approvedApplication"}, func(p *policy.Policy) { other(p.GrantControls) })), policy.CodeRetired)
		require.Len(t, told, 1, name)
		require.Contains(t, told[0].Message, "the other controls remain", name)
		require.Equal(t, policy.SeverityNote, told[0].Severity, name)
	}

	both := setOf(t, rule("both", []string{"approvedApplication", "mfa"}, func(p *policy.Policy) { p.GrantControls.Operator = "AND" }))
	require.Equal(t, []policy.ControlKind{policy.MFA}, prompts(both.Evaluate(phone())))
	require.Equal(t, policy.OutcomeGrant, both.Evaluate(phone(func(in *policy.SignIn) { in.Methods = claims.FIDO2 })).Outcome)
	require.Equal(t, policy.OutcomeGrant, both.Evaluate(ask(atNoon, func(in *policy.SignIn) { in.Methods = claims.FIDO2 })).Outcome, "on a PC too")
}

// "Authentication and Conditional Access for B2B users", 2024-05-15: with
// inbound trust the MFA claim of the home tenant counts.
func TestPage03ALoneSecondFactorIsNoMFA(t *testing.T) {
	s := setOf(t, rule("p", []string{"mfa"}))
	outcome := func(trust bool, m claims.Methods) policy.Outcome {
		return s.Evaluate(ask(func(in *policy.SignIn) {
			in.User.Guest, in.User.MFATrust, in.Methods = policy.GuestB2BCollaboration, trust, m
		})).Outcome
	}
	require.Equal(t, policy.OutcomeInterrupt, outcome(true, claims.SMS), "a text message alone is no MFA at home either")
	require.Equal(t, policy.OutcomeGrant, outcome(true, claims.Password|claims.SMS))
	require.Equal(t, policy.OutcomeGrant, outcome(true, claims.MarkMFA), "the claim itself is")
	require.Equal(t, policy.OutcomeGrant, outcome(false, claims.SMS), "without trust the first factor was given at home")
}

// "Filter for devices", 2025-04-08, the warning and the table: a device must be
// managed, compliant or hybrid joined for extensionAttribute1-15 to be there.
func TestPage04ExtensionAttributesOfUnmanagedDevices(t *testing.T) {
	filter := func(mode, rule string) func(*policy.Policy) {
		return func(p *policy.Policy) {
			p.Conditions.Devices = &policy.DeviceCondition{Filter: &policy.Filter{Mode: mode, Rule: rule}}
		}
	}
	device := func(change func(*policy.Device)) *policy.Device {
		d := &policy.Device{TrustType: policy.TrustRegistered, Model: "X1"}
		d.ExtensionAttributes[0] = "ward"
		change(d)
		return d
	}
	unmanaged := device(func(*policy.Device) {})
	for _, tt := range []struct {
		name   string
		device *policy.Device
		known  bool
	}{
		{"registered", unmanaged, false},
		{"joined", device(func(d *policy.Device) { d.TrustType = policy.TrustJoined }), false},
		{"not compliant", device(func(d *policy.Device) { d.Compliant = claims.No }), false},
		{"managed", device(func(d *policy.Device) { d.Managed = true }), true},
		{"compliant", device(func(d *policy.Device) { d.Compliant = claims.Yes }), true},
		{"hybrid joined", device(func(d *policy.Device) { d.TrustType = policy.TrustHybrid }), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := ask(func(in *policy.SignIn) { in.Device = tt.device })
			s := setOf(t, rule("p", []string{"block"}, filter("exclude", `device.extensionAttribute1 -eq "ward"`)))
			require.Equal(t, tt.known, s.Evaluate(in).Outcome == policy.OutcomeGrant, "the attribute of an unmanaged device is null")
			s = setOf(t, rule("p", []string{"mfa"}, filter("include", `device.extensionAttribute1 -ne "office"`)))
			d := s.Evaluate(in)
			if tt.known {
				require.Equal(t, policy.OutcomeInterrupt, d.Outcome)
				require.Zero(t, d.Unevaluable)
				return
			}
			require.Equal(t, policy.OutcomeGrant, d.Outcome)
			require.Equal(t, 1, d.Unevaluable, "the page says not applied, a null that it is: nobody knows")
		})
	}
	in := ask(func(in *policy.SignIn) { in.Device = unmanaged })
	for _, tt := range []struct {
		name, rule       string
		doubtful, warned bool
	}{
		{"decided by another property", `device.extensionAttribute1 -ne "office" -or device.model -eq "X1"`, false, true},
		{"decided against", `device.extensionAttribute1 -ne "office" -and device.model -eq "X2"`, false, true},
		{"a negated positive", `-not (device.extensionAttribute1 -eq "office")`, true, true},
		{"a negated negative", `-not (device.extensionAttribute1 -ne "office")`, false, false},
		{"null", `device.extensionAttribute1 -eq null`, true, true},
		{"another property in a negative way", `device.model -ne "X2"`, false, false},
		{"a positive comparison", `device.extensionAttribute15 -eq "office"`, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := setOf(t, rule("p", []string{"mfa"}, filter("include", tt.rule)))
			require.Equal(t, tt.doubtful, s.Evaluate(in).Unevaluable == 1)
			require.Equal(t, tt.warned, len(diagnosed(s, policy.CodeFilterRule)) == 1, "the author is told of what may be in doubt")
			in := *in
			in.Endpoint = s.Endpoint(unmanaged)
			require.Equal(t, tt.doubtful, s.Evaluate(&in).Unevaluable == 1, "by a row made before")
			inNetwork := in
			inNetwork.CompliantNetwork = true
			require.Equal(t, tt.doubtful, s.Evaluate(&inNetwork).Unevaluable == 1, "wherever it is")
			bound := in
			bound.Subject = s.Subject(in.User)
			require.Equal(t, tt.doubtful, s.Evaluate(&bound).Unevaluable == 1, "whoever asks")
			require.Equal(t, tt.doubtful, s.Explain(&in).Policies[0].Result == policy.ResultUnknown)
			require.Zero(t, s.Evaluate(ask()).Unevaluable, "an unregistered device is in the table")
		})
	}
	closed := compile(t, &policy.Bundle{Policies: []policy.Policy{rule("p", []string{"mfa"}, filter("include", `device.extensionAttribute1 -ne "office"`))}}, policy.FailClosed())
	require.Equal(t, policy.Unevaluable, closed.Evaluate(in).Reason)
	require.Len(t, diagnosed(closed, policy.CodeFilterRule), 1, "and the author is told")
	require.Equal(t, policy.SeverityWarning, diagnosed(closed, policy.CodeFilterRule)[0].Severity)
}

// "Enforcement for baseline scopes in Conditional Access", 2026-05-27; the
// rollout began on 2026-06-15.
func TestPage05BaselineScopes(t *testing.T) {
	for list, want := range map[string]policy.ScopeKind{
		"openid profile email offline_access":     policy.OpenIDScopes,
		"openid User.Read":                        policy.UserScopes,
		"https://graph.microsoft.com/people.read": policy.UserScopes,
		"User.Read.All User.ReadBasic.All People.Read.All GroupMember.Read.All Member.Read.Hidden": policy.DirectoryScopes,
		"openid Mail.Read": policy.AnyScopes,
		"":                 policy.AnyScopes,
	} {
		require.Equal(t, want, policy.ScopesOf(strings.Fields(list)), list)
	}

	b := &policy.Bundle{Policies: []policy.Policy{
		rule("all", []string{"mfa"}),
		rule("all but X", []string{"mfa"}, apps([]string{"All"}, []string{"appX"})),
		rule("all but own", []string{"mfa"}, apps([]string{"All"}, []string{"own"})),
		rule("directory", []string{"mfa"}, apps([]string{"00000002-0000-0000-c000-000000000000"}, nil)),
	}}
	from := func(s *policy.Set, confidential bool, scopes policy.ScopeKind) []string {
		return applies(s, ask(func(in *policy.SignIn) { in.AppID, in.Confidential, in.Scopes = "appX", confidential, scopes }))
	}
	s := compile(t, b)
	directory := []string{"all", "all but X", "all but own", "directory"}
	for _, scopes := range []policy.ScopeKind{policy.OpenIDScopes, policy.UserScopes, policy.DirectoryScopes} {
		require.Equal(t, directory, from(s, false, scopes), "a public client, %v", scopes)
	}
	require.Equal(t, directory, from(s, true, policy.UserScopes), "a confidential client with directory scopes")
	require.Equal(t, []string{"all", "all but own"}, from(s, true, policy.OpenIDScopes), "with OIDC scopes alone: no change is expected")
	require.Equal(t, []string{"all", "all but own"}, from(s, false, policy.AnyScopes))

	own := compile(t, b, policy.WithBaselineApp("own"))
	require.Equal(t, []string{"all", "all but X"}, from(own, false, policy.UserScopes), "the tenant's own app in place of the directory")
	legacy := compile(t, b, policy.LegacyBaselineScopes())
	require.Equal(t, "00000002-0000-0000-c000-000000000000", s.BaselineApp())
	require.Equal(t, "own", own.BaselineApp())
	require.Empty(t, legacy.BaselineApp(), "before: such a request was one for its resource")
	require.Equal(t, []string{"all"}, from(legacy, false, policy.UserScopes), "before: exempt from policies with exclusions")
	require.Equal(t, []string{"all", "all but own"}, from(legacy, false, policy.DirectoryScopes), "the list of public clients was shorter")
	require.Equal(t, []string{"all", "all but own"}, from(legacy, true, policy.DirectoryScopes), "a confidential client had to be excluded itself")

	off := rule("off", nil, func(p *policy.Policy) { p.State = policy.StateDisabled })
	b.Policies = append(slices.Repeat([]policy.Policy{off}, 300), b.Policies...)
	require.Equal(t, []string{"all"}, from(compile(t, b, policy.LegacyBaselineScopes()), false, policy.UserScopes), "in a set of several blocks")
}

// "Require device compliance with Conditional Access", 2025-04-01: the control
// doesn't block Intune enrollment.
func TestPage06EnrolmentNeedsNoCompliantDevice(t *testing.T) {
	const enrolment = "d4ebce55-015a-49b5-a083-c84d1797ae8c"
	s := setOf(t, rule("p", []string{"compliantDevice"}))
	require.Equal(t, policy.OutcomeGrant, s.Evaluate(ask(func(in *policy.SignIn) { in.AppID = enrolment })).Outcome)
	require.Equal(t, policy.OutcomeInterrupt, s.Evaluate(ask()).Outcome)
	s = setOf(t, rule("p", []string{"mfa", "compliantDevice"}, func(p *policy.Policy) { p.GrantControls.Operator = "AND" }))
	require.Equal(t, []policy.ControlKind{policy.MFA}, prompts(s.Evaluate(ask(func(in *policy.SignIn) { in.AppID = enrolment }))))
}

// "Token Protection in Microsoft Entra Conditional Access", 2025-08-20: only
// device-bound sign-in session tokens are accepted.
func TestPage07TokenProtectionRefusesUnboundRequests(t *testing.T) {
	s := setOf(t, rule("p", nil, func(p *policy.Policy) {
		p.GrantControls = nil
		p.SessionControls = &policy.SessionControls{SecureSignInSession: &policy.Switch{IsEnabled: true}}
	}))
	desktop := func(in *policy.SignIn) { in.ClientApp, in.Methods = policy.ClientMobileOrDesktop, claims.WindowsHello }
	d := s.Evaluate(ask(desktop))
	require.Equal(t, policy.Unsatisfiable, d.Reason)
	require.Equal(t, []policy.Control{{Kind: policy.TokenProtection}}, slices.Collect(d.Missing()))
	require.Equal(t, policy.ResultFailure, s.Explain(ask(desktop)).Policies[0].Result)
	d = s.Evaluate(ask(desktop, func(in *policy.SignIn) { in.Bound = true }))
	require.Equal(t, policy.OutcomeGrant, d.Outcome)
	require.True(t, d.Session.TokenProtection)
	require.Equal(t, policy.OutcomeGrant, s.Evaluate(&policy.SignIn{User: &policy.User{Kind: policy.IdentityWorkload, ID: "job"}, AppID: exchange}).Outcome, "it is about people")
	s = setOf(t, rule("p", nil, workloads, func(p *policy.Policy) {
		p.GrantControls = nil
		p.SessionControls = &policy.SessionControls{SecureSignInSession: &policy.Switch{IsEnabled: true}}
	}))
	d = s.Evaluate(&policy.SignIn{User: &policy.User{Kind: policy.IdentityWorkload, ID: "job"}, AppID: exchange})
	require.Equal(t, policy.OutcomeGrant, d.Outcome, "even in a policy for workloads")
	require.Equal(t, 1, d.Applied)
}

// "Target agents in Microsoft Entra Conditional Access policies", 2026-07-31:
// targeting a blueprint covers all agent identities derived from it.
func TestPage08AgentsByBlueprint(t *testing.T) {
	s := setOf(t,
		rule("blueprint", []string{"block"}, func(p *policy.Policy) {
			p.Conditions.Users = nil
			p.Conditions.ClientApplications = &policy.ClientApplicationCondition{IncludeAgents: []string{"blueprint-a"}}
		}),
		rule("all but a blueprint", []string{"block"}, func(p *policy.Policy) {
			p.Conditions.Users = nil
			p.Conditions.ClientApplications = &policy.ClientApplicationCondition{IncludeAgents: []string{"All"}, ExcludeAgents: []string{"Blueprint-A"}}
		}))
	of := func(u policy.User) []string { return applies(s, &policy.SignIn{User: &u, AppID: exchange}) }
	require.Equal(t, []string{"blueprint"}, of(policy.User{Kind: policy.IdentityAgent, ID: "agent", Blueprint: "BLUEPRINT-a"}))
	require.Equal(t, []string{"all but a blueprint"}, of(policy.User{Kind: policy.IdentityAgent, ID: "agent", Blueprint: "blueprint-b"}))
	require.Empty(t, of(policy.User{Kind: policy.IdentityAgentUser, ID: "worker", Blueprint: "blueprint-a"}), "a blueprint covers the agent, not its user account (\"Conditional Access for agent identities\", 2026-04-30)")
}

// Microsoft Graph, "Tutorial: configure Microsoft Entra Internet Access": the
// traffic profiles are applications.
func TestPage09TrafficProfilesAreApplications(t *testing.T) {
	const internet, m365, private = "5dc48733-b5df-475c-a49b-fa307ef00853", "c08f52c9-8f03-4558-a0ea-9a4c878cf343", "e92b9b37-1b47-4c01-9fbc-91d84450870e"
	b := []policy.Policy{
		rule("internet by id", []string{"mfa"}, apps([]string{internet}, nil)),
		rule("internet by profile", []string{"mfa"}, func(p *policy.Policy) {
			p.Conditions.Applications = &policy.ApplicationCondition{GlobalSecureAccess: &policy.TrafficCondition{Profiles: policy.Flags{"internet"}}}
		}),
		rule("Microsoft 365", []string{"mfa"}, apps([]string{m365}, nil)),
		rule("all but private", []string{"mfa"}, apps([]string{"All"}, []string{private})),
	}
	s := setOf(t, b...)
	for _, tt := range []struct {
		profile policy.TrafficProfile
		id      string
		want    []string
	}{
		{policy.TrafficInternet, internet, []string{"internet by id", "internet by profile", "all but private"}},
		{policy.TrafficMicrosoft365, m365, []string{"Microsoft 365", "all but private"}},
		{policy.TrafficPrivate, private, nil},
	} {
		require.Equal(t, tt.want, applies(s, ask(func(in *policy.SignIn) { in.AppID, in.Traffic = "", tt.profile })))
		require.Equal(t, tt.want, applies(s, ask(func(in *policy.SignIn) { in.AppID = tt.id })), "asked for by its id it is the same")
	}
}

// "Conditional Access adaptive session lifetime policies", 2025-03-03, examples
// 1 and 3: with a frequency of an hour and a refresh at 00:00 the user is
// prompted at 01:00.
func TestPage10SignInFrequencyReached(t *testing.T) {
	hour := 1
	for _, second := range []string{"", "secondaryAuthentication"} {
		s := setOf(t, rule("p", nil, func(p *policy.Policy) {
			p.GrantControls = nil
			p.SessionControls = &policy.SessionControls{SignInFrequency: &policy.SignInFrequency{IsEnabled: true, Type: "hours", Value: &hour, AuthenticationType: second}}
		}))
		in := ask(atNoon, func(in *policy.SignIn) { in.Methods = claims.WindowsHello })
		require.Equal(t, policy.OutcomeInterrupt, s.Evaluate(in).Outcome)
		in.Now = in.Now.Add(-time.Nanosecond)
		require.Equal(t, policy.OutcomeGrant, s.Evaluate(in).Outcome)
	}
}

// "Conditional Access: Grant", multiple grant controls (entra-docs 1302,
// 2025-02-27): while MFA is pending the log shows terms of use as failed, even
// if they were accepted before.
func TestPage11TermsOfUseWhileMFAIsPending(t *testing.T) {
	terms := func(p *policy.Policy) { p.GrantControls.TermsOfUse = []string{"tou"} }
	s := setOf(t,
		rule("mfa", []string{"mfa"}), rule("terms", nil, terms),
		rule("terms, report-only", nil, terms, func(p *policy.Policy) { p.State = policy.StateReportOnly }),
		rule("terms or a device", []string{"compliantDevice"}, terms))
	in := ask(func(in *policy.SignIn) { in.AcceptedTerms, in.Device = []string{"tou"}, compliantLaptop })
	var r policy.Results
	d := s.EvaluateInto(in, &r)
	require.Equal(t, []policy.ControlKind{policy.MFA}, prompts(d), "it is a matter of the log: nothing is asked for again")
	require.Equal(t, []policy.Result{policy.ResultFailure, policy.ResultFailure, policy.ResultReportOnlyInterrupted, policy.ResultSuccess}, r.Policies)
	strong := setOf(t, rule("strength", nil, func(p *policy.Policy) {
		p.GrantControls.AuthenticationStrength = &policy.Strength{ID: policy.StrengthPhishingResistant}
	}), rule("terms", nil, terms))
	strong.EvaluateInto(in, &r)
	require.Equal(t, []policy.Result{policy.ResultFailure, policy.ResultFailure}, r.Policies, "a strength is MFA too")
	s.EvaluateInto(in, &r)
	in.Methods = claims.FIDO2
	require.Equal(t, policy.OutcomeGrant, s.EvaluateInto(in, &r).Outcome)
	require.Equal(t, []policy.Result{policy.ResultSuccess, policy.ResultSuccess, policy.ResultReportOnlySuccess, policy.ResultSuccess}, r.Policies)
}

// "Conditional Access: Grant", 2026-03-24: by default all selected controls are
// required.
func TestPage12NoOperatorIsAllControls(t *testing.T) {
	s := setOf(t, rule("p", []string{"mfa", "compliantDevice"}, func(p *policy.Policy) { p.GrantControls.Operator = "" }))
	require.Equal(t, []policy.ControlKind{policy.MFA, policy.CompliantDevice}, prompts(s.Evaluate(ask())))
	require.Equal(t, []policy.ControlKind{policy.CompliantDevice}, prompts(s.Evaluate(ask(func(in *policy.SignIn) { in.Methods = claims.FIDO2 }))))
}

// "Conditional Access for agent identities", 2026-04-30, boundaries: policies
// don't apply to an agent's intermediate token exchange.
func TestPage13TokenExchangeOfAgentsIsExempt(t *testing.T) {
	const exchangeEndpoint = "FB60F99C-7a34-4190-8149-302f77469936"
	s := setOf(t, rule("p", []string{"block"}, func(p *policy.Policy) {
		p.Conditions.ClientApplications = &policy.ClientApplicationCondition{IncludeAgents: []string{"All"}}
	}))
	agent := &policy.SignIn{User: &policy.User{Kind: policy.IdentityAgent, ID: "agent"}, AppID: exchangeEndpoint}
	require.Equal(t, policy.OutcomeGrant, s.Evaluate(agent).Outcome)
	require.Equal(t, policy.ReasonApplication, s.Explain(agent).Policies[0].Reasons)
	agent.Subject = s.Subject(agent.User)
	require.Equal(t, policy.OutcomeGrant, s.Evaluate(agent).Outcome)
	agent.AppID = exchange
	require.Equal(t, policy.OutcomeBlock, s.Evaluate(agent).Outcome)
	require.Equal(t, policy.OutcomeBlock, s.Evaluate(ask(func(in *policy.SignIn) { in.AppID = exchangeEndpoint })).Outcome, "a person is not exempt")
}

// "Conditional Access: Target resources", 2026-01-26: the list of Microsoft
// Admin Portals, and that of Windows Azure Service Management API.
func TestPage14GroupsOfPortals(t *testing.T) {
	portals := policy.DefaultAppGroups()["microsoftadminportals"]
	for name, id := range map[string]string{
		"Azure portal and Entra admin center": "c44b4083-3bb0-49c1-b47d-974e53cbdf3c", "Exchange": "497effe9-df71-4043-a8bb-14cf78c4b63b",
		"Microsoft 365": "00000006-0000-0ff1-ce00-000000000000", "Defender": "618dd325-23f6-4b6f-8380-4df78026e39b",
		"Intune": "5926fc8e-304e-4f59-8bed-58ca97cc39a4", "Purview": "80ccca67-54bd-44ab-8625-4b79c4dc7775",
	} {
		require.Contains(t, portals, id, name)
	}
	require.NotContains(t, portals, "0000000c-0000-0000-c000-000000000000", "My Apps is a portal of users")

	const management, portal = "797f4846-ba00-4fd7-ba43-dac1f8f63013", "c44b4083-3bb0-49c1-b47d-974e53cbdf3c"
	s := setOf(t, rule("management", []string{"mfa"}, apps([]string{management}, nil)))
	require.Len(t, applies(s, ask(func(in *policy.SignIn) { in.AppID = portal })), 1, "the grouping includes the portal")
	require.Len(t, applies(s, ask(func(in *policy.SignIn) { in.AppID = management })), 1)
}

// "Users and groups in Conditional Access policy", 2024-01-23, note on B2B
// direct connect.
func TestPage15DirectConnectUsersWithAGuestAccount(t *testing.T) {
	const teams = "cc15fd57-2c6c-4117-a88c-83b1d56b4bbe"
	s := setOf(t, rule("guests", []string{"mfa"}, users(policy.UserCondition{IncludeGuests: &policy.GuestCondition{
		Types: policy.Flags{"b2bCollaborationGuest"}, Tenants: &policy.ExternalTenants{MembershipKind: "enumerated", Members: []string{"fabrikam"}},
	}})))
	reached := func(app, tenant string, account bool) bool {
		return len(applies(s, ask(func(in *policy.SignIn) {
			in.AppID, in.User.Guest, in.User.HomeTenant, in.User.GuestAccount = app, policy.GuestB2BDirectConnect, tenant, account
		}))) == 1
	}
	require.True(t, reached(teams, "Fabrikam", true))
	require.False(t, reached(teams, "fabrikam", false), "no guest account here")
	require.False(t, reached(teams, "contoso", true), "of another tenant")
	require.False(t, reached(exchange, "fabrikam", true), "shared channels only")
}

// "Conditional Access adaptive session lifetime policies", 2025-03-03, example
// 2: on confidential clients the enforcement is deferred.
func TestPage16BackgroundRequestsOfConfidentialClients(t *testing.T) {
	hour := 1
	s := setOf(t, rule("p", nil, func(p *policy.Policy) {
		p.GrantControls = nil
		p.SessionControls = &policy.SessionControls{SignInFrequency: &policy.SignInFrequency{IsEnabled: true, Type: "hours", Value: &hour}}
	}))
	old := func(change func(*policy.SignIn)) policy.Outcome {
		return s.Evaluate(ask(atNoon, func(in *policy.SignIn) { in.ClientApp = policy.ClientMobileOrDesktop; change(in) })).Outcome
	}
	require.Equal(t, policy.OutcomeGrant, old(func(in *policy.SignIn) { in.Background, in.Confidential = true, true }))
	require.Equal(t, policy.OutcomeInterrupt, old(func(in *policy.SignIn) { in.Confidential = true }), "with its user")
	require.Equal(t, policy.OutcomeInterrupt, old(func(in *policy.SignIn) { in.Background = true }), "a public client")
	require.Equal(t, policy.OutcomeGrant, old(func(in *policy.SignIn) { in.Background, in.ClientApp = true, policy.ClientBrowser }))
}
