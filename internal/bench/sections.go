package main

import (
	"maps"
	"slices"
	"strconv"
)

// A section is a part of BENCHMARKS.md: what is run, and what is made of it.
type section struct {
	name       string
	title      string
	about      string
	benchmarks []benchmark
	render     func(*report) (output, error)
}

// An output is what a section shows.
type output struct {
	charts []chart
	tables [][][]string
	readme [][]string // rows: what, prtbroker, beside it
}

type chart struct{ name, words, svg string }

// sections are all sections, in the order of the page. A new measurement adds
// one.
var sections = []section{silent, process, decisions, tpmCommands, emulator, importing}

func first(v float64, _ bool) float64 { return v }

func number(s string) float64 {
	v, _ := strconv.ParseFloat(s, 64)
	return v
}

// series are the points of a line: a measure by the value of a key.
func series(r *report, bench, unit, key string, keys ...string) []point {
	at := map[float64]float64{}
	for _, x := range r.results {
		if v, ok := x.measures[unit]; ok && x.bench == bench && x.has(keys) {
			at[number(x.keys[key])] = v
		}
	}
	var out []point
	for _, x := range slices.Sorted(maps.Keys(at)) {
		out = append(out, point{x, at[x]})
	}
	return out
}
