package why

import (
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// A doubt is a fact that is not known, with the other values it could have.
type doubt struct {
	name   string
	values []func(*policy.SignIn)
}

// unknowns returns why the answer is not known; empty when it is. There are two
// kinds of facts: those with few values, which are all tried, and those with
// many, such as groups. For the latter, a policy that looks at them, and that
// nothing else rules out, is enough to make the answer unknown.
func (w *chain) unknowns(set *policy.Set, in *policy.SignIn) string {
	if d := set.Evaluate(in); d.Outcome == policy.OutcomeInvalid || d.Unevaluable > 0 {
		return "a policy that may apply cannot be evaluated here"
	}
	if reason := w.open(set, in); reason != "" {
		return reason
	}
	doubts := w.doubts(set, in)
	all := outcomes(set, *in, doubts)
	if len(all) == 1 {
		return ""
	}
	for _, d := range doubts {
		if len(outcomes(set, *in, []doubt{d})) > 1 {
			return "it depends on " + d.name + ", which is not known here"
		}
	}
	return "it depends on several facts that are not known here"
}

// outcomes returns the different answers under all values of the doubts.
func outcomes(set *policy.Set, in policy.SignIn, doubts []doubt) map[Verdict]bool {
	out := map[Verdict]bool{}
	var try func(policy.SignIn, int)
	try = func(s policy.SignIn, i int) {
		if i == len(doubts) {
			d := set.Evaluate(&s)
			out[category(&d)] = true
			return
		}
		try(s, i+1)
		for _, set := range doubts[i].values {
			next := s
			set(&next)
			try(next, i+1)
		}
	}
	try(in, 0)
	return out
}

// category is the answer that a decision means. The first control decides: it
// is what the service asks for.
func category(d *policy.Decision) Verdict {
	switch d.Outcome {
	case policy.OutcomeGrant:
		return Silent
	case policy.OutcomeInterrupt:
		for c := range d.Prompt() {
			if !userCan(c.Kind) {
				return Refused
			}
			return Asked
		}
	case policy.OutcomeBlock:
		for c := range d.Missing() {
			if d.Reason == policy.Unsatisfiable && c.Kind == policy.CompliantApplication {
				return Asked // the service sends the user to the app's protection
			}
			break
		}
		return Refused
	}
	return Unknown
}

// doubts are the facts with few values that are not known.
func (w *chain) doubts(set *policy.Set, in *policy.SignIn) (out []doubt) {
	f, e := &w.Facts, w.prt.Session.Evidence
	if f.Compliant == claims.Unknown && (f.Device == nil || f.Device.Compliant == claims.Unknown) {
		out = append(out, doubt{"whether the device is compliant", []func(*policy.SignIn){compliance(claims.No), compliance(claims.Yes)}})
	}
	if f.SignInRisk == nil {
		out = append(out, doubt{"the risk of the sign-in", risks(func(s *policy.SignIn, r policy.RiskLevel) { s.SignInRisk = r })})
	}
	if f.UserRisk == nil {
		out = append(out, doubt{"the risk of the user", risks(func(s *policy.SignIn, r policy.RiskLevel) { s.UserRisk = r })})
	}
	if f.AcceptedTerms == nil {
		terms := termsOf(set)
		out = append(out, doubt{"whether the terms of use were accepted", []func(*policy.SignIn){func(s *policy.SignIn) { s.AcceptedTerms = terms }}})
	}
	if w.prt.Session.DeviceCode == claims.Unknown {
		out = append(out, doubt{"whether the session began with a device code", []func(*policy.SignIn){func(s *policy.SignIn) { s.Flow = policy.TransferDeviceCode }}})
	}
	if more := e.OtherMethods(); more != 0 && f.Methods == 0 {
		out = append(out, doubt{"by which method MFA was done", []func(*policy.SignIn){func(s *policy.SignIn) { s.Methods |= more }}})
	}
	return append(out, w.timeDoubts(in)...)
}

// timeDoubts are about sign-in frequencies: when the user authenticated.
func (w *chain) timeDoubts(in *policy.SignIn) (out []doubt) {
	e := w.prt.Session.Evidence
	if in.AuthTime.IsZero() {
		out = append(out, doubt{"when the user signed in", times(w.Now, func(s *policy.SignIn, at time.Time) { s.AuthTime = at })})
	}
	if in.MFATime.IsZero() && e.MFA != claims.No {
		out = append(out, doubt{"when MFA was done", times(w.Now, func(s *policy.SignIn, at time.Time) { s.MFATime = at })})
	}
	return out
}

func times(now time.Time, set func(*policy.SignIn, time.Time)) []func(*policy.SignIn) {
	return []func(*policy.SignIn){
		func(s *policy.SignIn) { set(s, now) },
		func(s *policy.SignIn) { set(s, time.Unix(1, 0)) },
	}
}

func compliance(v claims.Answer) func(*policy.SignIn) {
	return func(s *policy.SignIn) {
		if s.Device == nil {
			return
		}
		d := *s.Device
		d.Compliant = v
		s.Device = &d
	}
}

func risks(set func(*policy.SignIn, policy.RiskLevel)) (out []func(*policy.SignIn)) {
	for _, r := range []policy.RiskLevel{policy.RiskLow, policy.RiskMedium, policy.RiskHigh} {
		out = append(out, func(s *policy.SignIn) { set(s, r) })
	}
	return out
}

func termsOf(set *policy.Set) (out []string) {
	for i := range set.Len() {
		if g := set.Policy(i).GrantControls; g != nil {
			out = append(out, g.TermsOfUse...)
		}
	}
	return out
}

// open returns why facts with many values leave the answer open.
func (w *chain) open(set *policy.Set, in *policy.SignIn) string {
	f := &w.Facts
	for _, c := range []struct {
		unknown bool
		name    string
		looks   func(*policy.Policy) bool
		strip   func(*policy.Policy)
	}{
		{f.User == nil, "the groups and roles of the user", looksAtGroups, func(p *policy.Policy) {
			p.Conditions.Users = &policy.UserCondition{IncludeUsers: []string{"All"}}
		}},
		{!f.IP.IsValid(), "where the request comes from", func(p *policy.Policy) bool { return p.Conditions.Locations != nil }, func(p *policy.Policy) {
			p.Conditions.Locations = nil
		}},
		{f.Device == nil, "the facts of the device", func(p *policy.Policy) bool {
			return p.Conditions.Devices != nil && p.Conditions.Devices.Filter != nil
		}, func(p *policy.Policy) { p.Conditions.Devices = nil }},
		{true, "the insider risk of the user", func(p *policy.Policy) bool { return len(p.Conditions.InsiderRiskLevels) > 0 }, func(p *policy.Policy) {
			p.Conditions.InsiderRiskLevels = nil
		}},
		{true, "the attributes of the app", func(p *policy.Policy) bool {
			return p.Conditions.Applications != nil && p.Conditions.Applications.Filter != nil
		}, func(p *policy.Policy) {
			p.Conditions.Applications = &policy.ApplicationCondition{Include: []string{"All"}}
		}},
	} {
		if c.unknown && w.matters(set, in, c.looks, c.strip) {
			return "it depends on " + c.name + ", which is not known here"
		}
	}
	return ""
}

func looksAtGroups(p *policy.Policy) bool {
	u := p.Conditions.Users
	return u != nil && (len(u.IncludeGroups)+len(u.ExcludeGroups)+len(u.IncludeRoles)+len(u.ExcludeRoles) > 0 ||
		u.IncludeGuests != nil || u.ExcludeGuests != nil ||
		strings.Contains(strings.ToLower(strings.Join(append(u.IncludeUsers, u.ExcludeUsers...), " ")), "guests"))
}

// matters reports whether an enforced policy looks at a fact and would apply if
// it did not. Risks, locations and whatever else is not known are taken out of
// it as well, so that they do not rule it out.
func (w *chain) matters(set *policy.Set, in *policy.SignIn, looks func(*policy.Policy) bool, strip func(*policy.Policy)) bool {
	var bundle policy.Bundle
	for i := range set.Len() {
		p := set.Policy(i)
		if (p.State != policy.StateEnabled && p.State != "") || !looks(p) {
			continue
		}
		q := *p
		q.State = policy.StateEnabled
		q.Conditions.Locations = nil // named locations are not at hand here
		q.Conditions.SignInRiskLevels, q.Conditions.UserRiskLevels = nil, nil
		q.Conditions.InsiderRiskLevels, q.Conditions.AuthenticationFlows = nil, nil
		if q.Conditions.Devices != nil && w.Facts.Device == nil {
			q.Conditions.Devices = nil
		}
		strip(&q)
		q.GrantControls = &policy.GrantControls{Operator: "OR", BuiltInControls: []string{"block"}}
		q.SessionControls = nil
		bundle.Policies = append(bundle.Policies, q)
	}
	if len(bundle.Policies) == 0 {
		return false
	}
	stripped, err := policy.Compile(&bundle)
	if err != nil {
		return true
	}
	d := stripped.Evaluate(in)
	return d.Outcome != policy.OutcomeGrant || d.Unevaluable > 0
}

func controlName(c policy.Control) string {
	name := map[policy.ControlKind]string{
		policy.Reauthenticate:         "a new sign-in",
		policy.ReauthenticateMFA:      "a new MFA",
		policy.TokenProtection:        "a request that is bound to the device",
		policy.MFA:                    "MFA",
		policy.AuthenticationStrength: "an authentication strength",
		policy.CompliantDevice:        "a compliant device",
		policy.HybridJoinedDevice:     "a hybrid joined device",
		policy.ApprovedApplication:    "an approved app",
		policy.CompliantApplication:   "an app protection policy",
		policy.PasswordChange:         "a new password",
		policy.RiskRemediation:        "remediation of the risk",
		policy.TermsOfUse:             "terms of use",
		policy.CustomFactor:           "a custom factor",
	}[c.Kind]
	if name == "" {
		name = "another control"
	}
	return name
}
