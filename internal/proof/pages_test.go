package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/proof.md and the tables that README.md and SECURITY.md quote are what the
// kept results say, and nothing else. What differs is written by
//
//	go run ./internal/proof -render
func TestPagesComeFromResults(t *testing.T) {
	root := filepath.Join("..", "..")
	want, err := renderAll(root)
	require.NoError(t, err)
	require.Len(t, want, 3)
	for path, text := range want {
		got, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(t, err)
		require.Equal(t, text, string(got), path)
	}
}

// What is kept of a part's run is whole. The pages name the parts of which nothing is kept.
func TestKeptResultsAreWhole(t *testing.T) {
	root := filepath.Join("..", "..")
	known := map[string]bool{}
	for _, p := range parts {
		require.False(t, known[p.class], p.class)
		known[p.class] = true
		require.NotZero(t, p.budget, p.class)
		require.NotEmpty(t, p.steps, p.class)
		r, err := readResult(root, p.class)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err, p.class)
		require.NotEmpty(t, r.lines, p.class)
		require.Regexp(t, `^\d{4}-\d\d-\d\d$`, r.date, p.class)
		require.NotEmpty(t, r.machine, p.class)
		require.NotEmpty(t, r.commit, p.class)
		for _, l := range r.lines {
			require.Equal(t, l.Cells, l.Passed, "%s: a run that failed is not kept", p.class)
			require.NotZero(t, l.Cells, p.class)
		}
	}
	files, err := filepath.Glob(resultFile(root, "*"))
	require.NoError(t, err)
	for _, f := range files {
		class := filepath.Base(f)
		require.True(t, known[class[:len(class)-len(".txt")]], "%s: no part writes it", f)
	}
}

// The tests that the parts run exist.
func TestPartsNameTests(t *testing.T) {
	root := filepath.Join("..", "..")
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, p := range parts {
		for _, s := range p.steps {
			if s.args != nil {
				continue
			}
			files, err := filepath.Glob(filepath.Join(root, s.dir, s.pkg, "*_test.go"))
			require.NoError(t, err)
			pattern := regexp.MustCompile(s.run)
			found := false
			for _, f := range files {
				text, err := os.ReadFile(f)
				require.NoError(t, err)
				for _, m := range function.FindAllStringSubmatch(string(text), -1) {
					found = found || pattern.MatchString(m[1])
				}
			}
			require.True(t, found, "%s: %s has no test %s", p.class, s.pkg, s.run)
		}
	}
}
