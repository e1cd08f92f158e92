package main

import (
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

// diffConfig is the command line of whatif diff.
type diffConfig struct {
	reading
	old, new string
	matrix   string
	format   string
	out      string
	html     string
	failOn   string
}

const diffUsage = `usage: whatif diff [flags] OLD NEW

Reports which sign-ins gain or lose which control when the policies in the folder
NEW replace those in OLD. Without -matrix it evaluates every combination of the
values that either set of policies names.

The exit status is 0 if nothing changed that -fail-on names, 1 if something did,
2 for bad input, and 3 if files of an export could not be read.
`

// Kinds of changes, and what -fail-on names.
const (
	loosened  = "loosened"
	tightened = "tightened"
	changed   = "changed" // neither: one control for another, or the session only
)

var formats = []string{"text", "json", "junit", "sarif"}

func parseDiff(args []string, stderr io.Writer) (diffConfig, error) {
	var c diffConfig
	f := newFlags()
	readingFlags(f, &c.reading)
	f.StringVar(&c.matrix, "matrix", "", "compare the personas and sign-ins of this `file`")
	f.StringVar(&c.format, "format", "text", "`format` of the output: text, json, junit or sarif")
	f.StringVar(&c.out, "o", "", "write the output to this `file` instead of standard output")
	f.StringVar(&c.html, "html", "", "write a report that shows both to this `file`")
	f.StringVar(&c.failOn, "fail-on", "any", "which `changes` give exit status 1: any, loosened (those that ask for less, and those that cannot be told), or none")
	var folders []string
	for {
		if err := parse(f, args, stderr, diffUsage, func() error { return nil }); err != nil {
			return c, err
		}
		if f.NArg() == 0 {
			break
		}
		folders, args = append(folders, f.Arg(0)), f.Args()[1:]
	}
	switch {
	case len(folders) != 2:
		return c, errors.New("diff compares two exports: whatif diff OLD NEW")
	case !slices.Contains(formats, c.format):
		return c, fmt.Errorf("%q is not a known format; use one of %s", c.format, strings.Join(formats, ", "))
	case !slices.Contains([]string{"any", loosened, "none"}, c.failOn):
		return c, fmt.Errorf("%q is not a known value of -fail-on; use any, loosened or none", c.failOn)
	}
	c.old, c.new = folders[0], folders[1]
	return c, nil
}

func compare(args []string, stdout, stderr io.Writer, now func() time.Time) (int, error) {
	cfg, err := parseDiff(args, stderr)
	if err != nil {
		return 0, err
	}
	before, err := openTenant(cfg.old, cfg.reading)
	if err != nil {
		return 0, err
	}
	after, err := openTenant(cfg.new, cfg.reading)
	if err != nil {
		return 0, err
	}
	d, err := compareTenants(cfg, before, after, stderr, now())
	if err != nil {
		return 0, err
	}
	if cfg.html != "" {
		rep, err := d.report(now())
		if err != nil {
			return 0, err
		}
		if err := rep.save(cfg.html); err != nil {
			return 0, err
		}
	}
	if err := d.save(cfg, stdout); err != nil {
		return 0, err
	}
	switch {
	case len(before.broken)+len(after.broken) > 0:
		return statusIncomplete, nil
	case slices.ContainsFunc(d.Changes, cfg.fails):
		return statusUnexpected, nil
	}
	return statusAnswer, nil
}

// fails says whether a change gives exit status 1.
func (c *diffConfig) fails(x *change) bool {
	return c.failOn == "any" || c.failOn == loosened && x.Kind != tightened && (x.Kind == loosened || x.is.open > x.was.open || len(x.Lost) > 0)
}

// A difference is two exports compared.
type difference struct {
	Old, New string
	Judged   int // sign-ins, or combinations
	Total    int
	Policies []policyChange
	Changes  []*change

	before, after *tenant
	permuted      bool
	trials        []*trial // all of a matrix; of a permutation those that changed
}

// A policyChange is a policy that is in one export only, or differs.
type policyChange struct {
	Change string `json:"change"` // added, removed, changed
	Name   string `json:"name"`
	ID     string `json:"id,omitempty"`
	File   string `json:"file,omitempty"`

	before, after int // index in the exports; -1: not there
}

// differs reports whether the policy's result has changed.
func (p *policyChange) differs(before, after []policy.Result) bool {
	was, is := policy.ResultNotApplied, policy.ResultNotApplied
	if p.before >= 0 {
		was = before[p.before]
	}
	if p.after >= 0 {
		is = after[p.after]
	}
	idle := []policy.Result{policy.ResultNotApplied, policy.ResultNotEnabled, policy.ResultReportOnlyNotApplied}
	return was != is && !(slices.Contains(idle, was) && slices.Contains(idle, is))
}

// A trial is a sign-in that is judged by both exports.
type trial struct {
	who, what string
	facts     []fact
	signIn    func(*tenant) (*policy.SignIn, error)
	change    *change // nil: none
}

func compareTenants(cfg diffConfig, before, after *tenant, progress io.Writer, now time.Time) (*difference, error) {
	d := &difference{Old: cfg.old, New: cfg.new, before: before, after: after, Policies: comparePolicies(before, after)}
	if cfg.matrix == "" {
		return d, d.permute(progress, now)
	}
	m, err := loadMatrix(cfg.matrix)
	if err != nil {
		return nil, err
	}
	if err := d.matrix(m, now); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.matrix, err)
	}
	return d, nil
}

// comparePolicies finds policies by id, else by name.
func comparePolicies(before, after *tenant) (out []policyChange) {
	for i := range before.bundle.Policies {
		p := &before.bundle.Policies[i]
		n := after.same(p)
		if n < 0 {
			out = append(out, policyChange{"removed", policyName(p), p.ID, p.Source.File, i, n})
		} else if q := &after.bundle.Policies[n]; content(p) != content(q) {
			out = append(out, policyChange{"changed", policyName(q), q.ID, q.Source.File, i, n})
		}
	}
	for i := range after.bundle.Policies {
		if p := &after.bundle.Policies[i]; before.same(p) < 0 {
			out = append(out, policyChange{"added", policyName(p), p.ID, p.Source.File, -1, i})
		}
	}
	return out
}

// same returns the index of the policy that corresponds to p, a policy of
// another export, or -1 if there is none.
func (t *tenant) same(p *policy.Policy) int {
	for _, by := range []func(*policy.Policy) string{
		func(q *policy.Policy) string { return q.ID }, func(q *policy.Policy) string { return q.DisplayName },
	} {
		if want := by(p); want != "" {
			for i := range t.bundle.Policies {
				if strings.EqualFold(by(&t.bundle.Policies[i]), want) {
					return i
				}
			}
		}
	}
	return -1
}

// content returns what a policy says, without its ids and timestamps.
func content(p *policy.Policy) string {
	c := *p
	c.CreatedDateTime, c.ModifiedDateTime, c.ID, c.TemplateID = "", "", "", ""
	b, _ := json.Marshal(c)
	return string(b) + strings.Join(p.Unmodeled, " ")
}

func (d *difference) matrix(m *matrix, now time.Time) error {
	var r [2]policy.Results
	for _, p := range m.Personas {
		for _, a := range m.SignIns {
			if a.Personas != nil && !slices.Contains(a.Personas, p.Name) {
				continue
			}
			x := &trial{who: p.Name, what: a.Name, facts: d.after.facts(p, a), signIn: func(t *tenant) (*policy.SignIn, error) { return t.signIn(p, a, now) }}
			var keys [2]answerKey
			for i, t := range []*tenant{d.before, d.after} {
				in, err := x.signIn(t)
				if err == nil {
					keys[i], err = t.key(in, &r[i])
				}
				if err != nil {
					return fmt.Errorf("%s, %q: %w", p.Name, a.Name, err)
				}
			}
			d.Judged++
			d.trials = append(d.trials, x)
			x.change = d.changeOf(keys[0], keys[1], r[0].Policies, r[1].Policies)
			if x.change != nil {
				x.change.Who, x.change.What, x.change.Combinations = x.who, x.what, 1
				d.Changes = append(d.Changes, x.change)
			}
		}
	}
	d.Total = d.Judged
	return nil
}

// save writes the output in its format.
func (d *difference) save(cfg diffConfig, stdout io.Writer) error {
	var out []byte
	var err error
	switch cfg.format {
	case "json":
		out, err = d.json()
	case "junit":
		out, err = d.junit(cfg)
	case "sarif":
		out, err = d.sarif()
	default:
		out = d.text()
	}
	if err != nil {
		return err
	}
	if cfg.out == "" {
		_, err = stdout.Write(out)
		return err
	}
	return plain(os.WriteFile(cfg.out, out, 0o644))
}

// unreadable lists the files that are missing from the comparison.
func (d *difference) unreadable() (out []string) {
	for _, t := range []*tenant{d.before, d.after} {
		for _, b := range t.broken {
			out = append(out, t.folder+"/"+b)
		}
	}
	return out
}

func (d *difference) text() []byte {
	b := new(strings.Builder)
	for _, f := range d.unreadable() {
		fmt.Fprintf(b, "not read: %s\n", f)
	}
	for _, p := range d.Policies {
		fmt.Fprintf(b, "%-8s policy %s\n", p.Change, p.Name)
	}
	if b.Len() > 0 {
		fmt.Fprintln(b)
	}
	told := map[string]bool{}
	for _, x := range d.Changes {
		if told[x.Kind+x.text()] {
			continue
		}
		told[x.Kind+x.text()] = true
		fmt.Fprintf(b, "%-9s  %s\n", x.Kind, x.text())
		for _, y := range d.Changes {
			if y.Kind == x.Kind && y.text() == x.text() {
				fmt.Fprintf(b, "             %s\n", y.subject())
			}
		}
	}
	if len(d.Changes) > 0 {
		fmt.Fprintln(b)
	}
	fmt.Fprintf(b, "%s\n", d.summary())
	return []byte(b.String())
}

// summary says how much changed in a line.
func (d *difference) summary() string {
	what := count(d.Judged, "sign-in", "sign-ins")
	if d.permuted {
		what = count(d.Judged, "combination", "combinations")
		if d.Judged < d.Total && d.Total > maxCombinations {
			what = fmt.Sprintf("%d of %d combinations", d.Judged, d.Total)
		}
	}
	if len(d.Changes) == 0 {
		return what + ", no change."
	}
	n := map[string]int{}
	for _, x := range d.Changes {
		n[x.Kind]++
	}
	return fmt.Sprintf("%s; %d loosened, %d changed, %d tightened.", what, n[loosened], n[changed], n[tightened])
}
