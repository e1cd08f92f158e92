package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A table remembers what was run, in a file to which rows are added.
type table struct {
	file   string
	commit string

	mu   sync.Mutex // guards what follows
	rows []row
}

func openTable(file, commit string) (*table, error) {
	t := &table{file: file, commit: commit}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range bytes.Lines(text) {
		r, err := parseRow(strings.TrimRight(string(line), "\n"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		t.rows = append(t.rows, r)
	}
	return t, nil
}

// remember returns the row of an earlier run of this commit that was at least as long
// and passed; if there is none, it runs the target and adds a row.
func (t *table) remember(ctx context.Context, what target, each time.Duration) row {
	if r, ok := t.before(what, each); ok {
		return r
	}
	r := what.run(ctx, each)
	r.commit = t.commit
	if ctx.Err() != nil {
		return r // cut short
	}
	if err := t.add(r); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
	}
	fmt.Fprintf(os.Stderr, "%s: %d executions, %d new inputs, %s\n", r.target, r.executions, r.found, r.result)
	return r
}

func (t *table) before(what target, each time.Duration) (row, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rows {
		if t.commit != "" && r.commit == t.commit && r.target == what.String() && r.time >= each && r.result == passes {
			return r, true
		}
	}
	return row{}, false
}

func (t *table) add(r row) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
	f, err := os.OpenFile(t.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, r)
	return errors.Join(err, f.Close())
}

// String is a line of the table.
func (r row) String() string {
	return strings.Join([]string{r.commit, r.target, r.time.String(), strconv.Itoa(r.executions), strconv.Itoa(r.found), strconv.Itoa(r.inputs), r.result}, "\t")
}

func parseRow(line string) (row, error) {
	f := strings.Split(line, "\t")
	if len(f) != 7 {
		return row{}, errTable
	}
	d, err := time.ParseDuration(f[2])
	if err != nil {
		return row{}, errTable
	}
	r := row{commit: f[0], target: f[1], time: d, result: f[6]}
	for i, into := range []*int{&r.executions, &r.found, &r.inputs} {
		if *into, err = strconv.Atoi(f[3+i]); err != nil {
			return row{}, errTable
		}
	}
	return r, nil
}
