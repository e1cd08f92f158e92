package benchpeers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// OPA is a tenant in Rego, as a prepared query for the set of unsatisfied
// policies.
type OPA struct {
	query  rego.PreparedEvalQuery
	inputs []ast.Value
}

// NewOPARules generates one rule per policy, as a person would write it.
func NewOPARules(ctx context.Context, ds []demand, qs []Question) (*OPA, error) {
	var b strings.Builder
	b.WriteString("package ca\n\n")
	for i, d := range ds {
		regoRule(&b, i, d)
	}
	return newOPA(ctx, qs, rego.Module("ca.rego", b.String()))
}

// NewOPAData keeps the policies as data beneath one general rule.
func NewOPAData(ctx context.Context, ds []demand, qs []Question) (*OPA, error) {
	policies := make([]any, len(ds))
	for i, d := range ds {
		policies[i] = regoData(d)
	}
	store := inmem.NewFromObjectWithOpts(map[string]any{"policies": policies}, inmem.OptReturnASTValuesOnRead(true))
	return newOPA(ctx, qs, rego.Module("ca.rego", regoGeneral), rego.Store(store))
}

func newOPA(ctx context.Context, qs []Question, with ...func(*rego.Rego)) (*OPA, error) {
	query, err := rego.New(append(with, rego.Query("data.ca.deny"))...).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("benchpeers: opa: %w", err)
	}
	o := &OPA{query: query}
	for i := range qs {
		v, err := ast.InterfaceToValue(regoInput(&qs[i].Facts))
		if err != nil {
			return nil, fmt.Errorf("benchpeers: opa: %w", err)
		}
		o.inputs = append(o.inputs, v)
	}
	return o, nil
}

// Unsatisfied names the policies that deny question i, sorted.
func (o *OPA) Unsatisfied(ctx context.Context, i int) ([]string, error) {
	rs, err := o.query.Eval(ctx, o.evalInput(i))
	if err != nil {
		return nil, fmt.Errorf("benchpeers: opa: %w", err)
	}
	var ids []string
	for _, v := range rs[0].Expressions[0].Value.([]any) {
		ids = append(ids, v.(string))
	}
	slices.Sort(ids)
	return ids, nil
}

func (o *OPA) evalInput(i int) rego.EvalOption { return rego.EvalParsedInput(o.inputs[i]) }

// regoInput gives sets as objects, in which OPA looks a key up at once.
func regoInput(f *Facts) map[string]any {
	set := func(values []string) map[string]any {
		m := map[string]any{}
		for _, v := range values {
			m[v] = true
		}
		return m
	}
	return map[string]any{
		"user": f.User, "groups": set(f.Groups), "roles": set(f.Roles), "guest": f.Guest,
		"app": f.App, "client": f.Client, "platform": f.Platform, "locations": set(f.Locations),
		"signInRisk": f.SignInRisk, "userRisk": f.UserRisk, "flow": f.Flow, "deviceTag": f.DeviceTag,
		"satisfied": set(f.Satisfied),
	}
}

// regoRule writes a policy, cheap comparisons first.
func regoRule(b *strings.Builder, i int, d demand) {
	fmt.Fprintf(b, "deny contains %q if {\n", d.ID)
	line := func(format string, args ...any) { fmt.Fprintf(b, "\t"+format+"\n", args...) }
	oneOf := func(name string, values []string) {
		if len(values) == 1 {
			line("input.%s == %q", name, values[0])
		} else if len(values) > 0 {
			line("input.%s in {%s}", name, quoted("", values))
		}
	}
	oneOf("client", d.Clients)
	oneOf("signInRisk", d.SignInRisks)
	oneOf("userRisk", d.UserRisks)
	oneOf("flow", d.Flows)
	oneOf("platform", d.Platforms)
	for _, p := range d.NotPlatforms {
		line("input.platform != %q", p)
	}
	if d.NotDeviceTag != "" {
		line("input.deviceTag != %q", d.NotDeviceTag)
	}
	oneOf("app", d.Apps)
	for _, a := range d.ExceptApps {
		line("input.app != %q", a)
	}
	for _, l := range d.NotLocations {
		line("not input.locations[%q]", l)
	}
	for _, g := range d.Exclude {
		line("not input.groups[%q]", g)
	}
	helpers := regoHelpers(line, i, d)
	b.WriteString("}\n\n" + helpers)
}

// regoHelpers writes the conditions that hold when any one of many does, each
// a rule of its own, and returns those rules.
func regoHelpers(line func(string, ...any), i int, d demand) string {
	var rules strings.Builder
	anyOf := func(name string, input string, values []string) {
		if len(values) > 0 {
			fmt.Fprintf(&rules, "%s_%d if {\n\tsome x in [%s]\n\tinput.%s[x]\n}\n\n", name, i, quoted("", values), input)
		}
	}
	if len(d.Locations) > 0 {
		line("location_%d", i)
		anyOf("location", "locations", d.Locations)
	}
	if !d.All {
		line("user_%d", i)
		anyOf("user", "groups", d.Include)
		anyOf("user", "roles", d.IncludeRoles)
		if len(d.IncludeUsers) > 0 {
			fmt.Fprintf(&rules, "user_%d if input.user in {%s}\n\n", i, quoted("", d.IncludeUsers))
		}
		if len(d.IncludeGuests) > 0 {
			fmt.Fprintf(&rules, "user_%d if input.guest in {%s}\n\n", i, quoted("", d.IncludeGuests))
		}
	}
	switch {
	case len(d.Controls) == 1:
		line("not input.satisfied[%q]", d.Controls[0])
	case d.AllControls:
		line("not satisfied_%d", i)
		fmt.Fprintf(&rules, "satisfied_%d if {\n", i)
		for _, c := range d.Controls {
			fmt.Fprintf(&rules, "\tinput.satisfied[%q]\n", c)
		}
		rules.WriteString("}\n\n")
	case len(d.Controls) > 1:
		line("not satisfied_%d", i)
		anyOf("satisfied", "satisfied", d.Controls)
	}
	return rules.String()
}

// regoGeneral reads policies that regoData wrote: an absent condition holds.
const regoGeneral = `package ca

deny contains p.id if {
	some p in data.policies
	holds(p, "clients", input.client)
	holds(p, "signInRisks", input.signInRisk)
	holds(p, "userRisks", input.userRisk)
	holds(p, "flows", input.flow)
	holds(p, "platforms", input.platform)
	not p.notPlatforms[input.platform]
	not p.notDeviceTags[input.deviceTag]
	holds(p, "apps", input.app)
	not p.exceptApps[input.app]
	location(p)
	not meets(p.notLocations, input.locations)
	user(p)
	not meets(p.exclude, input.groups)
	not satisfied(p)
}

holds(p, name, _) if not p[name]
holds(p, name, value) if p[name][value]

meets(a, b) if {
	some x, _ in a
	b[x]
}

location(p) if not p.locations
location(p) if meets(p.locations, input.locations)

user(p) if p.all
user(p) if meets(p.include, input.groups)
user(p) if meets(p.includeRoles, input.roles)
user(p) if p.includeUsers[input.user]
user(p) if p.includeGuests[input.guest]

satisfied(p) if {
	not p.allControls
	meets(p.controls, input.satisfied)
}
satisfied(p) if {
	p.allControls
	every c, _ in p.controls { input.satisfied[c] }
}
`

func regoData(d demand) map[string]any {
	// An undefined argument of a negated call would leave the whole rule
	// undefined, so what meets is asked of is always there.
	none := map[string]any{}
	out := map[string]any{"id": d.ID, "all": d.All, "allControls": d.AllControls, "notLocations": none, "exclude": none}
	put := func(name string, values []string) {
		if len(values) == 0 {
			return
		}
		m := map[string]any{}
		for _, v := range values {
			m[v] = true
		}
		out[name] = m
	}
	put("include", d.Include)
	put("includeRoles", d.IncludeRoles)
	put("includeUsers", d.IncludeUsers)
	put("includeGuests", d.IncludeGuests)
	put("exclude", d.Exclude)
	put("apps", d.Apps)
	put("exceptApps", d.ExceptApps)
	put("clients", d.Clients)
	put("platforms", d.Platforms)
	put("notPlatforms", d.NotPlatforms)
	put("locations", d.Locations)
	put("notLocations", d.NotLocations)
	put("signInRisks", d.SignInRisks)
	put("userRisks", d.UserRisks)
	put("flows", d.Flows)
	put("controls", d.Controls)
	if d.NotDeviceTag != "" {
		put("notDeviceTags", []string{d.NotDeviceTag})
	}
	return out
}
