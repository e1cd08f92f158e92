package policy

// Explanation says why a sign-in was decided as it was. It is made of the rows
// that Evaluate ANDs, so it cannot disagree with Evaluate.
type Explanation struct {
	Decision Decision
	Policies []PolicyExplanation // in the order of the Set; nil when the Outcome is Invalid
}

// PolicyExplanation says how one policy fared, and why.
type PolicyExplanation struct {
	Policy  *Policy
	Applies bool            // whether its conditions match and it counts, enforced or report-only
	Reasons AnalysisReasons // the first unmet condition; 0 when it applies
	Include []RuleMatch     // the rules that include the sign-in
	Exclude []RuleMatch     // the rules that exclude it
	Result  Result
	Grants  []GrantState // the controls of a policy that applies, in prompt order
	Session Session      // its session controls
	// Reauthenticate is the kind of authentication that its sign-in frequency
	// asks for now; NoControl: none.
	Reauthenticate ControlKind
	// Unbound says that its token protection refuses the request.
	Unbound bool
}

// GrantState is the state of one control of a policy.
type GrantState struct {
	Control
	Satisfied   bool // already
	Satisfiable bool // by this sign-in, with a prompt or another device
}

// Explain judges a sign-in and says why, policy by policy. It allocates.
func (s *Set) Explain(in *SignIn) Explanation {
	var r Results
	e := Explanation{Decision: s.EvaluateInto(in, &r)}
	var f facts
	if s.gather(in, &f) != NoReason {
		return e
	}
	if in.Action == ActionRegisterSecurityInfo && s.hasOwnStrength {
		f.override = s.probeOverride(&f)
	}
	e.Policies = make([]PolicyExplanation, len(s.policies))
	for first := 0; first < s.blocks; first += windowBlocks {
		buf := newScratch(make([]block, scratchRows*windowBlocks))
		n := min(windowBlocks, s.blocks-first)
		v := s.look(&f, nil, &buf, first, n)
		for i := first * blockSize; i < min((first+n)*blockSize, len(s.policies)); i++ {
			x := &e.Policies[i]
			x.Policy, x.Result = &s.policies[i], r.Policies[i]
			s.explain(&f, &v, i, x)
		}
	}
	return e
}

func (s *Set) explain(f *facts, v *view, i int, x *PolicyExplanation) {
	b, bit := i/blockSize-v.first, i%blockSize
	l := v.lanes(b)
	matches := l.applied(bit/64)>>(bit%64)&1 != 0
	x.Session = s.sessions[i].control
	switch {
	case x.Policy.State == StateDisabled:
		x.Reasons = ReasonPolicyNotEnabled
		return
	case matches && !s.Evaluable(i):
		x.Reasons = ReasonInvalidPolicy
		return
	case matches && l.doubt.has(bit):
		x.Reasons = ReasonNotEnoughInformation
		return
	case !matches:
		x.Reasons = s.firstUnmet(f, v, i)
	default:
		x.Applies = true
		s.explainGrant(f, i, x)
	}
	m := &matcher{Set: s, f: f, policy: i, x: x}
	m.rules()
}

func (s *Set) explainGrant(f *facts, i int, x *PolicyExplanation) {
	f.lenient = f.override && !s.ownStrength.has(i)
	if n := s.sessions[i].control.due(f); n >= 0 {
		x.Reauthenticate = s.controls[n].Kind
	}
	x.Unbound = s.sessions[i].control.refuses(f)
	for _, n := range f.demands.grants[i].controls {
		g := GrantState{Control: s.controls[n], Satisfied: s.satisfied(f, n)}
		g.Satisfiable = g.Satisfied || s.satisfiable(f, n)
		x.Grants = append(x.Grants, g)
	}
}

// firstUnmet finds the first condition without the policy's bit: identity,
// then target, then the rest in the order of whatIfAnalysisReasons.
func (s *Set) firstUnmet(f *facts, v *view, i int) AnalysisReasons {
	in, b, bit := f.in, i/blockSize-v.first, i%blockSize
	if !v.who[b].has(bit) {
		if s.policies[i].Conditions.nobody() {
			return ReasonEmptyPolicy
		}
		return [...]AnalysisReasons{ReasonUsers, ReasonWorkloadIdentities, ReasonAgentIdentities, ReasonAgentIdentities}[f.kind]
	}
	if !v.app[b].has(bit) {
		switch {
		case in.Action != ActionNone:
			return ReasonUserActions
		case in.AuthContext != 0:
			return ReasonAuthenticationContext
		}
		return ReasonApplication
	}
	if !s.matches(dimPlatforms, int(in.Platform), i) {
		return ReasonDevicePlatform
	}
	if !v.dev[b].has(bit) {
		return ReasonDevices
	}
	if !s.matches(dimClientApps, int(in.ClientApp), i) {
		return ReasonClientApps
	}
	inc, exc := v.regionInc[b].has(bit) || v.ctyInc[b].has(bit), v.regionExc[b].has(bit) || v.ctyExc[b].has(bit)
	if !inc || exc {
		return ReasonLocation
	}
	return s.firstUnmetRisk(in, i)
}

func (s *Set) firstUnmetRisk(in *SignIn, i int) AnalysisReasons {
	context := 0
	if in.AgentEndpointUser {
		context = 1
	}
	for _, c := range [...]struct {
		dim    dimension
		value  int
		reason AnalysisReasons
	}{
		{dimSignInRisk, int(in.SignInRisk), ReasonSignInRisk},
		{dimUserRisk, int(in.UserRisk), ReasonUserRisk},
		{dimServiceRisk, int(in.ServicePrincipalRisk), ReasonWorkloadIdentities},
		{dimInsiderRisk, int(in.InsiderRisk), ReasonInsiderRisk},
		{dimFlows, int(in.Flow), ReasonAuthenticationFlow},
		{dimAgentRisk, int(in.AgentRisk), ReasonAgentIDRisk},
		{dimAgentContext, context, ReasonAgentIdentities},
	} {
		if !s.matches(c.dim, c.value, i) {
			return c.reason
		}
	}
	return ReasonInvalidCondition
}

func (s *Set) matches(d dimension, value, i int) bool { return s.single[d].row(value).has(i) }

// nobody says whether the conditions include no identity of any kind.
func (c *Conditions) nobody() bool {
	if c.ClientApplications != nil || c.Agents != nil {
		return false
	}
	u := c.Users
	if u == nil {
		return true
	}
	for _, id := range u.IncludeUsers {
		if !isNone(id) {
			return false
		}
	}
	return len(u.IncludeGroups) == 0 && len(u.IncludeRoles) == 0 && u.IncludeGuests == nil
}
