package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// pages are the files that come from the results, by path from the root.
type pages map[string]string

const (
	chartDir  = "docs/bench"
	benchFile = "BENCHMARKS.md"
	beginMark = "<!-- benchmarks: written by make bench -->"
	endMark   = "<!-- end of benchmarks -->"
)

// renderAll writes all pages from the results that are kept.
func renderAll(root string) (pages, error) {
	p := pages{}
	var body strings.Builder
	readme := [][]string{{"what", "prtbroker", "beside it", "measured by"}}
	for _, s := range sections {
		r, err := readReport(root, s.name)
		if errors.Is(err, os.ErrNotExist) {
			continue // not run yet
		}
		if err != nil {
			return nil, err
		}
		out, err := s.render(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(&body, "\n## %s\n\n%s\n", s.title, strings.TrimSpace(s.about))
		for _, c := range out.charts {
			path := chartDir + "/" + c.name + ".svg"
			p[path] = c.svg
			fmt.Fprintf(&body, "\n![%s](%s)\n", c.words, path)
		}
		for _, t := range out.tables {
			fmt.Fprintf(&body, "\n%s", table(t))
		}
		fmt.Fprintf(&body, "\n%s\n\n%s\n", ran(r), codeBlock(append([]string{"make bench ONLY=" + s.name + "   # or"}, r.commands...)))
		for _, row := range out.readme {
			readme = append(readme, append(row, "`make bench ONLY="+s.name+"`"))
		}
	}
	p[benchFile] = strings.TrimSpace(preface) + "\n" + body.String()
	old, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		return nil, err
	}
	before, rest, ok := strings.Cut(string(old), beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !ok || !ended {
		return nil, fmt.Errorf("README.md lacks %q and %q", beginMark, endMark)
	}
	p["README.md"] = before + beginMark + "\n" + table(readme) + endMark + after
	return p, nil
}

const preface = `
# Benchmarks

Written by ` + "`make bench`" + ` from what it measured; the output of each section, as
go test printed it, is in [internal/bench/results](internal/bench/results) for
benchstat. Times depend on the machine and on what else it does, which each section
says, and no test holds them. Counts (allocations, TPM commands, requests,
packages) do not, and tests hold them.
`

func ran(r *report) string {
	return fmt.Sprintf("Measured %s on %s; load average over one and five minutes: %s.", r.date, r.machine, r.load)
}

func codeBlock(lines []string) string { return "```sh\n" + strings.Join(lines, "\n") + "\n```" }

func (p pages) write(root string) error {
	for path, text := range p {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
