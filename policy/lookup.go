package policy

// windowBlocks is how many blocks facts are looked up for at a time, in
// memory on the stack.
const windowBlocks = 16

// scratch is memory for the rows that a sign-in needs and that do not exist
// yet.
type scratch struct {
	who, whoExc, app, appExc, dev, doubt, locInc, locExc []block
}

const scratchRows = 8

func newScratch(mem []block) scratch {
	n := len(mem) / scratchRows
	return scratch{mem[:n], mem[n : 2*n], mem[2*n : 3*n], mem[3*n : 4*n], mem[4*n : 5*n], mem[5*n : 6*n], mem[6*n : 7*n], mem[7*n:]}
}

// runFacts judges a sign-in whose facts have to be looked up, a window of
// blocks at a time.
func (s *Set) runFacts(f *facts, t *tally, d *Decision) {
	if f.in.Action == ActionRegisterSecurityInfo && s.hasOwnStrength {
		f.override = s.probeOverride(f)
	}
	if s.blocks > 1 {
		s.runWindows(f, t, d)
		return
	}
	var mem [scratchRows]block
	buf := newScratch(mem[:])
	v := s.look(f, nil, &buf, 0, 1)
	s.run(f, &v, t, d)
}

func (s *Set) runWindows(f *facts, t *tally, d *Decision) {
	var known [maxKnown]uint32
	ids := s.know(f, known[:0])
	for first := 0; first < s.blocks; first += windowBlocks {
		var mem [scratchRows * windowBlocks]block
		buf := newScratch(mem[:])
		v := s.look(f, ids, &buf, first, min(windowBlocks, s.blocks-first))
		s.run(f, &v, t, d)
	}
}

// probeOverride says whether a policy applies that names registersecurityinfo
// and demands a strength: that strength then stands in for those of policies
// for all resources.
func (s *Set) probeOverride(f *facts) bool {
	for first := 0; first < s.blocks; first += windowBlocks {
		var mem [scratchRows * windowBlocks]block
		buf := newScratch(mem[:])
		n := min(windowBlocks, s.blocks-first)
		v := s.look(f, nil, &buf, first, n)
		for i := range n {
			l := v.lanes(i)
			for w := range len(block{}) {
				if l.applied(w)&s.masks[first+i].enabled[w]&s.ownStrength[first+i][w] != 0 {
					return true
				}
			}
		}
	}
	return false
}

// look returns its view by value: what is stored behind a pointer would take
// the scratch to the heap.
func (s *Set) look(f *facts, known []uint32, buf *scratch, first, n int) view {
	v := s.bind(f, first, n)
	v.who = s.lookWho(f, known, buf, first, n)
	v.app = s.lookApp(f, buf, first, n)
	v.dev, v.doubt = s.lookDevice(f, buf, first, n)
	if in := f.in; in.GPSCountry != "" || in.CompliantNetwork || len(in.Locations) != 0 {
		v.regionInc, v.regionExc = s.lookLocation(f, v, buf)
	}
	return v
}

func (s *Set) lookWho(f *facts, known []uint32, buf *scratch, first, n int) []block {
	if sub := f.in.Subject; sub != nil {
		if f.sharedChannel() {
			return sub.shared[first : first+n]
		}
		return sub.row[first : first+n]
	}
	w := window{first: first, inc: buf.who[:n], exc: buf.whoExc[:n]}
	s.who(f.in.User, known, s.sharedApp(f.app), &w)
	return w.inc
}

func (s *Set) lookApp(f *facts, buf *scratch, first, n int) []block {
	in := f.in
	switch {
	case in.Action != ActionNone:
		return s.actions.run(int(in.Action), first, n)
	case in.AuthContext != 0:
		return s.contexts.run(in.AuthContext, first, n)
	case f.exempt:
		return buf.app[:n]
	}
	if len(s.appRows.cells) != 0 && len(in.AppAttributes) == 0 && !in.AgentResource && !f.escape {
		return s.appRows.run(int(s.apps.local(f.app)), first, n)
	}
	w := window{first: first, inc: buf.app[:n], exc: buf.appExc[:n]}
	s.apps.addRules(in.AppAttributes, &w)
	s.apps.add(f.app, &w)
	if in.AgentResource {
		w.or(s.agentApps)
	}
	for i := range w.inc {
		w.inc[i] = w.inc[i].andNot(&w.exc[i])
		if f.escape {
			w.inc[i] = w.inc[i].andNot(&s.escape[first+i])
		}
	}
	return w.inc
}

func (s *Set) lookDevice(f *facts, buf *scratch, first, n int) (dev, doubt []block) {
	switch {
	case !f.carriesDevice() || f.in.Endpoint == nil && f.in.Device == nil:
		return s.devices.null.row[first : first+n], nil
	case f.in.Endpoint == nil:
		s.devices.gather(f.in.Device, first, buf.dev[:n], buf.doubt[:n])
		return buf.dev[:n], buf.doubt[:n]
	}
	if e := f.in.Endpoint; e.doubt != nil {
		doubt = e.doubt[first : first+n]
	}
	return f.in.Endpoint.row[first : first+n], doubt
}

// lookLocation adds what is known of the place beside the address.
func (s *Set) lookLocation(f *facts, v view, buf *scratch) (inc, exc []block) {
	in, t := f.in, &s.locations
	n := len(v.regionInc)
	w := window{first: v.first, inc: buf.locInc[:n], exc: buf.locExc[:n]}
	copy(w.inc, v.regionInc)
	copy(w.exc, v.regionExc)
	if in.GPSCountry != "" {
		w.or(t.sets.at(int(t.gps(in.GPSCountry))))
	}
	if in.CompliantNetwork {
		w.or(t.sets.at(int(t.network)))
	}
	for _, sym := range in.Locations {
		if p, ok := t.bySymbol[uint32(sym)]; ok {
			w.or(t.sets.at(int(t.places[p].set)))
		}
	}
	return w.inc, w.exc
}

// maxKnown is how many ids of one user that policies mention are looked up
// once for all windows; more are looked up for each.
const maxKnown = 256

// know looks the user's ids up and keeps the numbers of those that policies
// mention: groups, then a zero, then roles. nil is that they do not fit.
func (s *Set) know(f *facts, known []uint32) []uint32 {
	u := f.in.User
	if f.in.Subject != nil || u.Kind != IdentityPerson {
		return nil
	}
	for _, id := range u.Groups {
		if n := s.ids.find(id); s.groups.local(n) != 0 {
			if len(known) == maxKnown-1 {
				return nil
			}
			known = append(known, n)
		}
	}
	known = append(known, 0)
	for _, id := range u.Roles {
		if n := s.ids.find(id); s.roles.local(n) != 0 {
			if len(known) == maxKnown {
				return nil
			}
			known = append(known, n)
		}
	}
	return known
}
