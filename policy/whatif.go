package policy

import (
	"encoding/json"
	"fmt"
	"strings"
)

// AnalysisReasons is a set of whatIfAnalysisReasons of Microsoft Graph: why a
// policy does not apply. Zero, notSet, means that it does.
type AnalysisReasons uint32

// Reasons why a policy does not apply, with Graph's values. The two of agents
// are beta, and their values are not published.
const (
	ReasonNotEnoughInformation AnalysisReasons = 1 << iota
	ReasonInvalidCondition
	ReasonUsers
	ReasonWorkloadIdentities
	ReasonApplication
	ReasonUserActions
	ReasonAuthenticationContext
	ReasonDevicePlatform
	ReasonDevices
	ReasonClientApps
	ReasonLocation
	ReasonSignInRisk
	ReasonEmptyPolicy // it includes no identity at all
	ReasonInvalidPolicy
	ReasonPolicyNotEnabled
	ReasonUserRisk
	ReasonTime
	ReasonInsiderRisk
	ReasonAuthenticationFlow
	_ // unknownFutureValue
	ReasonAgentIDRisk
	ReasonAgentIdentities
)

var reasonNames = [...]string{
	"notEnoughInformation", "invalidCondition", "users", "workloadIdentities", "application", "userActions",
	"authenticationContext", "devicePlatform", "devices", "clientApps", "location", "signInRisk", "emptyPolicy",
	"invalidPolicy", "policyNotEnabled", "userRisk", "time", "insiderRisk", "authenticationFlow",
	"unknownFutureValue", "agentIdRisk", "agentIdentities",
}

// String returns the names joined by commas, as Graph writes flags.
func (r AnalysisReasons) String() string {
	if r == 0 {
		return "notSet"
	}
	var names []string
	for i, n := range reasonNames {
		if r>>i&1 != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ",")
}

// MarshalText writes what String returns.
func (r AnalysisReasons) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// MarshalJSON writes the collection of whatIfAnalysisResult that Graph's
// conditionalAccessRoot: evaluate returns.
func (e Explanation) MarshalJSON() ([]byte, error) {
	value := e.Policies
	if value == nil {
		value = []PolicyExplanation{}
	}
	return json.Marshal(struct {
		Context string              `json:"@odata.context"`
		Value   []PolicyExplanation `json:"value"`
	}{"https://graph.microsoft.com/v1.0/$metadata#Collection(microsoft.graph.whatIfAnalysisResult)", value})
}

// MarshalJSON writes a whatIfAnalysisResult: the policy, policyApplies and
// analysisReasons.
func (x PolicyExplanation) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		*Policy
		Applies bool            `json:"policyApplies"`
		Reasons AnalysisReasons `json:"analysisReasons"`
	}{x.Policy, x.Applies, x.Reasons})
}

// Applied keeps the policies that apply, as appliedPoliciesOnly does.
func (e Explanation) Applied() []PolicyExplanation {
	var out []PolicyExplanation
	for _, x := range e.Policies {
		if x.Applies {
			out = append(out, x)
		}
	}
	return out
}

// String says in one line how the policy fared.
func (x PolicyExplanation) String() string {
	if !x.Applies {
		return fmt.Sprintf("%s: %s (%s)", x.Policy.name(), x.Result, x.Reasons)
	}
	var missing []string
	if x.Reauthenticate != NoControl {
		missing = append(missing, x.Reauthenticate.String())
	}
	if x.Unbound {
		missing = append(missing, TokenProtection.String())
	}
	for _, g := range x.Grants {
		if !g.Satisfied {
			missing = append(missing, g.String())
		}
	}
	if len(missing) == 0 || x.Result == ResultSuccess || x.Result == ResultReportOnlySuccess {
		return fmt.Sprintf("%s: %s", x.Policy.name(), x.Result)
	}
	return fmt.Sprintf("%s: %s, without %s", x.Policy.name(), x.Result, strings.Join(missing, ", "))
}
