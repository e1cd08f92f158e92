package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A result is one line of a benchmark: what its name says as key=value, and its
// measures by unit.
type result struct {
	bench    string            // the name up to the first slash, without Benchmark
	keys     map[string]string // of the rest of the name
	measures map[string]float64
}

// A report is what a section's run printed.
type report struct {
	date, machine, load string
	commands            []string
	results             []result
}

func readReport(root, name string) (*report, error) {
	text, err := os.ReadFile(resultsFile(root, name))
	if err != nil {
		return nil, err
	}
	r, err := parseReport(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// parseReport reads Go's benchmark format. What was measured several times is
// one result with the medians.
func parseReport(text string) (*report, error) {
	r := &report{}
	var names []string
	all := map[string][]result{}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		line := s.Text()
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "date":
			r.date = value
		case "machine":
			r.machine = value
		case "load":
			r.load = value
		case "load-after":
			r.load += " before, " + value + " after"
		case "command":
			r.commands = append(r.commands, value)
		}
		if !strings.HasPrefix(line, "Benchmark") {
			continue
		}
		name, one, err := parseResult(line)
		if err != nil {
			return nil, err
		}
		if all[name] == nil {
			names = append(names, name)
		}
		all[name] = append(all[name], one)
	}
	for _, name := range names {
		r.results = append(r.results, median(all[name]))
	}
	return r, nil
}

func parseResult(line string) (string, result, error) {
	f := strings.Fields(line)
	if len(f) < 2 || len(f)%2 != 0 {
		return "", result{}, fmt.Errorf("not a result: %q", line)
	}
	name := f[0]
	if i := strings.LastIndex(name, "-"); i > 0 {
		if _, err := strconv.Atoi(name[i+1:]); err == nil {
			name = name[:i] // of processors
		}
	}
	bench, rest, _ := strings.Cut(strings.TrimPrefix(name, "Benchmark"), "/")
	r := result{bench: bench, keys: map[string]string{}, measures: map[string]float64{}}
	for part := range strings.SplitSeq(rest, "/") {
		if k, v, ok := strings.Cut(part, "="); ok {
			r.keys[k] = v
		}
	}
	for i := 2; i < len(f); i += 2 {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return "", result{}, fmt.Errorf("%q: %w", line, err)
		}
		r.measures[f[i+1]] = v
	}
	return name, r, nil
}

func median(of []result) result {
	m := result{bench: of[0].bench, keys: of[0].keys, measures: map[string]float64{}}
	for unit := range of[0].measures {
		var values []float64
		for _, r := range of {
			values = append(values, r.measures[unit])
		}
		slices.Sort(values)
		m.measures[unit] = values[len(values)/2]
	}
	return m
}

// find returns a measure of the result with these keys ("k=v"), and whether
// there is one.
func (r *report) find(bench, unit string, keys ...string) (float64, bool) {
	for _, x := range r.results {
		if x.bench == bench && x.has(keys) {
			v, ok := x.measures[unit]
			return v, ok
		}
	}
	return 0, false
}

func (r result) has(keys []string) bool {
	for _, kv := range keys {
		k, v, _ := strings.Cut(kv, "=")
		if r.keys[k] != v {
			return false
		}
	}
	return true
}

// values returns the values of a key in the order of the results.
func (r *report) values(bench, key string) (out []string) {
	for _, x := range r.results {
		if v := x.keys[key]; x.bench == bench && v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
