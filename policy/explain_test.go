package policy_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

func explainOne(t *testing.T, p policy.Policy, in *policy.SignIn) policy.PolicyExplanation {
	t.Helper()
	s := compile(t, &policy.Bundle{
		Policies: []policy.Policy{p},
		Locations: []policy.NamedLocation{
			{Kind: policy.IPLocation, ID: "office", IsTrusted: true, Ranges: []string{"198.51.100.0/24"}},
		},
	})
	return s.Explain(in).Policies[0]
}

// The reason is the first condition that is not met: who, to what, then the
// rest.
func TestReasons(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy func(*policy.Policy)
		in     func(*policy.SignIn)
		want   policy.AnalysisReasons
		text   string
	}{
		{"applies", nil, nil, 0, "notSet"},
		{"users", func(p *policy.Policy) {
			p.Conditions.Users.ExcludeUsers = []string{"alice"}
			p.Conditions.Applications.Include = []string{"x"}
		}, nil, policy.ReasonUsers, "users"},
		{"nobody", func(p *policy.Policy) { p.Conditions.Users = &policy.UserCondition{IncludeUsers: []string{"None"}} }, nil, policy.ReasonEmptyPolicy, "emptyPolicy"},
		{"application", func(p *policy.Policy) { p.Conditions.Applications.Include = []string{"x"} }, nil, policy.ReasonApplication, "application"},
		{"user action", nil, func(in *policy.SignIn) { in.AppID, in.Action = "", policy.ActionRegisterDevice }, policy.ReasonUserActions, "userActions"},
		{"auth context", nil, func(in *policy.SignIn) { in.AppID, in.AuthContext = "", 3 }, policy.ReasonAuthenticationContext, "authenticationContext"},
		{"platform", func(p *policy.Policy) { p.Conditions.Platforms = &policy.PlatformCondition{Include: []string{"iOS"}} }, nil, policy.ReasonDevicePlatform, "devicePlatform"},
		{"device", func(p *policy.Policy) {
			p.Conditions.Devices = &policy.DeviceCondition{Filter: &policy.Filter{Mode: "include", Rule: `device.model -eq "x"`}}
		}, nil, policy.ReasonDevices, "devices"},
		{"client", func(p *policy.Policy) { p.Conditions.ClientAppTypes = []string{"other"} }, nil, policy.ReasonClientApps, "clientApps"},
		{"location", func(p *policy.Policy) {
			p.Conditions.Locations = &policy.LocationCondition{Include: []string{"office"}}
		}, nil, policy.ReasonLocation, "location"},
		{"sign-in risk", func(p *policy.Policy) { p.Conditions.SignInRiskLevels = []string{"high"} }, nil, policy.ReasonSignInRisk, "signInRisk"},
		{"user risk", func(p *policy.Policy) { p.Conditions.UserRiskLevels = []string{"high"} }, nil, policy.ReasonUserRisk, "userRisk"},
		{"insider risk", func(p *policy.Policy) { p.Conditions.InsiderRiskLevels = policy.Flags{"elevated"} }, nil, policy.ReasonInsiderRisk, "insiderRisk"},
		{"flow", func(p *policy.Policy) {
			p.Conditions.AuthenticationFlows = &policy.FlowCondition{TransferMethods: policy.Flags{"deviceCodeFlow"}}
		}, nil, policy.ReasonAuthenticationFlow, "authenticationFlow"},
		{"workload", nil, func(in *policy.SignIn) { in.User.Kind = policy.IdentityWorkload }, policy.ReasonWorkloadIdentities, "workloadIdentities"},
		{"agent", nil, func(in *policy.SignIn) { in.User.Kind = policy.IdentityAgent }, policy.ReasonAgentIdentities, "agentIdentities"},
		{"disabled", func(p *policy.Policy) { p.State = policy.StateDisabled }, nil, policy.ReasonPolicyNotEnabled, "policyNotEnabled"},
		{"invalid", func(p *policy.Policy) { p.Unmodeled = []string{"conditions.times"} }, nil, policy.ReasonInvalidPolicy, "invalidPolicy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, in := rule("p", []string{"mfa"}), ask()
			if tt.policy != nil {
				tt.policy(&p)
			}
			if tt.in != nil {
				tt.in(in)
			}
			x := explainOne(t, p, in)
			require.Equal(t, tt.want, x.Reasons)
			require.Equal(t, tt.text, x.Reasons.String())
			require.Equal(t, tt.want == 0, x.Applies)
		})
	}
}

func TestRuleMatches(t *testing.T) {
	p := rule("p", []string{"mfa"}, func(p *policy.Policy) {
		p.Conditions.Users = &policy.UserCondition{
			IncludeUsers: []string{"All", "Alice"}, IncludeGroups: []string{"Staff", "Other"}, ExcludeRoles: []string{"62e90394-69f5-4237-9190-012177145e10"},
			ExcludeGuests: &policy.GuestCondition{Types: policy.Flags{"b2bCollaborationGuest"}},
		}
		p.Conditions.Applications = &policy.ApplicationCondition{Include: []string{"Office365"}, Exclude: []string{exchange}}
		p.Conditions.Platforms = &policy.PlatformCondition{Include: []string{"all"}, Exclude: []string{"windows"}}
		p.Conditions.Locations = &policy.LocationCondition{Include: []string{"All"}, Exclude: []string{"AllTrusted", "office"}}
		p.Conditions.Devices = &policy.DeviceCondition{Filter: &policy.Filter{Mode: "exclude", Rule: `device.isCompliant -eq True`}}
		p.Conditions.AuthenticationFlows = &policy.FlowCondition{TransferMethods: policy.Flags{"authenticationTransfer"}}
	})
	in := ask(func(in *policy.SignIn) {
		in.User.Groups, in.User.Roles, in.User.Guest = []string{"STAFF"}, []string{"62E90394-69F5-4237-9190-012177145E10"}, policy.GuestB2BCollaboration
		in.User.DeviceTrust = true
		in.IP, in.Device, in.Flow = netip.MustParseAddr("198.51.100.9"), compliantLaptop, policy.TransferAuthentication
	})
	x := explainOne(t, p, in)
	require.Equal(t, policy.ReasonUsers, x.Reasons)
	require.Equal(t, []policy.RuleMatch{
		{"users", "allUsers", ""}, {"users", "userId", "Alice"}, {"users", "groupId", "Staff"}, {"application", "office365", ""},
		{"devicePlatform", "allDevicePlatforms", ""}, {"location", "allLocations", ""}, {"authenticationFlows", "authenticationTransfer", ""},
	}, x.Include)
	require.Equal(t, []policy.RuleMatch{
		{"users", "roleId", "62e90394-69f5-4237-9190-012177145e10"}, {"users", "b2bCollaborationGuest", ""}, {"application", "appId", exchange},
		{"devicePlatform", "devicePlatform", "windows"}, {"location", "allTrustedLocations", ""}, {"location", "locationId", "office"},
		{"deviceState", "deviceFilter", "device.isCompliant -eq True"},
	}, x.Exclude)
}

// What is said of the principal, the target and the device is what was judged.
func TestRuleMatchesOfOthers(t *testing.T) {
	guests := users(policy.UserCondition{
		IncludeUsers: []string{"None"}, IncludeGuests: &policy.GuestCondition{Types: policy.Flags{"b2bDirectConnectUser"}},
		ExcludeGuests: &policy.GuestCondition{Types: policy.Flags{"b2bDirectConnectUser"}, Tenants: &policy.ExternalTenants{MembershipKind: "enumerated", Members: []string{"fabrikam"}}},
	})
	action := func(p *policy.Policy) {
		p.Conditions.Applications = &policy.ApplicationCondition{UserActions: []string{"urn:user:registersecurityinfo"}}
	}
	register := func(in *policy.SignIn) { in.AppID, in.Action = "", policy.ActionRegisterSecurityInfo }
	filter := func(mode string) func(*policy.Policy) {
		return func(p *policy.Policy) {
			p.Conditions.Devices = &policy.DeviceCondition{Filter: &policy.Filter{Mode: mode, Rule: `device.isCompliant -eq True`}}
		}
	}
	states := func(d policy.DeviceCondition) func(*policy.Policy) {
		return func(p *policy.Policy) { p.Conditions.Devices = &d }
	}
	const teams = "cc15fd57-2c6c-4117-a88c-83b1d56b4bbe"
	direct := policy.RuleMatch{Condition: "users", Satisfied: "b2bDirectConnectUser"}
	state := policy.RuleMatch{Condition: "deviceState", Satisfied: "deviceState"}
	for _, tt := range []struct {
		name             string
		policy           func(*policy.Policy)
		in               func(*policy.SignIn)
		condition        string // the rules of it are compared
		include, exclude []policy.RuleMatch
	}{
		{"a collaborator where there are shared channels", guests, func(in *policy.SignIn) {
			in.User.Guest, in.User.HomeTenant, in.AppID = policy.GuestB2BCollaboration, "fabrikam", teams
		}, "users", []policy.RuleMatch{direct}, nil},
		{"a collaborator elsewhere", guests, func(in *policy.SignIn) {
			in.User.Guest, in.User.HomeTenant = policy.GuestB2BCollaboration, "fabrikam"
		}, "users", nil, nil},
		{"a member where there are shared channels", guests, func(in *policy.SignIn) { in.AppID = teams }, "users", nil, nil},
		{"a direct connect user", guests, func(in *policy.SignIn) {
			in.User.Guest, in.User.HomeTenant = policy.GuestB2BDirectConnect, "fabrikam"
		}, "users", []policy.RuleMatch{direct}, []policy.RuleMatch{{Condition: "users", Satisfied: "b2bDirectConnectUser", Value: "fabrikam"}}},
		{"no type of guest", users(policy.UserCondition{IncludeGuests: &policy.GuestCondition{Types: policy.Flags{"none"}}}), nil, "users", nil, nil},
		{"a workload", workloads, func(in *policy.SignIn) { in.User.Kind = policy.IdentityWorkload }, "servicePrincipals",
			[]policy.RuleMatch{{Condition: "servicePrincipals", Satisfied: "allUsers"}}, nil},
		{"a workload of another tenant's app", workloads, func(in *policy.SignIn) {
			in.User.Kind, in.User.MultiTenant = policy.IdentityWorkload, true
		}, "servicePrincipals", nil, nil},
		{"the action that is named", action, register, "application",
			[]policy.RuleMatch{{Condition: "application", Satisfied: "appId", Value: "urn:user:registersecurityinfo"}}, nil},
		{"the action among all resources", nil, register, "application", []policy.RuleMatch{{Condition: "application", Satisfied: "allApps"}}, nil},
		{"insider risk", func(p *policy.Policy) { p.Conditions.InsiderRiskLevels = policy.Flags{"minor", "elevated"} },
			func(in *policy.SignIn) { in.InsiderRisk = policy.InsiderRiskElevated }, "insiderRisk",
			[]policy.RuleMatch{{Condition: "insiderRisk", Satisfied: "insiderRisk", Value: "elevated"}}, nil},
		{"another insider risk", func(p *policy.Policy) { p.Conditions.InsiderRiskLevels = policy.Flags{"minor"} },
			func(in *policy.SignIn) { in.InsiderRisk = policy.InsiderRiskElevated }, "insiderRisk", nil, nil},
		{"a device in a device code flow", filter("include"), func(in *policy.SignIn) { in.Device, in.Flow = compliantLaptop, policy.TransferDeviceCode }, "deviceState",
			nil, []policy.RuleMatch{{Condition: "deviceState", Satisfied: "deviceFilterIncludeRuleNotMatched", Value: "device.isCompliant -eq True"}}},
		{"a device by its facts", filter("include"), func(in *policy.SignIn) { in.Device = compliantLaptop }, "deviceState",
			[]policy.RuleMatch{{Condition: "deviceState", Satisfied: "deviceFilter", Value: "device.isCompliant -eq True"}}, nil},
		{"a device that the filter does not exclude", filter("exclude"), nil, "deviceState", nil, nil},
		{"included device", states(policy.DeviceCondition{Include: []string{"Compliant"}}), func(in *policy.SignIn) { in.Device = compliantLaptop }, "deviceState", []policy.RuleMatch{state}, nil},
		{"device that is not included", states(policy.DeviceCondition{Include: []string{"DomainJoined"}}), nil, "deviceState", nil, []policy.RuleMatch{state}},
		{"excluded device", states(policy.DeviceCondition{Exclude: []string{"Compliant"}}), func(in *policy.SignIn) { in.Device = compliantLaptop }, "deviceState", nil, []policy.RuleMatch{state}},
		{"included state", states(policy.DeviceCondition{IncludeStates: []string{"Compliant"}}), func(in *policy.SignIn) { in.Device = compliantLaptop }, "deviceState", []policy.RuleMatch{state}, nil},
		{"excluded state", states(policy.DeviceCondition{ExcludeStates: []string{"Compliant"}}), func(in *policy.SignIn) { in.Device = compliantLaptop }, "deviceState", nil, []policy.RuleMatch{state}},
		{"oldest form", func(p *policy.Policy) {
			p.Conditions.DeviceStates = &policy.DeviceStateCondition{Include: []string{"All"}, Exclude: []string{"Compliant"}}
		}, func(in *policy.SignIn) { in.Device = compliantLaptop }, "deviceState", nil, []policy.RuleMatch{state}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, in := rule("p", []string{"block"}), ask()
			if tt.policy != nil {
				tt.policy(&p)
			}
			if tt.in != nil {
				tt.in(in)
			}
			of := func(list []policy.RuleMatch) (out []policy.RuleMatch) {
				for _, m := range list {
					if m.Condition == tt.condition {
						out = append(out, m)
					}
				}
				return out
			}
			x := explainOne(t, p, in)
			require.Equal(t, tt.include, of(x.Include))
			require.Equal(t, tt.exclude, of(x.Exclude))
			s := setOf(t, p)
			in.Subject, in.User, in.Endpoint, in.Device = s.Subject(in.User), nil, s.Endpoint(in.Device), nil
			x = s.Explain(in).Policies[0]
			require.Equal(t, tt.include, of(x.Include), "of rows made before")
			require.Equal(t, tt.exclude, of(x.Exclude), "of rows made before")
		})
	}
}

// The last policies of a large set are explained as the first are.
func TestExplainManyPolicies(t *testing.T) {
	off := rule("off", []string{"block"}, func(p *policy.Policy) { p.State = policy.StateDisabled })
	last := []policy.Policy{
		rule("applies", []string{"mfa"}),
		rule("of others", []string{"mfa"}, users(policy.UserCondition{IncludeUsers: []string{"bob"}})),
		rule("elsewhere", []string{"mfa"}, apps([]string{"x"}, nil)),
		rule("on a phone", []string{"mfa"}, func(p *policy.Policy) { p.Conditions.Platforms = &policy.PlatformCondition{Include: []string{"iOS"}} }),
		rule("on a device", []string{"mfa"}, func(p *policy.Policy) {
			p.Conditions.Devices = &policy.DeviceCondition{Filter: &policy.Filter{Mode: "include", Rule: `device.model -eq "x"`}}
		}),
	}
	s := setOf(t, slices.Concat(slices.Repeat([]policy.Policy{off}, 4500), last)...)
	e := s.Explain(ask())
	require.Len(t, e.Policies, 4505)
	for i, want := range []policy.AnalysisReasons{0, policy.ReasonUsers, policy.ReasonApplication, policy.ReasonDevicePlatform, policy.ReasonDevices} {
		x := e.Policies[4500+i]
		require.Equal(t, want, x.Reasons, x.Policy.ID)
		require.Equal(t, want == 0, x.Applies, x.Policy.ID)
	}
	require.Equal(t, policy.ReasonPolicyNotEnabled, e.Policies[4499].Reasons)
}

// Of alternatives only one is needed: the others are not missing.
func TestExplainAlternatives(t *testing.T) {
	either := rule("either", []string{"mfa", "compliantDevice"})
	key := func(in *policy.SignIn) { in.Methods = claims.FIDO2 }
	require.Equal(t, "either: success", explainOne(t, either, ask(key)).String())
	require.Equal(t, "either: failure, without mfa, compliantDevice", explainOne(t, either, ask()).String())
	either.State = policy.StateReportOnly
	require.Equal(t, "either: reportOnlySuccess", explainOne(t, either, ask(key)).String())
	require.Equal(t, "either: reportOnlyInterrupted, without mfa, compliantDevice", explainOne(t, either, ask()).String())
	require.Equal(t, "block: failure", explainOne(t, rule("block", []string{"block"}), ask()).String())
}

// A request that token protection refuses is told what it lacks.
func TestExplainTokenProtection(t *testing.T) {
	x := explainOne(t, rule("bound", []string{"mfa"}, func(p *policy.Policy) {
		p.SessionControls = &policy.SessionControls{SecureSignInSession: &policy.Switch{IsEnabled: true}}
	}), ask())
	require.True(t, x.Unbound)
	require.Equal(t, "bound: failure, without secureSignInSession, mfa", x.String())
}

func TestExplainGrants(t *testing.T) {
	hours := 1
	p := rule("CA01", []string{"mfa", "compliantDevice"}, func(p *policy.Policy) {
		p.GrantControls.Operator = "AND"
		p.SessionControls = &policy.SessionControls{SignInFrequency: &policy.SignInFrequency{IsEnabled: true, Type: "hours", Value: &hours}}
	})
	now := time.Now()
	x := explainOne(t, p, ask(func(in *policy.SignIn) { in.Methods, in.Now, in.AuthTime = claims.FIDO2, now, now.Add(-2*time.Hour) }))
	require.Equal(t, []policy.GrantState{
		{Control: policy.Control{Kind: policy.MFA}, Satisfied: true, Satisfiable: true},
		{Control: policy.Control{Kind: policy.CompliantDevice}, Satisfiable: true},
	}, x.Grants)
	require.Equal(t, policy.Reauthenticate, x.Reauthenticate)
	require.Equal(t, time.Hour, x.Session.SignInFrequency)
	require.Equal(t, "CA01: failure, without signInFrequency, compliantDevice", x.String())
}

func TestWhatIfJSON(t *testing.T) {
	p := rule("p1", []string{"mfa"}, func(p *policy.Policy) {
		p.DisplayName = "Require MFA"
		p.Conditions.InsiderRiskLevels = policy.Flags{"minor", "elevated"}
	})
	s := setOf(t, p)
	js, err := json.Marshal(s.Explain(ask()))
	require.NoError(t, err)
	require.JSONEq(t, `{
		"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#Collection(microsoft.graph.whatIfAnalysisResult)",
		"value": [{
			"id": "p1", "displayName": "Require MFA", "state": "enabled",
			"conditions": {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["All"]}, "insiderRiskLevels": "minor,elevated"},
			"grantControls": {"operator": "OR", "builtInControls": ["mfa"]}, "sessionControls": null,
			"policyApplies": false, "analysisReasons": "insiderRisk"
		}]
	}`, string(js))
	js, err = json.Marshal(policy.Explanation{})
	require.NoError(t, err)
	require.Contains(t, string(js), `"value":[]`)
}
