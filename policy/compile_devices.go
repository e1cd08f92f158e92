package policy

import (
	"slices"

	"github.com/prtbroker/prtbroker/claims"
)

// deviceTable decides the device conditions: the rules of filters and the
// older lists of states.
type deviceTable struct {
	unfiltered row // policies without a device filter
	filters    filterTable
	states     matrix   // by deviceState
	null       Endpoint // the row of a device that is not registered
}

// deviceState numbers what the lists of states can tell apart.
func deviceState(d *Device) int {
	n := 0
	compliant, hybrid := d.grants()
	if compliant {
		n |= 1
	}
	if hybrid {
		n |= 2
	}
	return n
}

func (c *compiler) sealDevices() {
	t := &c.devices
	t.unfiltered = newRow(c.blocks)
	t.states = newMatrix(4, c.blocks)
	t.filters = newFilterTable(c.blocks)
	for i := range c.policies {
		k := &c.policies[i].Conditions
		relaxed := c.relaxed[dimDevices].has(i)
		for s := range 4 {
			t.states.row(s).put(i, relaxed || k.deviceState(s))
		}
		if d := k.Devices; d == nil || d.Filter == nil || relaxed {
			t.unfiltered.set(i)
		} else {
			t.filters.add(c.rule(d.Filter), i, equalASCII(d.Filter.Mode, "exclude"))
		}
	}
	t.filters.seal(c.blocks)
	t.null = *c.Endpoint(nil)
}

// deviceState says whether the lists of states match; an empty list of
// inclusions includes all.
func (k *Conditions) deviceState(s int) bool {
	in := func(list []string) bool {
		return slices.ContainsFunc(list, func(name string) bool {
			switch member(deviceStateNames, name) {
			case 0:
				return true
			case 1:
				return s&1 != 0
			case 2:
				return s&2 != 0
			}
			return false
		})
	}
	match := func(include, exclude []string) bool {
		return (len(include) == 0 || in(include)) && !in(exclude)
	}
	if d := k.Devices; d != nil && !(match(d.Include, d.Exclude) && match(d.IncludeStates, d.ExcludeStates)) {
		return false
	}
	return k.DeviceStates == nil || match(k.DeviceStates.Include, k.DeviceStates.Exclude)
}

// Endpoint is a device's row in one Set, with every filter rule judged. Callers
// keep it as long as the device's facts and the Set are current.
type Endpoint struct {
	set       *Set
	device    *Device // for Explain
	row       row
	doubt     row // policies that the row holds and whose filter is undecided; nil: none
	compliant bool
	hybrid    bool
}

// Endpoint judges a device; nil means one that is not registered.
func (s *Set) Endpoint(d *Device) *Endpoint {
	e := &Endpoint{set: s, device: d, row: newRow(s.blocks)}
	e.compliant, e.hybrid = d.grants()
	doubt := newRow(s.blocks)
	if s.devices.gather(d, 0, e.row, doubt) {
		e.doubt = doubt
	}
	return e
}

// grants returns what a device gives to compliantDevice and
// domainJoinedDevice.
func (d *Device) grants() (compliant, hybrid bool) {
	if d == nil {
		return false, false
	}
	return d.Compliant == claims.Yes && d.TrustType != TrustNone, d.TrustType == TrustHybrid
}

// gather writes the row of a device, from block first on, and into doubt the
// policies of it whose filter is undecided; it says whether there are any.
func (t *deviceTable) gather(d *Device, first int, out, doubt []block) (doubtful bool) {
	copy(out, t.unfiltered[first:])
	at := first / windowBlocks
	for from := 0; from < len(out); from += windowBlocks {
		rows, undecided := out[from:min(from+windowBlocks, len(out))], doubt[from:min(from+windowBlocks, len(out))]
		for i := range t.filters.windows[at] {
			f := &t.filters.windows[at][i]
			yes, certain := f.rule.decide(d)
			f.or(rows, !yes)
			if !certain {
				doubtful = true
				f.or(rows, yes)
				f.or(undecided, true)
				f.or(undecided, false)
			}
		}
		at++
	}
	state := t.states.row(deviceState(d))
	for b := range out {
		out[b] = out[b].and(&state[first+b])
		doubt[b] = doubt[b].and(&out[b])
	}
	return doubtful
}
