package benchpeers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

// Cedar is a tenant in Cedar: one forbid per policy, unless its controls are
// satisfied, below one permit for everybody. The reasons of a denial are then
// the unsatisfied policies.
type Cedar struct {
	policies *cedar.PolicySet
	requests []cedarRequest
}

type cedarRequest struct {
	entities cedar.EntityMap
	request  cedar.Request
}

// NewCedar translates a tenant and builds all requests.
func NewCedar(ds []demand, qs []Question) (*Cedar, error) {
	c := &Cedar{policies: cedar.NewPolicySet()}
	if err := c.add("permit", "permit (principal, action, resource);"); err != nil {
		return nil, err
	}
	for _, d := range ds {
		if err := c.add(d.ID, cedarText(d)); err != nil {
			return nil, err
		}
	}
	for i := range qs {
		c.requests = append(c.requests, cedarQuestion(&qs[i].Facts))
	}
	return c, nil
}

func (c *Cedar) add(id, text string) error {
	var p cedar.Policy
	if err := p.UnmarshalCedar([]byte(text)); err != nil {
		return fmt.Errorf("benchpeers: %s: %w in %s", id, err, text)
	}
	c.policies.Add(cedar.PolicyID(id), &p)
	return nil
}

// Granted decides question i.
func (c *Cedar) Granted(i int) bool {
	d, _ := cedar.Authorize(c.policies, c.requests[i].entities, c.requests[i].request)
	return d == cedar.Allow
}

// Unsatisfied names the policies that deny question i, sorted.
func (c *Cedar) Unsatisfied(i int) ([]string, error) {
	d, diag := cedar.Authorize(c.policies, c.requests[i].entities, c.requests[i].request)
	if len(diag.Errors) > 0 {
		return nil, fmt.Errorf("benchpeers: cedar: %v", diag.Errors[0])
	}
	if d == cedar.Allow {
		return nil, nil
	}
	var ids []string
	for _, r := range diag.Reasons {
		ids = append(ids, string(r.PolicyID))
	}
	slices.Sort(ids)
	return ids, nil
}

// cedarText orders conditions as Cedar's documentation advises: cheap
// comparisons of the context first, the hierarchy last.
func cedarText(d demand) string {
	var when []string
	and := func(format string, args ...any) { when = append(when, fmt.Sprintf(format, args...)) }
	attribute := func(name string, values []string) {
		if len(values) == 1 {
			and("context.%s == %q", name, values[0])
		} else if len(values) > 0 {
			and("[%s].contains(context.%s)", quoted("", values), name)
		}
	}
	attribute("client", d.Clients)
	attribute("signInRisk", d.SignInRisks)
	attribute("userRisk", d.UserRisks)
	attribute("flow", d.Flows)
	attribute("platform", d.Platforms)
	for _, p := range d.NotPlatforms {
		and("context.platform != %q", p)
	}
	if d.NotDeviceTag != "" {
		and("context.deviceTag != %q", d.NotDeviceTag)
	}
	if b := bundleOf(d.Apps); b >= 0 {
		and("resource in Suite::\"%d\"", b)
	} else if len(d.Apps) == 1 {
		and("resource == App::%q", d.Apps[0])
	} else if len(d.Apps) > 0 {
		and("[%s].contains(resource)", quoted("App::", d.Apps))
	}
	for _, a := range d.ExceptApps {
		and("resource != App::%q", a)
	}
	if len(d.Locations) > 0 {
		and("context.locations.containsAny([%s])", quoted("", d.Locations))
	}
	if len(d.NotLocations) > 0 {
		and("!context.locations.containsAny([%s])", quoted("", d.NotLocations))
	}
	if s := cedarPrincipal(d); s != "" {
		and("(%s)", s)
	}
	and("!(principal in [%s])", quoted("Group::", d.Exclude))
	if s := cedarControls(d); s != "" {
		and("!%s", s)
	}
	return "forbid (principal, action, resource) when { " + strings.Join(when, " && ") + " };"
}

func cedarPrincipal(d demand) string {
	if d.All {
		return ""
	}
	if len(d.IncludeGuests) > 0 {
		return fmt.Sprintf("[%s].contains(context.guest)", quoted("", d.IncludeGuests))
	}
	in := slices.Concat(prefixed("Group::", d.Include), prefixed("Role::", d.IncludeRoles), prefixed("User::", d.IncludeUsers))
	return "principal in [" + strings.Join(in, ", ") + "]"
}

func cedarControls(d demand) string {
	switch {
	case len(d.Controls) == 0:
		return ""
	case len(d.Controls) == 1:
		return fmt.Sprintf("context.satisfied.contains(%q)", d.Controls[0])
	case d.AllControls:
		return fmt.Sprintf("context.satisfied.containsAll([%s])", quoted("", d.Controls))
	}
	return fmt.Sprintf("context.satisfied.containsAny([%s])", quoted("", d.Controls))
}

func cedarQuestion(f *Facts) cedarRequest {
	principal, resource := cedar.NewEntityUID("User", cedar.String(f.User)), cedar.NewEntityUID("App", cedar.String(f.App))
	entities := cedar.EntityMap{}
	var parents []cedar.EntityUID
	for _, g := range f.Groups {
		parents = append(parents, cedar.NewEntityUID("Group", cedar.String(g)))
	}
	for _, r := range f.Roles {
		parents = append(parents, cedar.NewEntityUID("Role", cedar.String(r)))
	}
	entities[principal] = cedar.Entity{UID: principal, Parents: cedar.NewEntityUIDSet(parents...)}
	var suites []cedar.EntityUID
	for i, b := range bundles {
		if slices.Contains(b, f.App) {
			suites = append(suites, cedar.NewEntityUID("Suite", cedar.String(fmt.Sprint(i))))
		}
	}
	entities[resource] = cedar.Entity{UID: resource, Parents: cedar.NewEntityUIDSet(suites...)}
	return cedarRequest{entities, cedar.Request{
		Principal: principal, Action: cedar.NewEntityUID("Action", "signIn"), Resource: resource,
		Context: cedar.NewRecord(cedar.RecordMap{
			"client": cedar.String(f.Client), "platform": cedar.String(f.Platform), "flow": cedar.String(f.Flow),
			"signInRisk": cedar.String(f.SignInRisk), "userRisk": cedar.String(f.UserRisk),
			"deviceTag": cedar.String(f.DeviceTag), "guest": cedar.String(f.Guest),
			"locations": cedarSet(f.Locations), "satisfied": cedarSet(f.Satisfied),
		}),
	}}
}

func cedarSet(values []string) cedar.Set {
	out := make([]cedar.Value, len(values))
	for i, v := range values {
		out[i] = cedar.String(v)
	}
	return cedar.NewSet(out...)
}

// bundleOf returns which suite a list of applications is, or -1.
func bundleOf(apps []string) int {
	return slices.IndexFunc(bundles[:], func(b []string) bool { return slices.Equal(b, apps) })
}

func quoted(prefix string, values []string) string {
	return strings.Join(prefixed(prefix, values), ", ")
}

func prefixed(prefix string, values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprintf("%s%q", prefix, v)
	}
	return out
}
