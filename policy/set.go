package policy

// Set is a compiled Bundle: immutable, safe for concurrent use.
type Set struct {
	policies []Policy
}

// Len returns the number of policies.
func (s *Set) Len() int { return len(s.policies) }

// Policy returns the policy with index i, in the order of the Bundle. It must
// not be changed.
func (s *Set) Policy(i int) *Policy { return &s.policies[i] }

// Diagnostics lists what Compile found that the loader could not see:
// references that lead nowhere, rules that do not parse.
func (s *Set) Diagnostics() []Diagnostic { return nil }

// Symbol returns the symbol of an id of any kind.
func (s *Set) Symbol(id string) Symbol { return 0 }

// Symbols appends the symbols of ids to dst.
func (s *Set) Symbols(dst []Symbol, ids []string) []Symbol { return dst }

// Subject is a principal's row in one Set. Callers keep it as long as the
// principal's facts and the Set live.
type Subject struct{ set *Set }

// Subject compiles a principal.
func (s *Set) Subject(u *User) *Subject { return &Subject{set: s} }

// Endpoint is a device's row in one Set.
type Endpoint struct{ set *Set }

// Endpoint compiles a device; nil is an unregistered one.
func (s *Set) Endpoint(d *Device) *Endpoint { return &Endpoint{set: s} }

// Evaluate judges a sign-in.
func (s *Set) Evaluate(in *SignIn) Decision { return Decision{set: s} }

// EvaluateInto judges a sign-in and writes how each policy fared into r.
func (s *Set) EvaluateInto(in *SignIn, r *Results) Decision { return Decision{set: s} }

// Explain judges a sign-in and says why, policy by policy.
func (s *Set) Explain(in *SignIn) Explanation { return Explanation{} }

func (s *Set) control(c uint16) Control { return Control{} }

// Explanation is why a sign-in was decided as it was.
type Explanation struct {
	Decision Decision
	Policies []PolicyExplanation
}

// PolicyExplanation is how one policy fared, and why.
type PolicyExplanation struct {
	Policy  *Policy
	Applies bool
	Reasons AnalysisReasons // the first unmet condition; 0 when it applies
	Include []Rule          // which include rule of each condition matched
	Exclude []Rule          // which exclude rule matched
	Result  Result
	Grants  []GrantState // the policy's controls
}

// AnalysisReasons is whatIfAnalysisReasons of Microsoft Graph.
type AnalysisReasons uint32

// Rule is a rule of a policy that matched.
type Rule struct {
	Condition string // users, application …
	Satisfied string // allUsers, groupId, appId, office365 …
	Value     string // the id that matched; ""
}

// GrantState is how one control of a policy stands.
type GrantState struct {
	Control
	Satisfied   bool // already
	Satisfiable bool // by this sign-in, with a prompt
}
