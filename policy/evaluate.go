package policy

import "math/bits"

// A view is the rows that a sign-in selects, over a run of blocks.
type view struct {
	first                                int
	who, app, form, risk, misc, dev      []block
	doubt                                []block // policies whose device filter is undecided; nil: none
	regionInc, regionExc, ctyInc, ctyExc []block
}

// Lanes are a view of one block: pointers, so that a set of one block needs no
// slices.
type lanes struct {
	who, app, form, risk, misc, dev      *block
	doubt                                *block
	regionInc, regionExc, ctyInc, ctyExc *block
}

// Evaluate judges a sign-in. It does not allocate, however many policies the
// Set holds, and is fastest with a Subject and an Endpoint made beforehand.
//
// All enforced policies that apply must be satisfied, each by itself.
// OutcomeBlock wins; then a policy that this sign-in can no longer satisfy
// blocks; then missing controls and a sign-in frequency that is due interrupt.
// A SignIn that makes no sense is answered with OutcomeInvalid.
func (s *Set) Evaluate(in *SignIn) Decision { return s.evaluate(in, nil) }

// EvaluateInto judges as Evaluate does and writes how each policy fared, the
// report-only ones too, into r. It does not allocate once r has grown.
func (s *Set) EvaluateInto(in *SignIn, r *Results) Decision {
	r.Policies = append(r.Policies[:0], s.idle...)
	r.Controls, r.prompt, r.missing = r.Controls[:0], r.prompt[:0], r.missing[:0]
	return s.evaluate(in, r)
}

func (s *Set) evaluate(in *SignIn, r *Results) (d Decision) {
	d.set = s
	var f facts
	if d.Reason = s.gather(in, &f); d.Reason != NoReason {
		if r != nil {
			r.Policies = r.Policies[:0]
		}
		return d
	}
	var t tally
	t.results = r
	switch plain := s.plain(&f); {
	case plain && s.blocks == 1:
		s.runBlock(&f, &t, &d)
	case plain && f.bound():
		s.runRows(&f, &t, &d)
	default:
		s.runFacts(&f, &t, &d)
	}
	t.decide(s, &d)
	if r != nil && s.hasTerms && d.pending(s) {
		s.logTerms(&f, r)
	}
	return d
}

// runBlock judges a plain sign-in by a set of one block, which covers any
// tenant: Entra stores no more than some 240 policies.
func (s *Set) runBlock(f *facts, t *tally, d *Decision) {
	x, sets := s.index(f), s.locations.sets.cells
	l := lanes{
		app: &s.appRows.cells[s.apps.local(f.app)], form: &s.form.cells[x.form], risk: &s.risk.cells[x.risk], misc: &s.misc.cells[x.misc],
		regionInc: &sets[2*x.region], regionExc: &sets[2*x.region+1], ctyInc: &sets[2*x.country], ctyExc: &sets[2*x.country+1],
		doubt: &noDoubt,
	}
	if f.bound() {
		l.who, l.dev = &f.boundWho()[0], &f.boundDevice(s)[0]
		if doubt := f.boundDoubt(); doubt != nil {
			l.doubt = &doubt[0]
		}
		s.judge(f, t, d, 0, &l, &f.demands.unsat.cells[f.have])
		return
	}
	s.runLooked(f, t, d, l)
}

// runLooked looks up the principal and the device.
func (s *Set) runLooked(f *facts, t *tally, d *Decision, l lanes) {
	var who line
	var dev, doubt [1]block
	if f.in.Subject != nil {
		l.who = &f.boundWho()[0]
	} else {
		u := f.in.User
		s.who(u, nil, s.sharedApp(f.app), &window{inc: who[:1], exc: who[1:], line: &who})
		l.who = &who[0]
	}
	if f.in.Endpoint == nil && f.in.Device != nil && f.carriesDevice() {
		s.devices.gather(f.in.Device, 0, dev[:], doubt[:])
		l.dev, l.doubt = &dev[0], &doubt[0]
	} else {
		l.dev = &f.boundDevice(s)[0]
		if doubt := f.boundDoubt(); doubt != nil {
			l.doubt = &doubt[0]
		}
	}
	s.judge(f, t, d, 0, &l, &f.demands.unsat.cells[f.have])
}

// runRows judges a sign-in whose every row exists.
func (s *Set) runRows(f *facts, t *tally, d *Decision) {
	v := s.bind(f, 0, s.blocks)
	v.who, v.app, v.dev = f.boundWho(), s.appRows.row(int(s.apps.local(f.app))), f.boundDevice(s)
	v.doubt = f.boundDoubt()
	s.run(f, &v, t, d)
}

func (f *facts) boundWho() []block {
	if f.sharedChannel() {
		return f.in.Subject.shared
	}
	return f.in.Subject.row
}

func (f *facts) boundDevice(s *Set) []block {
	if f.in.Endpoint != nil && f.carriesDevice() {
		return f.in.Endpoint.row
	}
	return s.devices.null.row
}

// noDoubt is what most sign-ins leave undecided.
var noDoubt block

// boundDoubt is the policies whose device filter is undecided; nil: none.
func (f *facts) boundDoubt() []block {
	if f.in.Endpoint != nil && f.carriesDevice() {
		return f.in.Endpoint.doubt
	}
	return nil
}

// plain says whether the target and the place are rows that exist: an
// application without attributes, an address and its country.
func (s *Set) plain(f *facts) bool {
	in := f.in
	return in.forApp() && !f.exempt && !f.escape && len(s.appRows.cells) != 0 && len(in.AppAttributes) == 0 && !in.AgentResource &&
		in.GPSCountry == "" && !in.CompliantNetwork && len(in.Locations) == 0
}

// bound says whether the rows of principal and device exist.
func (f *facts) bound() bool {
	in := f.in
	return in.Subject != nil && (in.Device == nil || in.Endpoint != nil || !f.carriesDevice())
}

// indices are the numbers of the rows that a sign-in selects.
type indices struct {
	form, risk, misc int
	region, country  uint32
}

func (s *Set) index(f *facts) (x indices) {
	in := f.in
	x.form = int(in.Platform)*clientValues + int(in.ClientApp)
	x.risk = (int(in.SignInRisk)*riskValues+int(in.UserRisk))*insiderValues + int(in.InsiderRisk)
	x.misc = ((int(in.ServicePrincipalRisk)*riskValues+int(in.AgentRisk))*flowValues + int(in.Flow)) * contextValues
	if in.AgentEndpointUser {
		x.misc++
	}
	x.region, _ = s.locations.regions.find(in.IP)
	x.country = s.locations.country(in.Country)
	return x
}

// bind selects the rows of n blocks, from first on, that need no work.
func (s *Set) bind(f *facts, first, n int) (v view) {
	x, sets := s.index(f), &s.locations.sets
	v.first = first
	v.form, v.risk, v.misc = s.form.run(x.form, first, n), s.risk.run(x.risk, first, n), s.misc.run(x.misc, first, n)
	v.regionInc, v.regionExc = sets.run(int(2*x.region), first, n), sets.run(int(2*x.region+1), first, n)
	v.ctyInc, v.ctyExc = sets.run(int(2*x.country), first, n), sets.run(int(2*x.country+1), first, n)
	return v
}

// country returns the location set of the country of an address.
func (t *locationTable) country(code string) uint32 {
	if i, ok := countryIndex(code); ok {
		return t.byCountry[i]
	}
	return t.byCountry[unknownPlace]
}

// gps returns the location set of a proved country.
func (t *locationTable) gps(code string) uint32 {
	if i, ok := countryIndex(code); ok {
		return t.byGPS[i]
	}
	return t.byGPS[unknownPlace]
}

// lanes is the view of block i of a run.
func (v *view) lanes(i int) lanes {
	l := lanes{
		&v.who[i], &v.app[i], &v.form[i], &v.risk[i], &v.misc[i], &v.dev[i], &noDoubt,
		&v.regionInc[i], &v.regionExc[i], &v.ctyInc[i], &v.ctyExc[i],
	}
	if v.doubt != nil {
		l.doubt = &v.doubt[i]
	}
	return l
}

// applied is word w of the policies whose conditions all match.
func (l *lanes) applied(w int) uint64 {
	return l.who[w] & l.app[w] & l.form[w] & l.risk[w] & l.misc[w] & l.dev[w] &
		(l.regionInc[w] | l.ctyInc[w]) &^ (l.regionExc[w] | l.ctyExc[w])
}

// run judges the policies of a view, block by block.
func (s *Set) run(f *facts, v *view, t *tally, d *Decision) {
	unsat := f.demands.unsat.run(f.have, v.first, len(v.who))
	for i := range v.who {
		l := v.lanes(i)
		s.judge(f, t, d, v.first+i, &l, &unsat[i])
	}
}

// judge judges the policies of a block, a word at a time.
func (s *Set) judge(f *facts, t *tally, d *Decision, b int, l *lanes, unsat *block) {
	m := &s.masks[b]
	for w := range len(block{}) {
		applied := l.applied(w)
		if applied == 0 {
			continue
		}
		doubt := l.doubt[w]
		if t.results != nil {
			s.log(f, b, w, applied, doubt, t.results)
		}
		base := b*blockSize + w*64
		if x := applied & (m.unevaluable[w] | m.enabled[w]&doubt); x != 0 {
			t.unknown.word(base, x)
		}
		enforced := applied & m.enabled[w] &^ doubt
		t.applied.word(base, enforced)
		if x := enforced & m.deny[w]; x != 0 {
			t.denied.word(base, x)
		}
		missing, complex, sessions := enforced&unsat[w], enforced&m.complex[w], enforced&m.session[w]
		if missing|complex|sessions != 0 && t.denied.n == 0 { // after a block nothing else matters
			s.enforce(f, t, d, base, missing, complex, sessions)
		}
	}
}

// enforce judges the grants and session controls of a word of policies:
// missing are those known to be unsatisfied.
func (s *Set) enforce(f *facts, t *tally, d *Decision, base int, missing, complex, sessions uint64) {
	for x := complex; x != 0; x &= x - 1 {
		i := bits.TrailingZeros64(x)
		if s.lacks(f, t, base+i) {
			missing |= 1 << i
		}
	}
	for x := sessions; x != 0; x &= x - 1 {
		i := bits.TrailingZeros64(x)
		k := &s.sessions[base+i].control
		d.Session.merge(k)
		if k.due(f) >= 0 || k.refuses(f) {
			missing |= 1 << i
		}
	}
	for x := missing; x != 0; x &= x - 1 {
		s.want(f, t, base+bits.TrailingZeros64(x))
	}
}
