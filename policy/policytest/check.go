package policytest

import (
	"fmt"
	"slices"
	"strings"

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

// ways asks with facts, with symbols, and with rows made beforehand.
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
		return fmt.Errorf("explained %+v, want %+v", e.Decision, d)
	}
	for i, w := range want.Policies {
		x := e.Policies[i]
		if x.Applies != w.Applies || x.Reasons != w.Reason || x.Result != w.Result {
			return fmt.Errorf("policy %d: applies %v (%v), %v; want %v (%v), %v", i, x.Applies, x.Reasons, x.Result, w.Applies, w.Reason, w.Result)
		}
		if err := consistent(&x); err != nil {
			return fmt.Errorf("policy %d: %w", i, err)
		}
		if !slices.EqualFunc(x.Grants, w.Grants, equalGrant) {
			return fmt.Errorf("policy %d: grants %v, want %v", i, x.Grants, w.Grants)
		}
	}
	return nil
}

func equalGrant(a, b policy.GrantState) bool {
	return a.Kind == b.Kind && strings.EqualFold(a.ID, b.ID) && a.Satisfied == b.Satisfied && a.Satisfiable == b.Satisfiable
}

// consistent says whether the rules that an explanation names add up to what
// it concludes: a condition is met when a rule includes and none excludes.
func consistent(x *policy.PolicyExplanation) error {
	if x.Result == policy.ResultNotEnabled || x.Reasons == policy.ReasonInvalidPolicy || len(x.Policy.Unmodeled) > 0 {
		return nil
	}
	on := func(list []policy.RuleMatch, conditions ...string) bool {
		return slices.ContainsFunc(list, func(m policy.RuleMatch) bool { return slices.Contains(conditions, m.Condition) })
	}
	identity := []string{"users", "servicePrincipals"}
	for _, q := range []struct {
		conditions []string
		unmet      policy.AnalysisReasons
		included   bool // needs no rule to include
	}{
		{identity, policy.ReasonUsers | policy.ReasonWorkloadIdentities | policy.ReasonAgentIdentities | policy.ReasonEmptyPolicy, false},
		{[]string{"application"}, policy.ReasonApplication | policy.ReasonUserActions | policy.ReasonAuthenticationContext, false},
		{[]string{"devicePlatform"}, policy.ReasonDevicePlatform, x.Policy.Conditions.Platforms == nil || len(x.Policy.Conditions.Platforms.Include) == 0},
		{[]string{"location"}, policy.ReasonLocation, x.Policy.Conditions.Locations == nil || len(x.Policy.Conditions.Locations.Include) == 0},
	} {
		met := (q.included || on(x.Include, q.conditions...)) && !on(x.Exclude, q.conditions...)
		if x.Applies && !met {
			return fmt.Errorf("applies, though the rules on %v say otherwise: +%v -%v", q.conditions, x.Include, x.Exclude)
		}
		if x.Reasons&q.unmet != 0 {
			if met && !slices.Equal(q.conditions, identity) {
				return fmt.Errorf("%v, though the rules say otherwise: +%v -%v", x.Reasons, x.Include, x.Exclude)
			}
			break
		}
	}
	return nil
}
