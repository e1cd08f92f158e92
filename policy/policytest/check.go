package policytest

import (
	"fmt"
	"slices"

	"github.com/prtbroker/prtbroker/policy"
)

// Check evaluates a question with the Set in every way that it can be asked,
// and with Naive, and returns the first difference. The Set must be compiled
// from the bundle with the options.
func Check(s *policy.Set, b *policy.Bundle, o Options, q Question) error {
	in := q.SignIn
	in.Locations = s.Symbols(nil, q.LocationIDs)
	want := Naive(b, o, &in, q.LocationIDs...)
	for _, way := range ways(s, &in) {
		if err := compare(s, way.in, want); err != nil {
			return fmt.Errorf("policytest: %s: %w", way.name, err)
		}
	}
	return nil
}

type way struct {
	name string
	in   *policy.SignIn
}

// ways asks by facts, by symbols, and by rows made before.
func ways(s *policy.Set, in *policy.SignIn) []way {
	symbols, rows := *in, *in
	u := *in.User
	u.GroupSymbols, u.Groups = s.Symbols(nil, u.Groups), nil
	u.RoleSymbols, u.Roles = s.Symbols(nil, u.Roles), nil
	symbols.User = &u
	if in.AppID != "" {
		symbols.App, symbols.AppID = s.Symbol(in.AppID), ""
	}
	rows.Subject, rows.User = s.Subject(in.User), nil
	rows.Endpoint, rows.Device = s.Endpoint(in.Device), nil
	return []way{{"facts", in}, {"symbols", &symbols}, {"rows", &rows}}
}

func compare(s *policy.Set, in *policy.SignIn, want Verdict) error {
	d := s.Evaluate(in)
	if err := comparePolicies(s, in, d, want); err != nil {
		return err
	}
	if d.Outcome != want.Outcome || d.Reason != want.Reason {
		return fmt.Errorf("outcome %v (%v), want %v (%v)", d.Outcome, d.Reason, want.Outcome, want.Reason)
	}
	if d.Applied != want.Applied || d.Unevaluable != want.Unevaluable || d.Deciding != len(want.Deciding) {
		return fmt.Errorf("applied, unevaluable, deciding: %d %d %d, want %d %d %d", d.Applied, d.Unevaluable, d.Deciding, want.Applied, want.Unevaluable, len(want.Deciding))
	}
	if d.Session != want.Session {
		return fmt.Errorf("session %+v, want %+v", d.Session, want.Session)
	}
	i := 0
	for p := range d.Policies() {
		if p != s.Policy(want.Deciding[i]) {
			return fmt.Errorf("deciding policy %s, want %s", p.ID, s.Policy(want.Deciding[i]).ID)
		}
		i++
	}
	if i != min(4, len(want.Deciding)) {
		return fmt.Errorf("%d deciding policies named of %d", i, len(want.Deciding))
	}
	var r policy.Results
	if again := s.EvaluateInto(in, &r); again != d {
		return fmt.Errorf("EvaluateInto differs: %+v, want %+v", again, d)
	}
	if err := compareControls(&d, r.Controls, want.Controls); err != nil {
		return err
	}
	for i, w := range want.Policies {
		if r.Policies[i] != w.Result {
			return fmt.Errorf("policy %d: result %v, want %v", i, r.Policies[i], w.Result)
		}
	}
	return nil
}

func compareControls(d *policy.Decision, all, want []policy.Control) error {
	named := slices.AppendSeq(slices.Collect(d.Prompt()), d.Missing())
	if len(named) != d.Controls || d.MoreControls != (len(all) > len(named)) || !slices.Equal(named, all[:len(named)]) {
		return fmt.Errorf("controls %v, in full %v", named, all)
	}
	if !slices.IsSortedFunc(all, func(a, b policy.Control) int { return int(a.Kind) - int(b.Kind) }) {
		return fmt.Errorf("controls out of prompt order: %v", all)
	}
	if got := distinct(slices.Clone(all)); !slices.Equal(got, want) {
		return fmt.Errorf("controls %v, want %v", got, want)
	}
	return nil
}

func comparePolicies(s *policy.Set, in *policy.SignIn, d policy.Decision, want Verdict) error {
	e := s.Explain(in)
	if e.Decision != d {
		return fmt.Errorf("Explain decides %+v, want %+v", e.Decision, d)
	}
	for i, w := range want.Policies {
		x := e.Policies[i]
		if x.Applies != w.Applies || x.Reasons != w.Reason || x.Result != w.Result {
			return fmt.Errorf("policy %d: applies %v (%v), %v; want %v (%v), %v", i, x.Applies, x.Reasons, x.Result, w.Applies, w.Reason, w.Result)
		}
	}
	return nil
}
