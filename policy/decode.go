package policy

import (
	"strconv"
	"strings"
)

// A decoder fills the Go form of one policy from JSON and notes the paths of
// what it cannot put anywhere.
type decoder struct {
	unmodeled []string
	remarks   []string // keys beside conditions and controls, which decide nothing
}

// An object is a JSON object in the course of being read: the keys that are
// asked for are crossed off, and done notes the rest.
type object struct {
	d    *decoder
	path string
	n    *node
	seen map[string]bool
}

func (d *decoder) open(path string, n *node) *object {
	return &object{d, path, n, map[string]bool{}}
}

func (d *decoder) unknown(path string) { d.unmodeled = append(d.unmodeled, path) }

func (o *object) get(key string) *node {
	o.seen[lower(key)] = true
	return o.n.get(key)
}

func (o *object) at(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

func (o *object) skip(keys ...string) {
	for _, k := range keys {
		o.seen[lower(k)] = true
	}
}

// done notes the keys that were not asked for and are not empty.
func (o *object) done() {
	for i, k := range o.n.keys {
		if !annotation(k) && !o.seen[lower(k)] && !o.n.list[i].empty() {
			o.d.unknown(o.at(k))
		}
	}
}

// object opens a nested object. Absent, null, and empty arrays in its place are
// nil: not configured. Any other type is noted.
func (o *object) object(key string) *object {
	n := o.get(key)
	if n.kind == nodeObject {
		return o.d.open(o.at(key), n)
	}
	if !n.empty() {
		o.d.unknown(o.at(key))
	}
	return nil
}

func (o *object) text(key string) string {
	n := o.get(key)
	switch n.kind {
	case nodeString, nodeNumber:
		return strings.TrimSpace(n.text)
	case nodeNull:
	default:
		o.d.unknown(o.at(key))
	}
	return ""
}

// list reads an array of strings; a string alone is an array of one, and a
// string of flags is split at its commas. Empty strings name nothing.
func (o *object) list(key string, flags bool) []string {
	n := o.get(key)
	var out []string
	add := func(s string) {
		if !flags {
			if s = strings.TrimSpace(s); s != "" {
				out = append(out, s)
			}
			return
		}
		for f := range strings.SplitSeq(s, ",") {
			if f = strings.TrimSpace(f); f != "" {
				out = append(out, f)
			}
		}
	}
	switch {
	case n.kind == nodeString:
		add(n.text)
	case n.kind == nodeArray:
		for i := range n.list {
			switch n.list[i].kind {
			case nodeString:
				add(n.list[i].text)
			case nodeNull:
			default:
				o.d.unknown(at(o.at(key), i))
			}
		}
	case !n.empty():
		o.d.unknown(o.at(key))
	}
	return out
}

// flag reads a boolean; set is false when it is absent.
func (o *object) flag(key string) (v, set bool) {
	n := o.get(key)
	if n.kind == nodeBool || n.kind == nodeString {
		if b, err := strconv.ParseBool(lower(n.text)); err == nil {
			return b, true
		}
	}
	if !n.empty() {
		o.d.unknown(o.at(key))
	}
	return false, false
}

func (o *object) number(key string) *int {
	n := o.get(key)
	if n.kind == nodeNumber || n.kind == nodeString {
		if v, err := strconv.Atoi(strings.TrimSpace(n.text)); err == nil {
			return &v
		}
	}
	if !n.empty() {
		o.d.unknown(o.at(key))
	}
	return nil
}

func (o *object) filter(key string) *Filter {
	k := o.object(key)
	if k == nil || k.n.empty() {
		return nil
	}
	defer k.done()
	return &Filter{Mode: k.text("mode"), Rule: k.text("rule")}
}

// policy reads a policy from n, its name from named: the templates of Graph
// keep the two apart.
func (d *decoder) policy(n, named *node) Policy {
	o := d.open("", n)
	p := Policy{
		State:            State(canonical([]string{string(StateEnabled), string(StateDisabled), string(StateReportOnly)}, o.text("state"))),
		TemplateID:       o.text("templateId"),
		CreatedDateTime:  o.text("createdDateTime"),
		ModifiedDateTime: o.text("modifiedDateTime"),
	}
	id := named.get("id").text
	if n == named {
		p.ID = strings.TrimSpace(id)
	} else {
		p.TemplateID = strings.TrimSpace(id)
	}
	p.DisplayName, p.Description = named.get("displayName").text, named.get("description").text
	if p.DisplayName == "" {
		p.DisplayName = named.get("name").text
	}
	if k := o.object("conditions"); k != nil {
		p.Conditions = k.conditions()
	}
	if k := o.object("grantControls"); k != nil && !k.n.empty() {
		p.GrantControls = k.grants()
	}
	if k := o.object("sessionControls"); k != nil && !k.n.empty() {
		p.SessionControls = k.session()
	}
	if !o.get("partialEnablementStrategy").empty() {
		d.unknown("partialEnablementStrategy")
	}
	if !o.get("deletedDateTime").empty() {
		p.State = StateDisabled // in the tenant's recycle bin
	}
	o.skip("id", "displayName", "name", "description")
	p.Unmodeled = d.unmodeled
	o.done()
	d.remarks = d.unmodeled[len(p.Unmodeled):]
	return p
}

// canonical gives a member of an enumeration Graph's casing; others stay.
func canonical(names []string, s string) string {
	if i := member(names, s); i >= 0 {
		return names[i]
	}
	return s
}

func (o *object) conditions() (c Conditions) {
	defer o.done()
	if k := o.object("users"); k != nil && !k.n.empty() {
		c.Users = k.users()
	}
	if k := o.object("applications"); k != nil && !k.n.empty() {
		c.Applications = k.applications()
	}
	if k := o.object("clientApplications"); k != nil && !k.n.empty() {
		c.ClientApplications = k.clientApplications()
	}
	c.ClientAppTypes = o.list("clientAppTypes", true)
	if k := o.object("platforms"); k != nil && !k.n.empty() {
		c.Platforms = &PlatformCondition{k.list("includePlatforms", true), k.list("excludePlatforms", true)}
		k.done()
	}
	if k := o.object("locations"); k != nil && !k.n.empty() {
		c.Locations = &LocationCondition{k.list("includeLocations", false), k.list("excludeLocations", false)}
		k.done()
	}
	o.deviceConditions(&c)
	c.SignInRiskLevels = o.list("signInRiskLevels", true)
	c.UserRiskLevels = o.list("userRiskLevels", true)
	c.ServicePrincipalRiskLevels = o.list("servicePrincipalRiskLevels", true)
	c.InsiderRiskLevels = o.list("insiderRiskLevels", true)
	c.AgentIDRiskLevels = o.list("agentIdRiskLevels", true)
	if k := o.object("authenticationFlows"); k != nil && !k.n.empty() {
		c.AuthenticationFlows = &FlowCondition{k.list("transferMethods", true)}
		k.done()
	}
	if k := o.object("agents"); k != nil && !k.n.empty() {
		c.Agents = &AgentCondition{k.list("includeAgentUsers", false), k.list("excludeAgentUsers", false), k.filter("agentFilter")}
		k.done()
	}
	if k := o.object("agentContext"); k != nil && !k.n.empty() {
		c.AgentContext = &AgentContextCondition{k.list("includeAgentContexts", true), k.list("excludeAgentContexts", true)}
		k.done()
	}
	return c
}

func (o *object) deviceConditions(c *Conditions) {
	if k := o.object("devices"); k != nil && !k.n.empty() {
		c.Devices = &DeviceCondition{
			Include: k.list("includeDevices", true), Exclude: k.list("excludeDevices", true),
			IncludeStates: k.list("includeDeviceStates", true), ExcludeStates: k.list("excludeDeviceStates", true),
			Filter: k.filter("deviceFilter"),
		}
		k.done()
	}
	if k := o.object("deviceStates"); k != nil && !k.n.empty() {
		c.DeviceStates = &DeviceStateCondition{k.list("includeStates", true), k.list("excludeStates", true)}
		k.done()
	}
}

func (o *object) users() *UserCondition {
	defer o.done()
	return &UserCondition{
		IncludeUsers: o.list("includeUsers", false), ExcludeUsers: o.list("excludeUsers", false),
		IncludeGroups: o.list("includeGroups", false), ExcludeGroups: o.list("excludeGroups", false),
		IncludeRoles: o.list("includeRoles", false), ExcludeRoles: o.list("excludeRoles", false),
		IncludeGuests: o.guests("includeGuestsOrExternalUsers"), ExcludeGuests: o.guests("excludeGuestsOrExternalUsers"),
	}
}

func (o *object) guests(key string) *GuestCondition {
	k := o.object(key)
	if k == nil || k.n.empty() {
		return nil
	}
	defer k.done()
	g := &GuestCondition{Types: k.list("guestOrExternalUserTypes", true)}
	t := k.object("externalTenants")
	if t == nil {
		return g
	}
	defer t.done()
	g.Tenants = &ExternalTenants{MembershipKind: t.text("membershipKind"), Members: t.list("members", false)}
	if g.Tenants.MembershipKind == "" {
		g.Tenants.MembershipKind = "all"
		if strings.Contains(lower(t.n.annotation("type")), "enumerated") || g.Tenants.Members != nil {
			g.Tenants.MembershipKind = "enumerated"
		}
	}
	return g
}

func (o *object) applications() *ApplicationCondition {
	defer o.done()
	a := &ApplicationCondition{
		Include: o.list("includeApplications", false), Exclude: o.list("excludeApplications", false),
		UserActions:  o.list("includeUserActions", false),
		AuthContexts: o.list("includeAuthenticationContextClassReferences", false),
		Filter:       o.filter("applicationFilter"),
	}
	for _, key := range []string{"networkAccess", "globalSecureAccess"} {
		if k := o.object(key); k != nil && !k.n.empty() {
			a.GlobalSecureAccess = &TrafficCondition{k.list("includeTrafficProfiles", true)}
			k.done()
		}
	}
	return a
}

func (o *object) clientApplications() *ClientApplicationCondition {
	defer o.done()
	return &ClientApplicationCondition{
		Include: o.list("includeServicePrincipals", false), Exclude: o.list("excludeServicePrincipals", false),
		Filter:        o.filter("servicePrincipalFilter"),
		IncludeAgents: o.list("includeAgentIdServicePrincipals", false), ExcludeAgents: o.list("excludeAgentIdServicePrincipals", false),
		AgentFilter: o.filter("agentIdServicePrincipalFilter"),
	}
}
