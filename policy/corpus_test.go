package policy_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/policy/policytest"
)

// corpus is a folder of real exports beside the repository. It is not part of
// the project; without it the tests that read it skip.
const corpus = "../../shared/corpus"

func corpusFS(t testing.TB) fs.FS {
	t.Helper()
	if _, err := os.Stat(corpus); errors.Is(err, fs.ErrNotExist) {
		t.Skip("no corpus of exports beside the repository")
	}
	return os.DirFS(corpus)
}

// foreign are the reasons for which a policy of the corpus may be
// unevaluable: they lie in the export. Everything else is a gap of this
// package.
func foreign(d policy.Diagnostic) bool {
	switch d.Code {
	case policy.CodeNoLocation, policy.CodeNoStrength, policy.CodeBadLocation:
		return true // the export does not hold what the policy refers to
	case policy.CodeUnknownValue:
		return strings.Contains(d.Message, `"compliantNetwork"`) // no control of this name exists
	}
	return false
}

func TestCorpus(t *testing.T) {
	files := 0
	require.NoError(t, fs.WalkDir(corpusFS(t), ".", func(name string, e fs.DirEntry, err error) error {
		if path.Ext(name) == ".json" {
			files++
		}
		return err
	}))
	b, diags, err := policy.LoadFS(corpusFS(t))
	require.NoError(t, err, "every file loads")
	s, err := policy.Compile(b)
	require.NoError(t, err)

	loaded, compiled, states := map[string]int{}, map[string]int{}, map[policy.State]int{}
	for _, d := range diags {
		loaded[d.Severity.String()+" "+string(d.Code)]++
	}
	gaps := map[string]bool{}
	for _, d := range s.Diagnostics() {
		compiled[d.Severity.String()+" "+string(d.Code)]++
		if d.Severity == policy.SeverityError && !foreign(d) {
			gaps[d.String()] = true
		}
	}
	unevaluable := 0
	for i := range s.Len() {
		states[s.Policy(i).State]++
		if !s.Evaluable(i) {
			unevaluable++
		}
	}
	t.Logf("%d files: %d policies %v, %d locations, %d strengths", files, s.Len(), states, len(b.Locations), len(b.Strengths))
	t.Logf("diagnostics of Load: %v", loaded)
	t.Logf("diagnostics of Compile: %v; unevaluable policies: %d", compiled, unevaluable)
	require.Equal(t, 277, files)
	require.Empty(t, slices.Sorted(maps.Keys(gaps)), "unevaluable for want of this package")
}

// The corpus evaluates, and nobody is granted more by failing closed.
func TestCorpusEvaluates(t *testing.T) {
	b, _, err := policy.LoadFS(corpusFS(t))
	require.NoError(t, err)
	for i := range b.Policies {
		b.Policies[i].State = policy.StateEnabled
	}
	open, closed := compile(t, b), compile(t, b, policy.FailClosed())
	in := ask()
	d, c := open.Evaluate(in), closed.Evaluate(in)
	require.NotEqual(t, policy.OutcomeInvalid, d.Outcome)
	require.Positive(t, d.Applied)
	require.Equal(t, policy.OutcomeBlock, c.Outcome)
	t.Logf("%d of %d policies apply, %v (%v)", d.Applied, open.Len(), d.Outcome, d.Reason)
}

// Real policies, too, are judged as the naive evaluator judges them.
func TestCorpusAgainstNaive(t *testing.T) {
	b, _, err := policy.LoadFS(corpusFS(t))
	require.NoError(t, err)
	for i := range b.Policies {
		if i%3 != 0 {
			b.Policies[i].State = policy.StateEnabled
		}
	}
	o := policytest.Options{FailClosed: true}
	s, err := o.Compile(b)
	require.NoError(t, err)
	g := policytest.NewGenerator(4)
	for i := range 100 {
		require.NoError(t, policytest.Check(s, b, o, g.SignIn()), "sign-in %d", i)
	}
}
