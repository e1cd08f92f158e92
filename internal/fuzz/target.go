package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A target is a fuzz test of a package.
type target struct {
	module string // its directory
	pkg    string // its directory below the module, as in ./prt
	name   string
}

// String is the directory of the package and the name, as in prt.FuzzParseReply.
func (t target) String() string {
	return filepath.ToSlash(filepath.Clean(filepath.Join(t.module, t.pkg))) + "." + t.name
}

// targets finds every target of every module, in a fixed order.
func targets(ctx context.Context, root string) ([]target, error) {
	var all []target
	module := map[string]string{} // by directory
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			name := e.Name()
			if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata") {
				return fs.SkipDir
			}
			module[path] = module[filepath.Dir(path)]
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				module[path] = path
			}
			return ctx.Err()
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		below, err := filepath.Rel(module[dir], dir)
		if err != nil {
			return err
		}
		pkg := "."
		if below != "." {
			pkg = "./" + filepath.ToSlash(below)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") {
				all = append(all, target{module[dir], pkg, f.Name.Name})
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b target) int { return strings.Compare(a.String(), b.String()) })
	return all, err
}

const passes = "ok"

// A row is one run of a target.
type row struct {
	commit     string
	target     string
	time       time.Duration
	executions int
	found      int // inputs that reach new code
	inputs     int // all that Go keeps
	result     string
}

// minimize bounds how often Go tries to shrink an input that fails or reaches new code.
const minimize = "100x"

// run fuzzes a target for a time. Go 1.26 sometimes fails at the end of that time
// without having found anything (go.dev/issue/75804): then it is run again.
func (t target) run(ctx context.Context, each time.Duration) (r row) {
	const tries = 3
	for range tries {
		var out string
		var err error
		r, out, err = t.try(ctx, each)
		if err == nil || !endedEarly(out) {
			break
		}
	}
	return r
}

func endedEarly(out string) bool {
	return strings.Contains(out, "\n    context deadline exceeded\n") && !strings.Contains(out, "Failing input written")
}

func (t target) try(ctx context.Context, each time.Duration) (row, string, error) {
	r := row{target: t.String(), time: each}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", each.String(),
		"-fuzzminimizetime", minimize, "-parallel", "1", "-timeout", (each + time.Hour).String(), t.pkg)
	cmd.Dir = t.module
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	r.read(string(out))
	switch {
	case err != nil:
		r.result = "failed"
		fmt.Fprintf(os.Stderr, "== %s\n%s\n", t, out)
	case r.executions == 0:
		r.result = "never ran"
	default:
		r.result = passes
	}
	return r, string(out), err
}

var progress = regexp.MustCompile(`fuzz: elapsed: \S+, execs: (\d+) .*new interesting: (\d+) \(total: (\d+)\)`)

// read takes the counts from the last line of progress.
func (r *row) read(out string) {
	lines := progress.FindAllStringSubmatch(out, -1)
	if len(lines) == 0 {
		return
	}
	last := lines[len(lines)-1]
	for i, into := range []*int{&r.executions, &r.found, &r.inputs} {
		*into, _ = strconv.Atoi(last[i+1]) // digits only
	}
}

// commit is the commit that is checked out; empty if files were changed or git is not
// installed.
func commit(ctx context.Context, root string) string {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	changed, err := git("status", "--porcelain", "--untracked-files=no")
	if err != nil || changed != "" {
		return ""
	}
	name, err := git("rev-parse", "HEAD")
	if err != nil {
		return ""
	}
	return name
}

var errTable = errors.New("not a table of this program")
