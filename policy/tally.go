package policy

import (
	"math/bits"
	"slices"
)

// A tally collects the results of a Set's blocks.
type tally struct {
	applied  deciders
	denied   deciders
	hopeless deciders // cannot be satisfied by this sign-in
	unknown  deciders // cannot be evaluated
	waiting  deciders // for a prompt

	prompt  controlList
	missing controlList
	results *Results

	// Policies with equal grants are judged once: sets by number of the grant.
	judged, lacking classes // whether it is unsatisfied
	wanted, futile  classes // whether it can still be satisfied
}

// classes is a set of grant numbers below maxClass.
type classes [maxClass / 64]uint64

const maxClass = 128

func (c *classes) has(n uint16) bool { return c[n/64]>>(n%64)&1 != 0 }
func (c *classes) add(n uint16)      { c[n/64] |= 1 << (n % 64) }

// deciders counts policies and keeps the first.
type deciders struct {
	n     int32
	first [maxDeciding]int32
}

func (l *deciders) add(policy int) {
	if l.n < maxDeciding {
		l.first[l.n] = int32(policy)
	}
	l.n++
}

// word adds the policies of a word that begins with policy base.
func (l *deciders) word(base int, x uint64) {
	n := l.n
	l.n += int32(bits.OnesCount64(x))
	for ; x != 0 && n < maxDeciding; x &= x - 1 {
		l.first[n] = int32(base + bits.TrailingZeros64(x))
		n++
	}
}

// controlList is a small ordered set of control numbers: the lowest, which
// come first in prompt order.
type controlList struct {
	n    int32
	more bool // some did not fit
	list [maxControls]uint16
}

func (l *controlList) add(c uint16) {
	at := int(l.n)
	for at > 0 && l.list[at-1] >= c {
		at--
	}
	switch {
	case at < int(l.n) && l.list[at] == c:
		return
	case l.n == maxControls:
		l.more = true
		if at == maxControls {
			return
		}
	default:
		l.n++
	}
	copy(l.list[at+1:l.n], l.list[at:])
	l.list[at] = c
}

func (t *tally) addPrompt(c uint16) {
	t.prompt.add(c)
	if t.results != nil {
		t.results.prompt = append(t.results.prompt, c)
	}
}

func (t *tally) addMissing(c uint16) {
	t.missing.add(c)
	if t.results != nil {
		t.results.missing = append(t.results.missing, c)
	}
}

// lacks says whether a grant with more than simple controls is unsatisfied.
func (s *Set) lacks(f *facts, t *tally, p int) bool {
	g := &f.demands.grants[p]
	if f.override || g.class >= maxClass {
		f.lenient = f.override && !s.ownStrength.has(p)
		return s.wanting(f, g)
	}
	if !t.judged.has(g.class) {
		t.judged.add(g.class)
		if s.wanting(f, g) {
			t.lacking.add(g.class)
		}
	}
	return t.lacking.has(g.class)
}

// want adds a policy that is not satisfied, with what it needs: prompts, or
// what the sign-in cannot fulfil.
func (s *Set) want(f *facts, t *tally, p int) {
	hopeless := s.wantGrant(f, t, p)
	switch due := s.sessions[p].control.due(f); {
	case due >= 0 && f.prompts:
		t.addPrompt(uint16(due))
	case due >= 0:
		t.addMissing(uint16(due))
		hopeless = true
	}
	if s.sessions[p].control.refuses(f) {
		t.addMissing(numTokenProtection)
		hopeless = true
	}
	if hopeless {
		t.hopeless.add(p)
	} else {
		t.waiting.add(p)
	}
}

// wantGrant adds what a policy's grant lacks; hopeless says that the sign-in
// cannot fulfil it.
func (s *Set) wantGrant(f *facts, t *tally, p int) (hopeless bool) {
	g := &f.demands.grants[p]
	if f.override || g.class >= maxClass {
		f.lenient = f.override && !s.ownStrength.has(p)
		return s.addControls(f, t, g)
	}
	if !t.wanted.has(g.class) {
		t.wanted.add(g.class)
		if s.addControls(f, t, g) {
			t.futile.add(g.class)
		}
	}
	return t.futile.has(g.class)
}

// addControls adds the controls that an unsatisfied grant lacks.
func (s *Set) addControls(f *facts, t *tally, g *grant) (hopeless bool) {
	if len(g.controls) == 0 || !s.wanting(f, g) {
		return false
	}
	for _, n := range g.controls {
		switch {
		case g.and && s.satisfied(f, n):
		case s.satisfiable(f, n):
			t.addPrompt(n)
			if !g.and {
				return false
			}
		case g.and:
			t.addMissing(n)
			hopeless = true
		}
	}
	if g.and {
		return hopeless
	}
	for _, n := range g.controls {
		t.addMissing(n)
	}
	return true
}

// decide turns the tally into the decision.
func (t *tally) decide(s *Set, d *Decision) {
	d.Applied, d.Unevaluable = int(t.applied.n), int(t.unknown.n)
	deciding := &t.applied
	var controls *controlList
	d.Outcome = OutcomeGrant
	switch {
	case t.denied.n > 0:
		d.Outcome, d.Reason, deciding = OutcomeBlock, BlockControl, &t.denied
	case t.hopeless.n > 0:
		d.Outcome, d.Reason, deciding, controls = OutcomeBlock, Unsatisfiable, &t.hopeless, &t.missing
	case t.unknown.n > 0 && s.closed:
		d.Outcome, d.Reason, deciding = OutcomeBlock, Unevaluable, &t.unknown
	case t.waiting.n > 0:
		d.Outcome, deciding, controls = OutcomeInterrupt, &t.waiting, &t.prompt
	}
	if d.Outcome == OutcomeBlock {
		d.Session = Session{}
	}
	d.Deciding, d.deciding = int(deciding.n), deciding.first
	if controls != nil {
		d.Controls, d.MoreControls, d.controls = int(controls.n), controls.more, controls.list
	}
	if t.results != nil {
		t.fill(s, d)
	}
}

// pending says whether the user is asked for MFA, or a strength of it, first.
func (d *Decision) pending(s *Set) bool {
	return d.Outcome == OutcomeInterrupt && slices.ContainsFunc(d.controls[:d.Controls], func(n uint16) bool {
		k := s.controls[n].Kind
		return k == MFA || k == AuthenticationStrength
	})
}

func (t *tally) fill(s *Set, d *Decision) {
	r := t.results
	from := r.prompt
	switch {
	case d.Reason == Unsatisfiable:
		from = r.missing
	case d.Outcome != OutcomeInterrupt:
		from = nil
	}
	slices.Sort(from)
	for _, n := range slices.Compact(from) {
		r.Controls = append(r.Controls, s.controls[n])
	}
}

// logTerms corrects the log of policies with terms of use: those are validated
// after MFA, and count as failed as long as that is pending.
//
// Source: Microsoft Entra documentation, "Conditional Access: Grant", multiple
// grant controls (entra-docs 1302, 2025-02-27).
func (s *Set) logTerms(f *facts, r *Results) {
	f.noTerms = true
	for p, result := range r.Policies {
		if result != ResultSuccess && result != ResultReportOnlySuccess {
			continue
		}
		switch v := s.verdict(f, p); {
		case v == fulfilled:
		case result == ResultSuccess:
			r.Policies[p] = ResultFailure
		default:
			r.Policies[p] = reportOnlyResults[v]
		}
	}
	f.noTerms = false
}

// log writes how the policies of a word that apply fared.
func (s *Set) log(f *facts, b, w int, applied, doubt uint64, r *Results) {
	m := &s.masks[b]
	for ; applied != 0; applied &= applied - 1 {
		i := bits.TrailingZeros64(applied)
		p, bit := b*blockSize+w*64+i, uint64(1)<<i
		switch {
		case doubt&bit != 0 && s.idle[p] != ResultNotEnabled:
			r.Policies[p] = ResultUnknown
		case m.enabled[w]&bit != 0:
			r.Policies[p] = ResultSuccess
			if s.verdict(f, p) != fulfilled {
				r.Policies[p] = ResultFailure
			}
		case m.reportOnly[w]&bit != 0 && f.in.Action == ActionNone:
			r.Policies[p] = reportOnlyResults[s.verdict(f, p)]
		case m.unknown[w]&bit != 0 && s.idle[p] != ResultNotEnabled:
			r.Policies[p] = ResultUnknown
		}
	}
}

// A verdict is how one policy fares by itself.
type verdict uint8

const (
	fulfilled verdict = iota
	needsPrompt
	failed // blocked, or lacking what no prompt can satisfy
)

var reportOnlyResults = [...]Result{
	fulfilled:   ResultReportOnlySuccess,
	needsPrompt: ResultReportOnlyInterrupted,
	failed:      ResultReportOnlyFailure,
}

func (s *Set) verdict(f *facts, p int) verdict {
	g := &f.demands.grants[p]
	f.lenient = f.override && !s.ownStrength.has(p)
	if g.deny {
		return failed
	}
	if s.sessions[p].control.refuses(f) {
		return failed
	}
	v := fulfilled
	if s.sessions[p].any && s.sessions[p].control.due(f) >= 0 {
		v = needsPrompt
		if !f.prompts {
			return failed
		}
	}
	if len(g.controls) > 0 && s.wanting(f, g) {
		v = max(v, s.unfulfilled(f, g))
	}
	return v
}

// unfulfilled is the verdict on a grant that is not satisfied: a prompt
// suffices if it can satisfy everything that is needed.
func (s *Set) unfulfilled(f *facts, g *grant) verdict {
	for _, n := range g.controls {
		if g.and && s.satisfied(f, n) {
			continue
		}
		promptable := s.controls[n].Kind.interactive() && s.satisfiable(f, n)
		if g.and && !promptable {
			return failed
		}
		if !g.and && promptable {
			return needsPrompt
		}
	}
	if g.and {
		return needsPrompt
	}
	return failed
}
