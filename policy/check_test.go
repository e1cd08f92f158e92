package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

// A program can write what no export holds. Where no value belongs, an empty
// string is an unknown one, and not the absence of a condition.
func TestEmptyStringsAreUnknownValues(t *testing.T) {
	for _, tt := range []struct {
		path   string
		change func(*policy.Conditions)
	}{
		{"platforms.includePlatforms", func(c *policy.Conditions) { c.Platforms = &policy.PlatformCondition{Include: []string{""}} }},
		{"applications.includeUserActions", func(c *policy.Conditions) { c.Applications = &policy.ApplicationCondition{UserActions: []string{""}} }},
		{"applications.globalSecureAccess.includeTrafficProfiles", func(c *policy.Conditions) {
			c.Applications = &policy.ApplicationCondition{GlobalSecureAccess: &policy.TrafficCondition{Profiles: policy.Flags{""}}}
		}},
	} {
		t.Run(tt.path, func(t *testing.T) {
			p := rule("p", []string{"block"}, func(p *policy.Policy) { tt.change(&p.Conditions) })
			s := compile(t, &policy.Bundle{Policies: []policy.Policy{p}})
			require.False(t, s.Evaluable(0))
			require.Equal(t, "$.policies[0].conditions."+tt.path+"[0]", s.Diagnostics()[0].Path)
		})
	}
}

// What cannot be evaluated is found in every condition.
func TestEveryConditionIsChecked(t *testing.T) {
	bad := &policy.Filter{Mode: "include", Rule: "device"}
	odd := policy.Flags{"odd"}
	for _, tt := range []struct {
		path   string
		change func(*policy.Conditions)
	}{
		{"clientApplications.servicePrincipalFilter.rule", func(c *policy.Conditions) { c.ClientApplications = &policy.ClientApplicationCondition{Filter: bad} }},
		{"clientApplications.agentIdServicePrincipalFilter.rule", func(c *policy.Conditions) {
			c.ClientApplications = &policy.ClientApplicationCondition{AgentFilter: bad}
		}},
		{"agents.agentFilter.rule", func(c *policy.Conditions) { c.Agents = &policy.AgentCondition{Filter: bad} }},
		{"applications.applicationFilter.rule", func(c *policy.Conditions) { c.Applications = &policy.ApplicationCondition{Filter: bad} }},
		{"applications.includeUserActions[0]", func(c *policy.Conditions) { c.Applications = &policy.ApplicationCondition{UserActions: odd} }},
		{"devices.deviceFilter.rule", func(c *policy.Conditions) { c.Devices = &policy.DeviceCondition{Filter: bad} }},
		{"devices.excludeDevices[0]", func(c *policy.Conditions) { c.Devices = &policy.DeviceCondition{Exclude: odd} }},
		{"deviceStates.includeStates[0]", func(c *policy.Conditions) { c.DeviceStates = &policy.DeviceStateCondition{Include: odd} }},
		{"platforms.excludePlatforms[0]", func(c *policy.Conditions) { c.Platforms = &policy.PlatformCondition{Exclude: odd} }},
		{"locations.includeLocations[0]", func(c *policy.Conditions) { c.Locations = &policy.LocationCondition{Include: odd} }},
		{"authenticationFlows.transferMethods[0]", func(c *policy.Conditions) { c.AuthenticationFlows = &policy.FlowCondition{TransferMethods: odd} }},
		{"agentContext.includeAgentContexts[0]", func(c *policy.Conditions) { c.AgentContext = &policy.AgentContextCondition{Include: odd} }},
		{"users.includeGuestsOrExternalUsers.guestOrExternalUserTypes[0]", func(c *policy.Conditions) {
			c.Users.IncludeGuests = &policy.GuestCondition{Types: odd}
		}},
		{"clientAppTypes[0]", func(c *policy.Conditions) { c.ClientAppTypes = odd }},
		{"signInRiskLevels[0]", func(c *policy.Conditions) { c.SignInRiskLevels = odd }},
		{"userRiskLevels[0]", func(c *policy.Conditions) { c.UserRiskLevels = odd }},
		{"servicePrincipalRiskLevels[0]", func(c *policy.Conditions) { c.ServicePrincipalRiskLevels = odd }},
		{"agentIdRiskLevels[0]", func(c *policy.Conditions) { c.AgentIDRiskLevels = odd }},
		{"insiderRiskLevels[0]", func(c *policy.Conditions) { c.InsiderRiskLevels = odd }},
	} {
		t.Run(tt.path, func(t *testing.T) {
			p := rule("p", []string{"block"}, func(p *policy.Policy) { tt.change(&p.Conditions) })
			s := compile(t, &policy.Bundle{Policies: []policy.Policy{p}})
			require.False(t, s.Evaluable(0))
			require.Equal(t, "$.policies[0].conditions."+tt.path, s.Diagnostics()[0].Path)
		})
	}
}

// Authentication contexts are c1 to c99 (Microsoft Graph,
// authenticationContext of What If).
func TestAuthContexts(t *testing.T) {
	for text, want := range map[string]int{
		"c1": 1, "C25": 25, " c99 ": 99,
		"c0": 0, "c-1": 0, "c100": 0, "c01": 0, "c+1": 0, "c": 0, "5": 0, "x5": 0, "c1a": 0, "c99999999999999999999": 0, "": 0,
	} {
		t.Run(text, func(t *testing.T) {
			s := compile(t, &policy.Bundle{Policies: []policy.Policy{rule("p", []string{"block"}, func(p *policy.Policy) {
				p.Conditions.Applications = &policy.ApplicationCondition{AuthContexts: []string{text}}
			})}})
			require.Equal(t, want > 0, s.Evaluable(0))
			if want > 0 {
				in := ask(func(in *policy.SignIn) { in.AppID, in.AuthContext = "", want })
				require.Equal(t, policy.OutcomeBlock, s.Evaluate(in).Outcome)
			}
		})
	}
}
