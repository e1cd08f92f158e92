package policy_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

// Results are in the order of the Set, wherever in it the policies that apply are.
func TestResultsInLargeSets(t *testing.T) {
	policies := slices.Repeat([]policy.Policy{rule("off", nil, func(p *policy.Policy) { p.State = policy.StateDisabled })}, 600)
	want := slices.Repeat([]policy.Result{policy.ResultNotEnabled}, 600)
	for _, i := range []int{0, 63, 64, 130, 255, 256, 321, 511, 512, 599} {
		policies[i], want[i] = rule("p", []string{"mfa"}), policy.ResultFailure
	}
	var r policy.Results
	d := setOf(t, policies...).EvaluateInto(ask(), &r)
	require.Equal(t, 10, d.Applied)
	require.Equal(t, want, r.Policies)
}
