package policytest

import (
	"time"

	"net/netip"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// Options are those of policy.Compile, as data.
type Options struct {
	FailClosed           bool
	LegacyBaselineScopes bool
	BaselineApp          string    // ""; else WithBaselineApp
	ApprovedAppUntil     time.Time // zero: the default
	TrustedIPs           []netip.Prefix
	AppGroups            map[string][]string // in place of those of policy.DefaultAppGroups
}

func (o Options) appGroups() map[string][]string {
	groups := policy.DefaultAppGroups()
	for name, ids := range o.AppGroups {
		groups[strings.ToLower(name)] = ids
	}
	return groups
}

// Compile passes the options on.
func (o Options) Compile(b *policy.Bundle) (*policy.Set, error) {
	opts := []policy.Option{policy.WithTrustedIPs(o.TrustedIPs...)}
	if o.FailClosed {
		opts = append(opts, policy.FailClosed())
	}
	if o.LegacyBaselineScopes {
		opts = append(opts, policy.LegacyBaselineScopes())
	}
	if o.BaselineApp != "" {
		opts = append(opts, policy.WithBaselineApp(o.BaselineApp))
	}
	if !o.ApprovedAppUntil.IsZero() {
		opts = append(opts, policy.ApprovedAppUntil(o.ApprovedAppUntil))
	}
	for name, ids := range o.AppGroups {
		opts = append(opts, policy.WithAppGroup(name, ids...))
	}
	return policy.Compile(b, opts...)
}

// A Verdict is Naive's answer to a sign-in, with every list complete.
type Verdict struct {
	Outcome     policy.Outcome
	Reason      policy.Reason
	Applied     int
	Unevaluable int
	Deciding    []int            // indices of policies
	Controls    []policy.Control // of Prompt or Missing, in prompt order of kinds
	Session     policy.Session
	Policies    []PolicyVerdict
}

// PolicyVerdict is Naive's answer for one policy.
type PolicyVerdict struct {
	Applies bool
	Reason  policy.AnalysisReasons
	Result  policy.Result
	Grants  []policy.GrantState // of a policy that applies
}

type naive struct {
	b         *policy.Bundle
	o         Options
	in        *policy.SignIn
	user      *policy.User
	locations []string // asserted
	replaced  bool     // strengths of policies that do not name registersecurityinfo
}

// Naive judges a valid sign-in whose facts are given as User, AppID and
// Device, not as symbols and rows. The ids of its Locations are given separately.
func Naive(b *policy.Bundle, o Options, in *policy.SignIn, locations ...string) Verdict {
	o.AppGroups = o.appGroups()
	n := &naive{b: b, o: o, in: in, user: in.User, locations: locations}
	var v Verdict
	var denied, hopeless, waiting, applied, unknown []int
	var prompt, missing []policy.Control
	n.replaced = n.strengthReplaced()
	for i := range b.Policies {
		p := &b.Policies[i]
		x := n.policy(p)
		v.Policies = append(v.Policies, x.PolicyVerdict)
		if x.unknown && p.State != policy.StateDisabled && p.State != policy.StateReportOnly {
			unknown = append(unknown, i)
		}
		if !x.Applies || p.State == policy.StateReportOnly {
			continue
		}
		applied = append(applied, i)
		mergeSession(&v.Session, p.SessionControls)
		switch {
		case x.blocks:
			denied = append(denied, i)
		case len(x.missing) > 0:
			hopeless = append(hopeless, i)
			missing = append(missing, x.missing...)
			prompt = append(prompt, x.prompt...)
		case len(x.prompt) > 0:
			waiting = append(waiting, i)
			prompt = append(prompt, x.prompt...)
		}
	}
	v.Applied, v.Unevaluable = len(applied), len(unknown)
	switch {
	case len(denied) > 0:
		v.Outcome, v.Reason, v.Deciding = policy.OutcomeBlock, policy.BlockControl, denied
	case len(hopeless) > 0:
		v.Outcome, v.Reason, v.Deciding, v.Controls = policy.OutcomeBlock, policy.Unsatisfiable, hopeless, missing
	case len(unknown) > 0 && o.FailClosed:
		v.Outcome, v.Reason, v.Deciding = policy.OutcomeBlock, policy.Unevaluable, unknown
	case len(waiting) > 0:
		v.Outcome, v.Deciding, v.Controls = policy.OutcomeInterrupt, waiting, prompt
	default:
		v.Outcome, v.Deciding = policy.OutcomeGrant, applied
	}
	if v.Outcome == policy.OutcomeBlock {
		v.Session = policy.Session{}
	}
	n.failTerms(&v)
	v.Controls = distinct(v.Controls)
	return v
}

// failTerms applies what the log says of terms of use as long as MFA is asked
// for: they do not count as accepted yet.
func (n *naive) failTerms(v *Verdict) {
	mfa := slices.ContainsFunc(v.Controls, func(c policy.Control) bool {
		return c.Kind == policy.MFA || c.Kind == policy.AuthenticationStrength
	})
	if v.Outcome != policy.OutcomeInterrupt || !mfa {
		return
	}
	in := *n.in
	in.AcceptedTerms = nil
	again := *n
	again.in = &in
	for i := range v.Policies {
		if r := v.Policies[i].Result; r == policy.ResultSuccess || r == policy.ResultReportOnlySuccess {
			v.Policies[i].Result = again.policy(&n.b.Policies[i]).Result
		}
	}
}

// distinct sorts controls by kind and id and drops repetitions.
func distinct(list []policy.Control) []policy.Control {
	for i := range list {
		list[i].ID = strings.ToLower(list[i].ID)
	}
	slices.SortFunc(list, func(a, b policy.Control) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return slices.Compact(list)
}

type judged struct {
	PolicyVerdict
	unknown bool // may apply and cannot be evaluated
	blocks  bool
	prompt  []policy.Control
	missing []policy.Control
}

func (n *naive) policy(p *policy.Policy) judged {
	reportOnly := p.State == policy.StateReportOnly
	var x judged
	x.Result = policy.ResultNotApplied
	if reportOnly {
		x.Result = policy.ResultReportOnlyNotApplied
	}
	if p.State == policy.StateDisabled {
		x.Result, x.Reason = policy.ResultNotEnabled, policy.ReasonPolicyNotEnabled
		return x
	}
	broken := n.broken(p)
	if x.Reason = n.unmet(p, broken); x.Reason != 0 {
		return x
	}
	if len(broken) == 0 && n.undecided(p) {
		x.Result, x.Reason, x.unknown = policy.ResultUnknown, policy.ReasonNotEnoughInformation, true
		return x
	}
	if len(broken) > 0 {
		x.Result, x.Reason, x.unknown = policy.ResultUnknown, policy.ReasonInvalidPolicy, true
		return x
	}
	x.Applies = true
	x.grant(n, p)
	switch verdict := n.verdict(p, x); {
	case reportOnly && n.in.Action != policy.ActionNone:
	case reportOnly && verdict == "good":
		x.Result = policy.ResultReportOnlySuccess
	case reportOnly && verdict == "prompt":
		x.Result = policy.ResultReportOnlyInterrupted
	case reportOnly:
		x.Result = policy.ResultReportOnlyFailure
	case verdict == "good":
		x.Result = policy.ResultSuccess
	default:
		x.Result = policy.ResultFailure
	}
	return x
}

// grant lists what one policy lacks.
func (x *judged) grant(n *naive, p *policy.Policy) {
	if due := n.due(p.SessionControls); due != policy.NoControl {
		if n.canPrompt() {
			x.prompt = append(x.prompt, policy.Control{Kind: due})
		} else {
			x.missing = append(x.missing, policy.Control{Kind: due})
		}
	}
	if n.unbound(p.SessionControls) {
		x.missing = append(x.missing, policy.Control{Kind: policy.TokenProtection})
	}
	controls, block := n.controlsOf(p.GrantControls)
	x.blocks = block
	for _, c := range controls {
		has := n.has(p, c)
		x.Grants = append(x.Grants, policy.GrantState{Control: c, Satisfied: has, Satisfiable: has || n.can(c)})
	}
	if len(controls) == 0 {
		return
	}
	if !strings.EqualFold(p.GrantControls.Operator, "OR") {
		for _, c := range controls {
			switch {
			case n.has(p, c):
			case n.can(c):
				x.prompt = append(x.prompt, c)
			default:
				x.missing = append(x.missing, c)
			}
		}
		return
	}
	for _, c := range controls {
		if n.has(p, c) {
			return
		}
	}
	for _, c := range controls {
		if n.can(c) {
			x.prompt = append(x.prompt, c)
			return
		}
	}
	x.missing = append(x.missing, controls...)
}

// verdict is how the sign-in log would see the policy.
func (n *naive) verdict(p *policy.Policy, x judged) string {
	deviceKinds := []policy.ControlKind{policy.CompliantDevice, policy.HybridJoinedDevice, policy.ApprovedApplication, policy.CompliantApplication}
	switch {
	case x.blocks || len(x.missing) > 0:
		return "bad"
	case len(x.prompt) == 0:
		return "good"
	}
	and := p.GrantControls != nil && !strings.EqualFold(p.GrantControls.Operator, "OR")
	for _, c := range x.prompt {
		if !slices.Contains(deviceKinds, c.Kind) {
			continue
		}
		if and {
			return "bad"
		}
		// an OR policy whose first choice is a device may still have a prompt
		controls, _ := n.controlsOf(p.GrantControls)
		if !slices.ContainsFunc(controls, func(c policy.Control) bool { return !slices.Contains(deviceKinds, c.Kind) && n.can(c) }) {
			return "bad"
		}
	}
	return "prompt"
}

// controlsOf lists a policy's controls in prompt order, without those that are
// retired.
func (n *naive) controlsOf(g *policy.GrantControls) (controls []policy.Control, block bool) {
	if g == nil {
		return nil, false
	}
	kinds := map[string]policy.ControlKind{
		"mfa": policy.MFA, "compliantdevice": policy.CompliantDevice, "domainjoineddevice": policy.HybridJoinedDevice,
		"approvedapplication": policy.ApprovedApplication, "compliantapplication": policy.CompliantApplication,
		"passwordchange": policy.PasswordChange, "riskremediation": policy.RiskRemediation,
	}
	for _, c := range g.BuiltInControls {
		switch {
		case strings.EqualFold(c, "block"):
			block = true
		case strings.EqualFold(c, "approvedApplication") && n.retired():
		default:
			controls = append(controls, policy.Control{Kind: kinds[strings.ToLower(c)]})
		}
	}
	if s := g.AuthenticationStrength; s != nil {
		controls = append(controls, policy.Control{Kind: policy.AuthenticationStrength, ID: s.ID})
	}
	for _, id := range g.TermsOfUse {
		controls = append(controls, policy.Control{Kind: policy.TermsOfUse, ID: id})
	}
	for _, id := range g.CustomFactors {
		controls = append(controls, policy.Control{Kind: policy.CustomFactor, ID: id})
	}
	slices.SortStableFunc(controls, func(a, b policy.Control) int { return int(a.Kind) - int(b.Kind) })
	return controls, block
}

func (n *naive) strengthReplaced() bool {
	if n.in.Action != policy.ActionRegisterSecurityInfo {
		return false
	}
	for i := range n.b.Policies {
		p := &n.b.Policies[i]
		if p.State == policy.StateDisabled || p.State == policy.StateReportOnly || !namesRegistration(p) {
			continue
		}
		g := p.GrantControls
		if g != nil && g.AuthenticationStrength != nil && len(n.broken(p)) == 0 && n.unmet(p, nil) == 0 {
			return true
		}
	}
	return false
}

func namesRegistration(p *policy.Policy) bool {
	a := p.Conditions.Applications
	return a != nil && listed(a.UserActions, "urn:user:registersecurityinfo")
}

func listed(list []string, id string) bool {
	return id != "" && slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, id) })
}
