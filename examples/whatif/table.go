package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/prtbroker/prtbroker/policy"
)

// writeTable prints every policy, those that apply first and those that may
// next, then the decision.
func (t *tenant) writeTable(w io.Writer, in *policy.SignIn, ex *policy.Explanation) error {
	b := new(strings.Builder)
	t.writeBroken(b)
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "POLICY\tSTATE\tAPPLIES\tWHY")
	for _, applies := range []string{"yes", "unknown", "no"} {
		for i := range ex.Policies {
			p := &ex.Policies[i]
			s := t.standing(in, p)
			if appliesText(s) != applies {
				continue
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", clip(policyName(p.Policy), 56), stateText(p.Policy.State), applies, s.Text)
		}
	}
	tw.Flush()
	if t.assumed != "" {
		fmt.Fprintf(b, "\nAssumed: %s.\n", t.assumed)
	}
	fmt.Fprintf(b, "\n%s\n", t.decision(&ex.Decision))
	for _, r := range t.remarks(&ex.Decision) {
		fmt.Fprintln(b, r)
	}
	if r := t.reportOnly(in, ex); r != "" {
		fmt.Fprintln(b, r)
	}
	for _, r := range t.dependencies(in) {
		fmt.Fprintln(b, r)
	}
	if n := t.worst(); n > 0 {
		fmt.Fprintf(b, "\nThe loader found %s:\n", count(n, "error", "errors"))
		for _, d := range t.diagnostics {
			if d.Severity == policy.SeverityError {
				fmt.Fprintf(b, "  %s\n", diagnosticText(d))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reportOnly says what report-only policies would change.
func (t *tenant) reportOnly(in *policy.SignIn, ex *policy.Explanation) string {
	var would []string
	for i := range ex.Policies {
		s := t.standing(in, &ex.Policies[i])
		if s.ReportOnly && (s.Status == blocks || s.Status == asks) {
			verb := map[status]string{blocks: "would block", asks: "would ask"}[s.Status]
			would = append(would, "“"+policyName(ex.Policies[i].Policy)+"” "+verb)
		}
	}
	if would == nil {
		return ""
	}
	const most = 4
	if more := len(would) - most; more > 1 {
		would = append(would[:most], fmt.Sprintf("%d more would block or ask", more))
	}
	return "Report-only: " + enumerate(would) + "."
}

// worst counts the diagnostics that make a policy unevaluable.
func (t *tenant) worst() (n int) {
	for _, d := range t.diagnostics {
		if d.Severity == policy.SeverityError {
			n++
		}
	}
	return n
}

// diagnosticText says where a diagnostic is, which policy it is about, and what it is.
func diagnosticText(d policy.Diagnostic) string {
	var where []string
	for _, s := range []string{d.File, d.Path} {
		if s != "" {
			where = append(where, s)
		}
	}
	if d.Policy != "" {
		where = append(where, "(“"+d.Policy+"”)")
	}
	if where == nil {
		return d.Message
	}
	return strings.Join(where, " ") + ": " + d.Message
}

func stateText(s policy.State) string {
	switch s {
	case policy.StateDisabled:
		return "off"
	case policy.StateReportOnly:
		return "report"
	}
	return "on"
}

func appliesText(s standing) string {
	switch s.Status {
	case off, notApplied:
		return "no"
	case unevaluable:
		return "unknown"
	}
	return "yes"
}

// clip shortens a name so that the table stays a table.
func clip(s string, max int) string {
	r := []rune(strings.ReplaceAll(s, "\n", " "))
	if len(r) <= max {
		return string(r)
	}
	return string(r[:max-1]) + "…"
}
