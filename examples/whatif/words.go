package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// status is how a policy stands in one sign-in.
type status string

// Statuses, from the one that matters least.
const (
	off         status = "off"         // the policy is disabled
	notApplied  status = "no"          // a condition is not met
	satisfied   status = "satisfied"   // applies; nothing is missing
	asks        status = "asks"        // applies; the user can still do what is missing
	blocks      status = "blocks"      // applies; no token
	unevaluable status = "unevaluable" // may apply
)

// standing is how a policy stands in one sign-in, in words.
type standing struct {
	Status     status
	ReportOnly bool
	Text       string   // one line
	Rules      []string // which rules matched
}

func (t *tenant) standing(in *policy.SignIn, p *policy.PolicyExplanation) standing {
	s := standing{ReportOnly: p.Policy.State == policy.StateReportOnly}
	for _, r := range p.Include {
		s.Rules = append(s.Rules, "included by "+t.rule(r))
	}
	for _, r := range p.Exclude {
		s.Rules = append(s.Rules, "excluded by "+t.rule(r))
	}
	switch {
	case p.Result == policy.ResultNotEnabled:
		s.Status, s.Text = off, "the policy is disabled"
	case p.Result == policy.ResultUnknown && p.Reasons == policy.ReasonNotEnoughInformation:
		s.Status, s.Text = unevaluable, "cannot be evaluated: its device filter compares an extension attribute that this device does not have"
	case p.Result == policy.ResultUnknown:
		s.Status, s.Text = unevaluable, "cannot be evaluated: "+t.whyUnevaluable(p.Policy)
	case !p.Applies:
		s.Status, s.Text = notApplied, t.unmet(in, p)
	default:
		s.Status, s.Text = t.grant(p)
	}
	return s
}

// whyUnevaluable repeats the first error about a policy.
func (t *tenant) whyUnevaluable(p *policy.Policy) string {
	for _, d := range t.diagnostics {
		if d.Severity == policy.SeverityError && d.File == p.Source.File && strings.HasPrefix(d.Path, p.Source.Path+".") {
			return strings.TrimPrefix(d.Path[strings.LastIndex(d.Path, ".")+1:]+" "+d.Message, " ")
		}
	}
	return strings.Join(p.Unmodeled, ", ")
}

// unmet says which condition was the first that did not hold, and which of
// its rules excludes the sign-in.
func (t *tenant) unmet(in *policy.SignIn, p *policy.PolicyExplanation) string {
	r := reasons[p.Reasons]
	if i := slices.IndexFunc(p.Exclude, func(m policy.RuleMatch) bool { return m.Condition == r.condition }); i >= 0 {
		return r.text + ": excluded by " + t.rule(p.Exclude[i])
	}
	if r.condition == "" {
		return r.text
	}
	return r.text + ": " + strings.TrimPrefix(valueOf(in, p.Reasons)+" is not included", " is ")
}

// valueOf returns the sign-in's value for a condition that holds one value.
func valueOf(in *policy.SignIn, r policy.AnalysisReasons) string {
	switch r {
	case policy.ReasonDevicePlatform:
		return in.Platform.String()
	case policy.ReasonClientApps:
		return in.ClientApp.String()
	case policy.ReasonSignInRisk:
		return in.SignInRisk.String()
	case policy.ReasonUserRisk:
		return in.UserRisk.String()
	case policy.ReasonInsiderRisk:
		return in.InsiderRisk.String()
	case policy.ReasonAuthenticationFlow:
		return in.Flow.String()
	case policy.ReasonLocation:
		if in.IP.IsValid() {
			return in.IP.String()
		}
		return "an unknown address"
	}
	return ""
}

// rule says in words which rule of a policy matched.
func (t *tenant) rule(r policy.RuleMatch) string {
	text, ok := ruleTexts[r.Satisfied]
	if !ok {
		text = spaced(r.Satisfied)
	}
	if r.Value == "" {
		return text
	}
	return text + " " + t.names.of(r.Value)
}

var ruleTexts = map[string]string{
	"allUsers":                          "all users",
	"groupId":                           "group",
	"roleId":                            "role",
	"userId":                            "id",
	"allApps":                           "all applications",
	"office365":                         "Office 365",
	"microsoftAdminPortals":             "Microsoft admin portals",
	"appId":                             "application",
	"appFilter":                         "filter",
	"acr":                               "authentication context",
	"allDevicePlatforms":                "all platforms",
	"devicePlatform":                    "platform",
	"allLocations":                      "all locations",
	"allTrustedLocations":               "trusted locations",
	"locationId":                        "location",
	"deviceState":                       "device state",
	"deviceFilter":                      "device filter",
	"deviceFilterIncludeRuleNotMatched": "a device filter that does not match,",
	"insiderRisk":                       "insider risk",
	"deviceCodeFlow":                    "device code flow",
	"authenticationTransfer":            "authentication transfer",
	"internalGuest":                     "internal guests",
	"b2bCollaborationGuest":             "B2B collaboration guests",
	"b2bCollaborationMember":            "B2B collaboration members",
	"b2bDirectConnectUser":              "B2B direct connect users",
	"otherExternalUser":                 "other external users",
	"serviceProvider":                   "service provider users",
}

// grant says how the controls of a policy that applies stand.
func (t *tenant) grant(p *policy.PolicyExplanation) (status, string) {
	if isBlock(p.Policy) {
		return blocks, "block"
	}
	st, text := t.controlsOf(p)
	if p.Reauthenticate != policy.NoControl {
		if st == satisfied {
			st = asks
		}
		text = strings.TrimSuffix("the sign-in frequency asks for "+controlNames[p.Reauthenticate]+"; "+text, "; ")
	}
	if p.Unbound {
		st, text = blocks, strings.TrimSuffix("token protection refuses a request that is not bound to the device; "+text, "; ")
	}
	if text == "" {
		text = "session controls only"
		if g := p.Policy.GrantControls; g != nil && len(g.BuiltInControls) > 0 {
			text = "nothing: approvedApplication is no longer enforced"
		}
	}
	if s := sessionText(&p.Session); s != "" {
		text += " [" + s + "]"
	}
	return st, text
}

// controlsOf judges the controls of one policy by its operator.
func (t *tenant) controlsOf(p *policy.PolicyExplanation) (status, string) {
	if len(p.Grants) == 0 {
		return satisfied, ""
	}
	var parts []string
	done, possible := 0, 0
	for _, c := range p.Grants {
		part := t.control(c.Control)
		switch {
		case c.Satisfied:
			part += " (done)"
			done++
			possible++
		case c.Satisfiable:
			part += " (missing)"
			possible++
		default:
			part += " (impossible here)"
		}
		parts = append(parts, part)
	}
	need, operator := 1, " or "
	if p.Policy.GrantControls.All() {
		need, operator = len(p.Grants), " and "
	}
	text := strings.Join(parts, operator)
	switch {
	case done >= need:
		return satisfied, text
	case possible >= need:
		return asks, text
	}
	return blocks, text
}

func isBlock(p *policy.Policy) bool {
	g := p.GrantControls
	return g != nil && slices.ContainsFunc(g.BuiltInControls, func(c string) bool { return strings.EqualFold(c, "block") })
}

// control names what a control demands.
func (t *tenant) control(c policy.Control) string {
	switch c.Kind {
	case policy.AuthenticationStrength:
		return "authentication strength “" + t.names.of(c.ID) + "”"
	case policy.TermsOfUse:
		return "terms of use " + t.names.of(c.ID)
	case policy.CustomFactor:
		return "custom control " + c.ID
	}
	return controlNames[c.Kind]
}

var controlNames = map[policy.ControlKind]string{
	policy.Reauthenticate:       "a new sign-in",
	policy.ReauthenticateMFA:    "MFA again",
	policy.TokenProtection:      "a request bound to the device",
	policy.MFA:                  "MFA",
	policy.CompliantDevice:      "a compliant device",
	policy.HybridJoinedDevice:   "a hybrid joined device",
	policy.ApprovedApplication:  "an approved app",
	policy.CompliantApplication: "an app protection policy",
	policy.PasswordChange:       "a password change",
	policy.RiskRemediation:      "risk remediation",
}

// reasons are the words for whatIfAnalysisReasons (Microsoft Graph), and the
// condition whose rules are behind each.
var reasons = map[policy.AnalysisReasons]struct{ text, condition string }{
	policy.ReasonNotEnoughInformation:  {"not enough information", ""},
	policy.ReasonInvalidCondition:      {"another condition", ""},
	policy.ReasonUsers:                 {"user", "users"},
	policy.ReasonWorkloadIdentities:    {"workload identity", "servicePrincipals"},
	policy.ReasonApplication:           {"application", "application"},
	policy.ReasonUserActions:           {"user action", "application"},
	policy.ReasonAuthenticationContext: {"authentication context", "application"},
	policy.ReasonDevicePlatform:        {"platform", "devicePlatform"},
	policy.ReasonDevices:               {"device", "deviceState"},
	policy.ReasonClientApps:            {"client app", "clientApp"},
	policy.ReasonLocation:              {"location", "location"},
	policy.ReasonSignInRisk:            {"sign-in risk", "signInRisk"},
	policy.ReasonUserRisk:              {"user risk", "userRisk"},
	policy.ReasonInsiderRisk:           {"insider risk", "insiderRisk"},
	policy.ReasonAuthenticationFlow:    {"authentication flow", "authenticationFlows"},
	policy.ReasonAgentIDRisk:           {"agent risk", "agentIdRisk"},
	policy.ReasonAgentIdentities:       {"agent identity", "agents"},
	policy.ReasonEmptyPolicy:           {"the policy includes nobody", ""},
	policy.ReasonInvalidPolicy:         {"the policy is invalid", ""},
	policy.ReasonPolicyNotEnabled:      {"the policy is disabled", ""},
	policy.ReasonTime:                  {"time", ""},
}

func policyName(p *policy.Policy) string {
	if p.DisplayName != "" {
		return p.DisplayName
	}
	if p.ID != "" {
		return p.ID
	}
	return "a policy without name"
}

// enumerate writes "a, b and c".
func enumerate(s []string) string { return join(s, " and ") }

func join(s []string, last string) string {
	if len(s) < 2 {
		return strings.Join(s, "")
	}
	return strings.Join(s[:len(s)-1], ", ") + last + s[len(s)-1]
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
