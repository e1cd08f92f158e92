package entratest

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/policy"
)

// SignInDetail is an entry of the sign-in log with what Entra's own log shows in its
// tabs: basic info, location, device info, authentication details and Conditional
// Access.
type SignInDetail struct {
	SignIn       SignIn
	ClientName   string
	ResourceName string       // "": a PRT
	ClientApp    string       // browser, mobileAppsAndDesktopClients, …; "": Conditional Access was not asked
	Device       DeviceStatus // zero: no device, or one that was deleted since
	// ConditionalAccess is success, failure or notApplied, as
	// conditionalAccessStatus of Microsoft Graph.
	ConditionalAccess string
	Policies          []PolicyDetail
}

// PolicyDetail says how one policy fared at a sign-in, and why.
type PolicyDetail struct {
	ID, Name string
	Result   string // as in [PolicyResult]
	// NotMatched names the first condition that did not match, with a value of Microsoft
	// Graph's whatIfAnalysisReasons such as users, application or location; "": the policy
	// applied, or the reason is not known after a restart.
	NotMatched string
	Grants     []GrantDetail   // the controls of a policy that applied
	Session    []string        // its session controls
	Matched    []MatchedDetail // the rules that included or excluded the sign-in
}

// GrantDetail is a control of a policy.
type GrantDetail struct {
	Control   string // such as mfa
	Satisfied bool
}

// MatchedDetail is a rule of a policy that the sign-in matched.
type MatchedDetail struct {
	Condition string // users, application, location, …
	Rule      string // such as allUsers or groupId
	Value     string // the id or name that matched; "" where Rule says it all
	Excludes  bool
}

// SignInDetail returns the entry with a sequence number. It reports false if the log
// does not have it.
func (s *Server) SignInDetail(seq int64) (SignInDetail, bool) {
	return s.world().inspector().signIn(seq)
}

func (s *inspector) signIn(seq int64) (SignInDetail, bool) {
	for _, e := range s.log.All() {
		if e.Seq == seq {
			return s.detail(e), true
		}
	}
	return SignInDetail{}, false
}

func (s *inspector) detail(e directory.LogEntry) SignInDetail {
	d := SignInDetail{SignIn: signInOf(e), ClientName: s.dir.AppName(e.ClientID), ConditionalAccess: "notApplied"}
	if e.Resource != "" {
		d.ResourceName = s.dir.AppName(e.Resource)
	}
	if dev := s.dir.Device(e.DeviceID); dev != nil {
		d.Device = deviceStatus(dev)
	}
	for _, p := range e.Policies {
		d.Policies = append(d.Policies, PolicyDetail{ID: p.ID, Name: p.Name, Result: p.Result})
		switch {
		case p.Result == "failure":
			d.ConditionalAccess = "failure"
		case p.Result == "success" && d.ConditionalAccess == "notApplied":
			d.ConditionalAccess = "success"
		}
	}
	if e.Asked == nil {
		return d
	}
	d.ClientApp = e.Asked.SignIn.ClientApp.String()
	for i, x := range e.Asked.Set.Explain(e.Asked.SignIn).Policies {
		if i < len(d.Policies) {
			explainPolicy(&d.Policies[i], x)
		}
	}
	return d
}

func explainPolicy(p *PolicyDetail, x policy.PolicyExplanation) {
	if x.Reasons != 0 {
		p.NotMatched = x.Reasons.String()
	}
	for _, g := range x.Grants {
		p.Grants = append(p.Grants, GrantDetail{g.Control.String(), g.Satisfied})
	}
	if c := x.Policy.SessionControls; c != nil && x.Applies {
		p.Session = sessionControls(c)
	}
	for _, m := range x.Include {
		p.Matched = append(p.Matched, MatchedDetail{m.Condition, m.Satisfied, m.Value, false})
	}
	for _, m := range x.Exclude {
		p.Matched = append(p.Matched, MatchedDetail{m.Condition, m.Satisfied, m.Value, true})
	}
}

// sessionControls names the session controls of a policy, as Microsoft Graph does.
func sessionControls(c *policy.SessionControls) []string {
	text, err := json.Marshal(c)
	if err != nil {
		return nil
	}
	var set map[string]json.RawMessage
	if json.Unmarshal(text, &set) != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(set))
}
