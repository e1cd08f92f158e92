package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/internal/proof/tally"
)

// A result is what the last run of a part that passed covered.
type result struct {
	class, date, machine, commit string
	commands                     []string
	lines                        []tally.Line
}

// add adds a line to those of its kind.
func (r *result) add(l tally.Line) {
	i := slices.IndexFunc(r.lines, func(o tally.Line) bool { return o.Cell == l.Cell })
	if i < 0 {
		r.lines = append(r.lines, l)
		return
	}
	o := &r.lines[i]
	o.Cells += l.Cells
	o.Passed += l.Passed
	o.Seconds = max(o.Seconds, l.Seconds) // tests run side by side
}

func resultFile(root, class string) string {
	return filepath.Join(root, "internal", "proof", "results", class+".txt")
}

// keep writes the result where the pages are rendered from.
func (r result) keep(root string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "date: %s\nmachine: %s\ncommit: %s\n", r.date, r.machine, r.commit)
	for _, c := range r.commands {
		fmt.Fprintf(&b, "command: %s\n", c)
	}
	for _, l := range r.lines {
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s%s\n", tally.Prefix, text)
	}
	file := resultFile(root, r.class)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

func readResult(root, class string) (result, error) {
	text, err := os.ReadFile(resultFile(root, class))
	if err != nil {
		return result{}, err
	}
	r := result{class: class}
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if l, ok := tally.Parse(s.Text()); ok {
			r.lines = append(r.lines, l)
			continue
		}
		key, value, _ := strings.Cut(s.Text(), ": ")
		switch key {
		case "date":
			r.date = value
		case "machine":
			r.machine = value
		case "commit":
			r.commit = value
		case "command":
			r.commands = append(r.commands, value)
		default:
			return result{}, fmt.Errorf("%s: not a line of a result: %q", resultFile(root, class), s.Text())
		}
	}
	return r, nil
}
