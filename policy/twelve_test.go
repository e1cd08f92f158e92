package policy_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// The tests of this file are the twelve places that evaluators of Conditional
// Access usually get wrong.

const exchange = "00000002-0000-0ff1-ce00-000000000000"

// rule makes an enforced policy for all users and applications.
func rule(id string, grant []string, change ...func(*policy.Policy)) policy.Policy {
	p := policy.Policy{
		ID: id, State: policy.StateEnabled,
		Conditions: policy.Conditions{
			Users:        &policy.UserCondition{IncludeUsers: []string{"All"}},
			Applications: &policy.ApplicationCondition{Include: []string{"All"}},
		},
		GrantControls: &policy.GrantControls{Operator: "OR", BuiltInControls: grant},
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func compile(t testing.TB, b *policy.Bundle, opts ...policy.Option) *policy.Set {
	t.Helper()
	s, err := policy.Compile(b, opts...)
	require.NoError(t, err)
	return s
}

func setOf(t testing.TB, policies ...policy.Policy) *policy.Set {
	t.Helper()
	s := compile(t, &policy.Bundle{Policies: policies})
	for _, d := range s.Diagnostics() {
		require.NotEqual(t, policy.SeverityError, d.Severity, d.String())
	}
	return s
}

// ask makes a sign-in of a member to Exchange Online from a browser.
func ask(change ...func(*policy.SignIn)) *policy.SignIn {
	in := &policy.SignIn{User: &policy.User{ID: "alice"}, AppID: exchange, ClientApp: policy.ClientBrowser, Platform: policy.PlatformWindows}
	for _, c := range change {
		c(in)
	}
	return in
}

func prompts(d policy.Decision) (kinds []policy.ControlKind) {
	for c := range d.Prompt() {
		kinds = append(kinds, c.Kind)
	}
	return kinds
}

// applies names the policies that Explain says apply, and adds a word if Evaluate
// counted others.
func applies(s *policy.Set, in *policy.SignIn) []string {
	var ids []string
	e, enforced := s.Explain(in), 0
	for _, x := range e.Applied() {
		ids = append(ids, x.Policy.ID)
		if x.Policy.State == policy.StateEnabled {
			enforced++
		}
	}
	if enforced != e.Decision.Applied {
		ids = append(ids, "Evaluate disagrees")
	}
	return ids
}

var compliantLaptop = &policy.Device{ID: "d", TrustType: policy.TrustJoined, Compliant: claims.Yes}

func Test01ControlsAreNotMergedAcrossPolicies(t *testing.T) {
	s := setOf(t,
		rule("mfa or compliant", []string{"mfa", "compliantDevice"}),
		rule("mfa", []string{"mfa"}),
		rule("mfa and compliant", []string{"mfa", "compliantDevice"}, func(p *policy.Policy) {
			p.GrantControls.Operator = "AND"
			p.Conditions.Platforms = &policy.PlatformCondition{Include: []string{"linux"}}
		}))
	d := s.Evaluate(ask(func(in *policy.SignIn) { in.Device = compliantLaptop }))
	require.Equal(t, policy.OutcomeInterrupt, d.Outcome, "a compliant device satisfies only one of the two")
	require.Equal(t, []policy.ControlKind{policy.MFA}, prompts(d))
	d = s.Evaluate(ask(func(in *policy.SignIn) { in.Methods = claims.FIDO2 }))
	require.Equal(t, policy.OutcomeGrant, d.Outcome, "MFA satisfies both")
	d = s.Evaluate(ask(func(in *policy.SignIn) { in.Platform = policy.PlatformLinux }))
	require.Equal(t, []policy.ControlKind{policy.MFA, policy.CompliantDevice}, prompts(d), "AND asks for all")
}

func Test02NullInDeviceFilters(t *testing.T) {
	for _, tt := range []struct {
		mode, rule   string
		unregistered bool
	}{
		{"include", `device.isCompliant -eq True`, false},
		{"include", `device.isCompliant -ne True`, true},
		{"include", `device.isCompliant -eq False`, false},
		{"exclude", `device.isCompliant -eq True`, true},
		{"exclude", `device.isCompliant -ne True`, false},
		{"include", `device.model -notStartsWith "Surface"`, true},
		{"include", `device.model -notIn ["a", "b"]`, true},
		{"include", `device.systemLabels -notContains "CloudPC"`, true},
		{"include", `device.model -eq null`, true},
		{"include", `device.model -ne null`, false},
		{"include", `-not (device.model -eq "Surface")`, true},
	} {
		s := setOf(t, rule("p", []string{"mfa"}, func(p *policy.Policy) {
			p.Conditions.Devices = &policy.DeviceCondition{Filter: &policy.Filter{Mode: tt.mode, Rule: tt.rule}}
		}))
		require.Equal(t, tt.unregistered, len(applies(s, ask())) == 1, "%s %s", tt.mode, tt.rule)
	}
}

func Test03ContainsOnCollectionsIsOfElements(t *testing.T) {
	match := func(text string, d *policy.Device) bool {
		r, err := policy.ParseFilterRule(text)
		require.NoError(t, err)
		return r.MatchDevice(d)
	}
	d := &policy.Device{Model: "Surface Pro", SystemLabels: []string{"CloudPC"}, PhysicalIDs: []string{"[OrderId]:4711"}}
	require.True(t, match(`device.model -contains "face"`, d), "a string is searched")
	require.False(t, match(`device.systemLabels -contains "Cloud"`, d), "a collection is not")
	require.True(t, match(`device.systemLabels -contains "cloudpc"`, d))
	require.False(t, match(`device.physicalIds -contains "4711"`, d))
	require.True(t, match(`device.physicalIds -notContains "4711"`, d))

	attrs := []policy.Attribute{{Name: "Set_Tags", Values: []string{"finance", "it"}, Multiple: true}, {Name: "Set_Level", Values: []string{"finance"}}}
	r, err := policy.ParseFilterRule(`CustomSecurityAttribute.Set_Tags -contains "fin"`)
	require.NoError(t, err)
	require.False(t, r.MatchAttributes(attrs))
	r, err = policy.ParseFilterRule(`CustomSecurityAttribute.set_level -contains "fin"`)
	require.NoError(t, err)
	require.True(t, r.MatchAttributes(attrs))
}

func Test04RiskLevelsAreListsNotThresholds(t *testing.T) {
	s := setOf(t,
		rule("medium", []string{"mfa"}, func(p *policy.Policy) { p.Conditions.SignInRiskLevels = []string{"medium"} }),
		rule("both", []string{"mfa"}, func(p *policy.Policy) {
			p.Conditions.SignInRiskLevels, p.Conditions.UserRiskLevels = []string{"high"}, []string{"high"}
		}))
	at := func(signIn, user policy.RiskLevel) []string {
		return applies(s, ask(func(in *policy.SignIn) { in.SignInRisk, in.UserRisk = signIn, user }))
	}
	require.Empty(t, at(policy.RiskNone, policy.RiskNone))
	require.Equal(t, []string{"medium"}, at(policy.RiskMedium, policy.RiskNone))
	require.Empty(t, at(policy.RiskHigh, policy.RiskNone), "high is not at least medium")
	require.Equal(t, []string{"both"}, at(policy.RiskHigh, policy.RiskHigh), "the two risks are ANDed")
}

func Test05NoUsersIsNobody(t *testing.T) {
	users := func(u *policy.UserCondition) func(*policy.Policy) {
		return func(p *policy.Policy) { p.Conditions.Users = u }
	}
	s := setOf(t,
		rule("empty", []string{"mfa"}, users(&policy.UserCondition{})),
		rule("nil", []string{"mfa"}, users(nil)),
		rule("none", []string{"mfa"}, users(&policy.UserCondition{IncludeUsers: []string{"None"}})),
		rule("none but a group", []string{"mfa"}, users(&policy.UserCondition{IncludeUsers: []string{"None"}, IncludeGroups: []string{"Staff"}})),
		rule("no other condition", []string{"mfa"}, func(p *policy.Policy) { p.Conditions.Applications = nil }),
		rule("workload", []string{"block"}, users(&policy.UserCondition{IncludeUsers: []string{"None"}}), func(p *policy.Policy) {
			p.Conditions.ClientApplications = &policy.ClientApplicationCondition{Include: []string{"ServicePrincipalsInMyTenant"}}
		}))
	require.Equal(t, []string{"no other condition"}, applies(s, ask()))
	require.Equal(t, []string{"none but a group", "no other condition"}, applies(s, ask(func(in *policy.SignIn) { in.User.Groups = []string{"staff"} })))
	workload := &policy.SignIn{User: &policy.User{Kind: policy.IdentityWorkload, ID: "sp"}, AppID: exchange}
	require.Equal(t, []string{"workload"}, applies(s, workload))
	workload.User.MultiTenant = true
	require.Empty(t, applies(s, workload))
}

func Test06Guests(t *testing.T) {
	include := func(g *policy.GuestCondition, users ...string) func(*policy.Policy) {
		return func(p *policy.Policy) {
			p.Conditions.Users = &policy.UserCondition{IncludeUsers: users, IncludeGuests: g}
		}
	}
	s := setOf(t,
		rule("all", []string{"mfa"}),
		rule("members from contoso", []string{"mfa"}, include(&policy.GuestCondition{
			Types: policy.Flags{"b2bCollaborationMember", "b2bCollaborationGuest"}, Tenants: &policy.ExternalTenants{MembershipKind: "enumerated", Members: []string{"contoso"}},
		})),
		rule("legacy", []string{"mfa"}, include(nil, "GuestsOrExternalUsers")),
		rule("direct", []string{"mfa"}, include(&policy.GuestCondition{Types: policy.Flags{"b2bDirectConnectUser"}})))
	of := func(g policy.GuestType, tenant, app string) []string {
		return applies(s, ask(func(in *policy.SignIn) { in.User.Guest, in.User.HomeTenant, in.AppID = g, tenant, app }))
	}
	require.Equal(t, []string{"all"}, of(policy.GuestNone, "", exchange))
	require.Equal(t, []string{"all", "members from contoso", "legacy"}, of(policy.GuestB2BMember, "Contoso", exchange), "userType Member, and external")
	require.Equal(t, []string{"all", "legacy"}, of(policy.GuestB2BCollaboration, "fabrikam", exchange), "the tenants bind to the types")
	for g := policy.GuestInternal; g <= policy.GuestServiceProvider; g++ {
		require.Contains(t, of(g, "x", exchange), "legacy", g.String())
	}
	teams := "cc15fd57-2c6c-4117-a88c-83b1d56b4bbe"
	require.Contains(t, of(policy.GuestB2BCollaboration, "fabrikam", teams), "direct", "collaborators in Teams are direct connect users too")
	require.NotContains(t, of(policy.GuestB2BCollaboration, "fabrikam", exchange), "direct")
	others := setOf(t, rule("others", []string{"mfa"}, include(nil, "bob"), func(p *policy.Policy) {
		p.Conditions.Users.ExcludeGuests = &policy.GuestCondition{
			Types: policy.Flags{"b2bDirectConnectUser"}, Tenants: &policy.ExternalTenants{MembershipKind: "enumerated", Members: []string{"fabrikam"}},
		}
	}))
	for user, want := range map[string]int{"alice": 0, "bob": 1} {
		require.Len(t, applies(others, ask(func(in *policy.SignIn) {
			in.User.ID, in.User.Guest, in.User.HomeTenant, in.AppID = user, policy.GuestB2BCollaboration, "fabrikam", teams
		})), want, "the exclusion of another type neither includes nor excludes")
	}
	collaborator := s.Subject(&policy.User{ID: "bob", Guest: policy.GuestB2BCollaboration, HomeTenant: "fabrikam"})
	for app, want := range map[string]int{teams: 3, exchange: 2} {
		for _, network := range []bool{false, true} {
			d := s.Evaluate(ask(func(in *policy.SignIn) {
				in.User, in.Subject, in.AppID, in.CompliantNetwork = nil, collaborator, app, network
			}))
			require.Equal(t, want, d.Applied, "by a row made before, too")
		}
	}
}

func Test07AnAddressLiesInManyLocations(t *testing.T) {
	location := func(include, exclude []string) func(*policy.Policy) {
		return func(p *policy.Policy) {
			p.Conditions.Locations = &policy.LocationCondition{Include: include, Exclude: exclude}
		}
	}
	trusted := netip.MustParsePrefix("192.0.2.0/24")
	s := compile(t, &policy.Bundle{
		Locations: []policy.NamedLocation{
			{Kind: policy.IPLocation, ID: "office", IsTrusted: true, Ranges: []string{"198.51.100.77/24"}},
			{Kind: policy.IPLocation, ID: "floor", Ranges: []string{"198.51.100.64/26"}},
			{Kind: policy.CountryLocation, ID: "germany", Countries: []string{"DE"}, IsTrusted: true},
			{Kind: policy.CountryLocation, ID: "nowhere", Countries: []string{"AQ"}, IncludeUnknown: true},
		},
		Policies: []policy.Policy{
			rule("outside floor", []string{"mfa"}, location([]string{"All"}, []string{"floor"})),
			rule("untrusted", []string{"mfa"}, location([]string{"All"}, []string{"AllTrusted"})),
			rule("germany", []string{"mfa"}, location([]string{"germany"}, nil)),
			rule("unknown", []string{"mfa"}, location([]string{"nowhere"}, nil)),
			rule("office not floor", []string{"mfa"}, location([]string{"office"}, []string{"floor"})),
		},
	}, policy.WithTrustedIPs(trusted))
	from := func(ip, country string) []string {
		return applies(s, ask(func(in *policy.SignIn) { in.IP, in.Country = netip.MustParseAddr(ip), country }))
	}
	require.Equal(t, []string{"germany"}, from("198.51.100.70", "DE"), "in office and floor and germany at once")
	require.Equal(t, []string{"outside floor", "germany", "office not floor"}, from("198.51.100.3", "de"), "host bits of the range are masked")
	require.Equal(t, []string{"outside floor"}, from("192.0.2.1", "FR"), "trusted IPs are trusted")
	require.Equal(t, []string{"outside floor", "untrusted", "germany"}, from("203.0.113.1", "DE"), "a country is never trusted")
	require.Equal(t, []string{"outside floor", "untrusted", "unknown"}, from("203.0.113.1", ""), "unknown only where asked for")
	require.Equal(t, from("198.51.100.70", "DE"), from("::ffff:198.51.100.70", "DE"), "IPv4 in IPv6")
}

func Test08RolesByTemplateIDAndTransitiveGroups(t *testing.T) {
	const globalAdministrator = "62E90394-69F5-4237-9190-012177145E10"
	b := &policy.Bundle{Policies: []policy.Policy{
		rule("admins", []string{"mfa"}, func(p *policy.Policy) {
			p.Conditions.Users = &policy.UserCondition{IncludeRoles: []string{globalAdministrator}, ExcludeGroups: []string{"break glass"}}
		}),
		rule("by name", []string{"mfa"}, func(p *policy.Policy) {
			p.Conditions.Users = &policy.UserCondition{IncludeRoles: []string{"Company Administrator"}}
		}),
	}}
	s := compile(t, b)
	admin := ask(func(in *policy.SignIn) { in.User.Roles = []string{"62e90394-69f5-4237-9190-012177145e10"} })
	require.Equal(t, []string{"admins"}, applies(s, admin))
	admin.User.Groups = []string{"nested", "Break Glass"}
	require.Empty(t, applies(s, admin), "exclusion wins, and the caller gives the closure")
	require.True(t, slices.ContainsFunc(s.Diagnostics(), func(d policy.Diagnostic) bool {
		return d.Code == policy.CodeUnknownRole && d.Policy == "by name"
	}), "a role by name is reported")
}

func Test09StrengthsAreCombinations(t *testing.T) {
	strength := func(id string) func(*policy.Policy) {
		return func(p *policy.Policy) { p.GrantControls.AuthenticationStrength = &policy.Strength{ID: id} }
	}
	s := setOf(t, rule("resistant", nil, strength(policy.StrengthPhishingResistant)))
	outcome := func(m claims.Methods) policy.Outcome {
		return s.Evaluate(ask(func(in *policy.SignIn) { in.Methods = m })).Outcome
	}
	require.Equal(t, policy.OutcomeInterrupt, outcome(claims.Password|claims.SMS|claims.MarkMFA), "an MFA claim is not a strength")
	require.Equal(t, policy.OutcomeInterrupt, outcome(claims.DeviceBasedPush))
	require.Equal(t, policy.OutcomeGrant, outcome(claims.WindowsHello))

	s = setOf(t,
		rule("resistant everywhere", nil, strength(policy.StrengthPhishingResistant)),
		rule("registration", nil, strength(policy.StrengthMFA), func(p *policy.Policy) {
			p.Conditions.Applications = &policy.ApplicationCondition{UserActions: []string{"urn:user:registersecurityinfo"}}
		}),
		rule("terms", nil, func(p *policy.Policy) { p.GrantControls.TermsOfUse = []string{"tou"} }))
	register := ask(func(in *policy.SignIn) {
		in.AppID, in.Action = "", policy.ActionRegisterSecurityInfo
		in.Methods = claims.Password | claims.SMS
	})
	d := s.Evaluate(register)
	require.Equal(t, []policy.ControlKind{policy.TermsOfUse}, prompts(d), "the action's strength replaces others, not other grants")
	register.AcceptedTerms = []string{"TOU"}
	d = s.Evaluate(register)
	require.Equal(t, policy.OutcomeGrant, d.Outcome)
	s = setOf(t,
		rule("resistant everywhere", nil, strength(policy.StrengthPhishingResistant)),
		rule("registration of others", nil, strength(policy.StrengthMFA), func(p *policy.Policy) {
			p.Conditions.Users.ExcludeUsers = []string{"alice"}
			p.Conditions.Applications = &policy.ApplicationCondition{UserActions: []string{"urn:user:registersecurityinfo"}}
		}))
	require.Equal(t, []policy.ControlKind{policy.AuthenticationStrength}, prompts(s.Evaluate(register)), "only a policy that applies replaces another")
	register.AppID, register.Action = exchange, policy.ActionNone
	d = s.Evaluate(register)
	require.Equal(t, policy.OutcomeInterrupt, d.Outcome)
}

func Test10ReportOnlyIsEvaluatedAndNotEnforced(t *testing.T) {
	report := func(p *policy.Policy) { p.State = policy.StateReportOnly }
	s := setOf(t,
		rule("block", []string{"block"}, report), rule("mfa", []string{"mfa"}, report), rule("compliant", []string{"compliantDevice"}, report),
		rule("linux", []string{"block"}, report, func(p *policy.Policy) { p.Conditions.Platforms = &policy.PlatformCondition{Include: []string{"linux"}} }),
		rule("off", []string{"block"}, func(p *policy.Policy) { p.State = policy.StateDisabled }),
		rule("on", nil))
	var r policy.Results
	in := ask()
	d := s.EvaluateInto(in, &r)
	require.Equal(t, policy.OutcomeGrant, d.Outcome)
	require.Equal(t, []policy.Result{
		policy.ResultReportOnlyFailure, policy.ResultReportOnlyInterrupted, policy.ResultReportOnlyFailure,
		policy.ResultReportOnlyNotApplied, policy.ResultNotEnabled, policy.ResultSuccess,
	}, r.Policies, "a prompt interrupts, what no prompt brings fails")
	in.Methods, in.Device = claims.FIDO2, compliantLaptop
	s.EvaluateInto(in, &r)
	require.Equal(t, []policy.Result{policy.ResultReportOnlyFailure, policy.ResultReportOnlySuccess, policy.ResultReportOnlySuccess}, r.Policies[:3])
	in.AppID, in.Action = "", policy.ActionRegisterSecurityInfo
	s.EvaluateInto(in, &r)
	require.Equal(t, policy.ResultReportOnlyNotApplied, r.Policies[0], "report-only does not see user actions")
	require.Contains(t, applies(s, in), "block", "What If does")
}

func Test11Applications(t *testing.T) {
	apps := func(a policy.ApplicationCondition) func(*policy.Policy) {
		return func(p *policy.Policy) { p.Conditions.Applications = &a }
	}
	b := &policy.Bundle{Policies: []policy.Policy{
		rule("all", []string{"mfa"}),
		rule("office", []string{"mfa"}, apps(policy.ApplicationCondition{Include: []string{"Office365"}, Exclude: []string{exchange}})),
		rule("context", []string{"mfa"}, apps(policy.ApplicationCondition{AuthContexts: []string{"c7"}})),
		rule("register", []string{"mfa"}, apps(policy.ApplicationCondition{UserActions: []string{"urn:user:registersecurityinfo"}})),
		rule("all but one", []string{"mfa"}, apps(policy.ApplicationCondition{Include: []string{"All"}, Exclude: []string{"wiki"}})),
		rule("directory", []string{"mfa"}, apps(policy.ApplicationCondition{Include: []string{"00000002-0000-0000-c000-000000000000"}})),
	}}
	s := compile(t, b)
	to := func(s *policy.Set, change func(*policy.SignIn)) []string { return applies(s, ask(change)) }
	require.Equal(t, []string{"all", "all but one"}, to(s, func(in *policy.SignIn) {}), "the exclusion beats the group")
	require.Equal(t, []string{"all", "office", "all but one"}, to(s, func(in *policy.SignIn) { in.AppID = "00000003-0000-0FF1-CE00-000000000000" }))
	require.Equal(t, []string{"all", "register", "all but one"}, to(s, func(in *policy.SignIn) { in.AppID, in.Action = "", policy.ActionRegisterSecurityInfo }))
	require.Empty(t, to(s, func(in *policy.SignIn) { in.AppID, in.Action = "", policy.ActionRegisterDevice }), "registering a device is asked for by name")
	require.Equal(t, []string{"context"}, to(s, func(in *policy.SignIn) { in.AppID, in.AuthContext = "", 7 }), "all resources are not contexts")
	require.Equal(t, []string{"all"}, to(s, func(in *policy.SignIn) { in.AppID = "wiki" }))
	require.Equal(t, []string{"all", "all but one"}, to(s, func(in *policy.SignIn) { in.AppID = "Office365" }), "the name of a group is not an application")

	low := func(in *policy.SignIn) { in.AppID, in.Scopes = "wiki", policy.UserScopes }
	require.Equal(t, []string{"all", "all but one", "directory"}, to(s, low), "sign-in scopes are the directory's")
	require.Equal(t, []string{"all"}, to(compile(t, b, policy.LegacyBaselineScopes()), func(in *policy.SignIn) { in.AppID, in.Scopes = "other", policy.UserScopes }))

	moved := compile(t, b, policy.WithAppGroup(policy.Office365, "wiki"))
	require.Contains(t, to(moved, func(in *policy.SignIn) { in.AppID = "wiki" }), "office", "the groups are data")
}

func Test12TimeAndFlowAreOfTheSession(t *testing.T) {
	hours := 4
	frequency := func(f policy.SignInFrequency) func(*policy.Policy) {
		return func(p *policy.Policy) {
			f.IsEnabled = true
			p.GrantControls, p.SessionControls = nil, &policy.SessionControls{SignInFrequency: &f}
		}
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name      string
		frequency policy.SignInFrequency
		auth, mfa time.Duration // ago; 0 for mfa: with the first factor
		methods   claims.Methods
		want      []policy.ControlKind
	}{
		{"fresh", policy.SignInFrequency{Type: "hours", Value: &hours}, 4*time.Hour - 1, 0, claims.WindowsHello, nil},
		{"old", policy.SignInFrequency{Type: "hours", Value: &hours}, 4 * time.Hour, 0, claims.WindowsHello, []policy.ControlKind{policy.Reauthenticate}},
		{"days", policy.SignInFrequency{Type: "days", Value: &hours}, 95 * time.Hour, 0, claims.Password, nil},
		{"an unlock by password leaves MFA old", policy.SignInFrequency{Type: "hours", Value: &hours}, time.Minute, 5 * time.Hour, claims.Password | claims.SMS, []policy.ControlKind{policy.Reauthenticate}},
		{"second factor only", policy.SignInFrequency{Type: "hours", Value: &hours, AuthenticationType: "secondaryAuthentication"}, 9 * time.Hour, time.Hour, claims.Password | claims.SMS, nil},
		{"second factor never done", policy.SignInFrequency{Type: "hours", Value: &hours, AuthenticationType: "secondaryAuthentication"}, time.Hour, 0, claims.Password, []policy.ControlKind{policy.ReauthenticateMFA}},
		{"every time, with tolerance", policy.SignInFrequency{Interval: "everyTime"}, 5 * time.Minute, 0, claims.FIDO2, nil},
		{"every time", policy.SignInFrequency{Interval: "everyTime"}, 5*time.Minute + 1, 0, claims.FIDO2, []policy.ControlKind{policy.Reauthenticate}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := setOf(t, rule("p", nil, frequency(tt.frequency)))
			d := s.Evaluate(ask(func(in *policy.SignIn) {
				in.Now, in.AuthTime, in.Methods = now, now.Add(-tt.auth), tt.methods
				if tt.mfa != 0 {
					in.MFATime = now.Add(-tt.mfa)
				}
			}))
			require.Equal(t, tt.want, prompts(d))
		})
	}

	s := setOf(t, rule("no device code", []string{"block"}, func(p *policy.Policy) {
		p.Conditions.AuthenticationFlows = &policy.FlowCondition{TransferMethods: policy.Flags{"deviceCodeFlow"}}
	}), rule("compliant", []string{"compliantDevice"}, func(p *policy.Policy) { p.State = policy.StateReportOnly }))
	d := s.Evaluate(ask(func(in *policy.SignIn) { in.Flow = policy.TransferDeviceCode }))
	require.Equal(t, policy.BlockControl, d.Reason)

	s = setOf(t, rule("compliant", []string{"compliantDevice"}))
	d = s.Evaluate(ask(func(in *policy.SignIn) { in.Flow, in.Device = policy.TransferDeviceCode, compliantLaptop }))
	require.Equal(t, policy.Unsatisfiable, d.Reason, "device code carries no device")
	require.Equal(t, []policy.Control{{Kind: policy.CompliantDevice}}, slices.Collect(d.Missing()))
}
