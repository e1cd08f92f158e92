package recorder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Recording is a run as it was written.
type Recording struct {
	Exchanges []Exchange
	Steps     []Step
	Commands  []Command
}

// Load reads what [Recorder.Close] wrote.
func Load(dir string) (*Recording, error) {
	rec := &Recording{}
	for {
		name := fmt.Sprintf("%03d.json", len(rec.Exchanges)+1)
		var e Exchange
		err := readJSON(filepath.Join(dir, name), &e)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("recorder: %s: %w", name, err)
		}
		rec.Exchanges = append(rec.Exchanges, e)
	}
	if err := readJSON(filepath.Join(dir, stepsFile), &rec.Steps); err != nil {
		return nil, fmt.Errorf("recorder: %s: %w", stepsFile, err)
	}
	lines, err := os.ReadFile(filepath.Join(dir, tpmFile))
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	for line := range bytes.Lines(lines) {
		var c Command
		if err := json.Unmarshal(line, &c); err != nil {
			return nil, fmt.Errorf("recorder: %s: %w", tpmFile, err)
		}
		rec.Commands = append(rec.Commands, c)
	}
	return rec, err
}

func readJSON(file string, into any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(into)
}

// Compare says how the replies of a recorded run differ from those of another, such
// as one against the emulator: names and kinds of fields and headers, texts that are
// kept, results of steps, and what each command of the TPM answers. What differs
// from run to run (placeholders' numbers, sizes, times) does not count.
func Compare(recorded, other *Recording) []string {
	var c comparison
	for i := range max(len(recorded.Exchanges), len(other.Exchanges)) {
		switch {
		case i >= len(other.Exchanges):
			c.add("%03d: only in the recording: %s", i+1, recorded.Exchanges[i].line())
		case i >= len(recorded.Exchanges):
			c.add("%03d: not in the recording: %s", i+1, other.Exchanges[i].line())
		default:
			c.exchange(fmt.Sprintf("%03d", i+1), recorded.Exchanges[i], other.Exchanges[i])
		}
	}
	for i, s := range recorded.Steps {
		if i >= len(other.Steps) || other.Steps[i].Name != s.Name || other.Steps[i].Result != s.Result {
			c.add("step %q ended with %q only in the recording", s.Name, s.Result)
		}
	}
	c.commands(recorded.Commands, other.Commands)
	return c.found
}

type comparison struct{ found []string }

func (c *comparison) add(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// line is what a request has in common in two runs of the same program.
func (e Exchange) line() string {
	s := e.Request.Method + " " + shape(e.Request.URL)
	if e.Request.Body != nil && e.Request.Body.Form != nil {
		s += fmt.Sprintf(" %v", shape(fmt.Sprint(e.Request.Body.Form["grant_type"])))
	}
	return s
}

func (c *comparison) exchange(at string, a, b Exchange) {
	if a.line() != b.line() {
		c.add("%s: the recording has %s, the other %s", at, a.line(), b.line())
		return
	}
	at += " " + a.line()
	if (a.Reply == nil) != (b.Reply == nil) {
		c.add("%s: only one has a reply", at)
		return
	}
	if a.Reply == nil {
		return
	}
	if a.Reply.Status != b.Reply.Status {
		c.add("%s: status %d in the recording, else %d", at, a.Reply.Status, b.Reply.Status)
	}
	for _, name := range union(a.Reply.Headers, b.Reply.Headers) {
		if ignoredHeaders[name] {
			continue
		}
		_, inA := a.Reply.Headers[name]
		_, inB := b.Reply.Headers[name]
		if inA != inB {
			c.add("%s: header %s %s", at, name, where(inA))
		}
	}
	c.body(at+":", a.Reply.Body, b.Reply.Body)
}

// ignoredHeaders depend on how a reply is sent.
var ignoredHeaders = setOf("Content-Length Date Connection Transfer-Encoding Content-Encoding")

func where(recorded bool) string {
	if recorded {
		return "only in the recording"
	}
	return "not in the recording"
}

func (c *comparison) body(at string, a, b *Body) {
	if a == nil || b == nil {
		if a != b {
			c.add("%s a body %s", at, where(a != nil))
		}
		return
	}
	c.value(at, a.JSON, b.JSON)
	c.value(at, a.Text, b.Text)
}

// value compares what was redacted: the kinds of values, and texts that were kept.
func (c *comparison) value(at string, a, b any) {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			c.add("%s %s in the recording, else %s", at, kindOf(a), kindOf(b))
			return
		}
		for _, name := range union(x, y) {
			_, inX := x[name]
			_, inY := y[name]
			if inX != inY {
				c.add("%s %s %s", at, name, where(inX))
				continue
			}
			c.value(at+" "+name, x[name], y[name])
		}
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			c.add("%s %s in the recording, else %s", at, kindOf(a), kindOf(b))
			return
		}
		for i := range x {
			c.value(at, x[i], y[i])
		}
	default:
		if kindOf(a) != kindOf(b) {
			c.add("%s %s in the recording, else %s", at, kindOf(a), kindOf(b))
		}
	}
}

// kindOf is what a value has in common in two runs.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		return "an object"
	case []any:
		return fmt.Sprintf("an array of %d", len(v))
	case json.Number:
		return "a number"
	case string:
		if digits.MatchString(v) {
			return "digits"
		}
		return shape(v)
	}
	return fmt.Sprintf("%T %v", v, v)
}

// shape leaves out what differs between two runs: the number and the length in a
// placeholder.
func shape(s string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "<")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		inside, after, ok := strings.Cut(rest, ">")
		if !ok {
			out.WriteString("<" + rest)
			return out.String()
		}
		kind, _, _ := strings.Cut(inside, " ")
		out.WriteString("<" + kind + ">")
		s = after
	}
}

func union[V any](a, b map[string]V) []string {
	all := append(sortedKeys(a), sortedKeys(b)...)
	slices.Sort(all)
	return slices.Compact(all)
}

// commands compares what each kind of command answers. How often one is sent depends
// on time: what is loaded is flushed after a while.
func (c *comparison) commands(a, b []Command) {
	if len(a) == 0 || len(b) == 0 {
		return // keys in software, in one of them
	}
	x, y := answers(a), answers(b)
	for _, name := range union(x, y) {
		_, inX := x[name]
		_, inY := y[name]
		if inX != inY {
			c.add("TPM: %s %s", name, where(inX))
		}
	}
}

func answers(all []Command) map[string]bool {
	m := map[string]bool{}
	for _, c := range all {
		s := c.Name
		switch {
		case c.Failed:
			s += " without a response"
		case c.Code != "":
			s += " answered " + c.Code
		}
		m[s] = true
	}
	return m
}
