package main

import (
	"fmt"
	"math"
	"strings"
)

// duration writes nanoseconds with three digits at most.
func duration(ns float64) string {
	for _, u := range []struct {
		name string
		ns   float64
	}{{"s", 1e9}, {"ms", 1e6}, {"µs", 1e3}} {
		if ns >= u.ns*0.9995 {
			return digits(ns/u.ns) + " " + u.name
		}
	}
	return digits(ns) + " ns"
}

// seconds writes modelled seconds, which are accurate to two digits at best.
func seconds(s float64) string { return fmt.Sprintf("%.2f s", s) }

// digits writes a number with two digits, three from a hundred on, and commas.
func digits(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return fmt.Sprintf("%.2g", v)
	case v < 100:
		return fmt.Sprintf("%.0f", v)
	}
	step := math.Pow(10, math.Floor(math.Log10(v))-2)
	return whole(math.Round(v/step) * step)
}

// whole writes a count with commas.
func whole(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural writes how many there are of what.
func plural(n, what string) string {
	if n == "1" {
		return n + " " + what
	}
	return n + " " + what + "s"
}

// times says how many times as long or as many.
func times(theirs, ours float64) string { return digits(theirs/ours) + " ×" }

func megabytes(b float64) string { return fmt.Sprintf("%.1f MB", b/1e6) }

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
