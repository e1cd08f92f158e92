package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const source = `package p

const limit = 3 * 4

type box[T any] struct{ n int }

func (b *box[T]) full(n int) bool {
	// a check
	return n >= limit && b.n > 0
}
`

func TestLocate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		line, column   int
		function, code string
	}{
		{3, 17, "-", "const limit = 3 «*» 4"},
		{9, 11, "box.full", "return n «>=» limit && b.n > 0"},
		{9, 20, "box.full", "return n >= limit «&&» b.n > 0"},
		{9, 27, "box.full", "return n >= limit && b.n «>» 0"},
	} {
		s, err := locate([]byte(source), tt.line, tt.column)
		require.NoError(t, err)
		require.Equal(t, survivor{function: tt.function, code: tt.code}, s)
	}
	_, err := locate([]byte(source), 9, 2)
	require.ErrorContains(t, err, "no operator")
	_, err = locate([]byte(source), 99, 1)
	require.ErrorContains(t, err, "no line 99")
}

// A survivor without a reason is named, and so is a reason that has no survivor; a
// line that moved is still found.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.MkdirAll("p", 0o700))
	report := filepath.Join(dir, "report.json")
	require.NoError(t, os.WriteFile(report, []byte(`{"files":[{"file_name":"p.go","mutations":[
		{"type":"INVERT_LOGICAL","status":"LIVED","line":10,"column":20},
		{"type":"CONDITIONALS_BOUNDARY","status":"LIVED","line":10,"column":11},
		{"type":"CONDITIONALS_NEGATION","status":"TIMED OUT","line":10,"column":27},
		{"type":"CONDITIONALS_NEGATION","status":"KILLED","line":10,"column":11}]}]}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join("p", "p.go"), []byte("// moved by a line\n"+source), 0o600))
	r, err := readReport(report)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"LIVED": 2, "KILLED": 1, "TIMED OUT": 1}, r.count())
	found, err := survivors("p", r)
	require.NoError(t, err)
	require.Len(t, found, 2)
	late, err := named("p", r, "TIMED OUT")
	require.NoError(t, err)
	require.Len(t, late, 1)

	reasons, err := parseReasons(strings.Join([]string{
		"# a comment", "",
		"p box.full INVERT_LOGICAL", "\treturn n >= limit «&&» b.n > 0", "\tBoth are so.", "",
		"p box.full CONDITIONALS_NEGATION", "\treturn n >= limit && b.n «>» 0", "\tNobody waited for it.", "",
		"p gone INVERT_LOGICAL", "\treturn a «&&» b", "\tIt was so.", "",
		"q other INVERT_LOGICAL", "\treturn a «&&» b", "\tOf another package.",
	}, "\n"))
	require.NoError(t, err)
	unexplained, stale := compare("p", found, late, reasons)
	require.Equal(t, []survivor{{"p", "box.full", "CONDITIONALS_BOUNDARY", "return n «>=» limit && b.n > 0"}}, unexplained)
	require.Equal(t, []survivor{{"p", "gone", "INVERT_LOGICAL", "return a «&&» b"}}, stale)
}

func TestReasonsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no reason":        "p f INVERT_LOGICAL\n\ta «&&» b",
		"an empty reason":  "p f INVERT_LOGICAL\n\ta «&&» b\n\t ",
		"no operator":      "p f INVERT_LOGICAL\n\ta && b\n\tso",
		"no mutation":      "p f\n\ta «&&» b\n\tso",
		"not behind a tab": "p f INVERT_LOGICAL\na «&&» b\n\tso",
	} {
		_, err := parseReasons(text)
		require.ErrorIs(t, err, errReasons, name)
	}
}

// The list is readable, says each thing once, and speaks of code that is there.
func TestEquivalent(t *testing.T) {
	t.Parallel()
	reasons, err := parseReasons(equivalent)
	require.NoError(t, err)
	seen := map[survivor]bool{}
	for _, r := range reasons {
		require.False(t, seen[r.survivor], "%s is there twice", r.survivor)
		seen[r.survivor] = true
		code := strings.NewReplacer("«", "", "»", "").Replace(r.code)
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(r.pkg), "*.go"))
		require.NoError(t, err)
		require.True(t, anyContains(t, files, code), "%s has no line %q", r.pkg, code)
	}
}

func anyContains(t *testing.T, files []string, code string) bool {
	t.Helper()
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		if strings.Contains(string(b), code) {
			return true
		}
	}
	return false
}
