package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/policy"
)

// matrix is what personas.json holds: who, and what they do. An attempt that
// names no personas is made by all of them.
type matrix struct {
	Personas []persona `json:"personas"`
	SignIns  []attempt `json:"signIns"`
}

func loadMatrix(file string) (*matrix, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, plain(err)
	}
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	dec.DisallowUnknownFields()
	m := new(matrix)
	if err := dec.Decode(m); err != nil {
		return nil, fmt.Errorf("%s: %s", file, jsonText(err, data))
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// jsonText says what is wrong with a JSON document, and in which line.
func jsonText(err error, data []byte) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("not JSON: line %d: %v", line(data, syntax.Offset), syntax)
	case errors.As(err, &kind):
		return fmt.Sprintf("line %d: %s cannot be a %s", line(data, kind.Offset), kind.Field, kind.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "not JSON: it ends too early"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

func line(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(int(offset), len(data))], []byte("\n"))
}

func (m *matrix) check() error {
	if len(m.Personas) == 0 || len(m.SignIns) == 0 {
		return errors.New("a matrix needs personas and signIns")
	}
	known := map[string]bool{}
	for i, p := range m.Personas {
		if p.Name == "" || known[p.Name] {
			return fmt.Errorf("persona %d needs a name of its own", i+1)
		}
		known[p.Name] = true
	}
	for i, a := range m.SignIns {
		if a.Name == "" {
			return fmt.Errorf("sign-in %d has no name", i+1)
		}
		for _, p := range a.Personas {
			if !known[p] {
				return fmt.Errorf("sign-in %q is of %q, who is not a persona", a.Name, p)
			}
		}
		if _, err := choose("outcome to expect", a.Expect, outcomes); err != nil {
			return fmt.Errorf("sign-in %q: %w", a.Name, err)
		}
	}
	return nil
}

// report is a judged matrix.
type report struct {
	Folder      string
	Broken      []string // files that could not be read
	Assumed     string   // of the states of policies
	Sampled     string   // how many of the combinations were judged; "": all, or a matrix
	Generated   time.Time
	Personas    []heading
	Columns     []*column
	Rows        []row
	Old         string    // of a diff: the export that Folder is compared with
	Changed     []*column // of a diff
	Summary     string    // of a diff: how much changed
	Gaps        []*column // that no policy guards; the unexpected ones first
	Unexpected  []*column
	Diagnostics []policy.Diagnostic
}

// heading is a persona's heading above its columns.
type heading struct {
	Name    string
	Columns int
	Same    bool // of a diff: none of its columns changed
}

// column is one persona's one sign-in.
type column struct {
	ID       int
	Persona  string
	SignIn   string
	Facts    []fact
	Outcome  string // grant, interrupt, block
	Decision string
	Remarks  []string
	Gap      string // why nothing guards it; "": something does
	Expect   string
	Open     int    // policies that may apply and cannot be evaluated
	Change   string // of a diff: loosened, changed, tightened; "": none
	Was      string // of a diff: how it ended before
	Same     bool   // of a diff: nothing changed
}

// Met reports whether the sign-in ended as its author expects. A policy that
// cannot be evaluated might block, which contradicts every expectation but a
// block.
func (c *column) Met() bool {
	return c.Expect == "" || strings.EqualFold(c.Expect, c.Outcome) && (c.Open == 0 || c.Outcome == "block")
}

// Unmet says why the sign-in did not end as expected.
func (c *column) Unmet() string {
	if strings.EqualFold(c.Expect, c.Outcome) {
		return fmt.Sprintf("expected %s, but %s", c.Expect, count(c.Open, "policy that may apply cannot be evaluated", "policies that may apply cannot be evaluated"))
	}
	return "expected " + c.Expect
}

type fact struct{ Name, Value string }

// row is one policy through all sign-ins.
type row struct {
	ID     int
	Policy string
	State  string
	Cells  []cell
	Ever   bool   // applies to some sign-in
	Change string // of a diff: added, removed, changed; "": none
	Same   bool   // of a diff: its results are the same everywhere
}

type cell struct {
	standing
	Column *column
	Was    string // of a diff: how the policy stood before, when otherwise
}

func (t *tenant) newReport(now time.Time) *report {
	rep := &report{Folder: t.folder, Broken: t.broken, Assumed: t.assumed, Generated: now, Diagnostics: slices.Clone(t.diagnostics)}
	slices.SortStableFunc(rep.Diagnostics, func(a, b policy.Diagnostic) int { return int(b.Severity) - int(a.Severity) })
	for i := range t.set.Len() {
		p := t.set.Policy(i)
		rep.Rows = append(rep.Rows, row{ID: i, Policy: policyName(p), State: stateText(p.State)})
	}
	return rep
}

// save writes the page, unless no file is named.
func (rep *report) save(file string) error {
	if file == "" {
		return nil
	}
	page, err := rep.page()
	if err != nil {
		return err
	}
	return plain(os.WriteFile(file, page, 0o644))
}

// judge evaluates every sign-in of every persona it belongs to.
func (t *tenant) judge(m *matrix, now time.Time) (*report, error) {
	rep := t.newReport(now)
	for _, p := range m.Personas {
		before := len(rep.Columns)
		for _, a := range m.SignIns {
			if a.Personas != nil && !slices.Contains(a.Personas, p.Name) {
				continue
			}
			if err := t.judgeOne(rep, p, a, now); err != nil {
				return nil, fmt.Errorf("%s, %q: %w", p.Name, a.Name, err)
			}
		}
		if n := len(rep.Columns) - before; n > 0 {
			rep.Personas = append(rep.Personas, heading{Name: p.Name, Columns: n})
		}
	}
	rep.sort()
	return rep, nil
}

func (t *tenant) judgeOne(rep *report, p persona, a attempt, now time.Time) error {
	in, err := t.signIn(p, a, now)
	if err != nil {
		return err
	}
	c := &column{Persona: p.Name, SignIn: a.Name, Expect: a.Expect, Facts: t.facts(p, a)}
	return t.addColumn(rep, c, in)
}

// addColumn judges a sign-in and adds how every policy stands in it.
func (t *tenant) addColumn(rep *report, c *column, in *policy.SignIn) error {
	ex := t.set.Explain(in)
	if ex.Decision.Outcome == policy.OutcomeInvalid {
		return fmt.Errorf("it cannot be evaluated: %s", invalidText(ex.Decision.Reason))
	}
	c.ID, c.Outcome, c.Open = len(rep.Columns), outcomeName(ex.Decision.Outcome), ex.Decision.Unevaluable
	c.Decision, c.Remarks = t.decision(&ex.Decision), t.remarks(&ex.Decision)
	if r := t.reportOnly(in, &ex); r != "" {
		c.Remarks = append(c.Remarks, r)
	}
	c.Remarks = append(c.Remarks, t.dependencies(in)...)
	guarded := false
	for i := range ex.Policies {
		s := t.standing(in, &ex.Policies[i])
		applies := s.Status == satisfied || s.Status == asks || s.Status == blocks
		rep.Rows[i].Cells = append(rep.Rows[i].Cells, cell{standing: s, Column: c})
		rep.Rows[i].Ever = rep.Rows[i].Ever || applies || s.Status == unevaluable
		guarded = guarded || applies && !s.ReportOnly && len(ex.Policies[i].Grants) > 0
	}
	if ex.Decision.Outcome == policy.OutcomeGrant && !guarded {
		c.Gap = "No enforced policy applies."
		if ex.Decision.Applied > 0 {
			c.Gap = "The enforced policies that apply only limit the session; none demands anything of the sign-in."
		}
	}
	rep.Columns = append(rep.Columns, c)
	return nil
}

func (rep *report) sort() {
	for _, c := range rep.Columns {
		if c.Gap != "" {
			rep.Gaps = append(rep.Gaps, c)
		}
		if !c.Met() {
			rep.Unexpected = append(rep.Unexpected, c)
		}
	}
	rank := func(c *column) int {
		switch {
		case !c.Met():
			return 0
		case c.Expect == "":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(rep.Gaps, func(a, b *column) int { return rank(a) - rank(b) })
}

// facts lists what a sign-in says, for a reader of the page.
func (t *tenant) facts(p persona, a attempt) (out []fact) {
	say := func(name, value string) {
		if value != "" {
			out = append(out, fact{name, value})
		}
	}
	app := a.App
	if id, err := t.names.appID(a.App); err == nil {
		app = t.names.of(id)
	}
	say("Application", app)
	say("User action", a.Action)
	say("Authentication context", a.AuthContext)
	say("Traffic", a.Traffic)
	say("Client", a.ClientApp)
	say("Platform", a.Platform)
	say("Flow", a.Flow)
	say("Address", strings.Trim(a.IP+" "+a.Country, " "))
	say("Device", a.Device)
	say("Methods", a.Methods)
	say("Sign-in risk", a.Risk)
	say("User risk", a.UserRisk)
	say("Insider risk", a.InsiderRisk)
	if a.Age != "" {
		say("Signed in", a.Age+" ago")
	}
	say("Roles", strings.Join(p.Roles, ", "))
	say("External", p.Guest)
	return out
}

func outcomeName(o policy.Outcome) string {
	for _, w := range outcomes {
		if w.value == o {
			return w.name
		}
	}
	return "invalid"
}

// writeSummary prints one line per sign-in, gaps and surprises marked.
func (rep *report) writeSummary(w io.Writer) error {
	b := new(strings.Builder)
	for _, c := range rep.Columns {
		mark := ""
		if c.Gap != "" {
			mark = "  GAP"
		}
		if !c.Met() {
			mark += "  " + c.Unmet()
		}
		fmt.Fprintf(b, "%-9s  %s: %s%s\n", c.Outcome, c.Persona, c.SignIn, mark)
	}
	fmt.Fprintf(b, "\n%s, %s, %s; %s.\n",
		count(len(rep.Columns), "sign-in", "sign-ins"), count(len(rep.Rows), "policy", "policies"),
		count(len(rep.Gaps), "gap", "gaps"), rep.expected())
	if rep.Assumed != "" {
		fmt.Fprintf(b, "Assumed: %s.\n", rep.Assumed)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// expected says how the sign-ins compare with what their authors expect.
func (rep *report) expected() string {
	n := 0
	for _, c := range rep.Columns {
		if c.Expect != "" {
			n++
		}
	}
	switch {
	case n == 0:
		return "nothing was expected"
	case len(rep.Unexpected) == 0 && n == len(rep.Columns):
		return "all as expected"
	case len(rep.Unexpected) == 0:
		return fmt.Sprintf("%s, all met", count(n, "expectation", "expectations"))
	}
	return fmt.Sprintf("%d of %s not met", len(rep.Unexpected), count(n, "expectation", "expectations"))
}
