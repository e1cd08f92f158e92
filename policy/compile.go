package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Set is a compiled Bundle: immutable and safe for concurrent use. To change
// policies, compile another Set and swap it in, for example with an
// atomic.Pointer[Set]; a Subject, Endpoint or Symbol of the old Set then gives
// OutcomeInvalid until it is made again.
type Set struct {
	policies []Policy
	demands  [2]demands // until approvedApplication is retired, and since
	retired  time.Time  // when that is; zero: no policy asks for it
	sessions []session  // by policy
	idle     []Result   // by policy: its result when it does not apply
	diags    []Diagnostic
	ids      *symbols
	blocks   int
	closed   bool   // fail closed
	legacy   bool   // LegacyBaselineScopes
	baseline string // BaselineApp

	masks []masks // by block

	people, groups, roles         *selector
	workloads, agents, agentUsers *selector
	guests                        [GuestServiceProvider + 1]*selector // by home tenant; base: any
	apps                          *selector
	appRows                       matrix // by the apps selector's local numbers: its final row; empty when that would be too large
	agentApps                     pair   // what AllAgentIdResources adds
	wellKnown                     [wellKnownApps]uint32
	escape                        row    // policies for all resources with exclusions
	actions                       matrix // by UserAction
	contexts                      matrix // by auth context
	ownStrength                   row    // policies that name registersecurityinfo and demand a strength
	hasOwnStrength                bool
	hasTerms                      bool // some policy demands terms of use

	single    [dimensions]matrix // the dimensions of one value, by value
	form      matrix             // platform × client app
	risk      matrix             // sign-in × user × insider risk
	misc      matrix             // service principal × agent risk × flow × agent context
	locations locationTable
	devices   deviceTable

	controls  []Control   // by control number: prompt order
	strengths []*strength // by control number; nil for other kinds
}

// masks are the properties of a block's policies.
type masks struct {
	enabled     block // enforced, and evaluable
	reportOnly  block // the same for report-only
	unevaluable block // would be enforced, but cannot be evaluated
	unknown     block // cannot be evaluated, in whatever state
	deny        block // block
	complex     block // grants with controls beyond the simple ones
	session     block // with session controls
}

// Option configures Compile.
type Option func(*options)

type options struct {
	closed     bool
	trustedIPs []netip.Prefix
	trusted    bool
	groups     map[string][]string

	legacyScopes  bool
	baselineApp   string
	approvedUntil time.Time
}

// FailClosed makes Evaluate answer OutcomeBlock, with reason Unevaluable, when a
// policy that cannot be evaluated may apply. Without it such a policy is only
// counted.
func FailClosed() Option { return func(o *options) { o.closed = true } }

// WithTrustedIPs sets the multifactor authentication trusted IPs, which Graph
// does not export, even if the Bundle holds a location of their id. They are
// part of AllTrusted.
func WithTrustedIPs(ips ...netip.Prefix) Option {
	return func(o *options) { o.trusted = true; o.trustedIPs = append(o.trustedIPs, ips...) }
}

// WithAppGroup sets the application ids that a name in includeApplications or
// excludeApplications stands for, such as Office365 or MicrosoftAdminPortals.
func WithAppGroup(name string, appIDs ...string) Option {
	return func(o *options) { o.groups[lower(name)] = appIDs }
}

// LegacyBaselineScopes judges requests for baseline scopes as Entra did before
// its rollout of June 2026, and as a tenant may still choose: policies for all
// resources that exclude some do not apply to a public client that asks for
// nothing beyond UserScopes.
func LegacyBaselineScopes() Option { return func(o *options) { o.legacyScopes = true } }

// WithBaselineApp names the tenant's own application that requests for baseline
// scopes are judged as, in place of Windows Azure Active Directory: "Customize
// behavior" of the baseline scopes settings. Graph does not export it.
func WithBaselineApp(appID string) Option { return func(o *options) { o.baselineApp = appID } }

// ApprovedAppUntil sets the time from which approvedApplication is ignored, as
// if it were not selected: by default 1 July 2026, midnight UTC. A sign-in at
// an unknown time counts as later.
//
// Source: Microsoft Entra documentation, "Migrate approved client app to
// application protection policy in Conditional Access", 2026-03-24.
func ApprovedAppUntil(t time.Time) Option { return func(o *options) { o.approvedUntil = t } }

// maxControlNumber bounds the distinct controls of a Set.
const maxControlNumber = 1<<16 - 1

// BaselineApp returns the id of the application that a request for baseline
// scopes alone is judged as (see [ScopesOf]): that of the directory, or the one
// of [WithBaselineApp]. Under [LegacyBaselineScopes] it is empty, since such a
// request is then judged as one for its resource.
func (s *Set) BaselineApp() string { return s.baseline }

// Compile makes a Set from a bundle, which the Set then refers to for names.
// Its error is about the bundle as a whole; problems of single policies are in
// Set.Diagnostics.
func Compile(b *Bundle, opts ...Option) (*Set, error) {
	if b == nil {
		return nil, errors.New("policy: no bundle to compile")
	}
	c := &compiler{bundle: b, opt: options{groups: DefaultAppGroups(), approvedUntil: approvedRetired}}
	for _, o := range opts {
		o(&c.opt)
	}
	return c.compile()
}

type compiler struct {
	bundle *Bundle
	opt    options
	*Set
	strengthIDs map[string]*Strength
	relaxed     [dimensions]row // policies whose dimension cannot be evaluated
	rules       map[string]*FilterRule
	policyIDs   map[string]bool
	numbers     map[Control]uint16 // of controls, their ids in lower case
}

func (c *compiler) compile() (*Set, error) {
	n := len(c.bundle.Policies)
	c.Set = &Set{
		policies: slices.Clone(c.bundle.Policies),
		sessions: make([]session, n),
		idle:     make([]Result, n),
		ids:      newSymbols(),
		blocks:   max(1, (n+blockSize-1)/blockSize),
		closed:   c.opt.closed,
		legacy:   c.opt.legacyScopes,
	}
	c.rules, c.policyIDs = map[string]*FilterRule{}, map[string]bool{}
	c.masks = make([]masks, c.blocks)
	for d := range c.relaxed {
		c.relaxed[d] = newRow(c.blocks)
	}
	for _, s := range []**selector{&c.people, &c.groups, &c.roles, &c.workloads, &c.agents, &c.agentUsers, &c.apps} {
		*s = newSelector(c.blocks)
	}
	for t := range c.guests {
		c.guests[t] = newSelector(c.blocks)
	}
	for era := range c.demands {
		c.demands[era].grants = make([]grant, n)
	}
	if err := c.collectControls(); err != nil {
		return nil, err
	}
	c.collectLocations()
	c.collectApps()
	for i := range c.policies {
		c.problems(i)
		c.state(i)
	}
	for i := range c.policies {
		c.users(i)
		c.applications(i)
		c.clientApplications(i)
		for era := range c.demands {
			c.demands[era].grants[i] = c.grant(&c.policies[i], era == since)
		}
		c.sessions[i] = newSession(c.policies[i].SessionControls)
	}
	c.seal()
	return c.Set, nil
}

func (c *compiler) report(at Source, p problem, name string) {
	c.diags = append(c.diags, Diagnostic{
		File: at.File, Path: at.Path, Policy: name, Severity: p.severity, Code: p.code, Message: p.message,
	})
}

// or returns s or, for something that was not loaded, its place in the bundle.
func (s Source) or(list string, i int) Source {
	if s.Path == "" {
		s.Path = fmt.Sprintf("$.%s[%d]", list, i)
	}
	return s
}

// at is a place within a place.
func (s Source) at(path string) Source { return Source{s.File, s.Path + "." + path} }

func (p *Policy) name() string {
	if p.DisplayName != "" {
		return p.DisplayName
	}
	return p.ID
}

// problems collects what is wrong with a policy by itself and within its
// bundle, and relaxes the dimensions that cannot be evaluated.
func (c *compiler) problems(i int) {
	p := &c.policies[i]
	found := append(p.check(), c.references(p)...)
	if p.ID != "" {
		if c.policyIDs[lower(p.ID)] {
			found = append(found, problem{path: "id", severity: SeverityWarning, code: CodeDuplicate, message: "a policy of this id was there before: both count", dim: dimNone})
		}
		c.policyIDs[lower(p.ID)] = true
	}
	for _, f := range found {
		c.report(p.Source.or("policies", i).at(f.path), f, p.name())
		if f.severity == SeverityError {
			c.masks[i/blockSize].unknown.set(i % blockSize)
			if f.dim != dimNone {
				c.relaxed[f.dim].set(i)
			}
		}
	}
}

func (c *compiler) state(i int) {
	m, bit := &c.masks[i/blockSize], i%blockSize
	unknown := m.unknown.has(bit)
	switch c.policies[i].State {
	case StateDisabled:
		c.idle[i] = ResultNotEnabled
	case StateReportOnly:
		c.idle[i] = ResultReportOnlyNotApplied
		if !unknown {
			m.reportOnly.set(bit)
		}
	default:
		c.idle[i] = ResultNotApplied
		if unknown {
			m.unevaluable.set(bit)
		} else {
			m.enabled.set(bit)
		}
	}
}

// references finds the problems of a policy that lie in its bundle.
func (c *compiler) references(p *Policy) []problem {
	k := &checker{}
	if l := p.Conditions.Locations; l != nil {
		c.locationRefs(k, "conditions.locations.includeLocations", l.Include)
		c.locationRefs(k, "conditions.locations.excludeLocations", l.Exclude)
	}
	if a := p.Conditions.Applications; a != nil {
		c.appRefs(k, "conditions.applications.includeApplications", a.Include)
		c.appRefs(k, "conditions.applications.excludeApplications", a.Exclude)
	}
	if g := p.GrantControls; g != nil && g.AuthenticationStrength != nil {
		c.strengthRef(k, g.AuthenticationStrength)
	}
	c.approvedApp(k, p)
	return k.found
}

// appRefs finds names of applications where ids should be: an id has no
// spaces, whatever it looks like otherwise.
func (c *compiler) appRefs(k *checker, path string, list []string) {
	for i, id := range list {
		if slices.Contains([]byte(id), ' ') {
			k.add(at(path, i), SeverityError, CodeNoAppGroup, dimApplications, "%q is neither an application id nor a known group of applications", id)
		}
	}
}

func (c *compiler) seal() {
	for _, s := range append([]*selector{c.people, c.groups, c.roles, c.workloads, c.agents, c.agentUsers, c.apps}, c.guests[:]...) {
		s.seal()
	}
	c.ids.seal()
	c.singles()
	c.sealApps()
	c.sealLocations()
	c.sealDevices()
	c.sealGrants()
}

// rule parses a filter rule once; nil stands for one that does not parse,
// whose dimension is relaxed.
func (c *compiler) rule(f *Filter) *FilterRule {
	r, ok := c.rules[f.Rule]
	if !ok {
		r, _ = ParseFilterRule(f.Rule)
		c.rules[f.Rule] = r
	}
	return r
}

// Len returns the number of policies.
func (s *Set) Len() int { return len(s.policies) }

// Policy returns the policy with index i, in the order of the Bundle. It must
// not be changed.
func (s *Set) Policy(i int) *Policy { return &s.policies[i] }

// Evaluable says whether the policy with index i can be evaluated; if not, a diagnostic of
// SeverityError says why.
func (s *Set) Evaluable(i int) bool { return !s.masks[i/blockSize].unknown.has(i % blockSize) }

// Diagnostics lists the problems of the policies and of what they refer to,
// with the file and path where Load found them. For values that a program
// wrote, the path begins at the Bundle: $.policies[3].conditions.times.
func (s *Set) Diagnostics() []Diagnostic { return slices.Clone(s.diags) }
