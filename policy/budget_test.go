package policy_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/policy/policytest"
)

// TestBudgets holds the times that the project promises. It takes the best of
// many short runs, which is what the code costs on a machine with other work;
// POLICY_BUDGETS=1 runs it.
func TestBudgets(t *testing.T) {
	if os.Getenv("POLICY_BUDGETS") == "" {
		t.Skip("POLICY_BUDGETS is not set")
	}
	for _, tt := range []struct {
		policies int
		name     string
		budget   time.Duration
		ask      func(*policytest.Tenant, *policy.Set, *policy.SignIn)
	}{
		{240, "cached subject", 100, func(x *policytest.Tenant, s *policy.Set, in *policy.SignIn) { in.Subject = s.Subject(x.Employee(50)) }},
		{240, "50 group symbols", 300, withSymbols(50)},
		{240, "200 group symbols", 1_000, withSymbols(200)},
		{240, "200 group strings", 10_000, func(x *policytest.Tenant, s *policy.Set, in *policy.SignIn) { in.User = x.Employee(200) }},
		{10_000, "cached subject", 8_000, func(x *policytest.Tenant, s *policy.Set, in *policy.SignIn) { in.Subject = s.Subject(x.Employee(50)) }},
		{10_000, "cached subject, interrupted", 8_000, func(x *policytest.Tenant, s *policy.Set, in *policy.SignIn) {
			in.Subject, in.Methods = s.Subject(x.Employee(50)), 0
		}},
	} {
		t.Run(fmt.Sprintf("policies=%d/%s", tt.policies, tt.name), func(t *testing.T) {
			x := policytest.NewTenant(tt.policies, 7)
			s := compile(t, x.Bundle)
			in := x.Office()
			in.App, in.AppID, in.Endpoint = s.Symbol(in.AppID), "", s.Endpoint(x.Laptop())
			tt.ask(x, s, &in)
			best := fastest(func() { s.Evaluate(&in) })
			t.Logf("%v of %v", best, tt.budget)
			require.LessOrEqual(t, best, tt.budget)
			require.Zero(t, testing.AllocsPerRun(100, func() { s.Evaluate(&in) }))
		})
	}
	t.Run("compile 240", func(t *testing.T) {
		x := policytest.NewTenant(240, 7)
		best := fastest(func() { _, _ = policy.Compile(x.Bundle) })
		t.Logf("%v of %v", best, 10*time.Millisecond)
		require.LessOrEqual(t, best, 10*time.Millisecond)
	})
}

func withSymbols(groups int) func(*policytest.Tenant, *policy.Set, *policy.SignIn) {
	return func(x *policytest.Tenant, s *policy.Set, in *policy.SignIn) {
		in.User = x.Employee(0)
		in.User.GroupSymbols = s.Symbols(nil, x.Employee(groups).Groups)
	}
}

// fastest is the least time of a call in runs of about a millisecond.
func fastest(f func()) time.Duration {
	start := time.Now()
	f()
	n := max(1, int(time.Millisecond/max(1, time.Since(start))))
	best := time.Duration(1<<63 - 1)
	for range 300 {
		start := time.Now()
		for range n {
			f()
		}
		best = min(best, time.Since(start)/time.Duration(n))
	}
	return best
}
