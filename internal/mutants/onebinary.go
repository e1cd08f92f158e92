package main

import (
	"bytes"
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
)

// A test is one test function in a binary.
type test struct {
	binary, dir, name string
	took              time.Duration
}

// A bench tries the changes of some packages, compiled into one test binary for
// each package whose tests judge.
type bench struct {
	dir      string // holds what is built
	out      io.Writer
	patience int
	most     time.Duration // of tests for one change
	schemas  []*schema
	tests    []test
	reach    map[int][]int // the tests that reach a change
}

// newBench compiles all changes of the packages and of those below them, and runs each
// test alone to see what it reaches.
func newBench(ctx context.Context, out io.Writer, dir string, changed, judges []string) (*bench, error) {
	b := &bench{dir: dir, out: out, reach: map[int][]int{}}
	c, listed, err := newChecker(ctx, changed...)
	if err != nil {
		return nil, err
	}
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	replaced := map[string]string{}
	base := 0
	for _, p := range listed {
		rel, err := filepath.Rel(root, p.Dir)
		if err != nil {
			return nil, err
		}
		s, err := c.changed(p, rel, base)
		if err != nil {
			return nil, err
		}
		b.schemas, base = append(b.schemas, s), base+len(s.changes)
		for path, src := range s.files {
			instead := filepath.Join(dir, strconv.Itoa(len(replaced))+".go")
			if err := os.WriteFile(instead, src, 0o600); err != nil {
				return nil, err
			}
			replaced[path] = instead
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return nil, err
	}
	for _, j := range judges {
		if err := b.addJudge(ctx, root, file, j); err != nil {
			return nil, fmt.Errorf("tests of %s: %w", j, err)
		}
	}
	return b, nil
}

// changes is how many there are.
func (b *bench) changes() int {
	last := b.schemas[len(b.schemas)-1]
	return last.base + len(last.changes)
}

func (b *bench) addJudge(ctx context.Context, root, overlay, pkg string) error {
	binary := filepath.Join(b.dir, strings.ReplaceAll(filepath.Clean(pkg), string(filepath.Separator), "_")+".test")
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-w", "-overlay", overlay, "-o", binary, "./"+filepath.ToSlash(filepath.Clean(pkg))).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if _, err := os.Stat(binary); err != nil {
		return nil // it has no tests
	}
	dir := filepath.Join(root, filepath.Clean(pkg))
	list := exec.CommandContext(ctx, binary, "-test.list", ".")
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

// survey runs a test alone, without a change, and notes which changes it reaches.
func (b *bench) survey(ctx context.Context, t test) error {
	reached := filepath.Join(b.dir, "reached")
	start := time.Now()
	out, err := run1(ctx, t.binary, t.dir, 10*time.Minute, []string{t.name}, "MUTANTS_REACHED="+reached)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		fmt.Fprintf(b.out, "%s fails alone and without a change, and is left out: %v\n%s\n", t.name, err, out)
		return os.RemoveAll(reached)
	}
	t.took = time.Since(start)
	raw, err := os.ReadFile(reached)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
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

// try makes one change and runs the tests that reach it, the fastest first.
func (b *bench) try(ctx context.Context, n int) (verdict, error) {
	left := slices.Clone(b.reach[n])
	if len(left) == 0 {
		return notReached, nil
	}
	slices.SortStableFunc(left, func(i, j int) int { return cmp.Compare(b.tests[i].took, b.tests[j].took) })
	var spent time.Duration
	for size := 4; len(left) > 0; size *= 4 {
		group := left[:min(size, len(left))]
		left = left[len(group):]
		for _, binary := range b.binaries(group) {
			var names []string
			var took time.Duration
			for _, i := range group {
				if b.tests[i].binary == binary.binary && spent+took+b.tests[i].took <= b.most {
					names, took = append(names, b.tests[i].name), took+b.tests[i].took
				}
			}
			if len(names) == 0 {
				return unsettled, nil
			}
			spent += took
			_, err := run1(ctx, binary.binary, binary.dir, 10*time.Second+time.Duration(b.patience)*took, names, "MUTANT="+strconv.Itoa(n))
			switch {
			case ctx.Err() != nil:
				return 0, ctx.Err()
			case errors.Is(err, errLate):
				return late, nil
			case err != nil:
				return noticed, nil
			}
		}
		if spent >= b.most && len(left) > 0 {
			return unsettled, nil
		}
	}
	return survived, nil
}

// binaries are those of some tests, each once.
func (b *bench) binaries(tests []int) (list []test) {
	for _, i := range tests {
		if !slices.ContainsFunc(list, func(t test) bool { return t.binary == b.tests[i].binary }) {
			list = append(list, b.tests[i])
		}
	}
	return list
}

var errLate = errors.New("the tests did not end in time")

// run1 runs some tests of a binary, with one more variable in the environment.
func run1(ctx context.Context, binary, dir string, limit time.Duration, names []string, env string) ([]byte, error) {
	within, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	defer cancel()
	cmd := exec.CommandContext(within, binary, "-test.failfast", "-test.count=1", "-test.run", "^("+strings.Join(names, "|")+")$")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil && within.Err() != nil {
		return out.Bytes(), context.Cause(within)
	}
	return out.Bytes(), err
}

// all tries every change, several side by side, and calls report for each in order
// of their end.
func (b *bench) all(ctx context.Context, side int, report func(survivor, verdict)) error {
	type result struct {
		n   int
		v   verdict
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	todo, done := make(chan int), make(chan result)
	go func() {
		defer close(todo)
		for n := 1; n <= b.changes(); n++ {
			select {
			case todo <- n:
			case <-ctx.Done():
				return
			}
		}
	}()
	for range side {
		go func() {
			for n := range todo {
				v, err := b.try(ctx, n)
				done <- result{n, v, err}
			}
		}()
	}
	var failed error
	for range b.changes() {
		select {
		case r := <-done:
			if r.err != nil {
				return r.err
			}
			report(change(b.schemas, r.n), r.v)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return failed
}

// quick is run for one binary: it changes the packages and those below them.
func quick(ctx context.Context, out io.Writer, changed, judges []string, reasons []reason, patience int, most time.Duration) (unexplained int, err error) {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b, err := newBench(ctx, out, dir, changed, judges)
	if err != nil {
		return 0, err
	}
	b.patience, b.most = patience, most
	fmt.Fprintf(out, "%d changes, %d tests that reach some\n", b.changes(), len(b.tests))
	count := map[verdict]int{}
	explained := 0
	err = b.all(ctx, 2, func(s survivor, v verdict) {
		count[v]++
		switch {
		case v != survived && v != unsettled && v != notReached:
		case slices.ContainsFunc(reasons, func(r reason) bool { return r.survivor == s }):
			explained++
		default:
			fmt.Fprintf(out, "%s %s\n", map[verdict]string{survived: "nobody noticed:", unsettled: "the fast tests did not notice:", notReached: "no test reaches:"}[v], s)
		}
	})
	fmt.Fprintf(out, "noticed %d, late %d, survived %d (%d explained), unsettled %d, not reached %d\n",
		count[noticed], count[late], count[survived], explained, count[unsettled], count[notReached])
	return count[survived] + count[unsettled] - explained, err
}
