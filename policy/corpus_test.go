package policy_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/prtbroker/prtbroker/policy"
	"github.com/stretchr/testify/require"
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

func TestCorpus(t *testing.T) {
	b, diags, err := policy.LoadFS(corpusFS(t))
	require.NoError(t, err)
	s, err := policy.Compile(b)
	require.NoError(t, err)
	files, states := map[string]bool{}, map[policy.State]int{}
	for _, p := range b.Policies {
		states[p.State]++
	}
	codes := map[policy.Code]int{}
	for _, d := range diags {
		codes[d.Code]++
		files[d.File] = true
		if d.Severity == policy.Error {
			t.Log(d)
		}
	}
	bad := 0
	reasons := map[policy.Code]int{}
	for _, d := range s.Diagnostics() {
		reasons[d.Code]++
	}
	for i := range s.Len() {
		if !s.Evaluable(i) {
			bad++
		}
	}
	t.Logf("%d policies %v, %d locations, %d strengths; load diagnostics %v; compile %v; unevaluable %d",
		len(b.Policies), states, len(b.Locations), len(b.Strengths), codes, reasons, bad)
}
