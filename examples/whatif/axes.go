package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

const (
	passwordOnly  = claims.Password
	classWorkload = "workload" // an identity that is not a user
	classAction   = "action"   // a target that is not an application
	classLegacy   = "legacy"   // a client that answers no prompt
)

// maxValues is how many values an axis may have: a cube has a bit for each.
const maxValues = 60

// newSpace collects the values that the policies of some exports name. Of
// values that no policy distinguishes it keeps the first.
func newSpace(now time.Time, exports ...*tenant) (*space, error) {
	s := &space{now: now}
	f := &finder{exports: exports}
	for a, build := range [axes]struct {
		name, phrase string
		values       func() []value
		keep         func(from, to *policy.Conditions)
	}{
		axisWho: {"Who", "%s", f.who, func(from, to *policy.Conditions) {
			to.Users, to.ClientApplications, to.Agents = from.Users, from.ClientApplications, from.Agents
		}},
		axisTarget:   {"Application", "%s", f.targets, func(from, to *policy.Conditions) { to.Applications = from.Applications }},
		axisClient:   {"Client", "by %s", f.clients, func(from, to *policy.Conditions) { to.ClientAppTypes = from.ClientAppTypes }},
		axisPlatform: {"Platform", "on %s", f.platforms, func(from, to *policy.Conditions) { to.Platforms = from.Platforms }},
		axisPlace:    {"Place", "from %s", f.places, func(from, to *policy.Conditions) { to.Locations = from.Locations }},
		axisDevice: {"Device", "with %s", f.devices, func(from, to *policy.Conditions) {
			to.Devices, to.DeviceStates = from.Devices, from.DeviceStates
		}},
		axisFlow: {"Flow", "by %s", f.flows, func(from, to *policy.Conditions) { to.AuthenticationFlows = from.AuthenticationFlows }},
		axisRisk: {"Risk", "at %s risk", f.risks, func(from, to *policy.Conditions) {
			to.SignInRiskLevels, to.ServicePrincipalRiskLevels, to.AgentIDRiskLevels = from.SignInRiskLevels, from.ServicePrincipalRiskLevels, from.AgentIDRiskLevels
		}},
		axisUserRisk: {"User risk", "at %s user risk", f.userRisks, func(from, to *policy.Conditions) { to.UserRiskLevels = from.UserRiskLevels }},
		axisInsider:  {"Insider risk", "at %s insider risk", f.insiders, func(from, to *policy.Conditions) { to.InsiderRiskLevels = from.InsiderRiskLevels }},
	} {
		values, err := f.distinct(now, build.values(), build.keep, a == axisClient || a == axisPlatform)
		if err != nil {
			return nil, err
		}
		s.axes[a] = axis{build.name, build.phrase, values[:min(len(values), maxValues)]}
	}
	return s, nil
}

// A finder looks for the values in the policies of some exports.
type finder struct {
	exports []*tenant
}

// distinct keeps values that some policy distinguishes, or whose classes
// differ. It asks the engine about policies that are reduced to one condition.
// Values that coincide are named together, or after the first.
func (f *finder) distinct(now time.Time, values []value, keep func(from, to *policy.Conditions), together bool) ([]value, error) {
	var sets []*policy.Set
	for _, t := range f.exports {
		b := *t.bundle
		b.Policies = nil
		for i := range t.bundle.Policies {
			from := &t.bundle.Policies[i]
			if from.State == policy.StateDisabled {
				continue
			}
			to := policy.Policy{ID: from.ID, Conditions: policy.Conditions{Users: &policy.UserCondition{IncludeUsers: []string{"All"}}}}
			keep(&from.Conditions, &to.Conditions)
			b.Policies = append(b.Policies, to)
		}
		set, err := policy.Compile(&b, t.options...)
		if err != nil {
			return nil, fmt.Errorf("the export cannot be compiled: %s", trimPackage(err))
		}
		sets = append(sets, set)
	}
	seen := map[string]int{}
	var out []value
	var names [][]string
	var r policy.Results
	blank := space{now: now}
	for a := range blank.axes {
		blank.axes[a].values = []value{{}}
	}
	for _, v := range values {
		in := blank.signIn(point{})
		in.User.ID, in.AppID = "?", "?"
		if v.set != nil {
			v.set(in)
		}
		sign := []byte(v.class)
		for _, set := range sets {
			if d := set.EvaluateInto(in, &r); d.Outcome == policy.OutcomeInvalid {
				return nil, fmt.Errorf("%s cannot be evaluated: %s", v.name, invalidText(d.Reason))
			}
			for _, res := range r.Policies {
				sign = append(sign, byte('a'+res))
			}
			sign = append(sign, '|')
		}
		if n, ok := seen[string(sign)]; ok {
			names[n] = append(names[n], v.name)
			continue
		}
		seen[string(sign)] = len(out)
		out, names = append(out, v), append(names, []string{v.name})
	}
	for i := range out {
		if together {
			out[i].name = join(names[i], " or ")
		}
	}
	return out, nil
}

// each calls visit for the conditions of every policy that is not disabled.
func (f *finder) each(visit func(t *tenant, p *policy.Policy)) {
	for _, t := range f.exports {
		for i := range t.bundle.Policies {
			if p := &t.bundle.Policies[i]; p.State != policy.StateDisabled {
				visit(t, p)
			}
		}
	}
}

// name returns the name of an id in any of the exports.
func (f *finder) name(id string) string {
	for _, t := range f.exports {
		if n := t.names.of(id); n != id {
			return n
		}
	}
	return id
}

// A mention is an id that some policy names, and how to speak of it.
type mention struct{ id, kind string }

func (f *finder) who() []value {
	var found []mention
	add := func(kind string, lists ...[]string) {
		for _, id := range slices.Concat(lists...) {
			if m := (mention{id, kind}); !slices.Contains(found, m) {
				found = append(found, m)
			}
		}
	}
	workloads, agents, agentUsers := false, false, false
	f.each(func(t *tenant, p *policy.Policy) {
		if u := p.Conditions.Users; u != nil {
			add("user", u.IncludeUsers, u.ExcludeUsers)
			add("group", u.IncludeGroups, u.ExcludeGroups)
			add("role", u.IncludeRoles, u.ExcludeRoles)
			for _, g := range []*policy.GuestCondition{u.IncludeGuests, u.ExcludeGuests} {
				if g != nil {
					add("guest", g.Types)
				}
			}
		}
		if a := p.Conditions.ClientApplications; a != nil {
			workloads = workloads || len(a.Include) > 0 || a.Filter != nil
			agents = agents || len(a.IncludeAgents) > 0 || a.AgentFilter != nil
			add("workload", a.Include, a.Exclude)
			add("agent", a.IncludeAgents, a.ExcludeAgents)
		}
		if a := p.Conditions.Agents; a != nil {
			agentUsers = true
			add("agent user", a.IncludeUsers, a.ExcludeUsers)
		}
	})
	out := []value{{name: "any other user", set: func(in *policy.SignIn) { in.User.ID = "any other user" }}}
	for _, m := range found {
		if v, ok := f.identity(m); ok {
			out = append(out, v)
		}
		agentUsers = agentUsers || strings.EqualFold(m.id, "AllAgentIdUsers")
	}
	for _, k := range []struct {
		named bool
		name  string
		kind  policy.IdentityKind
	}{{workloads, "any other workload", policy.IdentityWorkload}, {agents, "any other agent", policy.IdentityAgent}, {agentUsers, "any other agent's user", policy.IdentityAgentUser}} {
		if k.named {
			out = append(out, value{k.name, classWorkload, func(in *policy.SignIn) { in.User.ID, in.User.Kind = k.name, k.kind }})
		}
	}
	return out
}

// identity is the value of a mention; ok is false for words that mean a set.
func (f *finder) identity(m mention) (v value, ok bool) {
	switch strings.ToLower(m.id) {
	case "all", "none", "guestsorexternalusers", "serviceprincipalsinmytenant", "allagentidusers":
		if m.kind == "user" && strings.EqualFold(m.id, "GuestsOrExternalUsers") {
			return guestValue(policy.GuestB2BCollaboration), true
		}
		return v, false
	}
	name := m.kind + " " + f.name(m.id)
	switch m.kind {
	case "user":
		return value{name: name, set: func(in *policy.SignIn) { in.User.ID = m.id }}, true
	case "group":
		name = "a member of " + f.name(m.id)
		return value{name: name, set: func(in *policy.SignIn) { in.User.ID, in.User.Groups = name, []string{m.id} }}, true
	case "role":
		name = "a " + f.name(m.id)
		return value{name: name, set: func(in *policy.SignIn) { in.User.ID, in.User.Roles = name, []string{m.id} }}, true
	case "guest":
		for _, w := range guests[1:] {
			if strings.EqualFold(w.name, m.id) {
				return guestValue(w.value), true
			}
		}
		return v, false
	}
	kind := map[string]policy.IdentityKind{"workload": policy.IdentityWorkload, "agent": policy.IdentityAgent, "agent user": policy.IdentityAgentUser}[m.kind]
	return value{name, classWorkload, func(in *policy.SignIn) { in.User.ID, in.User.Kind = m.id, kind }}, true
}

func guestValue(g policy.GuestType) value {
	name := "a guest (" + g.String() + ")"
	return value{name, g.String(), func(in *policy.SignIn) { in.User.ID, in.User.Guest, in.User.HomeTenant = name, g, "another tenant" }}
}

func (f *finder) targets() []value {
	out := []value{appValue("any other application", "any other application")}
	var actionsSeen []string
	contexts := map[int]bool{}
	groups := policy.DefaultAppGroups()
	f.each(func(t *tenant, p *policy.Policy) {
		a := p.Conditions.Applications
		if a == nil {
			return
		}
		for _, id := range slices.Concat(a.Include, a.Exclude) {
			members, isGroup := groups[strings.ToLower(id)]
			switch {
			case strings.EqualFold(id, "All"), strings.EqualFold(id, "None"):
			case strings.EqualFold(id, "AllAgentIdResources"):
				out = append(out, value{name: "an agent's resource", set: func(in *policy.SignIn) { in.AppID, in.AgentResource = "agent", true }})
			case isGroup:
				for _, m := range members[:min(len(members), 3)] {
					out = append(out, appValue(f.name(m), m))
				}
			default:
				out = append(out, appValue(f.name(id), id))
			}
		}
		for _, u := range a.UserActions {
			if !slices.Contains(actionsSeen, strings.ToLower(u)) {
				actionsSeen = append(actionsSeen, strings.ToLower(u))
			}
		}
		for _, c := range a.AuthContexts {
			var n int
			if _, err := fmt.Sscanf(strings.ToLower(c), "c%d", &n); err == nil && n > 0 && n < 100 {
				contexts[n] = true
			}
		}
	})
	for _, u := range actionsSeen {
		action, err := choose("user action", u, actions)
		if err != nil {
			continue
		}
		name := map[policy.UserAction]string{policy.ActionRegisterSecurityInfo: "registering security information", policy.ActionRegisterDevice: "registering a device"}[action]
		out = append(out, value{name, classAction, func(in *policy.SignIn) { in.AppID, in.Action = "", action }})
	}
	for n := range 100 {
		if contexts[n] {
			out = append(out, value{fmt.Sprintf("authentication context c%d", n), classAction, func(in *policy.SignIn) { in.AppID, in.AuthContext = "", n }})
		}
	}
	return out
}

func appValue(name, id string) value {
	if name == id && guid.MatchString(id) {
		name = "application " + id
	}
	return value{name: name, set: func(in *policy.SignIn) { in.AppID = id }}
}

func (f *finder) clients() []value {
	client := func(name, class string, c policy.ClientApp) value {
		return value{name, class, func(in *policy.SignIn) { in.ClientApp = c }}
	}
	return []value{
		client("a browser", "", policy.ClientBrowser), client("an app", "", policy.ClientMobileOrDesktop),
		client("an older protocol", classLegacy, policy.ClientOther), client("Exchange ActiveSync", classLegacy, policy.ClientExchangeActiveSync),
	}
}

func (f *finder) platforms() []value {
	platform := func(name, class string, p policy.Platform) value {
		return value{name, class, func(in *policy.SignIn) { in.Platform = p }}
	}
	mobile, windows := "", ""
	f.each(func(t *tenant, p *policy.Policy) {
		if g := p.GrantControls; g != nil {
			for _, c := range g.BuiltInControls {
				switch strings.ToLower(c) {
				case "compliantapplication", "approvedapplication":
					mobile = "mobile"
				case "domainjoineddevice":
					windows = "windows"
				}
			}
		}
	})
	return []value{
		platform("Windows", windows, policy.PlatformWindows), platform("iOS", mobile, policy.PlatformIOS), platform("Android", mobile, policy.PlatformAndroid),
		platform("macOS", "", policy.PlatformMacOS), platform("Linux", "", policy.PlatformLinux), platform("an unknown platform", "", policy.PlatformUnknown),
	}
}

func (f *finder) places() []value {
	at := func(name, ip, country string) value {
		return value{name: name, set: func(in *policy.SignIn) { in.IP, in.Country = netip.MustParseAddr(ip), country }}
	}
	out := []value{at("anywhere else", "192.0.2.1", "")}
	for _, t := range f.exports {
		for _, l := range t.bundle.Locations {
			name := l.DisplayName
			if name == "" {
				name = l.ID
			}
			for _, r := range l.Ranges {
				if a, ok := addressOf(r); ok {
					out = append(out, at(name, a, ""))
				}
			}
			for _, c := range l.Countries {
				if len(c) == 2 {
					out = append(out, at(name, "192.0.2.1", strings.ToUpper(c)))
				}
			}
			if l.Kind == policy.CompliantNetworkLocation {
				out = append(out, value{name: name, set: func(in *policy.SignIn) { in.CompliantNetwork = true }})
			}
		}
	}
	return append(out, value{name: "a compliant network", set: func(in *policy.SignIn) { in.CompliantNetwork = true }})
}

// addressOf is an address of a range.
func addressOf(r string) (string, bool) {
	lower, _, _ := strings.Cut(r, "-")
	if p, err := netip.ParsePrefix(strings.TrimSpace(r)); err == nil {
		return p.Masked().Addr().String(), true
	}
	a, err := netip.ParseAddr(strings.TrimSpace(lower))
	return a.String(), err == nil
}

var comparison = regexp.MustCompile(`(?i)device\.(\w+)\s+[-–—−]?(\w+)\s+\[?\s*["']([^"']*)["']`)

func (f *finder) devices() []value {
	device := func(name, class string, d policy.Device) value {
		return value{name, class, func(in *policy.SignIn) { in.Device = &d }}
	}
	out := []value{
		{name: "no registered device"},
		device("a registered device", "registered", policy.Device{ID: "device", TrustType: policy.TrustRegistered, Ownership: "Personal"}),
		device("a compliant device", "compliant", policy.Device{ID: "device", TrustType: policy.TrustJoined, Compliant: claims.Yes, Managed: true, Ownership: "Company"}),
		device("a hybrid joined device", "hybrid", policy.Device{ID: "device", TrustType: policy.TrustHybrid, Managed: true, Ownership: "Company"}),
	}
	used := false
	f.each(func(t *tenant, p *policy.Policy) {
		if g := p.GrantControls; g != nil {
			used = used || slices.ContainsFunc(g.BuiltInControls, func(c string) bool {
				return strings.EqualFold(c, "compliantDevice") || strings.EqualFold(c, "domainJoinedDevice")
			})
		}
		d := p.Conditions.Devices
		if d != nil && d.Filter != nil {
			for _, m := range comparison.FindAllStringSubmatch(d.Filter.Rule, -1) {
				x := policy.Device{ID: "device", TrustType: policy.TrustJoined, Compliant: claims.Yes, Managed: true, Ownership: "Company"}
				if setProperty(&x, m[1], m[3]) == nil {
					out = append(out, device(fmt.Sprintf("a compliant device of %s %q", m[1], m[3]), "compliant", x))
				}
			}
		}
	})
	if !used { // grants do not tell devices apart
		for i := range out {
			out[i].class = ""
		}
	}
	return out
}

func (f *finder) flows() []value {
	flow := func(name, class string, t policy.TransferFlow) value {
		return value{name, class, func(in *policy.SignIn) { in.Flow = t }}
	}
	return []value{flow("no transfer", "", policy.TransferNone), flow("device code", "", policy.TransferDeviceCode), flow("authentication transfer", "", policy.TransferAuthentication)}
}

func (f *finder) risks() []value {
	return levels(func(in *policy.SignIn, r policy.RiskLevel) {
		switch in.User.Kind {
		case policy.IdentityWorkload:
			in.ServicePrincipalRisk = r
		case policy.IdentityAgent, policy.IdentityAgentUser:
			in.AgentRisk = r
		default:
			in.SignInRisk = r
		}
	})
}

func (f *finder) userRisks() []value {
	return levels(func(in *policy.SignIn, r policy.RiskLevel) { in.UserRisk = r })
}

func levels(set func(*policy.SignIn, policy.RiskLevel)) (out []value) {
	for _, r := range []policy.RiskLevel{policy.RiskNone, policy.RiskLow, policy.RiskMedium, policy.RiskHigh} {
		name := r.String()
		if r == policy.RiskNone {
			name = "no"
		}
		out = append(out, value{name: name, set: func(in *policy.SignIn) { set(in, r) }})
	}
	return out
}

func (f *finder) insiders() (out []value) {
	for _, w := range insiderRisks {
		name := w.name
		if name == "none" {
			name = "no"
		}
		out = append(out, value{name: name, set: func(in *policy.SignIn) { in.InsiderRisk = w.value }})
	}
	return out
}
