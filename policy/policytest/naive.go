package policytest

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// Options are those of policy.Compile, as data.
type Options struct {
	FailClosed         bool
	LegacyLowPrivilege bool
	TrustedIPs         []netip.Prefix
	AppGroups          map[string][]string // in place of those of policy.DefaultAppGroups
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
	if o.LegacyLowPrivilege {
		opts = append(opts, policy.LegacyLowPrivilege())
	}
	for name, ids := range o.AppGroups {
		opts = append(opts, policy.WithAppGroup(name, ids...))
	}
	return policy.Compile(b, opts...)
}

// A Verdict is what Naive says of a sign-in, with every list whole.
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

// PolicyVerdict is what Naive says of one policy.
type PolicyVerdict struct {
	Applies bool
	Reason  policy.AnalysisReasons
	Result  policy.Result
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
// Device, not as symbols and rows. The ids of its Locations are given beside it.
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
		if x.unknown && p.State != policy.Disabled && p.State != policy.ReportOnly {
			unknown = append(unknown, i)
		}
		if !x.Applies || p.State == policy.ReportOnly {
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
		v.Outcome, v.Reason, v.Deciding = policy.Block, policy.BlockControl, denied
	case len(hopeless) > 0:
		v.Outcome, v.Reason, v.Deciding, v.Controls = policy.Block, policy.Unsatisfiable, hopeless, missing
	case len(unknown) > 0 && o.FailClosed:
		v.Outcome, v.Reason, v.Deciding = policy.Block, policy.Unevaluable, unknown
	case len(waiting) > 0:
		v.Outcome, v.Deciding, v.Controls = policy.Interrupt, waiting, prompt
	default:
		v.Outcome, v.Deciding = policy.Grant, applied
	}
	if v.Outcome == policy.Block {
		v.Session = policy.Session{}
	}
	v.Controls = distinct(v.Controls)
	return v
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
	reportOnly := p.State == policy.ReportOnly
	var x judged
	x.Result = policy.ResultNotApplied
	if reportOnly {
		x.Result = policy.ResultReportOnlyNotApplied
	}
	if p.State == policy.Disabled {
		x.Result, x.Reason = policy.ResultNotEnabled, policy.ReasonPolicyNotEnabled
		return x
	}
	broken := n.broken(p)
	if x.Reason = n.unmet(p, broken); x.Reason != 0 {
		return x
	}
	if len(broken) > 0 {
		x.Result, x.Reason, x.unknown = policy.ResultUnknown, policy.ReasonInvalidPolicy, true
		return x
	}
	x.Applies = true
	x.grant(n, p)
	switch verdict := n.verdict(p, x); {
	case reportOnly && n.in.Action != policy.NoAction:
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
	controls, block := controlsOf(p.GrantControls)
	x.blocks = block
	if len(controls) == 0 {
		return
	}
	if strings.EqualFold(p.GrantControls.Operator, "AND") {
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
	and := p.GrantControls != nil && strings.EqualFold(p.GrantControls.Operator, "AND")
	for _, c := range x.prompt {
		if !slices.Contains(deviceKinds, c.Kind) {
			continue
		}
		if and {
			return "bad"
		}
		// an OR policy whose first choice is a device may still have a prompt
		controls, _ := controlsOf(p.GrantControls)
		if !slices.ContainsFunc(controls, func(c policy.Control) bool { return !slices.Contains(deviceKinds, c.Kind) && n.can(c) }) {
			return "bad"
		}
	}
	return "prompt"
}

// controlsOf lists a policy's controls in prompt order.
func controlsOf(g *policy.GrantControls) (controls []policy.Control, block bool) {
	if g == nil {
		return nil, false
	}
	kinds := map[string]policy.ControlKind{
		"mfa": policy.MFA, "compliantdevice": policy.CompliantDevice, "domainjoineddevice": policy.HybridJoinedDevice,
		"approvedapplication": policy.ApprovedApplication, "compliantapplication": policy.CompliantApplication,
		"passwordchange": policy.PasswordChange, "riskremediation": policy.RiskRemediation,
	}
	for _, c := range g.BuiltInControls {
		if strings.EqualFold(c, "block") {
			block = true
		} else {
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

func (n *naive) external() bool {
	return n.user.Guest != policy.Member && n.user.Guest != policy.InternalGuest
}

func (n *naive) legacy() bool {
	c := n.in.ClientApp
	return c == policy.ExchangeActiveSync || c == policy.ExchangeActiveSyncOK || c == policy.OtherClients
}

func (n *naive) canPrompt() bool { return n.user.Kind == policy.Person && !n.legacy() }

func (n *naive) answers() bool {
	return (n.user.Kind == policy.Person || n.user.Kind == policy.AgentUser) && !n.legacy()
}

// device is the device that the service sees, if it sees one.
func (n *naive) device() *policy.Device {
	if n.showsDevice() {
		return n.in.Device
	}
	return nil
}

func (n *naive) showsDevice() bool {
	return !n.legacy() && n.in.Flow != policy.DeviceCodeFlow && !(n.external() && !n.user.DeviceTrust)
}

func compliant(d *policy.Device) bool {
	return d != nil && d.Compliant == policy.Yes && d.TrustType != policy.NoTrust
}

func hybrid(d *policy.Device) bool { return d != nil && d.TrustType == policy.Hybrid }

const localFactors = claims.Password | claims.FederatedSingleFactor | claims.SMS | claims.Voice | claims.AuthenticatorPush | claims.SoftwareOATH

// counting drops the methods that do not count for an external user whose
// home tenant is not trusted.
func (n *naive) counting(m claims.Methods) claims.Methods {
	switch {
	case !n.external() || n.user.MFATrust:
		return m
	case n.user.Guest == policy.B2BDirectConnectUser:
		return 0
	}
	return m & localFactors
}

// reach is what the user could show in this sign-in: what was shown, and what
// can be shown in a step-up, where Windows Hello is not offered.
func (n *naive) reach() claims.Methods {
	more := n.in.Available
	if more == 0 {
		more = 1<<18 - 1
	}
	return n.counting(n.in.Methods | more&^claims.WindowsHello)
}

func builtInMFA(m claims.Methods) bool {
	if m&(claims.MarkMFA|claims.MarkFreshMFA) != 0 {
		return true
	}
	for _, s := range policy.BuiltInStrengths() {
		if s.ID == policy.StrengthMFA && fits(&s, m, nil) {
			return true
		}
	}
	return false
}

func (n *naive) mfa() bool {
	if !n.answers() {
		return false
	}
	m := n.counting(n.in.Methods)
	second := claims.SMS | claims.Voice | claims.AuthenticatorPush | claims.SoftwareOATH
	return builtInMFA(m) || n.external() && m&second != 0
}

// has says whether a control is fulfilled.
func (n *naive) has(p *policy.Policy, c policy.Control) bool {
	in := n.in
	if c.Kind == policy.AuthenticationStrength && n.replaced && !namesRegistration(p) {
		return true
	}
	if !n.answers() {
		return false
	}
	switch c.Kind {
	case policy.MFA:
		return n.mfa()
	case policy.CompliantDevice:
		return compliant(n.device())
	case policy.HybridJoinedDevice:
		return hybrid(n.device())
	case policy.ApprovedApplication:
		return in.ApprovedApp && !n.external()
	case policy.CompliantApplication:
		return in.ProtectedApp && !n.external()
	case policy.PasswordChange:
		return in.PasswordChanged && !n.external()
	case policy.RiskRemediation:
		return in.RiskRemediated && !n.external()
	case policy.AuthenticationStrength:
		return fits(n.strength(c.ID), n.counting(in.Methods), in)
	case policy.TermsOfUse:
		return listed(in.AcceptedTerms, c.ID)
	default:
		return listed(in.CustomFactors, c.ID)
	}
}

// can says whether a control that is not fulfilled could be in this sign-in.
func (n *naive) can(c policy.Control) bool {
	if !n.canPrompt() {
		return false
	}
	mobile := n.in.Platform == policy.Android || n.in.Platform == policy.IOS
	switch c.Kind {
	case policy.MFA:
		return builtInMFA(n.reach())
	case policy.AuthenticationStrength:
		return fits(n.strength(c.ID), n.reach(), nil)
	case policy.CompliantDevice:
		return n.showsDevice() && n.in.Platform != policy.UnknownPlatform
	case policy.HybridJoinedDevice:
		return n.showsDevice() && n.in.Platform == policy.Windows
	case policy.ApprovedApplication:
		return !n.external() && mobile
	case policy.CompliantApplication:
		return !n.external() && (mobile || n.in.Platform == policy.Windows)
	case policy.PasswordChange, policy.RiskRemediation:
		return !n.external()
	}
	return true
}

// due says which authentication a sign-in frequency asks for.
func (n *naive) due(s *policy.SessionControls) policy.ControlKind {
	if s == nil || s.SignInFrequency == nil || !s.SignInFrequency.IsEnabled {
		return policy.NoControl
	}
	if n.in.Background && n.in.ClientApp == policy.Browser {
		return policy.NoControl
	}
	f := s.SignInFrequency
	limit := 5 * time.Minute
	if !strings.EqualFold(f.Interval, "everyTime") {
		limit = time.Duration(*f.Value) * time.Hour
		if strings.EqualFold(f.Type, "days") {
			limit *= 24
		}
	}
	old := func(t time.Time) bool {
		return t.IsZero() || n.in.Now.IsZero() || n.in.Now.Sub(t) > limit
	}
	mfaTime := n.in.MFATime
	if mfaTime.IsZero() {
		mfaTime = n.in.AuthTime
	}
	if strings.EqualFold(f.AuthenticationType, "secondaryAuthentication") {
		if !n.mfa() || old(mfaTime) {
			return policy.ReauthenticateMFA
		}
		return policy.NoControl
	}
	if old(n.in.AuthTime) || n.mfa() && old(mfaTime) {
		return policy.Reauthenticate
	}
	return policy.NoControl
}

func (n *naive) strengthReplaced() bool {
	if n.in.Action != policy.RegisterSecurityInfo {
		return false
	}
	for i := range n.b.Policies {
		p := &n.b.Policies[i]
		if p.State == policy.Disabled || p.State == policy.ReportOnly || !namesRegistration(p) {
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
