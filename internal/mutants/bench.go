package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A verdict is what the tests say of a change.
type verdict int

const (
	noticed verdict = iota
	late            // the tests did not end
	survived
	unsettled  // the slow tests that reach it were left out
	notReached // by any test
	verdicts   // how many there are
)

// A test is one test function in a binary.
type test struct {
	binary, dir, name string
	took              time.Duration
}

// A bench tries the changes of some packages, compiled into one test binary for
// each package whose tests judge.
type bench struct {
	limits
	dir     string // holds what is built
	out     io.Writer
	schemas []*schema
	tests   []test
	reach   map[int][]int     // the tests that reach a change
	only    map[survivor]bool // nil: every change
}

// newBench compiles all changes of a group, and runs each test alone to see what it
// reaches.
func newBench(ctx context.Context, out io.Writer, dir string, g group) (*bench, error) {
	b := &bench{dir: dir, out: out, reach: map[int][]int{}}
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	overlay, err := b.compile(ctx, root, g.changed)
	if err != nil {
		return nil, err
	}
	for _, j := range g.judges {
		if err := b.addJudge(ctx, root, overlay, j); err != nil {
			return nil, fmt.Errorf("tests of %s: %w", j, err)
		}
	}
	return b, nil
}

// compile writes the changed packages, and what tells the compiler to read them
// instead.
func (b *bench) compile(ctx context.Context, root string, changed []string) (overlay string, err error) {
	c, listed, err := newChecker(ctx, changed...)
	if err != nil {
		return "", err
	}
	replaced := map[string]string{}
	base := 0
	for _, p := range listed {
		rel, err := filepath.Rel(root, p.Dir)
		if err != nil {
			return "", err
		}
		s, err := c.changed(p, rel, base)
		if err != nil {
			return "", err
		}
		b.schemas, base = append(b.schemas, s), base+len(s.changes)
		for path, src := range s.files {
			instead := filepath.Join(b.dir, strconv.Itoa(len(replaced))+".go")
			if err := os.WriteFile(instead, src, 0o600); err != nil {
				return "", err
			}
			replaced[path] = instead
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(b.dir, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o600)
}

// changes is how many there are.
func (b *bench) changes() int {
	last := b.schemas[len(b.schemas)-1]
	return last.base + len(last.changes)
}

// addJudge makes the tests of a package judges, or with "package=pattern" those whose
// names match.
func (b *bench) addJudge(ctx context.Context, root, overlay, judge string) error {
	pkg, pattern, some := strings.Cut(judge, "=")
	if !some {
		pattern = "."
	}
	binary := filepath.Join(b.dir, strings.ReplaceAll(filepath.Clean(pkg), string(filepath.Separator), "_")+".test")
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-w", "-overlay", overlay, "-o", binary, "./"+filepath.ToSlash(filepath.Clean(pkg))).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if _, err := os.Stat(binary); err != nil {
		return nil // it has no tests
	}
	dir := filepath.Join(root, filepath.Clean(pkg))
	list := exec.CommandContext(ctx, binary, "-test.list", pattern)
	list.Dir = dir
	names, err := list.Output()
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(names)) {
		if strings.HasPrefix(name, "Benchmark") {
			continue
		}
		if err := b.survey(ctx, test{binary: binary, dir: dir, name: name}); err != nil {
			return err
		}
	}
	return nil
}

// newForAll makes an empty file that everyone may write to: some tests run themselves
// again as another user.
func newForAll(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o666), f.Close())
}

// survey runs a test alone, without a change, and notes which changes it reaches.
func (b *bench) survey(ctx context.Context, t test) error {
	reached := filepath.Join(b.dir, "reached")
	if err := newForAll(reached); err != nil {
		return err
	}
	start := time.Now()
	out, err := runTests(ctx, t, 10*time.Minute, "MUTANTS_REACHED="+reached)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		fmt.Fprintf(b.out, "%s fails alone and without a change, and is left out: %v\n%s\n", t.name, err, out)
		return os.RemoveAll(reached)
	}
	t.took = time.Since(start)
	raw, err := os.ReadFile(reached)
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return os.Remove(reached)
	}
	if err := os.Remove(reached); err != nil {
		return err
	}
	b.tests = append(b.tests, t)
	for _, line := range strings.Fields(string(raw)) {
		n, err := strconv.Atoi(line)
		if err != nil {
			return err
		}
		if i := len(b.tests) - 1; !slices.Contains(b.reach[n], i) { // by several processes
			b.reach[n] = append(b.reach[n], i)
		}
	}
	return nil
}

// try makes one change and runs the tests that reach it: the fastest first, a few at
// once, and then more and more of them.
func (b *bench) try(ctx context.Context, n int) (verdict, error) {
	left := slices.Clone(b.reach[n])
	if len(left) == 0 {
		return notReached, nil
	}
	slices.SortStableFunc(left, func(i, j int) int { return cmp.Compare(b.tests[i].took, b.tests[j].took) })
	spare := b.most
	for size := 4; len(left) > 0; size *= 4 {
		some := left[:b.within(spare, left[:min(size, len(left))])]
		if len(some) == 0 {
			return unsettled, nil
		}
		left = left[len(some):]
		for _, t := range b.byBinary(some) {
			spare -= t.took
			_, err := runTests(ctx, t, b.least+time.Duration(b.patience)*t.took, "MUTANT="+strconv.Itoa(n))
			switch {
			case ctx.Err() != nil:
				return 0, ctx.Err()
			case errors.Is(err, errLate):
				return late, nil
			case err != nil:
				return noticed, nil
			}
		}
	}
	return survived, nil
}

// within is how many of the tests, from the first on, fit into a time.
func (b *bench) within(spare time.Duration, tests []int) int {
	for n, i := range tests {
		if spare -= b.tests[i].took; spare < 0 {
			return n
		}
	}
	return len(tests)
}

// byBinary joins those of some tests that are in the same binary.
func (b *bench) byBinary(tests []int) (joined []test) {
	for _, i := range tests {
		t := b.tests[i]
		at := slices.IndexFunc(joined, func(j test) bool { return j.binary == t.binary })
		if at < 0 {
			joined = append(joined, t)
			continue
		}
		joined[at].name += "|" + t.name
		joined[at].took += t.took
	}
	return joined
}

var errLate = errors.New("the tests did not end in time")

// runTests runs tests whose names stand between bars, with one more variable in the
// environment.
func runTests(ctx context.Context, t test, limit time.Duration, env string) ([]byte, error) {
	within, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	defer cancel()
	cmd := exec.CommandContext(within, t.binary, "-test.failfast", "-test.count=1", "-test.run", "^("+t.name+")$")
	cmd.Dir, cmd.Env = t.dir, append(os.Environ(), env)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && within.Err() != nil {
		return out, context.Cause(within)
	}
	return out, err
}

// chosen are the numbers of the changes to try.
func (b *bench) chosen() (list []int) {
	for n := 1; n <= b.changes(); n++ {
		if b.only == nil || b.only[change(b.schemas, n)] {
			list = append(list, n)
		}
	}
	return list
}

// all tries every change that was chosen, several side by side, and reports each.
func (b *bench) all(ctx context.Context, side int, report func(survivor, verdict)) error {
	type result struct {
		verdict
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make([]chan result, b.changes()+1)
	turns := make(chan struct{}, side)
	for n := range results {
		results[n] = make(chan result, 1)
	}
	left := b.chosen()
	go func() {
		for _, n := range left {
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				defer func() { <-turns }()
				v, err := b.try(ctx, n)
				results[n] <- result{v, err}
			}()
		}
	}()
	for _, n := range left {
		select {
		case r := <-results[n]:
			if r.err != nil {
				return r.err
			}
			report(change(b.schemas, n), r.verdict)
		case <-ctx.Done(): // the rest is not begun
			return ctx.Err()
		}
	}
	return nil
}
