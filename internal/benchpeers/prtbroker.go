package benchpeers

import (
	"slices"

	"github.com/prtbroker/prtbroker/policy"
)

// PRTBroker is a tenant in package policy.
type PRTBroker struct {
	set     *policy.Set
	plain   []policy.SignIn // ids looked up at each call
	cached  []policy.SignIn // with Subject, Endpoint and Symbol, as a service keeps them
	results policy.Results
	asked   []Question
}

// NewPRTBroker compiles a tenant.
func NewPRTBroker(b *policy.Bundle, qs []Question) (*PRTBroker, error) {
	set, err := policy.Compile(b)
	if err != nil {
		return nil, err
	}
	p := &PRTBroker{set: set, asked: qs}
	for i := range qs {
		in := qs[i].SignIn
		p.plain = append(p.plain, in)
		in.Subject, in.User = set.Subject(in.User), nil
		in.Endpoint, in.Device = set.Endpoint(in.Device), nil
		in.App, in.AppID = set.Symbol(in.AppID), ""
		p.cached = append(p.cached, in)
	}
	return p, nil
}

// Unsatisfied names the enforced policies that question i does not satisfy,
// sorted.
func (p *PRTBroker) Unsatisfied(i int) (policy.Outcome, []string) {
	d := p.set.EvaluateInto(&p.cached[i], &p.results)
	var ids []string
	for j, r := range p.results.Policies {
		if x := p.set.Policy(j); r == policy.ResultFailure && !p.onlyLogged(i, x) {
			ids = append(ids, x.ID)
		}
	}
	slices.Sort(ids)
	return d.Outcome, ids
}

// onlyLogged tells a policy that question i satisfies and that the log calls a
// failure all the same: terms of use count there only after all other controls
// are satisfied, those of other policies too (Microsoft Entra, "Terms of use").
func (p *PRTBroker) onlyLogged(i int, x *policy.Policy) bool {
	g := x.GrantControls
	if len(g.TermsOfUse) == 0 {
		return false
	}
	for _, c := range slices.Concat(g.BuiltInControls, g.TermsOfUse) {
		if !slices.Contains(p.asked[i].Facts.Satisfied, c) {
			return false
		}
	}
	return true
}
