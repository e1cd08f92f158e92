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
