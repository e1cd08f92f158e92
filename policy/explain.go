package policy

// Explain judges a sign-in and says why, policy by policy.
func (s *Set) Explain(in *SignIn) Explanation { return Explanation{Decision: s.Evaluate(in)} }

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
	Include []RuleMatch     // which include rule of each condition matched
	Exclude []RuleMatch     // which exclude rule matched
	Result  Result
	Grants  []GrantState // the policy's controls
}

// AnalysisReasons is whatIfAnalysisReasons of Microsoft Graph.
type AnalysisReasons uint32

// RuleMatch is a rule of a policy that matched.
type RuleMatch struct {
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
