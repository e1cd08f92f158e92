package main

import (
	"io"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/policy"
)

// A signature is what combinations that change alike have in common.
type signature struct {
	kind, lost, gained, by, session string
	was, is                         policy.Outcome
	gapBefore, gapAfter             bool
	openBefore, openAfter           int
}

func (x *change) signature() signature {
	return signature{
		x.Kind, enumerate(x.Lost), enumerate(x.Gained), enumerate(x.By), x.session,
		x.was.outcome, x.is.outcome, x.was.gap, x.is.gap, x.was.open, x.is.open,
	}
}

func (d *difference) permute(progress io.Writer, now time.Time) error {
	s, err := newSpace(now, d.before, d.after)
	if err != nil {
		return err
	}
	d.permuted = true
	before, after := d.before.cache(s), d.after.cache(s)
	groups := map[signature][]cube{}
	var order []*change
	d.Judged, d.Total, err = s.visit(progress, func(at point) error {
		was, err := before.key(at)
		if err != nil {
			return err
		}
		is, err := after.key(at)
		if err != nil {
			return err
		}
		x := d.changeOf(was, is, before.results.Policies, after.results.Policies)
		if x == nil {
			return nil
		}
		k := x.signature()
		if groups[k] == nil {
			order = append(order, x)
		}
		groups[k] = append(groups[k], cubeOf(at))
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(order, func(a, b *change) int { return rankOfKind(a.Kind) - rankOfKind(b.Kind) })
	for _, x := range order {
		for _, c := range mergeCubes(groups[x.signature()]) {
			d.addCube(s, *x, s.widen(c))
		}
	}
	return nil
}

func rankOfKind(kind string) int { return slices.Index([]string{loosened, changed, tightened}, kind) }

func (d *difference) addCube(s *space, x change, c cube) {
	rest := c
	rest[axisWho] = s.all(axisWho)
	x.Who, x.What, x.Combinations = s.describeAxis(c, axisWho), s.describe(rest), c.size()
	d.Changes = append(d.Changes, &x)
	d.trials = append(d.trials, &trial{
		who: x.Who, what: x.What, facts: s.facts(c), change: &x,
		signIn: func(*tenant) (*policy.SignIn, error) { return s.signIn(c.first()), nil },
	})
}
