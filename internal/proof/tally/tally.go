// Package tally is how a test tells make proof what it covered: so many cells of
// a class, and how many of them passed. Outside make proof it says nothing, and
// the test runs its short form.
package tally

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Env holds the time that the long form of a test may take, for instance 10m.
// make proof sets it.
const Env = "PRTBROKER_PROOF"

// Prefix begins a line that make proof reads.
const Prefix = "proof: "

// A Line is what one test, or one program, covered. Lines of the same class and
// kind are added up.
type Line struct {
	Class   string  `json:"class"` // of make proof, as in ONLY=faults
	Cell    string  `json:"cell"`  // what one cell is, in a few words
	Cells   int     `json:"cells"`
	Passed  int     `json:"passed"`
	Seconds float64 `json:"seconds"`
}

// Budget returns how long the long form of a test may take. It is 0 outside make
// proof: the test then runs its short form.
func Budget() time.Duration {
	d, err := time.ParseDuration(os.Getenv(Env))
	if err != nil {
		return 0
	}
	return d
}

// Print writes the line to standard output, if make proof reads it.
func (l Line) Print() {
	if Budget() == 0 {
		return
	}
	b, err := json.Marshal(l)
	if err != nil {
		panic(err) // numbers and texts
	}
	fmt.Printf("\n%s%s\n", Prefix, b)
}

// Parse reads a line of output, and reports whether it is one of Print.
func Parse(text string) (Line, bool) {
	rest, ok := strings.CutPrefix(text, Prefix)
	if !ok {
		return Line{}, false
	}
	var l Line
	if json.Unmarshal([]byte(rest), &l) != nil || l.Class == "" || l.Cell == "" {
		return Line{}, false
	}
	return l, true
}

// A Count counts the cells of one test. It is safe for concurrent use.
type Count struct {
	cells, passed atomic.Int64
}

// New counts cells of a class for t, and prints the line when t ends.
func New(t testing.TB, class, cell string) *Count {
	c := &Count{}
	begin := time.Now()
	t.Cleanup(func() {
		Line{Class: class, Cell: cell, Cells: int(c.cells.Load()), Passed: int(c.passed.Load()), Seconds: time.Since(begin).Seconds()}.Print()
	})
	return c
}

// Add counts cells of which so many passed.
func (c *Count) Add(cells, passed int) {
	c.cells.Add(int64(cells))
	c.passed.Add(int64(passed))
}

// Cell counts one cell.
func (c *Count) Cell(passed bool) {
	if passed {
		c.Add(1, 1)
		return
	}
	c.Add(1, 0)
}

// Cells is how many were counted so far.
func (c *Count) Cells() int { return int(c.cells.Load()) }
