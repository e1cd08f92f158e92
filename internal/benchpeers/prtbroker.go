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
}

// NewPRTBroker compiles a tenant.
func NewPRTBroker(b *policy.Bundle, qs []Question) (*PRTBroker, error) {
	set, err := policy.Compile(b)
	if err != nil {
		return nil, err
	}
	p := &PRTBroker{set: set}
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
		if r == policy.ResultFailure {
			ids = append(ids, p.set.Policy(j).ID)
		}
	}
	slices.Sort(ids)
	return d.Outcome, ids
}
