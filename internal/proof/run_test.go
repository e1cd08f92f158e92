package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/proof/tally"
)

// says is a step that prints these lines and exits with a status.
func says(lines, status string) step {
	return step{args: []string{"sh", "-c", "printf '" + lines + "'; exit " + status}}
}

func TestRunReadsWhatIsCovered(t *testing.T) {
	line := `proof: {"class":"faults","cell":"a request","cells":3,"passed":3,"seconds":1}\n`
	p := part{class: "faults", budget: time.Minute, steps: []step{says(`noise\n`+line, "0"), says(line, "0")}}
	r, err := p.run(t.Context(), t.TempDir(), 0)
	require.NoError(t, err)
	require.Equal(t, []tally.Line{{Class: "faults", Cell: "a request", Cells: 6, Passed: 6, Seconds: 1}}, r.lines)
	require.Equal(t, "unknown", r.commit, "not a repository")
	require.Len(t, r.commands, 2)
}

func TestRunFails(t *testing.T) {
	for name, s := range map[string]struct {
		step step
		want string
	}{
		"the command fails": {says(`proof: {"class":"faults","cell":"a request","cells":3,"passed":3}\n`, "1"), "exit status 1"},
		"a cell fails":      {says(`proof: {"class":"faults","cell":"a request","cells":3,"passed":2}\n`, "0"), "2 of 3 passed"},
		"another class":     {says(`proof: {"class":"soak","cell":"a request","cells":3,"passed":3}\n`, "0"), `"soak"`},
		"nothing covered":   {says(`ok\n`, "0"), "covered no cell"},
		"no such command":   {step{args: []string{"./none"}}, "./none"},
	} {
		t.Run(name, func(t *testing.T) {
			p := part{class: "faults", budget: time.Minute, steps: []step{s.step}}
			_, err := p.run(t.Context(), t.TempDir(), 0)
			require.ErrorContains(t, err, s.want)
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	p := part{class: "faults", budget: time.Minute, steps: []step{says("", "0")}}
	_, err := p.run(ctx, t.TempDir(), 0)
	require.ErrorIs(t, err, context.Canceled)
}

func TestCountMutants(t *testing.T) {
	require.Equal(t, []count{{"a changed operator or removed check", 579 + 52, 578 + 50}}, countMutants([]string{
		"package                noticed  by the time limit  explained  unexplained  not reached by the package's tests",
		"claims/verify          30       1                  4          0            2",
		"broker/internal/vault  15       0                  0          2            1",
		"package  noticed  by the time limit  explained  unexplained  not by the fast tests  not reached by a test",
		"prt      570      1                  7          1            4                      2",
	}))
}

func TestBudgetOfAStep(t *testing.T) {
	s := step{dir: "x", args: []string{"scripts/fuzz", "BUDGET"}}
	require.Equal(t, "(cd x && scripts/fuzz 5m0s)", s.String(5*time.Minute))
	s = step{pkg: "./broker", run: "^TestFaults$"}
	require.Equal(t, "PRTBROKER_PROOF=5m0s go test ./broker -run '^TestFaults$' -v", s.String(5*time.Minute))
	require.Contains(t, s.command(5*time.Minute), "20m0s", "the timeout")
}

func TestChoose(t *testing.T) {
	all, err := choose("")
	require.NoError(t, err)
	require.Len(t, all, len(parts))
	two, err := choose("soak,faults")
	require.NoError(t, err)
	require.Equal(t, "soak", two[0].class)
	_, err = choose("nothing")
	require.ErrorContains(t, err, "faults, crashes")
}

func TestTook(t *testing.T) {
	for s, want := range map[float64]string{0.4: "0 s", 61: "61 s", 150: "2 min", 7200: "2.0 h"} {
		require.Equal(t, want, took(s))
	}
	require.Equal(t, "1,234,567", thousands(1234567))
	require.Equal(t, "999", thousands(999))
}

func TestCountSubtests(t *testing.T) {
	got := countSubtests("x")([]string{
		"=== RUN   TestA", "--- PASS: TestA (0.00s)",
		"    --- PASS: TestA/one (0.00s)", "    --- FAIL: TestA/two (0.00s)", "        --- PASS: TestA/two/deep (0.00s)",
		"    --- SKIP: TestA/three (0.00s)", "--- PASS: TestB (0.00s)", "--- SKIP: TestC (0.00s)", "PASS",
	})
	require.Equal(t, []count{{"x", 4, 3}}, got)
}

// The class adversary runs the tests of SECURITY.md's table, and no others.
func TestAttacksAreTheTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "SECURITY.md"))
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(text), "\n## Attacks tried\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n## ")
	want, got := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z]+)\\.(Test\\w+)`").FindAllStringSubmatch(table, -1) {
		want[m[1]+"."+m[2]] = true
	}
	for _, a := range attacks {
		for test := range strings.FieldsSeq(a.tests) {
			got[filepath.Base(a.pkg)+"."+test] = true
		}
	}
	require.Equal(t, want, got)
}
