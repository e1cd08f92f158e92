package policy

import (
	"cmp"
	"fmt"
	"slices"
)

// A grant is what a policy demands, compiled.
type grant struct {
	controls []uint16 // control numbers in prompt order of their kinds, then as written
	class    uint16   // equal for equal grants
	and      bool
	deny     bool
}

// The simple controls hang on one fact of the sign-in. What policies with no
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
			c.report(fmt.Sprintf("$.strengths[%d]", i), problem{severity: Warning, code: CodeDuplicate, message: "a strength of this id was there before: the first one counts"}, "")
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
	c.controls = []Control{numReauth: {Kind: Reauthenticate}, numReauthMFA: {Kind: ReauthenticateMFA}, numMFA: {Kind: MFA}}
	c.numberStrengths()
	for _, k := range afterStrengths {
		c.controls = append(c.controls, Control{Kind: k})
	}
	c.number(TermsOfUse, func(g *GrantControls) []string { return g.TermsOfUse })
	c.number(CustomFactor, func(g *GrantControls) []string { return g.CustomFactors })
	if len(c.controls) > maxControlNumber {
		return fmt.Errorf("policy: more than %d distinct grant controls", maxControlNumber)
	}
	return nil
}

// numberStrengths numbers strengths by id. One that is embedded whole in a
// policy counts for every policy that names its id, unless the bundle has it.
func (c *compiler) numberStrengths() {
	var ids []string
	for i := range c.policies {
		g := c.policies[i].GrantControls
		if g == nil || g.AuthenticationStrength == nil {
			continue
		}
		s := g.AuthenticationStrength
		id := lower(s.ID)
		if have, ok := c.strengthIDs[id]; (!ok || len(have.AllowedCombinations) == 0) && len(s.AllowedCombinations) > 0 {
			c.strengthIDs[id] = s
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	c.strengths = make([]*strength, numStrengths)
	for _, id := range ids {
		var st *strength
		written := id
		if s, ok := c.strengthIDs[id]; ok {
			st, _ = newStrength(s)
			written = s.ID
		}
		if st == nil {
			st = &strength{}
		}
		c.strengths = append(c.strengths, st)
		c.controls = append(c.controls, Control{Kind: AuthenticationStrength, ID: written})
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
		k.add(path, Error, CodeNoStrength, dimNone, "the bundle has no authentication strength %q", ref.ID)
		return
	}
	if _, err := newStrength(s); err != nil {
		k.add(path, Error, CodeBadStrength, dimNone, "%s", err)
	}
}

// grant compiles the grant controls of a policy.
func (c *compiler) grant(p *Policy) grant {
	g := p.GrantControls
	if g == nil {
		return grant{}
	}
	out := grant{and: equalASCII(g.Operator, "AND")}
	for _, name := range g.BuiltInControls {
		switch n := member(builtInNames, name); {
		case n < 0:
		case n == len(builtInKinds):
			out.deny = true
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
	lo, _ := slices.BinarySearchFunc(c.controls, want.Kind, func(a Control, k ControlKind) int { return cmp.Compare(a.Kind, k) })
	for i := lo; i < len(c.controls); i++ {
		if equalASCII(c.controls[i].ID, want.ID) {
			return uint16(i)
		}
	}
	panic("policy: control was not numbered")
}

// sealGrants fills the masks of what policies demand, and the table of the
// policies left wanting.
func (c *compiler) sealGrants() {
	c.unsat = newMatrix(simpleMasks, c.blocks)
	numbers := map[string]uint16{}
	for i := range c.policies {
		g := &c.grants[i]
		key := fmt.Sprint(g.controls, g.and, g.deny)
		n, ok := numbers[key]
		if !ok {
			n = uint16(min(len(numbers), maxClass))
			numbers[key] = n
		}
		g.class = n
		m, bit := &c.masks[i/blockSize], i%blockSize
		if c.sessions[i].any {
			m.session.set(bit)
		}
		if g.deny {
			m.deny.set(bit)
			continue
		}
		need, simple := 0, true
		for _, n := range g.controls {
			b := c.controls[n].Kind.simpleBit()
			need |= b
			simple = simple && b != 0
		}
		if !simple {
			m.complex.set(bit)
			continue
		}
		for have := range simpleMasks {
			if g.and && need&^have != 0 || !g.and && need != 0 && need&have == 0 {
				c.unsat.row(have).set(i)
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
		return f.answers && containsID(f.in.AcceptedTerms, c.ID)
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
		return f.devices && f.in.Platform != UnknownPlatform
	case HybridJoinedDevice:
		return f.devices && f.in.Platform == Windows
	case ApprovedApplication:
		return f.prompts && !f.external && f.mobile()
	case CompliantApplication:
		return f.prompts && !f.external && (f.mobile() || f.in.Platform == Windows)
	case PasswordChange, RiskRemediation:
		return f.prompts && !f.external
	}
	return f.prompts
}

func (f *facts) mobile() bool { return f.in.Platform == Android || f.in.Platform == IOS }

// wanting says whether an unsimple grant is not satisfied.
func (s *Set) wanting(f *facts, g *grant) bool {
	for _, n := range g.controls {
		if s.satisfied(f, n) != g.and {
			return g.and
		}
	}
	return !g.and
}
