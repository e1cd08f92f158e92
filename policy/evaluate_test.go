package policy_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

func TestInvalidQuestions(t *testing.T) {
	s := setOf(t, rule("p", []string{"mfa"}))
	other := setOf(t, rule("q", []string{"mfa"}, func(p *policy.Policy) { p.Conditions.Users.ExcludeGroups = []string{"g"} }))
	for _, tt := range []struct {
		name   string
		change func(*policy.SignIn)
		want   policy.Reason
	}{
		{"nobody", func(in *policy.SignIn) { in.User = nil }, policy.NoSubject},
		{"nothing", func(in *policy.SignIn) { in.AppID = "" }, policy.NoTarget},
		{"two targets", func(in *policy.SignIn) { in.AuthContext = 1 }, policy.NoTarget},
		{"three targets", func(in *policy.SignIn) { in.Action, in.Traffic = policy.ActionRegisterDevice, policy.TrafficPrivate }, policy.NoTarget},
		{"no client app", func(in *policy.SignIn) { in.ClientApp = policy.ClientUnknown }, policy.NoClientApp},
		{"subject of another set", func(in *policy.SignIn) { in.Subject = other.Subject(in.User) }, policy.ForeignSymbol},
		{"endpoint of another set", func(in *policy.SignIn) { in.Endpoint = other.Endpoint(nil) }, policy.ForeignSymbol},
		{"app of another set", func(in *policy.SignIn) { in.AppID, in.App = "", other.Symbol(exchange) }, policy.ForeignSymbol},
		{"group of another set", func(in *policy.SignIn) { in.User.GroupSymbols = other.Symbols(nil, []string{"unknown"}) }, policy.ForeignSymbol},
		{"zero symbol as a role", func(in *policy.SignIn) { in.User.RoleSymbols = make([]policy.Symbol, 1) }, policy.ForeignSymbol},
		{"location of another set", func(in *policy.SignIn) { in.Locations = []policy.Symbol{other.Symbol("x")} }, policy.ForeignSymbol},
		{"platform", func(in *policy.SignIn) { in.Platform = 99 }, policy.OutOfRange},
		{"client app", func(in *policy.SignIn) { in.ClientApp = 99 }, policy.OutOfRange},
		{"flow", func(in *policy.SignIn) { in.Flow = 99 }, policy.OutOfRange},
		{"sign-in risk", func(in *policy.SignIn) { in.SignInRisk = 99 }, policy.OutOfRange},
		{"insider risk", func(in *policy.SignIn) { in.InsiderRisk = 99 }, policy.OutOfRange},
		{"identity kind", func(in *policy.SignIn) { in.User.Kind = 99 }, policy.OutOfRange},
		{"guest type", func(in *policy.SignIn) { in.User.Guest = 99 }, policy.OutOfRange},
		{"action", func(in *policy.SignIn) { in.AppID, in.Action = "", 99 }, policy.OutOfRange},
		{"context", func(in *policy.SignIn) { in.AppID, in.AuthContext = "", 100 }, policy.OutOfRange},
		{"negative context", func(in *policy.SignIn) { in.AppID, in.AuthContext = "", -1 }, policy.OutOfRange},
		{"traffic", func(in *policy.SignIn) { in.AppID, in.Traffic = "", 99 }, policy.OutOfRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := ask(tt.change)
			d := s.Evaluate(in)
			require.Equal(t, policy.OutcomeInvalid, d.Outcome)
			require.Equal(t, tt.want, d.Reason)
			require.Empty(t, slices.Collect(d.Policies()))
			require.Empty(t, prompts(d))
			require.Nil(t, s.Explain(in).Policies)
			var r policy.Results
			s.EvaluateInto(ask(), &r)
			require.Len(t, r.Policies, 1)
			require.Equal(t, d, s.EvaluateInto(in, &r))
			require.Empty(t, r.Policies, "nothing is left of the question before")
		})
	}
	require.Nil(t, s.Subject(nil))
	require.Nil(t, s.Subject(&policy.User{Kind: 99}))
	var zero policy.Decision
	require.Equal(t, policy.OutcomeInvalid, zero.Outcome)
	require.Empty(t, prompts(zero))
}

// Sets of the same ids number them alike, so that their Symbols are the same.
func TestSymbolsOfEqualSets(t *testing.T) {
	make := func() *policy.Set {
		return setOf(t, rule("p", []string{"mfa"}, func(p *policy.Policy) { p.Conditions.Users.ExcludeGroups = []string{"Glass"} }))
	}
	a, b := make(), make()
	require.Equal(t, a.Symbol("glass"), b.Symbol("GLASS"))
	d := a.Evaluate(ask(func(in *policy.SignIn) { in.User.GroupSymbols = b.Symbols(nil, []string{"glass"}) }))
	require.Equal(t, policy.OutcomeGrant, d.Outcome)
	require.Zero(t, d.Applied)
}

func TestOutcomes(t *testing.T) {
	beforeRetirement := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	s := setOf(t,
		rule("device or terms", []string{"domainJoinedDevice", "compliantDevice"}, func(p *policy.Policy) {
			p.GrantControls.TermsOfUse = []string{"tou"}
			p.Conditions.Platforms = &policy.PlatformCondition{Include: []string{"windows"}}
		}),
		rule("hybrid", []string{"domainJoinedDevice"}, func(p *policy.Policy) { p.Conditions.Platforms = &policy.PlatformCondition{Include: []string{"macOS"}} }),
		rule("app", []string{"approvedApplication", "compliantApplication"}, func(p *policy.Policy) {
			p.Conditions.Platforms = &policy.PlatformCondition{Include: []string{"iOS", "linux"}}
		}),
		rule("password", []string{"mfa", "passwordChange"}, func(p *policy.Policy) {
			p.GrantControls.Operator = "AND"
			p.Conditions.UserRiskLevels = []string{"high"}
		}),
		rule("factor", nil, func(p *policy.Policy) {
			p.GrantControls.CustomFactors = []string{"Duo"}
			p.Conditions.SignInRiskLevels = []string{"high"}
		}),
		rule("remediation", []string{"riskRemediation"}, func(p *policy.Policy) { p.Conditions.UserRiskLevels = []string{"medium"} }))
	for _, tt := range []struct {
		name   string
		change func(*policy.SignIn)
		want   policy.Outcome
		kinds  []policy.ControlKind
	}{
		{"a device before terms, of those that can be had", func(in *policy.SignIn) {}, policy.OutcomeInterrupt, []policy.ControlKind{policy.CompliantDevice}},
		{"terms accepted, in place of a device", func(in *policy.SignIn) { in.AcceptedTerms = []string{"tou"} }, policy.OutcomeGrant, nil},
		{"no app protection for an external user", func(in *policy.SignIn) {
			in.Platform, in.User.Guest = policy.PlatformIOS, policy.GuestB2BCollaboration
		}, policy.OutcomeBlock, []policy.ControlKind{policy.CompliantApplication}},
		{"no app protection of a legacy client", func(in *policy.SignIn) {
			in.Platform, in.ClientApp = policy.PlatformIOS, policy.ClientOther
		}, policy.OutcomeBlock, []policy.ControlKind{policy.CompliantApplication}},
		{"an approved app while it counted", func(in *policy.SignIn) {
			in.Platform, in.Now = policy.PlatformIOS, beforeRetirement
		}, policy.OutcomeInterrupt, []policy.ControlKind{policy.ApprovedApplication}},
		{"no approved app for an external user", func(in *policy.SignIn) {
			in.Platform, in.Now, in.User.Guest = policy.PlatformIOS, beforeRetirement, policy.GuestB2BCollaboration
		}, policy.OutcomeBlock, []policy.ControlKind{policy.ApprovedApplication, policy.CompliantApplication}},
		{"no approved app of a legacy client", func(in *policy.SignIn) {
			in.Platform, in.Now, in.ClientApp = policy.PlatformIOS, beforeRetirement, policy.ClientOther
		}, policy.OutcomeBlock, []policy.ControlKind{policy.ApprovedApplication, policy.CompliantApplication}},
		{"nor on Linux", func(in *policy.SignIn) { in.Platform, in.Now = policy.PlatformLinux, beforeRetirement },
			policy.OutcomeBlock, []policy.ControlKind{policy.ApprovedApplication, policy.CompliantApplication}},
		{"terms when there can be no device", func(in *policy.SignIn) { in.Flow = policy.TransferDeviceCode }, policy.OutcomeInterrupt, []policy.ControlKind{policy.TermsOfUse}},
		{"hybrid join elsewhere than on Windows", func(in *policy.SignIn) { in.Platform = policy.PlatformMacOS }, policy.OutcomeBlock, []policy.ControlKind{policy.HybridJoinedDevice}},
		{"app protection on a phone, where an approved app would have come first", func(in *policy.SignIn) { in.Platform = policy.PlatformIOS }, policy.OutcomeInterrupt, []policy.ControlKind{policy.CompliantApplication}},
		{"no app protection on Linux", func(in *policy.SignIn) { in.Platform = policy.PlatformLinux }, policy.OutcomeBlock, []policy.ControlKind{policy.CompliantApplication}},
		{"protected app", func(in *policy.SignIn) { in.Platform, in.ProtectedApp = policy.PlatformIOS, true }, policy.OutcomeGrant, nil},
		{"MFA, then a new password", func(in *policy.SignIn) {
			in.Platform, in.UserRisk = policy.PlatformAndroid, policy.RiskHigh
			in.ApprovedApp = true
		}, policy.OutcomeInterrupt, []policy.ControlKind{policy.MFA, policy.PasswordChange}},
		{"an external user cannot change the password here", func(in *policy.SignIn) {
			in.Device, in.UserRisk = compliantLaptop, policy.RiskHigh
			in.User.Guest, in.User.DeviceTrust = policy.GuestB2BCollaboration, true
		}, policy.OutcomeBlock, []policy.ControlKind{policy.PasswordChange}},
		{"custom factor", func(in *policy.SignIn) { in.Device, in.SignInRisk = compliantLaptop, policy.RiskHigh }, policy.OutcomeInterrupt, []policy.ControlKind{policy.CustomFactor}},
		{"custom factor done", func(in *policy.SignIn) {
			in.Device, in.SignInRisk, in.CustomFactors = compliantLaptop, policy.RiskHigh, []string{"duo"}
		}, policy.OutcomeGrant, nil},
		{"legacy clients answer nothing", func(in *policy.SignIn) {
			in.SignInRisk, in.ClientApp, in.CustomFactors = policy.RiskHigh, policy.ClientOther, []string{"duo"}
			in.Platform = policy.PlatformUnknown
		}, policy.OutcomeBlock, []policy.ControlKind{policy.CustomFactor}},
		{"remediation", func(in *policy.SignIn) { in.Device, in.UserRisk = compliantLaptop, policy.RiskMedium }, policy.OutcomeInterrupt, []policy.ControlKind{policy.RiskRemediation}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r policy.Results
			d := s.EvaluateInto(ask(tt.change), &r)
			require.Equal(t, tt.want, d.Outcome)
			kinds := prompts(d)
			for c := range d.Missing() {
				kinds = append(kinds, c.Kind)
			}
			require.Equal(t, tt.kinds, kinds)
			require.Len(t, r.Controls, len(kinds))
		})
	}
}

func TestMFA(t *testing.T) {
	s := setOf(t, rule("p", []string{"mfa"}))
	outcome := func(change func(*policy.SignIn)) policy.Outcome { return s.Evaluate(ask(change)).Outcome }
	for m, want := range map[claims.Methods]policy.Outcome{
		0: policy.OutcomeInterrupt, claims.Password: policy.OutcomeInterrupt, claims.SMS: policy.OutcomeInterrupt, claims.QRCodePIN: policy.OutcomeInterrupt,
		claims.CertificateSingleFactor: policy.OutcomeInterrupt, claims.FederatedSingleFactor: policy.OutcomeInterrupt, claims.MarkRSA: policy.OutcomeInterrupt,
		claims.Password | claims.SMS: policy.OutcomeGrant, claims.Password | claims.CertificateSingleFactor: policy.OutcomeGrant,
		claims.FederatedSingleFactor | claims.Voice: policy.OutcomeGrant, claims.WindowsHello: policy.OutcomeGrant, claims.FIDO2: policy.OutcomeGrant,
		claims.CertificateMultiFactor: policy.OutcomeGrant, claims.DeviceBasedPush: policy.OutcomeGrant, claims.TemporaryAccessPassOneTime: policy.OutcomeGrant,
		claims.FederatedMultiFactor: policy.OutcomeGrant, claims.Password | claims.MarkMFA: policy.OutcomeGrant,
	} {
		require.Equal(t, want, outcome(func(in *policy.SignIn) { in.Methods = m }), "%b", m)
	}
	guest := func(g policy.GuestType, trust bool, m claims.Methods) policy.Outcome {
		return outcome(func(in *policy.SignIn) { in.User.Guest, in.User.MFATrust, in.Methods = g, trust, m })
	}
	require.Equal(t, policy.OutcomeGrant, guest(policy.GuestB2BCollaboration, true, claims.FIDO2), "the home tenant's MFA, trusted")
	require.Equal(t, policy.OutcomeInterrupt, guest(policy.GuestB2BCollaboration, false, claims.FIDO2), "and not")
	require.Equal(t, policy.OutcomeGrant, guest(policy.GuestB2BCollaboration, false, claims.SMS), "a second factor of this tenant")
	require.Equal(t, policy.OutcomeBlock, guest(policy.GuestB2BDirectConnect, false, claims.FIDO2), "direct connect has nothing but trust")
	require.Equal(t, policy.OutcomeGrant, guest(policy.GuestInternal, false, claims.FIDO2), "an internal guest is an account of this tenant")
	require.Equal(t, policy.OutcomeBlock, outcome(func(in *policy.SignIn) { in.Available = claims.Password }), "no second factor registered")
	require.Equal(t, policy.OutcomeInterrupt, outcome(func(in *policy.SignIn) { in.Available = claims.Password | claims.SMS }))
}

// A Decision names the first policies and controls; Results hold all.
func TestManyDecidersAndControls(t *testing.T) {
	var policies []policy.Policy
	for i := range 600 {
		policies = append(policies, rule(string(rune('a'+i%26)), nil, func(p *policy.Policy) {
			p.GrantControls.TermsOfUse = []string{string(rune('z' - i%12))}
		}))
	}
	var r policy.Results
	d := setOf(t, policies...).EvaluateInto(ask(), &r)
	require.Equal(t, policy.OutcomeInterrupt, d.Outcome)
	require.Equal(t, 600, d.Deciding)
	require.Len(t, slices.Collect(d.Policies()), 4)
	require.True(t, d.MoreControls)
	require.Len(t, slices.Collect(d.Prompt()), 8)
	require.Len(t, r.Controls, 12)
	require.Equal(t, r.Controls[:8], slices.Collect(d.Prompt()))
}

// A caller that has read enough of a Decision can stop.
func TestDecisionIsReadInPart(t *testing.T) {
	off := rule("off", nil, func(p *policy.Policy) { p.State = policy.StateDisabled })
	s := setOf(t, off, rule("a", []string{"mfa"}), rule("b", []string{"compliantDevice"}))
	d := s.Evaluate(ask())
	for p := range d.Policies() {
		require.Equal(t, "a", p.ID)
		break
	}
	for c := range d.Prompt() {
		require.Equal(t, policy.MFA, c.Kind)
		break
	}
}

func TestNothingToCompile(t *testing.T) {
	_, err := policy.Compile(nil)
	require.EqualError(t, err, "policy: no bundle to compile")
}

// Controls are numbered in sixteen bits, of which every set takes ten numbers.
func TestTooManyControls(t *testing.T) {
	terms := func(n int) *policy.Bundle {
		p := rule("p", nil)
		for i := range n {
			p.GrantControls.TermsOfUse = append(p.GrantControls.TermsOfUse, strconv.Itoa(i))
		}
		return &policy.Bundle{Policies: []policy.Policy{p}}
	}
	const most = 65_535 - 10
	d := compile(t, terms(most)).Evaluate(ask(func(in *policy.SignIn) { in.AcceptedTerms = []string{strconv.Itoa(most - 1)} }))
	require.Equal(t, policy.OutcomeGrant, d.Outcome, "the last number is told from all others")
	_, err := policy.Compile(terms(most + 1))
	require.EqualError(t, err, "policy: more than 65535 distinct grant controls")
}

// Exclusion wins ("Users and groups", 2024-01-23), also over the whole list; the
// guest type "none" matches nobody.
func TestWhatIncludesNobody(t *testing.T) {
	s := setOf(t,
		rule("all but all", []string{"mfa"}, apps([]string{"All"}, []string{"All"})),
		rule("one but all", []string{"mfa"}, apps([]string{exchange}, []string{"All"})),
		rule("no type of guest", []string{"mfa"}, users(policy.UserCondition{IncludeGuests: &policy.GuestCondition{Types: policy.Flags{"none"}}})),
		rule("none excluded", []string{"mfa"}, users(policy.UserCondition{IncludeUsers: []string{"All"}, ExcludeGuests: &policy.GuestCondition{Types: policy.Flags{"none"}}})))
	for g := policy.GuestNone; g <= policy.GuestServiceProvider; g++ {
		require.Equal(t, []string{"none excluded"}, applies(s, ask(func(in *policy.SignIn) { in.User.Guest = g })), g.String())
	}
}

// A program can write an empty string where an id belongs. It names nobody and
// nothing: neither those of whom no policy speaks, nor those whose id is not known.
func TestEmptyIDsNameNothing(t *testing.T) {
	workload := func(p *policy.Policy) { p.Conditions.Users = nil }
	for _, tt := range []struct {
		name             string
		include, exclude func(*policy.Policy)
		ask              func(*policy.SignIn)
	}{
		{"users", users(policy.UserCondition{IncludeUsers: []string{""}}), users(policy.UserCondition{IncludeUsers: []string{"All"}, ExcludeUsers: []string{""}}), func(in *policy.SignIn) {}},
		{
			"groups", users(policy.UserCondition{IncludeGroups: []string{""}}), users(policy.UserCondition{IncludeUsers: []string{"All"}, ExcludeGroups: []string{""}}),
			func(in *policy.SignIn) { in.User.Groups = []string{"", "g"} },
		},
		{
			"roles", users(policy.UserCondition{IncludeRoles: []string{""}}), users(policy.UserCondition{IncludeUsers: []string{"All"}, ExcludeRoles: []string{""}}),
			func(in *policy.SignIn) { in.User.Roles = []string{"", "r"} },
		},
		{
			"tenants",
			users(policy.UserCondition{IncludeGuests: &policy.GuestCondition{Types: policy.Flags{"otherExternalUser"}, Tenants: &policy.ExternalTenants{MembershipKind: "enumerated", Members: []string{""}}}}),
			users(policy.UserCondition{IncludeUsers: []string{"All"}, ExcludeGuests: &policy.GuestCondition{Types: policy.Flags{"otherExternalUser"}, Tenants: &policy.ExternalTenants{MembershipKind: "enumerated", Members: []string{""}}}}),
			func(in *policy.SignIn) { in.User.Guest = policy.GuestOtherExternal },
		},
		{"applications", apps([]string{""}, nil), apps([]string{"All"}, []string{""}), func(in *policy.SignIn) {}},
		{
			"service principals",
			func(p *policy.Policy) {
				workload(p)
				p.Conditions.ClientApplications = &policy.ClientApplicationCondition{Include: []string{""}}
			},
			func(p *policy.Policy) {
				workload(p)
				p.Conditions.ClientApplications = &policy.ClientApplicationCondition{Include: []string{"All"}, Exclude: []string{""}}
			},
			func(in *policy.SignIn) { in.User.Kind = policy.IdentityWorkload },
		},
		{
			"agents",
			func(p *policy.Policy) {
				workload(p)
				p.Conditions.ClientApplications = &policy.ClientApplicationCondition{IncludeAgents: []string{""}}
			},
			func(p *policy.Policy) {
				workload(p)
				p.Conditions.ClientApplications = &policy.ClientApplicationCondition{IncludeAgents: []string{"All"}, ExcludeAgents: []string{""}}
			},
			func(in *policy.SignIn) { in.User.Kind = policy.IdentityAgent },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := compile(t, &policy.Bundle{Policies: []policy.Policy{rule("the empty one", []string{"block"}, tt.include), rule("all but it", []string{"block"}, tt.exclude)}})
			for _, id := range []string{"alice", ""} {
				in := ask(tt.ask, func(in *policy.SignIn) { in.User.ID = id })
				require.Equal(t, []string{"all but it"}, applies(s, in), id)
				in.Subject = s.Subject(in.User)
				require.Equal(t, []string{"all but it"}, applies(s, in), "%q, by a row made before", id)
			}
		})
	}
}

// A filter for applications asks for the custom security attributes of the
// resource ("Filter for applications", 2024).
func TestApplicationFilters(t *testing.T) {
	filter := func(mode string, include ...string) func(*policy.Policy) {
		return func(p *policy.Policy) {
			p.Conditions.Applications = &policy.ApplicationCondition{Include: include, Filter: &policy.Filter{Mode: mode, Rule: `CustomSecurityAttribute.Finance_Level -eq "high"`}}
		}
	}
	s := setOf(t,
		rule("marked", []string{"mfa"}, filter("include")),
		rule("marked or named", []string{"mfa"}, filter("include", "named")),
		rule("all but marked", []string{"mfa"}, filter("exclude", "All")))
	of := func(app string, values ...string) []string {
		return applies(s, ask(func(in *policy.SignIn) {
			in.AppID, in.AppAttributes = app, []policy.Attribute{{Name: "Finance_Level", Values: values}}
		}))
	}
	require.Equal(t, []string{"marked", "marked or named"}, of("app", "high"))
	require.Equal(t, []string{"all but marked"}, of("app", "low"))
	require.Equal(t, []string{"all but marked"}, of("app"))
	require.Equal(t, []string{"marked or named", "all but marked"}, of("named"))

	s = setOf(t, rule("not marked", []string{"mfa"}, func(p *policy.Policy) {
		p.Conditions.Applications = &policy.ApplicationCondition{Filter: &policy.Filter{Mode: "include", Rule: `CustomSecurityAttribute.Finance_Level -ne "high"`}}
	}))
	require.Empty(t, s.Diagnostics(), "what is not assigned is null, in no doubt")
	require.Len(t, applies(s, ask()), 1)
}

func TestAgents(t *testing.T) {
	s := setOf(t,
		rule("agents", []string{"block"}, func(p *policy.Policy) {
			p.Conditions.Users = &policy.UserCondition{IncludeUsers: []string{"None"}}
			p.Conditions.ClientApplications = &policy.ClientApplicationCondition{
				IncludeAgents: []string{"All"}, AgentFilter: &policy.Filter{Mode: "exclude", Rule: `CustomSecurityAttribute.Agent_Reviewed -eq "yes"`},
			}
		}),
		rule("risky agents", []string{"block"}, func(p *policy.Policy) {
			p.Conditions.Users = nil
			p.Conditions.ClientApplications = &policy.ClientApplicationCondition{IncludeAgents: []string{"agent-7"}}
			p.Conditions.AgentIDRiskLevels = policy.Flags{"medium", "high"}
		}),
		rule("agent users", []string{"block"}, func(p *policy.Policy) {
			p.Conditions.Users = nil
			p.Conditions.Agents = &policy.AgentCondition{IncludeUsers: []string{"All"}}
			p.Conditions.AgentContext = &policy.AgentContextCondition{Include: []string{"agentUserSessionsInitiatedFromEndpoints"}}
		}),
		rule("agent resources", []string{"mfa"}, func(p *policy.Policy) { p.Conditions.Applications.Include = []string{"AllAgentIdResources"} }))
	agent := &policy.SignIn{User: &policy.User{Kind: policy.IdentityAgent, ID: "Agent-7"}, AppID: exchange}
	require.Equal(t, []string{"agents"}, applies(s, agent))
	agent.AgentRisk = policy.RiskHigh
	require.Equal(t, []string{"agents", "risky agents"}, applies(s, agent))
	agent.User.Attributes = []policy.Attribute{{Name: "Agent_Reviewed", Values: []string{"Yes"}}}
	require.Equal(t, []string{"risky agents"}, applies(s, agent))
	user := &policy.SignIn{User: &policy.User{Kind: policy.IdentityAgentUser, ID: "u", Groups: []string{"g"}}, AppID: exchange}
	require.Empty(t, applies(s, user), "an agent's user is not one of all users")
	user.AgentEndpointUser = true
	require.Equal(t, []string{"agent users"}, applies(s, user))
	require.Equal(t, []string{"agent resources"}, applies(s, ask(func(in *policy.SignIn) { in.AgentResource = true })))
}

func TestNames(t *testing.T) {
	require.Equal(t, "interrupt", policy.OutcomeInterrupt.String())
	require.Equal(t, "unsatisfiable", policy.Unsatisfiable.String())
	require.Equal(t, "99", policy.Outcome(99).String(), "what has no name is a number")
	require.Equal(t, "4", policy.Outcome(4).String(), "as is the first that has none")
	require.Equal(t, "termsOfUse tou", policy.Control{Kind: policy.TermsOfUse, ID: "tou"}.String())
	require.Equal(t, "iOS", policy.PlatformIOS.String())
	require.Equal(t, "easSupported", policy.ClientExchangeActiveSyncOK.String())
	require.Equal(t, "hidden", policy.RiskHidden.String())
	require.Equal(t, "elevated", policy.InsiderRiskElevated.String())
	require.Equal(t, "b2bDirectConnectUser", policy.GuestB2BDirectConnect.String())
	require.Equal(t, "agent user", policy.IdentityAgentUser.String())
	require.Equal(t, "never", policy.BrowserNever.String())
	require.Equal(t, "blockDownloads", policy.CloudAppSecurityBlockDownloads.String())
	require.Equal(t, "strictLocation", policy.ContinuousAccessStrictLocation.String())
	require.Equal(t, "reportOnlyInterrupted", policy.ResultReportOnlyInterrupted.String())
	name, ok := policy.RoleName("62E90394-69F5-4237-9190-012177145E10")
	require.True(t, ok)
	require.Equal(t, "GlobalAdministrator", name)
}
