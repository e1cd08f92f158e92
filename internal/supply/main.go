// Supply checks what the programs are made of, and that two builds of them are the
// same bytes:
//
//	vulnerabilities  no known vulnerability is reachable (govulncheck), in every module
//	modules          what was downloaded is what go.sum names, in every module
//	builds           each program, built twice, in different directories with
//	                 different caches, is the same file
//	sbom             a CycloneDX 1.6 bill of materials for each program and each
//	                 nested module that others import, valid by the published schema
//	licences         every module in those bills has a licence that is on the list
//
// It works in clones of the last commit: local changes are not checked.
//
//	go run ./internal/supply                everything; the bills are kept in sbom/
//	go run ./internal/supply -only modules  one check, or several with commas
//
// The database of vulnerabilities is at vuln.go.dev. When it cannot be reached,
// the check is reported as not run, and fails with -require.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/proof/tally"
)

// errNotRun means that a check could not be made here. That is not a pass.
var errNotRun = errors.New("not run")

func main() {
	log.SetFlags(0)
	only := flag.String("only", "", "the checks to run, with commas between; empty: all")
	require := flag.Bool("require", false, "a check that cannot be made here fails")
	keep := flag.String("sbom", "sbom", "the `directory` for the bills of materials")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *keep, *require); err != nil {
		log.Fatal("supply: ", err)
	}
}

// A check looks at one thing in several places. It returns a result for each place.
type check struct {
	name string
	cell string
	run  func(context.Context, *source) ([]result, error)
}

// A result is what was found in one place.
type result struct {
	what string
	err  error
}

var checks = []check{
	{"vulnerabilities", "a module without a known vulnerability that is reached", vulnerabilities},
	{"modules", "a module whose dependencies are what go.sum names", verifyModules},
	{"builds", "a program of which two builds are the same bytes", sameBuilds},
	{"sbom", "a valid bill of materials", bills},
	{"licences", "a linked module whose licence is on the list", licences},
}

func run(ctx context.Context, only, keep string, require bool) error {
	chosen := checks
	if only != "" {
		names := strings.Split(only, ",")
		chosen = slices.DeleteFunc(slices.Clone(checks), func(c check) bool { return !slices.Contains(names, c.name) })
		if len(chosen) != len(names) {
			return fmt.Errorf("no such check in %q", only)
		}
	}
	src, err := clone(ctx, ".", keep)
	if err != nil {
		return err
	}
	defer src.remove()
	var failed []string
	for _, c := range chosen {
		begin := time.Now()
		results, err := c.run(ctx, src)
		if errors.Is(err, errNotRun) && !require {
			fmt.Printf("%-16s %v\n", c.name, err)
			continue
		}
		line := tally.Line{Class: "supply-chain", Cell: c.cell, Cells: len(results)}
		for _, r := range results {
			if r.err != nil {
				fmt.Printf("%-16s %s: %v\n", c.name, r.what, r.err)
				continue
			}
			line.Passed++
		}
		if err == nil && len(results) == 0 {
			err = errors.New("looked at nothing")
		}
		fmt.Printf("%-16s %d of %d passed\n", c.name, line.Passed, line.Cells)
		if err != nil {
			fmt.Printf("%-16s %v\n", c.name, err)
		}
		if err != nil || line.Passed < line.Cells {
			failed = append(failed, c.name)
		}
		line.Seconds = time.Since(begin).Seconds()
		line.Print()
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// A source is the last commit, twice: in directories whose names differ in length.
type source struct {
	root string // the module's own directory, with the tools
	temp string
	one  string
	two  string
	keep string // for the bills of materials

	made map[string]*bill // by program or module, once sbom has run
}

func clone(ctx context.Context, dir, keep string) (*source, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	keep, err = filepath.Abs(keep)
	if err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp("", "supply")
	if err != nil {
		return nil, err
	}
	s := &source{root: root, temp: temp, keep: keep, one: filepath.Join(temp, "a"), two: filepath.Join(temp, "elsewhere", "another")}
	for _, to := range []string{s.one, s.two} {
		if _, err := command(ctx, "", nil, "git", "clone", "--quiet", root, to); err != nil {
			s.remove()
			return nil, err
		}
	}
	return s, nil
}

func (s *source) remove() { _ = os.RemoveAll(s.temp) }

// modules are the directories with a go.mod, from the root.
func (s *source) modules(ctx context.Context) ([]string, error) {
	out, err := command(ctx, s.one, nil, "git", "ls-files", "go.mod", "*/go.mod")
	if err != nil {
		return nil, err
	}
	var dirs []string
	for file := range strings.FieldsSeq(out) {
		dirs = append(dirs, filepath.Dir(file))
	}
	return dirs, nil
}

// programs are the packages below examples that are programs, by their path.
func (s *source) programs(ctx context.Context) ([]string, error) {
	out, err := command(ctx, s.one, nil, "go", "list", "-f", `{{if eq .Name "main"}}{{.Dir}}{{end}}`, "./examples/...")
	if err != nil {
		return nil, err
	}
	var names []string
	for dir := range strings.FieldsSeq(out) {
		names = append(names, filepath.Base(dir))
	}
	return names, nil
}

// tool runs a program of tools/go.mod in dir.
func (s *source) tool(ctx context.Context, dir, name string, args ...string) (string, error) {
	return command(ctx, dir, nil, "go", append([]string{"tool", "-modfile=" + filepath.Join(s.root, "tools", "go.mod"), name}, args...)...)
}

// command returns what a program printed, which is part of the error too.
func command(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
