package benchpeers

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

// tenants are the engines with one tenant and one list of questions.
type tenants struct {
	ours   *PRTBroker
	naive  *Naive
	cedar  *Cedar
	rules  *OPA
	data   *OPA
	casbin *Casbin
}

func setUp(tb testing.TB, policies, questions int) *tenants {
	tb.Helper()
	b, qs := Tenant(policies), Questions(questions)
	ds := demands(b)
	var t tenants
	var err error
	t.ours, err = NewPRTBroker(b, qs)
	require.NoError(tb, err)
	t.naive = NewNaive(ds, qs)
	t.casbin, err = NewCasbin(ds, qs)
	require.NoError(tb, err)
	t.cedar, err = NewCedar(ds, qs)
	require.NoError(tb, err)
	t.rules, err = NewOPARules(tb.Context(), ds, qs)
	require.NoError(tb, err)
	t.data, err = NewOPAData(tb.Context(), ds, qs)
	require.NoError(tb, err)
	return &t
}

// agree fails unless every engine names the same unsatisfied policies for
// question i, and ours grants exactly when there are none. Casbin names none:
// of it the decision counts.
func (t *tenants) agree(tb testing.TB, i int) policy.Outcome {
	outcome, want := t.ours.Unsatisfied(i)
	require.Equal(tb, len(want) == 0, outcome == policy.OutcomeGrant, "question %d: %v with %v", i, outcome, want)
	require.Equal(tb, outcome, t.ours.set.Evaluate(&t.ours.plain[i]).Outcome, "question %d, uncached", i)

	got, err := t.cedar.Unsatisfied(i)
	require.NoError(tb, err)
	require.Equal(tb, want, got, "cedar, question %d", i)
	require.Equal(tb, outcome == policy.OutcomeGrant, t.cedar.Granted(i))
	require.Equal(tb, want, t.naive.Unsatisfied(i), "naive, question %d", i)
	require.Equal(tb, outcome == policy.OutcomeGrant, t.naive.Granted(i))
	granted, err := t.casbin.Granted(i)
	require.NoError(tb, err)
	require.Equal(tb, outcome == policy.OutcomeGrant, granted, "casbin, question %d", i)
	for name, o := range map[string]*OPA{"rules": t.rules, "data": t.data} {
		got, err := o.Unsatisfied(tb.Context(), i)
		require.NoError(tb, err)
		require.Equal(tb, want, got, "opa %s, question %d", name, i)
	}
	return outcome
}

func TestPeersAgree(t *testing.T) {
	for _, size := range []struct{ policies, questions int }{{12, 400}, {240, 150}} {
		t.Run(fmt.Sprintf("policies=%d", size.policies), func(t *testing.T) {
			all := setUp(t, size.policies, size.questions)
			seen := map[policy.Outcome]int{}
			for i := range size.questions {
				seen[all.agree(t, i)]++
			}
			t.Log("grants", seen[policy.OutcomeGrant], "interrupts", seen[policy.OutcomeInterrupt], "blocks", seen[policy.OutcomeBlock])
			// A tenant that says the same to everybody proves nothing.
			for _, o := range []policy.Outcome{policy.OutcomeGrant, policy.OutcomeInterrupt, policy.OutcomeBlock} {
				require.Greater(t, seen[o], size.questions/20, "too few of outcome %d", o)
			}
		})
	}
}

// BenchmarkPolicy decides the same sign-ins with every engine, after checking
// that they agree: prtbroker with subject, device and application looked up
// once, as a service keeps them, and with ids as they come (prtbroker-ids); the
// others with everything looked up beforehand. All of them find every policy
// that is not satisfied, but casbin, which answers yes or no.
func BenchmarkPolicy(b *testing.B) {
	for _, policies := range []int{50, 240, 1000, 10000} {
		b.Run(fmt.Sprintf("policies=%d", policies), func(b *testing.B) {
			questions := 64
			if policies > 1000 {
				questions = 8 // casbin and OPA take tenths of a second each
			}
			all := setUp(b, policies, questions)
			for i := range questions {
				all.agree(b, i)
			}
			all.benchmark(b, questions)
		})
	}
}

func (t *tenants) benchmark(b *testing.B, n int) {
	set := t.ours.set
	opa := func(o *OPA) func(int) {
		return func(i int) {
			_, err := o.query.Eval(context.Background(), o.evalInput(i))
			require.NoError(b, err)
		}
	}
	for _, e := range []struct {
		name string
		op   func(int)
	}{
		{"prtbroker", func(i int) { sink = set.Evaluate(&t.ours.cached[i]).Outcome }},
		{"prtbroker-ids", func(i int) { sink = set.Evaluate(&t.ours.plain[i]).Outcome }},
		{"naive", func(i int) { t.naive.Unsatisfied(i) }},
		{"cedar", func(i int) { t.cedar.Granted(i) }},
		{"opa", opa(t.rules)},
		{"opa-data", opa(t.data)},
		{"casbin", func(i int) {
			_, err := t.casbin.Granted(i)
			require.NoError(b, err)
		}},
	} {
		b.Run("engine="+e.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e.op(i % n)
			}
		})
	}
}

var sink policy.Outcome
