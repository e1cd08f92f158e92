package main

import (
	"os"
	"path/filepath"
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
