package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/machine"
)

// A benchmark is one call of go test.
type benchmark struct {
	dir  string // of the module, from the root
	args []string
}

// command is what a person types to run it.
func (b benchmark) command() string {
	args := make([]string, len(b.args))
	for i, a := range b.args {
		if strings.ContainsAny(a, "^$|") {
			a = "'" + a + "'"
		}
		args[i] = a
	}
	c := "go test -run '^$' -benchmem " + strings.Join(args, " ")
	if b.dir != "." {
		c = "cd " + b.dir + " && " + c
	}
	return c
}

func resultsFile(root, name string) string {
	return filepath.Join(root, "internal", "bench", "results", name+".txt")
}

// run runs the benchmarks of a section and keeps what they print.
func (s section) run(ctx context.Context, root string, count int) error {
	path := resultsFile(root, s.name)
	var out bytes.Buffer
	fmt.Fprintf(&out, "date: %s\nmachine: %s\nload: %s\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"), machine.Describe(), machine.Load())
	for _, b := range s.benchmarks {
		fmt.Fprintf(&out, "command: %s\n", b.command())
		fmt.Fprintln(os.Stderr, "==", b.command())
		if err := b.run(ctx, root, count, &out); err != nil {
			return err
		}
	}
	fmt.Fprintf(&out, "load-after: %s\n", machine.Load())
	before, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		return err
	}
	if len(before) == 0 {
		return nil
	}
	return compare(ctx, root, s.name, before, path)
}

// kept are the lines of go test that stay: configuration and results.
var kept = regexp.MustCompile(`^(goos|goarch|pkg|cpu): |^Benchmark\S+\s+\d+\s`)

func (b benchmark) run(ctx context.Context, root string, count int, out io.Writer) error {
	args := append([]string{"test", "-run", "^$", "-benchmem", "-timeout", "30m", fmt.Sprintf("-count=%d", count)}, b.args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(root, b.dir)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	results := 0
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintln(os.Stderr, lines.Text())
		if kept.MatchString(lines.Text()) {
			fmt.Fprintln(out, lines.Text())
		}
		if strings.HasPrefix(lines.Text(), "Benchmark") {
			results++
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", b.command(), err)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if results == 0 {
		return fmt.Errorf("%s: no benchmark ran", b.command())
	}
	return nil
}

// compare compares the new results with the previous ones, by benchstat.
func compare(ctx context.Context, root, name string, before []byte, after string) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	old := filepath.Join(dir, name+".txt")
	if err := os.WriteFile(old, before, 0o600); err != nil {
		return err
	}
	tools, err := filepath.Abs(filepath.Join(root, "tools", "go.mod"))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile="+tools, "benchstat", "-ignore", "date,machine,load,command,load-after", "before="+old, "after="+after)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, os.Stderr, os.Stderr
	return cmd.Run()
}
