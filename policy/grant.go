package policy

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// A grant is what a policy demands, compiled.
type grant struct {
	controls []uint16 // control numbers in prompt order of their kinds, then as written
	class    uint16   // equal for equal grants
	and      bool
	deny     bool
}

// Demands are what the policies demand at a time.
type demands struct {
	grants []grant // by policy
	unsat  matrix  // by mask of fulfilled simple controls: the policies left wanting
}

// The two times that matter: approvedApplication counts until it is retired.
const (
	until = iota
	since
)

var approvedRetired = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// era is the time that a sign-in lies in.
func (s *Set) era(now time.Time) int {
	if !s.retired.IsZero() && !now.IsZero() && now.Before(s.retired) {
		return until
	}
	return since
}

// approvedApp notes what the retirement of approvedApplication leaves of a
// policy.
func (c *compiler) approvedApp(k *checker, p *Policy) {
	g := p.GrantControls
	if g == nil || !containsID(g.BuiltInControls, "approvedApplication") {
		return
	}
	c.retired = c.opt.approvedUntil
	const path = "grantControls.builtInControls"
	if day := c.retired.UTC().Format(time.DateOnly); c.alone(g) {
		k.add(path, SeverityWarning, CodeRetired, dimNone, "approvedApplication is not enforced from %s on: the policy then asks for nothing and protects nothing", day)
	} else {
		k.add(path, SeverityNote, CodeRetired, dimNone, "approvedApplication is not enforced from %s on: the other controls remain", day)
	}
}

// alone says whether approvedApplication is all that a grant demands.
func (c *compiler) alone(g *GrantControls) bool {
	others := slices.ContainsFunc(g.BuiltInControls, func(s string) bool { return !equalASCII(s, "approvedApplication") })
	return !others && len(g.TermsOfUse)+len(g.CustomFactors) == 0 && g.AuthenticationStrength == nil
}

// Each simple control depends on one fact of the sign-in. What policies with no
// other controls lack is looked up by the mask of the facts; policies with
// strengths, terms or custom factors are judged one by one.
const (
	bitMFA = 1 << iota
	bitCompliant
	bitHybrid
	bitApproved
	bitProtected
	bitPassword
	simpleMasks = 1 << iota
)

// Numbers of the controls that every Set has. Strengths follow MFA, so that
// ascending numbers are the prompt order.
const (
	numReauth = iota
	numReauthMFA
	numTokenProtection
	numMFA
	numStrengths
)

var afterStrengths = []ControlKind{
	CompliantDevice, HybridJoinedDevice, ApprovedApplication, CompliantApplication, PasswordChange, RiskRemediation,
}

// builtInKinds are the kinds of builtInNames, in their order.
var builtInKinds = []ControlKind{
	MFA, CompliantDevice, HybridJoinedDevice, ApprovedApplication, CompliantApplication, PasswordChange, RiskRemediation,
}

func (k ControlKind) simpleBit() int {
	switch k {
	case MFA:
		return bitMFA
	case CompliantDevice:
		return bitCompliant
	case HybridJoinedDevice:
		return bitHybrid
	case ApprovedApplication:
		return bitApproved
	case CompliantApplication:
		return bitProtected
	case PasswordChange:
		return bitPassword
	}
	return 0
}

// interactive says whether a prompt in the sign-in fulfils the control; the
// others need another device or another app.
func (k ControlKind) interactive() bool {
	switch k {
	case CompliantDevice, HybridJoinedDevice, ApprovedApplication, CompliantApplication:
		return false
	}
	return true
}

// collectControls numbers the controls that policies mention.
func (c *compiler) collectControls() error {
	c.strengthIDs = map[string]*Strength{}
	for i := range c.bundle.Strengths {
		s := &c.bundle.Strengths[i]
		if _, dup := c.strengthIDs[lower(s.ID)]; dup {
			c.report(s.Source.or("strengths", i), problem{severity: SeverityWarning, code: CodeDuplicate, message: "a strength of this id was there before: the first one counts"}, "")
			continue
		}
		c.strengthIDs[lower(s.ID)] = s
	}
	builtIn := BuiltInStrengths()
	for i := range builtIn {
		if _, ok := c.strengthIDs[lower(builtIn[i].ID)]; !ok {
			c.strengthIDs[lower(builtIn[i].ID)] = &builtIn[i]
		}
	}
	c.controls = []Control{numReauth: {Kind: Reauthenticate}, numReauthMFA: {Kind: ReauthenticateMFA}, numTokenProtection: {Kind: TokenProtection}, numMFA: {Kind: MFA}}
	c.numberStrengths()
	for _, k := range afterStrengths {
		c.controls = append(c.controls, Control{Kind: k})
	}
	c.number(TermsOfUse, func(g *GrantControls) []string { return g.TermsOfUse })
	c.number(CustomFactor, func(g *GrantControls) []string { return g.CustomFactors })
	if len(c.controls) > maxControlNumber {
		return fmt.Errorf("policy: more than %d distinct grant controls", maxControlNumber)
	}
	c.numbers = map[Control]uint16{}
	for n, k := range c.controls {
		c.numbers[Control{k.Kind, lower(k.ID)}] = uint16(n)
		c.hasTerms = c.hasTerms || k.Kind == TermsOfUse
	}
	return nil
}

// numberStrengths numbers strengths by id. One that is embedded whole in a
// policy counts for every policy that names its id, unless the bundle has it. Of
// those without an id one counts: see strengthRef.
func (c *compiler) numberStrengths() {
	var ids []string
	seen := map[string]bool{}
	for i := range c.policies {
		g := c.policies[i].GrantControls
		if g == nil || g.AuthenticationStrength == nil {
			continue
		}
		s := g.AuthenticationStrength
		id := lower(s.ID)
		if have, ok := c.strengthIDs[id]; !ok || len(have.AllowedCombinations) == 0 {
			c.strengthIDs[id] = s
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	c.strengths = make([]*strength, numStrengths)
	for _, id := range ids {
		s := c.strengthIDs[id]
		st, err := newStrength(s)
		if err != nil { // reported where a policy refers to it
			st = &strength{}
		}
		c.strengths = append(c.strengths, st)
		c.controls = append(c.controls, Control{Kind: AuthenticationStrength, ID: s.ID})
	}
}

func (c *compiler) number(k ControlKind, list func(*GrantControls) []string) {
	seen := map[string]bool{}
	for i := range c.policies {
		if c.policies[i].GrantControls == nil {
			continue
		}
		for _, id := range list(c.policies[i].GrantControls) {
			if !seen[lower(id)] {
				seen[lower(id)] = true
				c.controls = append(c.controls, Control{Kind: k, ID: id})
			}
		}
	}
}

func (c *compiler) strengthRef(k *checker, ref *Strength) {
	const path = "grantControls.authenticationStrength"
	s, ok := c.strengthIDs[lower(ref.ID)]
	if !ok || len(s.AllowedCombinations) == 0 {
		k.add(path, SeverityError, CodeNoStrength, dimNone, "the bundle has no authentication strength %q", ref.ID)
		return
	}
	if ref.ID == "" && !ref.sameAs(s) {
		k.add(path, SeverityError, CodeBadStrength, dimNone, "an authentication strength without an id, where another one without an id is unlike it")
	}
	if _, err := newStrength(s); err != nil {
		k.add(path, SeverityError, CodeBadStrength, dimNone, "%s", err)
	}
}

// sameAs says whether two strengths are satisfied by the same, as they are written.
func (p *Strength) sameAs(o *Strength) bool {
	return slices.Equal(p.AllowedCombinations, o.AllowedCombinations) && reflect.DeepEqual(p.Configurations, o.Configurations)
}

// grant compiles the grant controls of a policy, as if approvedApplication were
// not selected once it is retired.
func (c *compiler) grant(p *Policy, retired bool) grant {
	g := p.GrantControls
	if g == nil {
		return grant{}
	}
	out := grant{and: g.All()}
	for _, name := range g.BuiltInControls {
		switch n := member(builtInNames, name); {
		case n < 0:
		case n == len(builtInKinds):
			out.deny = true
		case retired && builtInKinds[n] == ApprovedApplication:
		default:
			out.controls = append(out.controls, c.controlNumber(Control{Kind: builtInKinds[n]}))
		}
	}
	if s := g.AuthenticationStrength; s != nil {
		out.controls = append(out.controls, c.controlNumber(Control{Kind: AuthenticationStrength, ID: s.ID}))
	}
	for _, id := range g.TermsOfUse {
		out.controls = append(out.controls, c.controlNumber(Control{Kind: TermsOfUse, ID: id}))
	}
	for _, id := range g.CustomFactors {
		out.controls = append(out.controls, c.controlNumber(Control{Kind: CustomFactor, ID: id}))
	}
	slices.SortStableFunc(out.controls, func(a, b uint16) int {
		return cmp.Compare(c.controls[a].Kind, c.controls[b].Kind)
	})
	return out
}

func (c *compiler) controlNumber(want Control) uint16 {
	n, ok := c.numbers[Control{want.Kind, lower(want.ID)}]
	if !ok {
		panic("policy: the control has no number")
	}
	return n
}

// sealGrants fills the masks of what policies demand, and the tables of the
// policies left wanting.
func (c *compiler) sealGrants() {
	for i := range c.policies {
		g, m, bit := &c.demands[until].grants[i], &c.masks[i/blockSize], i%blockSize
		if c.sessions[i].any {
			m.session.set(bit)
		}
		if g.deny {
			m.deny.set(bit)
		} else if !c.simple(g) {
			m.complex.set(bit)
		}
	}
	for era := range c.demands {
		c.sealDemands(&c.demands[era])
	}
}

func (c *compiler) simple(g *grant) bool {
	return !slices.ContainsFunc(g.controls, func(n uint16) bool { return c.controls[n].Kind.simpleBit() == 0 })
}

func (c *compiler) sealDemands(d *demands) {
	d.unsat = newMatrix(simpleMasks, c.blocks)
	numbers := map[string]uint16{}
	for i := range d.grants {
		g := &d.grants[i]
		key := fmt.Sprint(g.controls, g.and, g.deny)
		n, ok := numbers[key]
		if !ok {
			n = uint16(min(len(numbers), maxClass))
			numbers[key] = n
		}
		g.class = n
		if g.deny || !c.simple(g) {
			continue
		}
		need := 0
		for _, n := range g.controls {
			need |= c.controls[n].Kind.simpleBit()
		}
		for have := range simpleMasks {
			if g.and && need&^have != 0 || !g.and && need != 0 && need&have == 0 {
				d.unsat.row(have).set(i)
			}
		}
	}
}

func (s *Set) control(n uint16) Control { return s.controls[n] }

// satisfied says whether a sign-in fulfils a control.
func (s *Set) satisfied(f *facts, n uint16) bool {
	c := &s.controls[n]
	if b := c.Kind.simpleBit(); b != 0 {
		return f.have&b != 0
	}
	switch c.Kind {
	case AuthenticationStrength:
		return f.lenient || f.answers && s.strengths[n].satisfiedBy(f.methods, f.in)
	case RiskRemediation:
		return f.in.RiskRemediated && !f.external && f.answers
	case TermsOfUse:
		return f.answers && !f.noTerms && containsID(f.in.AcceptedTerms, c.ID)
	case CustomFactor:
		return f.answers && containsID(f.in.CustomFactors, c.ID)
	}
	return false
}

// satisfiable says whether a sign-in could still fulfil a control that it does
// not fulfil.
func (s *Set) satisfiable(f *facts, n uint16) bool {
	switch c := &s.controls[n]; c.Kind {
	case MFA:
		return f.prompts && mfa(f.reach)
	case AuthenticationStrength:
		return f.prompts && s.strengths[n].reachable(f.reach)
	case CompliantDevice:
		return f.devices && f.in.Platform != PlatformUnknown
	case HybridJoinedDevice:
		return f.devices && f.in.Platform == PlatformWindows
	case ApprovedApplication:
		return f.prompts && !f.external && f.mobile()
	case CompliantApplication:
		return f.prompts && !f.external && (f.mobile() || f.in.Platform == PlatformWindows)
	case PasswordChange, RiskRemediation:
		return f.prompts && !f.external
	}
	return f.prompts
}

func (f *facts) mobile() bool {
	return f.in.Platform == PlatformAndroid || f.in.Platform == PlatformIOS
}

// wanting says whether a grant with more than simple controls is not satisfied.
func (s *Set) wanting(f *facts, g *grant) bool {
	for _, n := range g.controls {
		if s.satisfied(f, n) != g.and {
			return g.and
		}
	}
	return !g.and
}
