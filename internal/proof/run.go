package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/machine"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
)

// grace is how long a step may go on after its budget, to compile and to finish the
// cell that it is at.
const grace = 15 * time.Minute

// A count is a line without its class and time.
type count struct {
	cell          string
	cells, passed int
}

// run runs the steps of a part. The result is kept by the caller if there was no
// error.
func (p part) run(ctx context.Context, root string, budget time.Duration) (result, error) {
	if budget == 0 {
		budget = p.budget
	}
	share := budget / time.Duration(len(p.steps))
	r := result{class: p.class, date: time.Now().UTC().Format("2006-01-02"), machine: machine.Describe(), commit: commit(ctx, root)}
	var failures []error
	for _, s := range p.steps {
		cmd := s.command(share)
		r.commands = append(r.commands, s.String(share))
		fmt.Fprintln(os.Stderr, "==", s.String(share))
		lines, err := p.one(ctx, root, s, cmd, share)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", s.String(share), err))
		}
		for _, l := range lines {
			r.add(l)
		}
	}
	for _, l := range r.lines {
		if l.Passed != l.Cells {
			failures = append(failures, fmt.Errorf("%s: %d of %d passed", l.Cell, l.Passed, l.Cells))
		}
	}
	return r, errors.Join(failures...)
}

// one runs a step and returns what it covered.
func (p part) one(ctx context.Context, root string, s step, args []string, budget time.Duration) ([]tally.Line, error) {
	ctx, cancel := context.WithTimeout(ctx, budget+grace)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = filepath.Join(root, s.dir)
	cmd.Env = append(os.Environ(), tally.Env+"="+budget.String(),
		"PRTBROKER_LONG=1", "PRTBROKER_REQUIRE_TPM=1", "PRTBROKER_REQUIRE_TOOLS=1")
	pipe, w := io.Pipe()
	defer func() { _ = pipe.Close() }()
	cmd.Stdout, cmd.Stderr = w, w
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); _ = w.Close() }()

	var lines []tally.Line
	var output []string
	scan := bufio.NewScanner(pipe)
	scan.Buffer(nil, 16<<20)
	for scan.Scan() {
		text := scan.Text()
		output = append(output, text)
		l, ok := tally.Parse(text)
		switch {
		case ok && l.Class != p.class:
			return nil, fmt.Errorf("counts cells of the class %q", l.Class)
		case ok:
			lines = append(lines, l)
		}
	}
	if err := scan.Err(); err != nil {
		return nil, err
	}
	if s.count != nil {
		for _, c := range s.count(output) {
			lines = append(lines, tally.Line{Class: p.class, Cell: c.cell, Cells: c.cells, Passed: c.passed, Seconds: time.Since(begin).Seconds()})
		}
	}
	if err := <-ended; err != nil {
		fmt.Fprintln(os.Stderr, strings.Join(output[max(0, len(output)-200):], "\n"))
		return lines, err
	}
	if len(lines) == 0 {
		return nil, errors.New("covered no cell")
	}
	return lines, nil
}

// command returns the command that runs the step for this long.
func (s step) command(budget time.Duration) []string {
	if s.args == nil {
		return []string{"go", "test", s.pkg, "-run", s.run, "-v", "-count=1", "-timeout", (budget + grace).String()}
	}
	args := make([]string, len(s.args))
	for i, a := range s.args {
		args[i] = strings.ReplaceAll(a, "BUDGET", budget.String())
	}
	return args
}

// String returns the command line that runs the step.
func (s step) String(budget time.Duration) string {
	c := tally.Env + "=" + budget.String() + " "
	if s.args == nil {
		c += fmt.Sprintf("go test %s -run '%s' -v", s.pkg, s.run)
	} else {
		c = strings.Join(s.command(budget), " ")
	}
	if s.dir != "" {
		c = "(cd " + s.dir + " && " + c + ")"
	}
	return c
}

// commit names the commit that is checked out, with a + for changes on top of it.
func commit(ctx context.Context, root string) string {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	name, err := git("rev-parse", "--short=9", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changed, err := git("status", "--porcelain", "--untracked-files=no"); err != nil || changed != "" {
		name += "+"
	}
	return name
}

var endedBelow = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (Test\S+)`)

// countSubtests makes each test without subtests a cell, and each subtest. A subtest
// that was skipped, such as that of a second software TPM, was not tried and is not a
// cell.
func countSubtests(cell string) func([]string) []count {
	return func(output []string) []count {
		passed := map[string]bool{}
		parents := map[string]bool{}
		for _, line := range output {
			m := endedBelow.FindStringSubmatch(line)
			if m == nil || m[1] == "SKIP" && strings.Contains(m[2], "/") {
				continue
			}
			passed[m[2]] = m[1] == "PASS"
			for name := m[2]; strings.Contains(name, "/"); {
				name = name[:strings.LastIndexByte(name, '/')]
				parents[name] = true
			}
		}
		c := count{cell: cell}
		for name, ok := range passed {
			if parents[name] {
				continue
			}
			c.cells++
			if ok {
				c.passed++
			}
		}
		return []count{c}
	}
}

var mutated = regexp.MustCompile(`^\S+ +(\d+) +(\d+) +(\d+) +(\d+)(?: +\d+)+$`)

// countMutants reads the tables of internal/mutants: noticed, by the time limit,
// explained, unexplained. What the tests do not reach, or only slow ones, does not
// count.
func countMutants(output []string) []count {
	c := count{cell: "a changed operator or removed check"}
	for _, line := range output {
		m := mutated.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		for i, text := range m[1:] {
			n, _ := strconv.Atoi(text) // digits only
			c.cells += n
			if i < 3 {
				c.passed += n
			}
		}
	}
	return []count{c}
}
