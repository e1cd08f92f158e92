package main

import (
	"fmt"
	"time"
)

// report returns the matrix of the new export, marked with what was different
// before.
func (d *difference) report(now time.Time) (*report, error) {
	rep := d.after.newReport(now)
	rep.Old, rep.Summary, rep.Broken = d.Old, d.summary(), d.unreadable()
	d.addRemoved(rep)
	trials := d.trials
	if len(trials) > maxColumns {
		rep.Sampled = fmt.Sprintf("the first %d of %d changes are shown", maxColumns, len(trials))
		trials = trials[:maxColumns]
	}
	for _, x := range trials {
		if err := d.addTrial(rep, x); err != nil {
			return nil, err
		}
	}
	d.markRows(rep)
	rep.sort()
	return rep, nil
}

// addRemoved adds a row for each policy that was removed.
func (d *difference) addRemoved(rep *report) {
	for i := range rep.Rows {
		for _, p := range d.Policies {
			if p.Change != "removed" && p.Name == rep.Rows[i].Policy {
				rep.Rows[i].Change = p.Change
			}
		}
	}
	for _, n := range d.removed() {
		p := &d.before.bundle.Policies[n]
		rep.Rows = append(rep.Rows, row{ID: len(rep.Rows), Policy: policyName(p), State: stateText(p.State), Change: "removed"})
	}
}

// removed are the indices of the policies that were removed.
func (d *difference) removed() (out []int) {
	for _, p := range d.Policies {
		if p.after < 0 {
			out = append(out, p.before)
		}
	}
	return out
}

func (d *difference) addTrial(rep *report, x *trial) error {
	in, err := x.signIn(d.after)
	if err != nil {
		return err
	}
	if n := len(rep.Personas); n == 0 || rep.Personas[n-1].Name != x.who {
		rep.Personas = append(rep.Personas, heading{Name: x.who, Same: true})
	}
	h := &rep.Personas[len(rep.Personas)-1]
	h.Columns++
	c := &column{Persona: x.who, SignIn: x.what, Facts: x.facts, Same: x.change == nil}
	h.Same = h.Same && c.Same
	if x.change != nil {
		c.Change, c.Was = x.change.Kind, describeAnswer(x.change.was)
		rep.Changed = append(rep.Changed, c)
	}
	if err := d.after.addColumn(rep, c, in); err != nil {
		return err
	}
	return d.compareCells(rep, x, c)
}

// compareCells notes in the new column's cells how the policies stood before.
func (d *difference) compareCells(rep *report, x *trial, c *column) error {
	in, err := x.signIn(d.before)
	if err != nil {
		return err
	}
	ex := d.before.set.Explain(in)
	was := make([]standing, len(ex.Policies))
	for i := range ex.Policies {
		was[i] = d.before.standing(in, &ex.Policies[i])
	}
	for i := range d.after.bundle.Policies {
		last := &rep.Rows[i].Cells[len(rep.Rows[i].Cells)-1]
		n := d.before.same(&d.after.bundle.Policies[i])
		if n < 0 {
			last.Was = "the policy did not exist"
			continue
		}
		if old := was[n]; old.Status != last.Status || old.ReportOnly != last.ReportOnly || old.Text != last.Text {
			last.Was = statusWords[old.Status] + ": " + old.Text
		}
	}
	for n, gone := range d.removed() {
		old := was[gone]
		r := &rep.Rows[len(d.after.bundle.Policies)+n]
		r.Ever = r.Ever || old.Status != notApplied && old.Status != off
		r.Cells = append(r.Cells, cell{
			standing: standing{Status: notApplied, Text: "the policy was removed"}, Column: c,
			Was: statusWords[old.Status] + ": " + old.Text,
		})
	}
	return nil
}

// markRows marks the policies whose results are the same everywhere.
func (d *difference) markRows(rep *report) {
	for i := range rep.Rows {
		r := &rep.Rows[i]
		r.Same = r.Change == ""
		for _, c := range r.Cells {
			r.Same = r.Same && c.Was == ""
		}
	}
}
