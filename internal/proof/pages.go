package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	proofFile = "docs/proof.md"
	beginMark = "<!-- proof: written by make proof -->"
	endMark   = "<!-- end of proof -->"
)

// quoting are the pages that quote the table between the two marks.
var quoting = []string{"README.md", "SECURITY.md"}

// pages are the files that come from the results, by path from the root.
type pages map[string]string

const preface = `
# Proof

Written by ` + "`make proof`" + ` from the last run of each class that passed. The tests are
ordinary ones: ` + "`go test`" + ` runs each in a short form, and
` + "`make proof ONLY=class BUDGET=10m`" + ` for as long as you give it. The counts are those of that
run; a longer one covers more of what is drawn at random. A run that fails changes nothing
here, and a class that has never passed as a whole is named below the table. A commit that
ends in + had local changes; one that is not in the history was rebased after the run.
`

// renderAll writes all pages from the results that are kept.
func renderAll(root string) (pages, error) {
	p := pages{}
	full := [][]string{{"class", "a cell is", "cells", "passed", "took", "date", "commit"}}
	quoted := [][]string{{"class", "a cell is", "cells", "passed", "date"}}
	var body strings.Builder
	var machines, missing []string
	for _, one := range parts {
		r, err := readResult(root, one.class)
		if errors.Is(err, os.ErrNotExist) {
			missing = append(missing, one.class)
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, l := range r.lines {
			cells, passed := thousands(l.Cells), thousands(l.Passed)
			full = append(full, []string{r.class, l.Cell, cells, passed, took(l.Seconds), r.date, r.commit})
			quoted = append(quoted, []string{r.class, l.Cell, cells, passed, r.date})
		}
		if !slices.Contains(machines, r.machine) {
			machines = append(machines, r.machine)
		}
		fmt.Fprintf(&body, "\n## %s\n\n%s\n\nLast run %s, commit %s, on %s:\n\n```sh\nmake proof ONLY=%s   # or\n%s\n```\n",
			r.class, strings.TrimSpace(one.about), r.date, r.commit, r.machine, r.class, strings.Join(r.commands, "\n"))
	}
	open := ""
	if len(missing) > 0 {
		open = "\nNot run to their end yet: " + strings.Join(missing, ", ") + ".\n"
	}
	p[proofFile] = strings.TrimSpace(preface) + "\n\n" + table(full) + open + body.String()
	block := beginMark + "\n" + table(quoted) + open
	if len(machines) > 0 {
		block += "\nOn " + strings.Join(machines, "; ") + ".\n"
	}
	block += endMark
	for _, name := range quoting {
		old, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		before, rest, ok := strings.Cut(string(old), beginMark)
		_, after, closed := strings.Cut(rest, endMark)
		if !ok || !closed {
			return nil, fmt.Errorf("%s lacks %q and %q", name, beginMark, endMark)
		}
		p[name] = before + block + after
	}
	return p, nil
}

func (p pages) write(root string) error {
	for path, text := range p {
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// took writes seconds as a person reads them.
func took(seconds float64) string {
	switch {
	case seconds < 100:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 100*60:
		return fmt.Sprintf("%.0f min", seconds/60)
	}
	return fmt.Sprintf("%.1f h", seconds/3600)
}

// thousands writes a count with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// table writes a table of Markdown. The first row is its head.
func table(rows [][]string) string {
	var b strings.Builder
	for i, r := range rows {
		b.WriteString("| " + strings.Join(r, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(r)) + "\n")
		}
	}
	return b.String()
}
