package policytest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/policy/policytest"
)

// Check notices when the Set is not that of the bundle: with one policy turned
// from whatever it demands into a block, or with one exclusion more.
func TestCheckNotices(t *testing.T) {
	noticed := map[string]int{}
	for seed := range uint64(300) {
		g := policytest.NewGenerator(seed)
		b := g.Bundle(6)
		for _, c := range changes {
			other := &policy.Bundle{Locations: b.Locations, Strengths: b.Strengths, Policies: append([]policy.Policy(nil), b.Policies...)}
			c.change(&other.Policies[0])
			s, err := policytest.Options{}.Compile(other)
			require.NoError(t, err)
			for range 10 {
				if policytest.Check(s, b, policytest.Options{}, g.SignIn()) != nil {
					noticed[c.name]++
				}
			}
		}
	}
	t.Log(noticed)
	for _, c := range changes {
		require.Greater(t, noticed[c.name], 3, c.name)
	}
}

var changes = []struct {
	name   string
	change func(*policy.Policy)
}{
	{"block", func(p *policy.Policy) { p.GrantControls = &policy.GrantControls{BuiltInControls: []string{"block"}} }},
	{"state", func(p *policy.Policy) { p.State = policy.StateDisabled }},
	{"operator", func(p *policy.Policy) { p.GrantControls = both(p.GrantControls) }},
	{"platforms", func(p *policy.Policy) {
		p.Conditions.Platforms = &policy.PlatformCondition{Exclude: []string{"all"}}
	}},
	{"risk", func(p *policy.Policy) { p.Conditions.SignInRiskLevels = []string{"high"} }},
}

func both(g *policy.GrantControls) *policy.GrantControls {
	if g == nil {
		return nil
	}
	c := *g
	c.Operator = map[string]string{"AND": "OR", "OR": "AND", "or": "AND", "": "OR"}[c.Operator]
	return &c
}

// What the generator makes meets every outcome and reason.
func TestGeneratorMeetsEverything(t *testing.T) {
	outcomes, reasons := map[policy.Outcome]int{}, map[policy.AnalysisReasons]int{}
	results, kinds := map[policy.Result]int{}, map[policy.ControlKind]int{}
	for seed := range uint64(400) {
		g := policytest.NewGenerator(seed)
		b, o := g.Bundle(8), g.Options()
		for range 10 {
			q := g.SignIn()
			v := policytest.Naive(b, o, &q.SignIn, q.LocationIDs...)
			outcomes[v.Outcome]++
			for _, p := range v.Policies {
				reasons[p.Reason]++
				results[p.Result]++
			}
			for _, c := range v.Controls {
				kinds[c.Kind]++
			}
		}
	}
	require.Len(t, outcomes, 3)
	require.Len(t, results, 9)
	for k := policy.Reauthenticate; k <= policy.CustomFactor; k++ {
		require.Positive(t, kinds[k], k.String())
	}
	for r := policy.ReasonUsers; r <= policy.ReasonAgentIdentities; r <<= 1 {
		switch r {
		case policy.ReasonTime, policy.ReasonAgentIdentities >> 2: // times are unmodeled, the other is unknownFutureValue
		default:
			require.Positive(t, reasons[r], r.String())
		}
	}
}

func ExampleNaive() {
	b := &policy.Bundle{Policies: []policy.Policy{{
		ID:            "mfa",
		State:         policy.StateEnabled,
		Conditions:    policy.Conditions{Users: &policy.UserCondition{IncludeUsers: []string{"All"}}},
		GrantControls: &policy.GrantControls{Operator: "OR", BuiltInControls: []string{"mfa"}},
	}}}
	in := &policy.SignIn{User: &policy.User{ID: "alice"}, AppID: "app", ClientApp: policy.ClientBrowser, Methods: claims.Password}
	v := policytest.Naive(b, policytest.Options{}, in)
	fmt.Println(v.Outcome, v.Controls)
	// Output: interrupt [mfa]
}
