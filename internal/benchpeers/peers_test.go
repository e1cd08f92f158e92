package benchpeers

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

// tenants are the engines with one tenant and one list of questions.
type tenants struct {
	ours  *PRTBroker
	cedar *Cedar
	rules *OPA
	data  *OPA
}

func setUp(tb testing.TB, policies, questions int) *tenants {
	tb.Helper()
	b, qs := Tenant(policies), Questions(questions)
	ds := demands(b)
	var t tenants
	var err error
	t.ours, err = NewPRTBroker(b, qs)
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
// question i, and ours grants exactly when there are none.
func (t *tenants) agree(tb testing.TB, i int) policy.Outcome {
	outcome, want := t.ours.Unsatisfied(i)
	require.Equal(tb, len(want) == 0, outcome == policy.OutcomeGrant, "question %d: %v with %v", i, outcome, want)
	require.Equal(tb, outcome, t.ours.set.Evaluate(&t.ours.plain[i]).Outcome, "question %d, uncached", i)

	got, err := t.cedar.Unsatisfied(i)
	require.NoError(tb, err)
	require.Equal(tb, want, got, "cedar, question %d", i)
	require.Equal(tb, outcome == policy.OutcomeGrant, t.cedar.Granted(i))
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

// BenchmarkPeers decides the same sign-ins with every engine, after checking
// that they agree. x-prtbroker is how many times the time of prtbroker with a
// cached subject an engine takes, measured in the same run.
func BenchmarkPeers(b *testing.B) {
	for _, policies := range []int{240} {
		b.Run(fmt.Sprintf("policies=%d", policies), func(b *testing.B) {
			const questions = 64
			all := setUp(b, policies, questions)
			for i := range questions {
				all.agree(b, i)
			}
			all.benchmark(b)
		})
	}
}

func (t *tenants) benchmark(b *testing.B) {
	set, n := t.ours.set, len(t.ours.cached)
	ours := func(i int) { sink = set.Evaluate(&t.ours.cached[i%n]).Outcome }
	opa := func(o *OPA) func(int) {
		return func(i int) {
			if _, err := o.query.Eval(context.Background(), o.evalInput(i%n)); err != nil {
				panic(err)
			}
		}
	}
	for _, e := range []struct {
		name string
		op   func(int)
	}{
		{"prtbroker", ours},
		{"prtbroker-uncached", func(i int) { sink = set.Evaluate(&t.ours.plain[i%n]).Outcome }},
		{"cedar", func(i int) { t.cedar.Granted(i % n) }},
		{"opa", opa(t.rules)},
		{"opa-data", opa(t.data)},
	} {
		b.Run(e.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e.op(i)
			}
			b.ReportMetric(ratio(e.op, ours, n), "x-prtbroker")
		})
	}
}

var sink policy.Outcome

// ratio is how many times the time of ours an engine takes. Both run in turns
// of equal length, so that whatever else the machine does burdens both alike,
// and the median of the turns counts.
func ratio(theirs, ours func(int), questions int) float64 {
	var turns []float64
	for range 9 {
		begin := time.Now()
		asked := 0
		for ; asked < questions || time.Since(begin) < 10*time.Millisecond; asked++ {
			theirs(asked)
		}
		turn := time.Since(begin)
		per := float64(turn) / float64(asked)

		begin, asked = time.Now(), 0
		for time.Since(begin) < turn {
			for range 20 * questions {
				ours(asked)
				asked++
			}
		}
		turns = append(turns, per/(float64(time.Since(begin))/float64(asked)))
	}
	slices.Sort(turns)
	return turns[len(turns)/2]
}
