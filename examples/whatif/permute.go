package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/policy"
)

// maxCombinations bounds how many sign-ins -permute judges. Beyond it an evenly
// spread part of them is judged, and the report says so.
const maxCombinations = 400_000

// A value is one way in which something about a sign-in can be.
type value struct {
	name  string
	class string // values are kept apart when classes differ, whatever the conditions say
	set   func(*policy.SignIn)
}

// An axis is something about sign-ins that policies look at, with the values
// that make a difference to them.
type axis struct {
	name   string
	phrase string // how a value reads in a sentence: "from %s"
	values []value
}

// The axes, in the order in which they are told.
const (
	axisWho = iota
	axisTarget
	axisClient
	axisPlatform
	axisPlace
	axisDevice
	axisFlow
	axisRisk
	axisUserRisk
	axisInsider
	axes
)

// A point is a combination: for each axis the number of its value.
type point [axes]uint8

// A space is every combination of the axes.
type space struct {
	axes [axes]axis
	now  time.Time
}

// signIn makes the sign-in of a point: with a password, just now.
func (s *space) signIn(p point) *policy.SignIn {
	in := &policy.SignIn{
		User: &policy.User{}, ClientApp: policy.ClientBrowser, Platform: policy.PlatformWindows,
		Methods: passwordOnly, Now: s.now, AuthTime: s.now,
	}
	for a, v := range p {
		if set := s.axes[a].values[v].set; set != nil {
			set(in)
		}
	}
	return in
}

// size is the number of combinations.
func (s *space) size() int {
	n := 1
	for a := range s.axes {
		n *= len(s.axes[a].values)
	}
	return n
}

// point is the combination of a number.
func (s *space) point(n int) (p point) {
	for a := axes - 1; a >= 0; a-- {
		v := len(s.axes[a].values)
		p[a] = uint8(n % v)
		n /= v
	}
	return p
}

// sensible says whether a combination can occur: workloads and agents have no
// browser, no user risk and no user actions.
func (s *space) sensible(p point) bool {
	if s.axes[axisWho].values[p[axisWho]].class != classWorkload {
		return true
	}
	for _, a := range []int{axisClient, axisPlatform, axisDevice, axisFlow, axisUserRisk, axisInsider} {
		if p[a] != 0 {
			return false
		}
	}
	return s.axes[axisTarget].values[p[axisTarget]].class == ""
}

// visit calls judge for every combination, or for an evenly spread part of
// them, and returns how many that were. It reports progress if the work takes
// long.
func (s *space) visit(progress io.Writer, judge func(point) error) (judged, total int, err error) {
	total = s.size()
	step := 1
	if total > maxCombinations {
		step = coprime(total/maxCombinations+1, total)
	}
	started := time.Now()
	told := started
	for i, n := 0, 0; i < min(total, maxCombinations); i++ {
		if p := s.point(n); s.sensible(p) {
			if err := judge(p); err != nil {
				return judged, total, fmt.Errorf("%s: %w", s.describe(cubeOf(p)), err)
			}
			judged++
		}
		n = (n + step) % total
		if i%4096 == 0 && time.Since(told) > time.Second {
			told = time.Now()
			fmt.Fprintf(progress, "whatif: %d of %d combinations\n", i, min(total, maxCombinations))
		}
	}
	return judged, total, nil
}

// coprime returns the first number from n on that shares no factor with total,
// so that steps of that size visit every combination before they repeat one.
func coprime(n, total int) int {
	gcd := func(a, b int) int {
		for b != 0 {
			a, b = b, a%b
		}
		return a
	}
	for gcd(n, total) != 1 {
		n++
	}
	return n
}

// An answerKey is the answer to a combination, as far as it matters to a
// reader: combinations with equal keys are reported together.
type answerKey struct {
	gap      bool
	outcome  policy.Outcome
	demands  string // what is asked for, or cannot be presented, a line each
	open     int    // policies that may apply and cannot be evaluated
	session  string
	deciding string // the policies that decided
}

// blockDemand stands for the block control, which nothing can satisfy.
const blockDemand = "the block"

// outcomeOnly returns the key without the policies that decided.
func (k answerKey) outcomeOnly() answerKey { k.deciding = ""; return k }

func (k answerKey) demanded() []string {
	return slices.DeleteFunc(strings.Split(k.demands, "\n"), func(s string) bool { return s == "" })
}

// key evaluates one sign-in and summarizes the answer.
func (t *tenant) key(in *policy.SignIn, r *policy.Results) (answerKey, error) {
	d := t.set.EvaluateInto(in, r)
	if d.Outcome == policy.OutcomeInvalid {
		return answerKey{}, fmt.Errorf("it cannot be evaluated: %s", invalidText(d.Reason))
	}
	k := answerKey{outcome: d.Outcome, open: d.Unevaluable, deciding: t.deciding(&d)}
	var names []string
	for _, c := range r.Controls {
		names = append(names, t.control(c))
	}
	if d.Reason == policy.BlockControl {
		names = []string{blockDemand}
	}
	k.demands = strings.Join(names, "\n")
	if d.Outcome == policy.OutcomeGrant {
		k.gap, k.deciding = !t.guarded(r), ""
	}
	if d.Outcome != policy.OutcomeBlock {
		k.session = sessionText(&d.Session)
	}
	return k, nil
}

// guarded says whether an enforced policy with a grant control applied.
func (t *tenant) guarded(r *policy.Results) bool {
	for i, res := range r.Policies {
		if g := t.set.Policy(i).GrantControls; res == policy.ResultSuccess && g != nil &&
			(len(g.BuiltInControls)+len(g.TermsOfUse)+len(g.CustomFactors) > 0 || g.AuthenticationStrength != nil) {
			return true
		}
	}
	return false
}

// text says what a key means.
func (k answerKey) text() string {
	var s string
	switch k.outcome {
	case policy.OutcomeGrant:
		s = "granted"
	case policy.OutcomeInterrupt:
		s = "asked for " + enumerate(k.demanded())
	default:
		s = "blocked"
		if k.demands != "" && k.demands != blockDemand {
			s += " without " + join(k.demanded(), " or ")
		}
	}
	if k.gap {
		s += ", and nothing guards it"
	}
	if k.open > 0 {
		s += "; " + count(k.open, "policy may apply and cannot be evaluated", "policies may apply and cannot be evaluated")
	}
	if k.session != "" {
		s += " [" + k.session + "]"
	}
	return s
}

// permuted are the distinct answers of an export.
type permuted struct {
	space    *space
	cubes    []cube // of equal answers, the gaps first
	keys     []answerKey
	judged   int
	total    int
	distinct int
}

// permute judges what the policies name and merges what ends alike.
func (t *tenant) permute(now time.Time, progress io.Writer) (*permuted, error) {
	s, err := newSpace(now, t)
	if err != nil {
		return nil, err
	}
	p := &permuted{space: s}
	m := newMerger()
	c := t.cache(p.space)
	p.judged, p.total, err = p.space.visit(progress, func(at point) error {
		k, err := c.key(at)
		if err == nil {
			m.add(at, k)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p.cubes, p.keys = m.merge(p.space)
	p.distinct = m.outcomes()
	return p, nil
}

// A cache holds the rows of the identities and devices of a space.
type cache struct {
	tenant   *tenant
	space    *space
	subjects []*policy.Subject
	devices  []*policy.Endpoint
	results  policy.Results
}

func (t *tenant) cache(s *space) *cache {
	c := &cache{tenant: t, space: s}
	for i := range s.axes[axisWho].values {
		in := s.signIn(point{axisWho: uint8(i)})
		c.subjects = append(c.subjects, t.set.Subject(in.User))
	}
	for i := range s.axes[axisDevice].values {
		in := s.signIn(point{axisDevice: uint8(i)})
		c.devices = append(c.devices, t.set.Endpoint(in.Device))
	}
	return c
}

func (c *cache) key(at point) (answerKey, error) {
	in := c.space.signIn(at)
	in.Subject, in.Endpoint = c.subjects[at[axisWho]], c.devices[at[axisDevice]]
	return c.tenant.key(in, &c.results)
}

// answerPermuted prints the distinct outcomes, and writes them as a report.
func answerPermuted(cfg config, t *tenant, stdout, stderr io.Writer, now time.Time) (int, error) {
	p, err := t.permute(now, stderr)
	if err != nil {
		return 0, err
	}
	if cfg.html != "" {
		rep, err := t.permutedReport(p, now)
		if err != nil {
			return 0, err
		}
		if err := rep.save(cfg.html); err != nil {
			return 0, err
		}
	}
	t.writeBroken(stdout)
	return statusAnswer, p.write(stdout, t)
}

func (p *permuted) write(w io.Writer, t *tenant) error {
	b := new(strings.Builder)
	gaps := 0
	var last answerKey
	for i, c := range p.cubes {
		k := p.keys[i]
		if k.gap {
			gaps++
		}
		if told := k.outcomeOnly(); i == 0 || told != last {
			if i > 0 {
				fmt.Fprintln(b)
			}
			last = told
			fmt.Fprintf(b, "%s\n", heading1(k))
		}
		line := p.space.describe(c)
		if k.deciding != "" {
			line += ": " + k.deciding
		}
		fmt.Fprintf(b, "  %s\n", line)
	}
	fmt.Fprintf(b, "\n%s, %s, %s.\n", p.sampled(), count(p.distinct, "distinct outcome", "distinct outcomes"), count(gaps, "gap", "gaps"))
	for _, a := range p.space.axes {
		if len(a.values) > 1 {
			fmt.Fprintf(b, "  %-14s %s\n", a.name, strings.Join(a.names(), ", "))
		}
	}
	if t.assumed != "" {
		fmt.Fprintf(b, "Assumed: %s.\n", t.assumed)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// heading1 is a key as a heading.
func heading1(k answerKey) string {
	text := k.text()
	text = strings.ToUpper(text[:1]) + text[1:]
	if k.gap {
		return "GAP: " + text
	}
	return text
}

func (p *permuted) sampled() string {
	if p.total > maxCombinations {
		return fmt.Sprintf("%d of %d combinations, evenly spread, with a password", p.judged, p.total)
	}
	return count(p.judged, "combination", "combinations") + " with a password"
}

func (a *axis) names() (out []string) {
	for _, v := range a.values {
		out = append(out, v.name)
	}
	return out
}

// maxColumns bounds the report of a permutation: a page with more is of no use.
const maxColumns = 120

// permutedReport is a report with one column for each line of the text.
func (t *tenant) permutedReport(p *permuted, now time.Time) (*report, error) {
	rep := t.newReport(now)
	rep.Sampled = p.sampled()
	if len(p.cubes) > maxColumns {
		rep.Sampled += fmt.Sprintf("; the first %d of %d outcomes are shown", maxColumns, len(p.cubes))
	}
	shown := slices.Clone(p.cubes[:min(len(p.cubes), maxColumns)])
	slices.SortStableFunc(shown, func(a, b cube) int { return int(a.first()[axisWho]) - int(b.first()[axisWho]) })
	for _, c := range shown {
		who := p.space.describeAxis(c, axisWho)
		if n := len(rep.Personas); n == 0 || rep.Personas[n-1].Name != who {
			rep.Personas = append(rep.Personas, heading{Name: who})
		}
		rep.Personas[len(rep.Personas)-1].Columns++
		rest := c
		rest[axisWho] = p.space.all(axisWho)
		col := &column{Persona: who, SignIn: p.space.describe(rest), Facts: p.space.facts(c)}
		if err := t.addColumn(rep, col, p.space.signIn(c.first())); err != nil {
			return nil, err
		}
	}
	rep.sort()
	return rep, nil
}
