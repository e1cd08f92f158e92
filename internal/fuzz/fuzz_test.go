package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A module of two targets, one of which fails at once.
func example(t *testing.T) string {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example\n\ngo 1.26\n",
		"x_test.go": `package x
import "testing"
func FuzzGood(f *testing.F) { f.Add([]byte("a")); f.Fuzz(func(*testing.T, []byte) {}) }
func FuzzBad(f *testing.F) { f.Add([]byte("a")); f.Fuzz(func(t *testing.T, b []byte) { t.Fatal("always") }) }
`,
		"testdata/y_test.go":     "package y\nfunc FuzzNot(",
		"node_modules/z_test.go": "package z\nfunc FuzzNot(",
		"deep/go.mod":            "module example/deep\n",
		"deep/er/w_test.go":      "package w\nfunc FuzzDeep() {}\nvar text = `\nfunc FuzzText() {}`",
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

func TestTargets(t *testing.T) {
	dir := example(t)
	all, err := targets(t.Context(), dir)
	require.NoError(t, err)
	deep := filepath.Join(dir, "deep")
	require.Equal(t, []target{{dir, ".", "FuzzBad"}, {dir, ".", "FuzzGood"}, {deep, "./er", "FuzzDeep"}}, all)
}

// A target that had its time on this commit is not run again; one that failed is, and
// so is one that had less.
func TestResume(t *testing.T) {
	dir := example(t)
	file := filepath.Join(t.TempDir(), "fuzz.tsv")
	good, bad := target{dir, ".", "FuzzGood"}, target{dir, ".", "FuzzBad"}
	tab, err := openTable(file, "c0ffee")
	require.NoError(t, err)
	first := tab.remember(t.Context(), good, time.Second)
	require.Equal(t, passes, first.result)
	require.NotZero(t, first.executions)
	require.Equal(t, "failed", tab.remember(t.Context(), bad, time.Second).result)

	again, err := openTable(file, "c0ffee")
	require.NoError(t, err)
	stopped, stop := context.WithCancel(t.Context())
	stop() // nothing can be run
	require.Equal(t, first, again.remember(stopped, good, time.Second))
	require.NotEqual(t, passes, again.remember(stopped, good, time.Minute).result)
	require.NotEqual(t, passes, again.remember(stopped, bad, time.Second).result)
	other, err := openTable(file, "another")
	require.NoError(t, err)
	require.NotEqual(t, passes, other.remember(stopped, good, time.Second).result)
	changed, err := openTable(file, "")
	require.NoError(t, err)
	require.NotEqual(t, passes, changed.remember(stopped, good, time.Second).result, "files were changed")

	require.ErrorContains(t, report([]row{first, {target: "x", result: "failed"}}, time.Second), "failed: x")
	require.NoError(t, report([]row{first}, time.Second))
	require.NoError(t, os.WriteFile(file, []byte("something else\n"), 0o600))
	_, err = openTable(file, "c0ffee")
	require.ErrorIs(t, err, errTable)
}

// The shards together are all targets, and each is in one.
func TestShards(t *testing.T) {
	var all []target
	for _, n := range []string{"A", "B", "C", "D", "E", "F", "G"} {
		all = append(all, target{".", "p", "Fuzz" + n})
	}
	seen := map[target]int{}
	for _, s := range []string{"0/3", "1/3", "2/3"} {
		part, err := options{shard: s}.choose(all)
		require.NoError(t, err)
		for _, one := range part {
			seen[one]++
		}
	}
	require.Len(t, seen, 7)
	for one, n := range seen {
		require.Equal(t, 1, n, one)
	}
	for _, s := range []string{"3/3", "x/3", "1", "-1/2", "0/0"} {
		_, err := options{shard: s}.choose(all)
		require.ErrorContains(t, err, "want i/n", s)
	}
	part, err := options{only: `p\.FuzzB`}.choose(all)
	require.NoError(t, err)
	require.Len(t, part, 1)
	_, err = options{only: "nothing"}.choose(all)
	require.ErrorContains(t, err, "no such target")
}

func TestReadProgress(t *testing.T) {
	var r row
	r.read("fuzz: elapsed: 0s, gathering baseline coverage: 0/7 completed\n" +
		"fuzz: elapsed: 3s, execs: 1000 (333/sec), new interesting: 2 (total: 9)\n" +
		"fuzz: elapsed: 6s, execs: 120533 (39844/sec), new interesting: 4 (total: 11)\nPASS\nok  \tx\t6.1s\n")
	require.Equal(t, row{executions: 120533, found: 4, inputs: 11}, r)
}

func TestEndedEarly(t *testing.T) {
	require.True(t, endedEarly("--- FAIL: FuzzX (15.05s)\n    context deadline exceeded\nFAIL\n"))
	require.False(t, endedEarly("--- FAIL: FuzzX (1s)\n    x_test.go:1: a call: context deadline exceeded\nFAIL\n"))
	require.False(t, endedEarly("    context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzX/1\n"))
}
