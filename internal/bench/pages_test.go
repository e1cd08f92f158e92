package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BENCHMARKS.md, its charts and the README's table are what the kept results
// say, and nothing else. What differs is written by
//
//	go run ./internal/bench -render
func TestPagesComeFromResults(t *testing.T) {
	root := filepath.Join("..", "..")
	want, err := renderAll(root)
	require.NoError(t, err)
	require.Contains(t, want, "README.md")
	for path, text := range want {
		got, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(t, err)
		require.Equal(t, text, string(got), path)
	}
	charts, err := filepath.Glob(filepath.Join(root, chartDir, "*.svg"))
	require.NoError(t, err)
	for _, path := range charts {
		require.Contains(t, want, chartDir+"/"+filepath.Base(path), "nothing makes this chart any more")
	}
	for _, s := range sections {
		require.FileExists(t, resultsFile(root, s.name), "never run: make bench ONLY=%s", s.name)
	}
}

// measured is a number that somebody must have measured.
var measured = regexp.MustCompile(`\d (ns|µs|ms|s|seconds?|minutes?|hours?|[KMG]i?B|×|TPM commands?|allocations?|requests?)\b`)

// Every number in README.md stands beside the command that measures it: in its row of
// the table, else in its paragraph.
func TestREADMENumbersNameTheirCommand(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	names := map[string]bool{}
	for _, s := range sections {
		names["`make bench ONLY="+s.name+"`"] = true
	}
	_, rest, _ := strings.Cut(string(text), beginMark)
	rows, _, _ := strings.Cut(rest, endMark)
	lines := strings.Split(strings.TrimSpace(rows), "\n")
	require.Greater(t, len(lines), 10)
	for _, row := range lines[2:] {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		require.True(t, names[strings.TrimSpace(cells[len(cells)-1])], "no section measures %q", row)
	}
	command := regexp.MustCompile("`(make|go (test|run|mod|build)) [^`]*`")
	prose := strings.Replace(string(text), rows, "", 1)
	found := 0
	for i, block := range strings.Split(prose, "```") {
		if i%2 == 1 {
			continue // code
		}
		for paragraph := range strings.SplitSeq(block, "\n\n") {
			if strings.HasPrefix(paragraph, "    ") {
				continue // code, too
			}
			if n := measured.FindString(paragraph); n != "" {
				found++
				require.Regexp(t, command, paragraph, "no command measures %q", n)
			}
		}
	}
	require.NotZero(t, found)
}

func TestParseReport(t *testing.T) {
	r, err := parseReport(`date: 2026-11-28 05:00 UTC
load: 1 2
command: go test
goos: linux
BenchmarkX/cache=memory/tokens=10-2   100   12.5 ns/op   3 allocs/op
BenchmarkX/cache=memory/tokens=10-2   100   11.5 ns/op   3 allocs/op
BenchmarkX/cache=memory/tokens=10-2   100   90 ns/op   3 allocs/op
BenchmarkY-2   1   5 commands
load-after: 3 4
`)
	require.NoError(t, err)
	require.Equal(t, "1 2 before, 3 4 after", r.load)
	v, ok := r.find("X", "ns/op", "tokens=10")
	require.True(t, ok)
	require.InDelta(t, 12.5, v, 0, "the median")
	v, ok = r.find("Y", "commands")
	require.True(t, ok)
	require.InDelta(t, 5, v, 0)
	_, ok = r.find("X", "ns/op", "tokens=1")
	require.False(t, ok)
	_, err = parseReport("BenchmarkX 1 fast ns/op\n")
	require.ErrorContains(t, err, "fast")
}

func TestFormat(t *testing.T) {
	for ns, want := range map[float64]string{0.5: "0.5 ns", 43: "43 ns", 157: "157 ns", 999.9: "1 µs", 1936047: "1.9 ms", 2.31e10: "23 s", 1234: "1.2 µs"} {
		require.Equal(t, want, duration(ns))
	}
	require.Equal(t, "12,300", digits(12345))
	require.Equal(t, "1,234,567", whole(1234567))
	require.Equal(t, "10,000", digits(10000))
	require.True(t, strings.HasPrefix(table([][]string{{"a", "b"}, {"1", "2"}}), "| a | b |\n|---|---|\n"))
}
