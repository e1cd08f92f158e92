package policy

import "github.com/prtbroker/prtbroker/claims"

// facts are what a sign-in comes to, before any policy is looked at.
type facts struct {
	in *SignIn
	traits
	have     int            // simple controls that are fulfilled
	methods  claims.Methods // that count in this tenant
	reach    claims.Methods // and those the user could still use
	external bool           // not an account of this tenant
	legacy   bool           // a protocol that carries no device and answers no prompt
	answers  bool           // what was proved counts: a person or an agent's user, by a modern protocol
	prompts  bool           // a person who can be asked for more
	devices  bool           // a device could still be shown
	override bool           // a policy's own strength for registersecurityinfo stands in for others
	lenient  bool           // the policy at hand is one whose strength is stood in for
	app      uint32         // number of the application
}

// A view is the rows that a sign-in selects, over a run of blocks.
type view struct {
	first                                int
	who, app, form, risk, misc, dev      []block
	regionInc, regionExc, ctyInc, ctyExc []block
}

// Evaluate judges a sign-in. It does not allocate, however many policies the
// Set holds, and is fastest with a Subject and an Endpoint made before.
//
// All enforced policies that apply must be satisfied, each by itself. Block
// wins; then a policy that this sign-in cannot satisfy any more blocks; then
// missing controls and a sign-in frequency that is due interrupt. A question
// that makes no sense is answered with Invalid.
func (s *Set) Evaluate(in *SignIn) Decision { return s.evaluate(in, nil) }

// EvaluateInto judges as Evaluate does and writes how each policy fared, the
// report-only ones too, into r. It does not allocate once r has grown.
func (s *Set) EvaluateInto(in *SignIn, r *Results) Decision {
	r.Policies = append(r.Policies[:0], s.idle...)
	r.Controls, r.prompt, r.missing = r.Controls[:0], r.prompt[:0], r.missing[:0]
	return s.evaluate(in, r)
}

func (s *Set) evaluate(in *SignIn, r *Results) Decision {
	d := Decision{set: s}
	var f facts
	if d.Reason = s.gather(in, &f); d.Reason != NoReason {
		return d
	}
	var t tally
	t.results = r
	if s.bound(&f) {
		var v view
		s.bind(&f, &v, 0, s.blocks)
		v.who, v.app, v.dev = in.Subject.row, s.appRows.row(int(s.apps.local(f.app))), s.devices.null.row
		if f.sharedChannel() {
			v.who = in.Subject.shared
		}
		if in.Endpoint != nil && f.carriesDevice() {
			v.dev = in.Endpoint.row
		}
		s.run(&f, &v, &t, &d)
	} else {
		s.runFacts(&f, &t, &d)
	}
	t.decide(s, &d)
	return d
}

// gather checks the sign-in and takes from it what grants need.
func (s *Set) gather(in *SignIn, f *facts) Reason {
	f.in = in
	switch {
	case in.Subject != nil:
		if in.Subject.set != s {
			return ForeignSymbol
		}
		f.traits = in.Subject.traits
	case in.User != nil:
		if r := s.refuse(in.User); r != NoReason {
			return r
		}
		f.traits = in.User.traits()
	default:
		return NoSubject
	}
	if in.Endpoint != nil && in.Endpoint.set != s {
		return ForeignSymbol
	}
	if r := s.target(in, f); r != NoReason {
		return r
	}
	if f.kind == Person && in.ClientApp == UnknownClient {
		return NoClientApp
	}
	if in.ClientApp > OtherClients || in.Platform > Linux || in.Flow > AuthenticationTransfer ||
		in.SignInRisk > RiskHidden || in.UserRisk > RiskHidden || in.ServicePrincipalRisk > RiskHidden ||
		in.AgentRisk > RiskHidden || in.InsiderRisk > InsiderRiskElevated {
		return OutOfRange
	}
	for _, l := range in.Locations {
		if _, ok := s.ids.number(l); !ok {
			return ForeignSymbol
		}
	}
	s.proved(f)
	return NoReason
}

func (s *Set) target(in *SignIn, f *facts) Reason {
	targets := 0
	if in.App != 0 || in.AppID != "" {
		targets++
	}
	if in.Action != NoAction {
		targets++
	}
	if in.AuthContext != 0 {
		targets++
	}
	if in.Traffic != NoTraffic {
		targets++
	}
	switch {
	case targets != 1:
		return NoTarget
	case in.Action > RegisterDevice, in.Traffic > PrivateTraffic, in.AuthContext < 0, in.AuthContext > maxAuthContext:
		return OutOfRange
	case in.App != 0:
		n, ok := s.ids.number(in.App)
		if !ok {
			return ForeignSymbol
		}
		f.app = n
	case in.AppID != "":
		f.app = s.ids.find(in.AppID)
	}
	if in.LowPrivilegeScopes && !s.lowOld && in.forApp() {
		f.app = s.wellKnown[appDirectory]
	}
	return NoReason
}

const (
	// factors that an external user can add in this tenant when the home
	// tenant's MFA is not trusted, on top of the first factor done at home
	untrustedSecond = claims.SMS | claims.Voice | claims.AuthenticatorPush | claims.SoftwareOATH
	anyMethod       = claims.QRCodePIN<<1 - 1
)

// forApp says whether the target is an application.
func (in *SignIn) forApp() bool {
	return in.Action == NoAction && in.AuthContext == 0 && in.Traffic == NoTraffic
}

// proved works out which controls are fulfilled, and which could be.
func (s *Set) proved(f *facts) {
	in := f.in
	f.external = f.guest > InternalGuest
	f.legacy = in.ClientApp >= ExchangeActiveSync
	f.answers = (f.kind == Person || f.kind == AgentUser) && !f.legacy
	f.prompts = f.kind == Person && !f.legacy
	f.devices = f.prompts && f.carriesDevice()
	f.methods = in.Methods
	f.reach = anyMethod &^ claims.WindowsHello
	if in.Available != 0 {
		f.reach = in.Available &^ claims.WindowsHello
	}
	f.reach |= f.methods
	if f.external && !f.mfaTrust {
		f.methods &= untrustedSecond | claims.Password | claims.FederatedSingleFactor
		f.reach &= untrustedSecond | claims.Password | claims.FederatedSingleFactor
		if f.guest == B2BDirectConnectUser {
			f.methods, f.reach = 0, 0
		}
	}
	if f.answers {
		s.fulfilled(f)
	}
}

func (s *Set) fulfilled(f *facts) {
	in := f.in
	if mfa(f.methods) || f.external && f.methods&untrustedSecond != 0 {
		f.have |= bitMFA
	}
	if f.carriesDevice() {
		compliant, hybrid := in.Device.grants()
		if in.Endpoint != nil {
			compliant, hybrid = in.Endpoint.compliant, in.Endpoint.hybrid
		}
		if compliant {
			f.have |= bitCompliant
		}
		if hybrid {
			f.have |= bitHybrid
		}
	}
	if f.external {
		return
	}
	if in.ApprovedApp {
		f.have |= bitApproved
	}
	if in.ProtectedApp {
		f.have |= bitProtected
	}
	if in.PasswordChanged {
		f.have |= bitPassword
	}
}

// mfa says whether methods hold a combination of the built-in multifactor
// strength, or the mark that MFA was done.
func mfa(m claims.Methods) bool {
	const (
		alone = claims.WindowsHello | claims.FIDO2 | claims.CertificateMultiFactor | claims.DeviceBasedPush |
			claims.TemporaryAccessPassOneTime | claims.TemporaryAccessPassMultiUse | claims.FederatedMultiFactor |
			claims.MarkMFA | claims.MarkFreshMFA
		second = claims.AuthenticatorPush | claims.SoftwareOATH | claims.HardwareOATH | claims.SMS | claims.Voice
	)
	return m&alone != 0 ||
		m&(claims.Password|claims.FederatedSingleFactor) != 0 && m&second != 0 ||
		m&claims.Password != 0 && m&claims.CertificateSingleFactor != 0
}

// carriesDevice says whether the sign-in can show a device at all.
func (f *facts) carriesDevice() bool {
	return !f.legacy && f.in.Flow != DeviceCodeFlow && (!f.external || f.deviceTrust)
}

// sharedChannel says whether policies for B2B direct connect users reach a
// collaboration user: in Teams and SharePoint.
func (f *facts) sharedChannel() bool {
	sub := f.in.Subject
	return sub != nil && sub.shared != nil && sub.set.sharedApp(f.app)
}

func (s *Set) sharedApp(app uint32) bool {
	return app != 0 && (app == s.wellKnown[appTeams] || app == s.wellKnown[appSharePoint])
}

// bound says whether every row that the sign-in selects exists already.
func (s *Set) bound(f *facts) bool {
	in := f.in
	return in.Subject != nil && (in.Device == nil || in.Endpoint != nil || !f.carriesDevice()) &&
		in.forApp() &&
		len(s.appRows.cells) != 0 && len(in.AppAttributes) == 0 && !in.AgentResource && !(in.LowPrivilegeScopes && s.lowOld) &&
		in.GPSCountry == "" && !in.CompliantNetwork && len(in.Locations) == 0
}

// bind selects the rows of n blocks, from first on, that need no work.
func (s *Set) bind(f *facts, v *view, first, n int) {
	in := f.in
	v.first = first
	v.form = s.form.run(int(in.Platform)*clientValues+int(in.ClientApp), first, n)
	v.risk = s.risk.run((int(in.SignInRisk)*riskValues+int(in.UserRisk))*insiderValues+int(in.InsiderRisk), first, n)
	context := 0
	if in.AgentEndpointUser {
		context = 1
	}
	v.misc = s.misc.run(((int(in.ServicePrincipalRisk)*riskValues+int(in.AgentRisk))*flowValues+int(in.Flow))*contextValues+context, first, n)
	t := &s.locations
	set, _ := t.regions.find(in.IP)
	v.regionInc, v.regionExc = t.sets.run(int(2*set), first, n), t.sets.run(int(2*set+1), first, n)
	country := t.country(in.Country)
	v.ctyInc, v.ctyExc = t.sets.run(int(2*country), first, n), t.sets.run(int(2*country+1), first, n)
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

func (v *view) applied(i int) block {
	a, b, c, d, e, g := &v.who[i], &v.app[i], &v.form[i], &v.risk[i], &v.misc[i], &v.dev[i]
	ri, re, ci, ce := &v.regionInc[i], &v.regionExc[i], &v.ctyInc[i], &v.ctyExc[i]
	return block{
		a[0] & b[0] & c[0] & d[0] & e[0] & g[0] & (ri[0] | ci[0]) &^ (re[0] | ce[0]),
		a[1] & b[1] & c[1] & d[1] & e[1] & g[1] & (ri[1] | ci[1]) &^ (re[1] | ce[1]),
		a[2] & b[2] & c[2] & d[2] & e[2] & g[2] & (ri[2] | ci[2]) &^ (re[2] | ce[2]),
		a[3] & b[3] & c[3] & d[3] & e[3] & g[3] & (ri[3] | ci[3]) &^ (re[3] | ce[3]),
	}
}

// run judges the policies of a view, block by block.
func (s *Set) run(f *facts, v *view, t *tally, d *Decision) {
	unsat := s.unsat.run(f.have, v.first, len(v.who))
	for i := range v.who {
		applied := v.applied(i)
		if applied.empty() {
			continue
		}
		b := v.first + i
		m := &s.masks[b]
		if t.results != nil {
			s.log(f, b, &applied, t.results)
		}
		if unknown := applied.and(&m.unevaluable); !unknown.empty() {
			t.unknown.block(b, &unknown)
		}
		enforced := applied.and(&m.enabled)
		if !enforced.empty() {
			s.enforce(f, t, d, b, &enforced, &unsat[i])
		}
	}
}

// enforce judges the enforced policies of a block that apply.
func (s *Set) enforce(f *facts, t *tally, d *Decision, b int, enforced, unsat *block) {
	m := &s.masks[b]
	t.applied.block(b, enforced)
	if deny := enforced.and(&m.deny); !deny.empty() {
		t.denied.block(b, &deny)
	}
	missing := enforced.and(unsat)
	complex := enforced.and(&m.complex)
	for w, x := complex.next(0, 0); w < len(complex); w, x = complex.next(w, x+1) {
		p := b*blockSize + w*64 + x
		f.lenient = f.override && !s.ownStrength.has(p)
		if s.wanting(f, &s.grants[p]) {
			missing[w] |= 1 << x
		}
	}
	sessions := enforced.and(&m.session)
	for w, x := sessions.next(0, 0); w < len(sessions); w, x = sessions.next(w, x+1) {
		k := &s.sessions[b*blockSize+w*64+x].control
		d.Session.merge(k)
		if n := k.due(f); n >= 0 {
			missing[w] |= 1 << x
		}
	}
	for w, x := missing.next(0, 0); w < len(missing); w, x = missing.next(w, x+1) {
		s.want(f, t, b*blockSize+w*64+x)
	}
}
