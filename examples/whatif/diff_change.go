package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// A change is a sign-in, or a set of combinations, that ends differently.
type change struct {
	Kind         string
	Who, What    string
	Lost, Gained []string // controls
	Combinations int
	By           []string  // policies that are added, removed or changed, and decide now or decided before
	was, is      answerKey // of a permutation: those of the first combination
	session      string    // how the session changes; "": not at all
	file         string    // where the policy behind it is
}

// changeOf compares two answers; nil is that they say the same.
func (d *difference) changeOf(was, is answerKey, before, after []policy.Result) *change {
	if was.outcomeOnly() == is.outcomeOnly() {
		return nil
	}
	x := &change{was: was, is: is, Kind: changed}
	x.Lost, x.Gained = without(was.demanded(), is.demanded()), without(is.demanded(), was.demanded())
	if was.outcome == policy.OutcomeBlock && is.outcome == policy.OutcomeBlock { // if one of the two is due to the block control, nothing else counts
		x.Lost, x.Gained = onlyBlock(x.Lost), onlyBlock(x.Gained)
	} else if is.demands == blockDemand {
		x.Lost = nil
	}
	switch less := strictness(is) - strictness(was); {
	case less < 0, less == 0 && len(x.Lost) > 0 && len(x.Gained) == 0:
		x.Kind = loosened
	case less > 0, less == 0 && len(x.Gained) > 0 && len(x.Lost) == 0:
		x.Kind = tightened
	}
	if was.session != is.session {
		x.session = fmt.Sprintf("session: %s → %s", orNothing(was.session), orNothing(is.session))
	}
	for i := range d.Policies {
		if p := &d.Policies[i]; p.differs(before, after) {
			x.By = append(x.By, "“"+p.Name+"” ("+p.Change+")")
			x.file = p.File
		}
	}
	if x.file == "" && len(d.Policies) > 0 {
		x.file = d.Policies[0].File
	}
	return x
}

// without returns list without the elements of other.
func without(list, other []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(other, s) {
			out = append(out, s)
		}
	}
	return out
}

func onlyBlock(list []string) []string {
	if slices.Contains(list, blockDemand) {
		return []string{blockDemand}
	}
	return nil
}

func orNothing(s string) string {
	if s == "" {
		return "no limits"
	}
	return s
}

// strictness orders outcomes: a gap, a grant that a policy guards, a prompt, a
// block.
func strictness(k answerKey) int { return rankOf(k) }

// text says what changed in a sentence.
func (x *change) text() string {
	s := ending(x.was) + " → " + ending(x.is)
	var parts []string
	if len(x.Gained) > 0 {
		parts = append(parts, "gains "+enumerate(x.Gained))
	}
	if len(x.Lost) > 0 {
		parts = append(parts, "loses "+enumerate(x.Lost))
	}
	if x.session != "" {
		parts = append(parts, x.session)
	}
	if len(parts) > 0 {
		s += ": " + strings.Join(parts, "; ")
	}
	if len(x.By) > 0 {
		s += ", by " + enumerate(x.By)
	}
	return s
}

// ending is how a sign-in ends, in a word or two.
func ending(k answerKey) string {
	s := outcomeWords[outcomeName(k.outcome)]
	if k.gap {
		s += " unguarded"
	}
	if k.open > 0 {
		s += " unless " + count(k.open, "policy that cannot be evaluated", "policies that cannot be evaluated") + " says otherwise"
	}
	return s
}

func describeAnswer(k answerKey) string {
	s := k.text()
	if k.deciding != "" {
		s += " by " + k.deciding
	}
	return s
}

// subject is the sign-in of a change.
func (x *change) subject() string { return x.Who + ": " + x.What }
