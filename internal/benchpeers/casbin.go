package benchpeers

import (
	"errors"
	"fmt"
	"strings"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
)

// Casbin is a tenant in Casbin: a rule per policy, which denies, evaluated by
// the matcher as its documentation has it for attribute-based policies ("ABAC,
// scaling the model for complex and large numbers of ABAC rules").
type Casbin struct {
	enforcer *casbin.Enforcer
	inputs   []casbinFacts
}

// casbinFacts are what rules are about, with sets as maps.
type casbinFacts struct {
	User, Guest, App, Client, Platform, SignInRisk, UserRisk, Flow, DeviceTag string
	Groups, Roles, Locations, Satisfied                                       map[string]bool
}

const casbinModel = `
[request_definition]
r = sub
[policy_definition]
p = id, rule, eft
[policy_effect]
e = !some(where (p.eft == deny))
[matchers]
m = eval(p.rule)
`

// NewCasbin translates a tenant and builds all requests.
func NewCasbin(ds []demand, qs []Question) (*Casbin, error) {
	m, err := model.NewModelFromString(casbinModel)
	if err != nil {
		return nil, fmt.Errorf("benchpeers: casbin: %w", err)
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, fmt.Errorf("benchpeers: casbin: %w", err)
	}
	e.AddFunction("has", has)
	rules := make([][]string, len(ds))
	for i, d := range ds {
		rules[i] = []string{d.ID, casbinRule(d), "deny"}
	}
	if _, err := e.AddPolicies(rules); err != nil {
		return nil, fmt.Errorf("benchpeers: casbin: %w", err)
	}
	c := &Casbin{enforcer: e}
	for i := range qs {
		f := &qs[i].Facts
		c.inputs = append(c.inputs, casbinFacts{
			User: f.User, Guest: f.Guest, App: f.App, Client: f.Client, Platform: f.Platform,
			SignInRisk: f.SignInRisk, UserRisk: f.UserRisk, Flow: f.Flow, DeviceTag: f.DeviceTag,
			Groups: setOf(f.Groups), Roles: setOf(f.Roles), Locations: setOf(f.Locations), Satisfied: setOf(f.Satisfied),
		})
	}
	return c, nil
}

// Granted decides question i.
func (c *Casbin) Granted(i int) (bool, error) { return c.enforcer.Enforce(c.inputs[i]) }

func setOf(values []string) map[string]bool {
	m := map[string]bool{}
	for _, v := range values {
		m[v] = true
	}
	return m
}

// has is a rule's look into a set.
func has(args ...any) (any, error) {
	if len(args) == 2 {
		if set, ok := args[0].(map[string]bool); ok {
			if v, ok := args[1].(string); ok {
				return set[v], nil
			}
		}
	}
	return nil, errors.New("has takes a set and a string")
}

// casbinRule writes a policy, cheap comparisons first.
func casbinRule(d demand) string {
	var when []string
	and := func(format string, args ...any) { when = append(when, fmt.Sprintf(format, args...)) }
	oneOf := func(name string, values []string) string {
		if len(values) == 1 {
			return fmt.Sprintf("r.sub.%s == '%s'", name, values[0])
		}
		return fmt.Sprintf("r.sub.%s in ('%s')", name, strings.Join(values, "','"))
	}
	attribute := func(name string, values []string) {
		if len(values) > 0 {
			and("%s", oneOf(name, values))
		}
	}
	attribute("Client", d.Clients)
	attribute("SignInRisk", d.SignInRisks)
	attribute("UserRisk", d.UserRisks)
	attribute("Flow", d.Flows)
	attribute("Platform", d.Platforms)
	for _, p := range d.NotPlatforms {
		and("r.sub.Platform != '%s'", p)
	}
	if d.NotDeviceTag != "" {
		and("r.sub.DeviceTag != '%s'", d.NotDeviceTag)
	}
	attribute("App", d.Apps)
	for _, a := range d.ExceptApps {
		and("r.sub.App != '%s'", a)
	}
	if len(d.Locations) > 0 {
		and("(%s)", inSet("Locations", d.Locations, " || "))
	}
	if len(d.NotLocations) > 0 {
		and("!(%s)", inSet("Locations", d.NotLocations, " || "))
	}
	if !d.All {
		var who []string
		if len(d.Include) > 0 {
			who = append(who, inSet("Groups", d.Include, " || "))
		}
		if len(d.IncludeRoles) > 0 {
			who = append(who, inSet("Roles", d.IncludeRoles, " || "))
		}
		if len(d.IncludeUsers) > 0 {
			who = append(who, oneOf("User", d.IncludeUsers))
		}
		if len(d.IncludeGuests) > 0 {
			who = append(who, oneOf("Guest", d.IncludeGuests))
		}
		and("(%s)", strings.Join(who, " || "))
	}
	and("!(%s)", inSet("Groups", d.Exclude, " || "))
	if len(d.Controls) > 0 {
		join := " || "
		if d.AllControls {
			join = " && "
		}
		and("!(%s)", inSet("Satisfied", d.Controls, join))
	}
	return strings.Join(when, " && ")
}

func inSet(name string, values []string, join string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprintf("has(r.sub.%s, '%s')", name, v)
	}
	return strings.Join(out, join)
}
