package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A dimension is one of the independent questions that a policy's conditions
// ask of a sign-in.
type dimension uint8

const (
	dimUsers dimension = iota
	dimWorkloads
	dimAgents
	dimAgentUsers
	dimApplications
	dimPlatforms
	dimClientApps
	dimSignInRisk
	dimUserRisk
	dimServiceRisk
	dimAgentRisk
	dimInsiderRisk
	dimFlows
	dimAgentContext
	dimLocations
	dimDevices
	dimensions
	dimNone = dimensions
)

// A problem is something in a policy that cannot be evaluated, or that was
// probably not meant. A problem of SeverityError makes the policy unevaluable;
// the dimension it lies in then matches every sign-in, so that a Set that fails
// closed errs to that side.
type problem struct {
	path     string
	severity Severity
	code     Code
	message  string
	dim      dimension
}

// A checker collects the problems of one policy.
type checker struct {
	found []problem
}

func (c *checker) add(path string, sev Severity, code Code, dim dimension, format string, args ...any) {
	c.found = append(c.found, problem{path, sev, code, fmt.Sprintf(format, args...), dim})
}

// Names of enumeration members, in Graph's casing and in the order of the
// Go constants.
var (
	platformNames    = []string{"", "android", "iOS", "windows", "windowsPhone", "macOS", "linux"}
	riskNames        = []string{"none", "low", "medium", "high", "hidden"}
	insiderNames     = []string{"none", "minor", "moderate", "elevated"}
	flowNames        = []string{"none", "deviceCodeFlow", "authenticationTransfer"}
	guestNames       = []string{"none", "internalGuest", "b2bCollaborationGuest", "b2bCollaborationMember", "b2bDirectConnectUser", "otherExternalUser", "serviceProvider"}
	builtInNames     = []string{"mfa", "compliantDevice", "domainJoinedDevice", "approvedApplication", "compliantApplication", "passwordChange", "riskRemediation", "block"}
	clientTypeNames  = []string{"all", "browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "easSupported", "other", "modern", "easUnsupported"}
	deviceStateNames = []string{"All", "Compliant", "DomainJoined"}
	userActionNames  = []string{"", "urn:user:registersecurityinfo", "urn:user:registerdevice"}
	trafficNames     = []string{"", "internet", "m365", "private"}
	casNames         = []string{"", "mcasConfigured", "monitorOnly", "blockDownloads"}
	persistNames     = []string{"", "always", "never"}
	continuousNames  = []string{"", "disabled", "strictEnforcement", "strictLocation"}
)

const agentEndpointContext = "agentUserSessionsInitiatedFromEndpoints"

// member returns the index of a name in an enumeration, or -1.
func member(names []string, s string) int {
	if s == "" {
		return -1
	}
	return slices.IndexFunc(names, func(n string) bool { return equalASCII(n, s) })
}

func (c *checker) enum(path string, list, names []string, dim dimension, also ...string) {
	for i, s := range list {
		if member(names, s) < 0 && member(also, s) < 0 {
			c.add(at(path, i), SeverityError, CodeUnknownValue, dim, "unknown value %q", s)
		}
	}
}

func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// check finds everything in a policy that does not depend on the rest of the
// bundle. Paths begin at the policy.
func (p *Policy) check() []problem {
	c := &checker{}
	for _, path := range p.Unmodeled {
		c.add(path, SeverityError, CodeUnmodeled, dimNone, "is not understood")
	}
	if p.State != "" && p.State != StateEnabled && p.State != StateDisabled && p.State != StateReportOnly {
		c.add("state", SeverityError, CodeUnknownValue, dimNone, "unknown value %q", p.State)
	}
	c.conditions(&p.Conditions)
	if g := p.GrantControls; g != nil {
		c.grants(g)
	}
	if s := p.SessionControls; s != nil {
		c.session(s)
	}
	c.authoring(p)
	return c.found
}

func (c *checker) conditions(k *Conditions) {
	if u := k.Users; u != nil {
		c.guests("conditions.users.includeGuestsOrExternalUsers", u.IncludeGuests)
		c.guests("conditions.users.excludeGuestsOrExternalUsers", u.ExcludeGuests)
		c.userIDs("conditions.users.includeUsers", u.IncludeUsers)
		c.userIDs("conditions.users.excludeUsers", u.ExcludeUsers)
		c.names("conditions.users.includeGroups", u.IncludeGroups)
		c.names("conditions.users.excludeGroups", u.ExcludeGroups)
		c.roles("conditions.users.includeRoles", u.IncludeRoles)
		c.roles("conditions.users.excludeRoles", u.ExcludeRoles)
	}
	if a := k.Applications; a != nil {
		c.applications(a)
	}
	if a := k.ClientApplications; a != nil {
		c.filter("conditions.clientApplications.servicePrincipalFilter", a.Filter, propAttribute, dimWorkloads)
		c.filter("conditions.clientApplications.agentIdServicePrincipalFilter", a.AgentFilter, propAttribute, dimAgents)
	}
	if a := k.Agents; a != nil {
		c.filter("conditions.agents.agentFilter", a.Filter, propAttribute, dimAgentUsers)
	}
	c.enum("conditions.clientAppTypes", k.ClientAppTypes, clientTypeNames, dimClientApps)
	if l := k.Platforms; l != nil {
		c.enum("conditions.platforms.includePlatforms", l.Include, platformNames, dimPlatforms, "all")
		c.enum("conditions.platforms.excludePlatforms", l.Exclude, platformNames, dimPlatforms, "all")
	}
	c.devices(k)
	c.enum("conditions.signInRiskLevels", k.SignInRiskLevels, riskNames, dimSignInRisk)
	c.enum("conditions.userRiskLevels", k.UserRiskLevels, riskNames, dimUserRisk)
	c.enum("conditions.servicePrincipalRiskLevels", k.ServicePrincipalRiskLevels, riskNames, dimServiceRisk)
	c.enum("conditions.agentIdRiskLevels", k.AgentIDRiskLevels, riskNames, dimAgentRisk)
	c.enum("conditions.insiderRiskLevels", k.InsiderRiskLevels, insiderNames, dimInsiderRisk)
	if f := k.AuthenticationFlows; f != nil {
		c.enum("conditions.authenticationFlows.transferMethods", f.TransferMethods, flowNames, dimFlows)
	}
	if a := k.AgentContext; a != nil {
		c.enum("conditions.agentContext.includeAgentContexts", a.Include, []string{agentEndpointContext}, dimAgentContext)
		c.enum("conditions.agentContext.excludeAgentContexts", a.Exclude, []string{agentEndpointContext}, dimAgentContext)
	}
}

func (c *checker) guests(path string, g *GuestCondition) {
	if g == nil {
		return
	}
	c.enum(path+".guestOrExternalUserTypes", g.Types, guestNames, dimUsers)
	if t := g.Tenants; t != nil && member([]string{"all", "enumerated"}, t.MembershipKind) < 0 {
		c.add(path+".externalTenants.membershipKind", SeverityError, CodeUnknownValue, dimUsers, "unknown value %q", t.MembershipKind)
	}
}

// userIDs finds words that must mean more than one user. Graph gains such words
// before they are documented, and none of them is a user's id.
func (c *checker) userIDs(path string, list []string) {
	for i, id := range list {
		if len(id) > len("All") && equalASCII(id[:len("All")], "All") && !equalASCII(id, allAgentUsers) {
			c.add(at(path, i), SeverityError, CodeUnknownValue, dimUsers, "%q is not a known word for a set of users", id)
		}
	}
	c.names(path, list)
}

// names finds user names where object ids belong.
func (c *checker) names(path string, list []string) {
	for i, id := range list {
		if strings.Contains(id, "@") {
			c.add(at(path, i), SeverityWarning, CodeAuthoring, dimUsers, "%q is a user name: Graph expects an object id here, and a policy that holds a name applies to nobody by it", id)
		}
	}
}

func (c *checker) roles(path string, roles []string) {
	for i, r := range roles {
		if _, ok := RoleName(r); !ok {
			c.add(at(path, i), SeverityWarning, CodeUnknownRole, dimUsers, "%q is not the template id of a known role", r)
		}
	}
}

func (c *checker) applications(a *ApplicationCondition) {
	const path = "conditions.applications"
	c.enum(path+".includeUserActions", a.UserActions, userActionNames, dimApplications)
	for i, s := range a.AuthContexts {
		if authContext(s) == 0 {
			c.add(at(path+".includeAuthenticationContextClassReferences", i), SeverityError, CodeUnknownValue, dimApplications, "%q is not one of c1 to c99", s)
		}
	}
	if t := a.GlobalSecureAccess; t != nil {
		c.enum(path+".globalSecureAccess.includeTrafficProfiles", t.Profiles, trafficNames, dimApplications)
	}
	c.filter(path+".applicationFilter", a.Filter, propAttribute, dimApplications)
}

// authContext returns the number of cN, 0 for anything else.
func authContext(s string) int {
	digits, ok := strings.CutPrefix(lower(strings.TrimSpace(s)), "c")
	n, _ := strconv.Atoi(digits) // 0, or a number far too large, when it is none
	if !ok || n < 1 || n > maxAuthContext || strconv.Itoa(n) != digits {
		return 0
	}
	return n
}

const maxAuthContext = 99

// filter checks that the rule parses and asks only for the kind of property
// that its place has.
func (c *checker) filter(path string, f *Filter, want property, dim dimension) {
	if f == nil {
		return
	}
	if member([]string{"include", "exclude"}, f.Mode) < 0 {
		c.add(path+".mode", SeverityError, CodeUnknownValue, dim, "unknown value %q", f.Mode)
	}
	r, err := ParseFilterRule(f.Rule)
	if err != nil {
		c.add(path+".rule", SeverityError, CodeFilterRule, dim, "%s", strings.TrimPrefix(err.Error(), "policy: "))
		return
	}
	for _, in := range r.prog {
		if (in.cmp.prop == propAttribute) != (want == propAttribute) {
			c.add(path+".rule", SeverityError, CodeFilterRule, dim, "the rule asks for a property that is not available here")
			return
		}
	}
	if r.doubtful() {
		c.add(path+".rule", SeverityWarning, CodeFilterRule, dimNone, "the rule compares an extension attribute in a negative way: on a registered device that is neither managed, compliant nor hybrid joined Microsoft's documentation contradicts itself, and the policy counts as one that cannot be evaluated")
	}
}

func (c *checker) devices(k *Conditions) {
	if d := k.Devices; d != nil {
		c.enum("conditions.devices.includeDevices", d.Include, deviceStateNames, dimDevices)
		c.enum("conditions.devices.excludeDevices", d.Exclude, deviceStateNames, dimDevices)
		c.enum("conditions.devices.includeDeviceStates", d.IncludeStates, deviceStateNames, dimDevices)
		c.enum("conditions.devices.excludeDeviceStates", d.ExcludeStates, deviceStateNames, dimDevices)
		c.filter("conditions.devices.deviceFilter", d.Filter, propDeviceID, dimDevices)
	}
	if d := k.DeviceStates; d != nil {
		c.enum("conditions.deviceStates.includeStates", d.Include, deviceStateNames, dimDevices)
		c.enum("conditions.deviceStates.excludeStates", d.Exclude, deviceStateNames, dimDevices)
	}
}

func (c *checker) grants(g *GrantControls) {
	if g.Operator != "" && member([]string{"AND", "OR"}, g.Operator) < 0 {
		c.add("grantControls.operator", SeverityError, CodeUnknownValue, dimNone, "unknown value %q", g.Operator)
	}
	c.enum("grantControls.builtInControls", g.BuiltInControls, builtInNames, dimNone)
}

func (c *checker) session(s *SessionControls) {
	if k := s.CloudAppSecurity; k != nil && k.IsEnabled {
		c.enum("sessionControls.cloudAppSecurity.cloudAppSecurityType", []string{k.Type}, casNames[1:], dimNone)
	}
	if k := s.PersistentBrowser; k != nil && k.IsEnabled {
		c.enum("sessionControls.persistentBrowser.mode", []string{k.Mode}, persistNames[1:], dimNone)
	}
	if k := s.ContinuousAccessEvaluation; k != nil && k.Mode != "" {
		c.enum("sessionControls.continuousAccessEvaluation.mode", []string{k.Mode}, continuousNames[1:], dimNone)
	}
	if k := s.SignInFrequency; k != nil && k.IsEnabled {
		if _, err := k.frequency(); err != nil {
			c.add("sessionControls.signInFrequency", SeverityError, CodeUnknownValue, dimNone, "%s", err)
		}
	}
}
