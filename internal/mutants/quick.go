package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A group is packages that are changed together, and those whose tests judge.
//
// A judge is a package, or package=pattern for those of its tests whose names match.
type group struct{ changed, judges []string }

// groups are those whose survivors all have a reason. Their tests take too long for
// gremlins, or its operators are not enough: a check that is removed is none of them.
var groups = []group{
	{changed: []string{"./claims"}},
	{changed: []string{"./claims/verify"}},
	{changed: []string{"./prt"}},
	{changed: []string{"./prt/kerberos"}},
	{changed: []string{"./policy"}, judges: []string{"./policy", "./policy/policytest"}},
	{changed: []string{"./tpm/internal/envelope"}},
	{changed: []string{"./tpm/softkeys"}},
	{changed: []string{"./broker/store"}, judges: []string{"./broker/store", "./broker=PowerLoss"}},
	{changed: []string{"./broker/internal/vault"}},
	{changed: []string{"./broker/internal/flight"}},
	{changed: []string{"./broker/internal/remember"}},
	{changed: []string{"./broker/internal/tokencache"}},
	{changed: []string{"./broker/internal/account"}},
	{changed: []string{"./broker/internal/device"}},
	{changed: []string{"./broker/internal/signon"}},
	{changed: []string{"./broker/internal/sts"}},
	{changed: []string{"./broker/internal/sts/internal/nonce"}},
	{changed: []string{"./broker/internal/sts/internal/retry"}},
	{changed: []string{"./broker/oauth2broker"}},
	{changed: []string{"./broker/entratest/internal/verify"}},
}

// limits bound the tests for one change.
type limits struct {
	patience int           // how many times as long as without a change they may take
	least    time.Duration // and how much longer
	most     time.Duration // how long the tests that are run take without it; the fastest come first
}

// quick changes the packages of a group and prints what was noticed.
func quick(ctx context.Context, out io.Writer, g group, reasons []reason, l limits, only map[survivor]bool) (unexplained int, err error) {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o711); err != nil { // newForAll
		return 0, err
	}
	if len(g.judges) == 0 {
		g.judges = g.changed
	}
	b, err := newBench(ctx, out, dir, g)
	if err != nil {
		return 0, err
	}
	b.limits, b.only = l, only
	t := &tally{out: out, reasons: reasons, count: map[string]*[verdicts]int{}, open: map[string]int{}, seen: map[survivor]*[verdicts]int{}}
	if err := b.all(ctx, runtime.NumCPU(), t.add); err != nil {
		return 0, err
	}
	return t.print(), nil
}

// A tally counts the verdicts of each package.
type tally struct {
	out     io.Writer
	reasons []reason
	count   map[string]*[verdicts]int
	open    map[string]int              // survivors without a reason
	seen    map[survivor]*[verdicts]int // more than once if the line is there more often
}

// add counts a verdict, and prints it at once where it wants work.
func (t *tally) add(s survivor, v verdict) {
	if t.count[s.pkg] == nil {
		t.count[s.pkg] = new([verdicts]int)
	}
	if t.seen[s] == nil {
		t.seen[s] = new([verdicts]int)
	}
	t.count[s.pkg][v]++
	t.seen[s][v]++
	if slices.ContainsFunc(t.reasons, func(r reason) bool { return r.survivor == s }) {
		return
	}
	if text := unwelcome[v]; text != "" {
		fmt.Fprintf(t.out, "%s\n%s\n", text, s)
	}
	if v == survived {
		t.open[s.pkg]++
	}
}

// unwelcome are the verdicts that want work.
var unwelcome = [verdicts]string{survived: "nobody noticed:", unsettled: "the fast tests did not notice:", notReached: "no test reaches:"}

// printed returns the changes that an earlier run wanted work for, from its output.
func printed(text string) map[survivor]bool {
	found := map[survivor]bool{}
	lines := strings.Split(text, "\n")
	for i := range len(lines) - 2 {
		if lines[i] == "" || !slices.Contains(unwelcome[:], lines[i]) {
			continue
		}
		if f := strings.Fields(lines[i+1]); len(f) == 3 {
			found[survivor{f[0], f[1], f[2], strings.TrimSpace(lines[i+2])}] = true
		}
	}
	return found
}

// stale reports whether a reason is for a change that was noticed at each of its
// places. Gremlins judges those that it knows.
func (t *tally) stale(r reason) bool {
	listed := slices.ContainsFunc(packages, func(p string) bool {
		p = filepath.ToSlash(filepath.Clean(p))
		return r.pkg == p || strings.HasPrefix(r.pkg, p+"/")
	})
	n := t.seen[r.survivor]
	return (r.mutation == removal || !listed) && n != nil && *n == [verdicts]int{noticed: n[noticed]}
}

// print returns how many survivors have no reason, and reasons no survivor.
func (t *tally) print() (unexplained int) {
	for _, r := range t.reasons {
		if t.stale(r) {
			fmt.Fprintf(t.out, "has a reason and did not survive:\n%s\n", r.survivor)
			unexplained++
		}
	}
	table := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "package\tnoticed\tby the time limit\texplained\tunexplained\tnot by the fast tests\tnot reached by a test")
	for _, pkg := range slices.Sorted(maps.Keys(t.count)) {
		n := t.count[pkg]
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", pkg, n[noticed], n[late], n[survived]-t.open[pkg], t.open[pkg], n[unsettled], n[notReached])
		unexplained += t.open[pkg]
	}
	_ = table.Flush()
	return unexplained
}
