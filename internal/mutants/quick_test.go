package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// module writes a module of one package and goes into it.
func module(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.FromSlash(name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.FromSlash(name), []byte(text), 0o600))
	}
}

const (
	guarded = `package p

import "errors"

// Limit is a constant: nothing of it is changed.
const Limit = 3 * 4

type flag bool

var err = errors.New("too large")

type Box struct{ n int }

// Put has checks that tests hold, and one that none holds.
func (b *Box) Put(n int) error {
	if n > Limit {
		return err
	}
	if err := b.empty(); err != nil {
		return err
	}
	if b.n+n > Limit && // a comment
		n != 0 {
		return err
	}
	if n < 0 {
		b.n = 0
	}
	b.n += n
	return nil
}

func (b *Box) empty() error {
	var f flag = 1 > b.n
	if f && b.n < 0 {
		panic("never")
	}
	return nil
}

func Unused(a, b string) bool { return a+b == "" }
`
	tests = `package p

import "testing"

func TestPut(t *testing.T) {
	var b Box
	if b.Put(13) == nil || b.Put(12) != nil || b.Put(1) == nil || b.Put(0) != nil {
		t.Fatal("wrong")
	}
}

func BenchmarkPut(*testing.B) { panic("a benchmark is no judge") }
`
)

// What tests hold is noticed, and what none holds is named.
func TestQuick(t *testing.T) {
	module(t, map[string]string{"go.mod": "module x\n\ngo 1.26\n", "p/p.go": guarded, "p/p_test.go": tests})
	reasons := []reason{
		{survivor{"p", "Box.Put", removal, "«if» n < 0 {"}, "A reason."},
		{survivor{"p", "Box.Put", removal, "«if» b.n+n > Limit && // a comment"}, "It is noticed."},
	}
	var out bytes.Buffer
	unexplained, err := quick(t.Context(), &out, group{changed: []string{"./p"}}, reasons, limits{patience: 10, least: 10 * time.Second, most: time.Minute}, nil)
	require.NoError(t, err)
	text := out.String()
	for _, want := range []string{
		"no test reaches:\np Unused CONDITIONALS_NEGATION\n\tfunc Unused(a, b string) bool { return a+b «==» \"\" }\n",
		"has a reason and did not survive:\np Box.Put CHECK_REMOVED\n\t«if» b.n+n > Limit && // a comment\n",
		"nobody noticed:\np Box.Put CHECK_REMOVED\n\t«if» n > Limit {\n",
		"nobody noticed:\np Box.Put CONDITIONALS_BOUNDARY\n\tif n «<» 0 {\n",
	} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "«if» n < 0 {", "it has a reason")
	require.NotContains(t, text, "«if» err :=", "the error of another function is passed on")
	require.NotContains(t, text, "const Limit")
	require.NotContains(t, text, "«if» f", "a condition of a type of its own cannot be changed so")
	open := strings.Count(text, "nobody noticed:") + strings.Count(text, "did not survive:")
	require.Equal(t, open, unexplained)

	// Only these are made again, after a test that holds one of them.
	require.NoError(t, os.WriteFile(filepath.FromSlash("p/more_test.go"), []byte("package p\n\nimport \"testing\"\n\nfunc TestMuch(t *testing.T) {\n\tif new(Box).Put(13) != err {\n\t\tt.Fatal(\"wrong\")\n\t}\n\tif (&Box{n: -10}).Put(13) != err {\n\t\tt.Fatal(\"too much at once\")\n\t}\n}\n"), 0o600))
	left := printed(text)
	require.Len(t, left, strings.Count(text, "nobody noticed:")+strings.Count(text, "no test reaches:"))
	out.Reset()
	again, err := quick(t.Context(), &out, group{changed: []string{"./p"}}, nil, limits{patience: 10, least: 10 * time.Second, most: time.Minute}, left)
	require.NoError(t, err)
	require.Less(t, again, strings.Count(text, "nobody noticed:"))
	require.NotContains(t, out.String(), "p Box.Put CHECK_REMOVED\n\t«if» n > Limit {")
	require.Contains(t, out.String(), "p Box.Put CONDITIONALS_BOUNDARY\n\tif n «<» 0 {")
}

// A change that is worth little time is settled by the fast tests only, tests that fail
// without a change judge nothing, and a test that does not end has noticed.
func TestQuickLimits(t *testing.T) {
	module(t, map[string]string{
		"go.mod": "module x\n\ngo 1.26\n",
		"p/p.go": "package p\n\nfunc Count(n int) (k int) {\n\tfor n > 0 {\n\t\tif n == 2 {\n\t\t\tk++\n\t\t}\n\t\tn = n - 1\n\t}\n\treturn k\n}\n",
		"p/p_test.go": "package p\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc TestFast(t *testing.T) { Count(2) }\n\n" +
			"func TestSlow(t *testing.T) {\n\ttime.Sleep(2 * time.Second)\n\tif Count(2) != 1 {\n\t\tt.Fatal(\"wrong\")\n\t}\n}\n\nfunc TestBroken(t *testing.T) { Count(1); t.Fatal(\"always\") }\n",
	})
	var out bytes.Buffer
	unexplained, err := quick(t.Context(), &out, group{changed: []string{"./p"}}, nil, limits{patience: 1, least: time.Second, most: time.Second}, nil)
	require.NoError(t, err)
	require.Zero(t, unexplained)
	require.Contains(t, out.String(), "TestBroken fails alone and without a change")
	require.Contains(t, out.String(), "the fast tests did not notice:\np Count CHECK_REMOVED\n\t«if» n == 2 {\n")
	require.NotContains(t, out.String(), "ARITHMETIC_BASE", "n+1 does not end")

	_, err = quick(t.Context(), &out, group{changed: []string{"./missing"}}, nil, limits{}, nil)
	require.ErrorContains(t, err, "go list")
}

// A run that is interrupted ends, whatever was not begun.
func TestInterrupted(t *testing.T) {
	b := &bench{schemas: []*schema{{changes: make([]survivor, 10_000)}}}
	ctx, cancel := context.WithCancel(t.Context())
	err := b.all(ctx, 1, func(survivor, verdict) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
}
