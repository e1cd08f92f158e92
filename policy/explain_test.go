package policy_test

import (
	"encoding/json"
	"net/netip"
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
