package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

// Conditions of one value each are told apart in whatever combination a sign-in has
// them.
func TestConditionsOfOneValue(t *testing.T) {
	everybody := func(id string, change func(*policy.Conditions)) policy.Policy {
		return rule(id, []string{"block"}, func(p *policy.Policy) {
			p.Conditions.ClientApplications = &policy.ClientApplicationCondition{Include: []string{"All"}, IncludeAgents: []string{"All"}}
			change(&p.Conditions)
		})
	}
	high := policy.Flags{"high"}
	s := setOf(t,
		everybody("sign-in", func(c *policy.Conditions) { c.SignInRiskLevels = high }),
		everybody("user", func(c *policy.Conditions) { c.UserRiskLevels = high }),
		everybody("insider", func(c *policy.Conditions) { c.InsiderRiskLevels = policy.Flags{"elevated"} }),
		everybody("service", func(c *policy.Conditions) { c.ServicePrincipalRiskLevels = high }),
		everybody("agent", func(c *policy.Conditions) { c.AgentIDRiskLevels = high }),
		everybody("flow", func(c *policy.Conditions) {
			c.AuthenticationFlows = &policy.FlowCondition{TransferMethods: policy.Flags{"authenticationTransfer"}}
		}),
		everybody("endpoint", func(c *policy.Conditions) {
			c.AgentContext = &policy.AgentContextCondition{Include: []string{"agentUserSessionsInitiatedFromEndpoints"}}
		}),
		everybody("platform", func(c *policy.Conditions) { c.Platforms = &policy.PlatformCondition{Include: policy.Flags{"macOS"}} }),
		everybody("client", func(c *policy.Conditions) { c.ClientAppTypes = policy.Flags{"other"} }))
	changes := []func(*policy.SignIn){
		func(in *policy.SignIn) { in.SignInRisk = policy.RiskHigh },
		func(in *policy.SignIn) { in.UserRisk = policy.RiskHigh },
		func(in *policy.SignIn) { in.InsiderRisk = policy.InsiderRiskElevated },
		func(in *policy.SignIn) { in.ServicePrincipalRisk = policy.RiskHigh },
		func(in *policy.SignIn) { in.AgentRisk = policy.RiskHigh },
		func(in *policy.SignIn) { in.Flow = policy.TransferAuthentication },
		func(in *policy.SignIn) { in.AgentEndpointUser = true },
		func(in *policy.SignIn) { in.Platform = policy.PlatformMacOS },
		func(in *policy.SignIn) { in.ClientApp = policy.ClientOther },
	}
	for _, kind := range []policy.IdentityKind{policy.IdentityPerson, policy.IdentityWorkload, policy.IdentityAgent} {
		for some := range 1 << len(changes) {
			in := ask(func(in *policy.SignIn) { in.User.Kind = kind })
			var want []string
			for i, change := range changes {
				if some>>i&1 != 0 {
					change(in)
					want = append(want, s.Policy(i).ID)
				}
			}
			require.Equal(t, want, applies(s, in), "%v", kind)
		}
	}
}
