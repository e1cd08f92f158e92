// Package why explains why a user is, or is not, asked when an app requests a
// token.
//
//	e := why.Explain(why.Snapshot{
//		Now:      now,
//		ClientID: "4a1b2c3d-0000-4000-8000-000000000001",
//		Scopes:   []string{"api://payroll/.default"},
//		Resource: "api://payroll",
//	})
//	fmt.Println(e.Verdict, "because", e.Because)
//
// [Explain] is a pure function: it makes no request and reads nothing. The broker
// gives it a [Snapshot] of what it knows (Broker.Why); a program may also build its
// own. What the snapshot leaves out is unknown, and the verdict says so if it
// decides.
package why

import (
	"net/netip"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// Facts are what Conditional Access looks at and the broker cannot know. A fact
// is unknown at the zero value that its comment names.
type Facts struct {
	// User has the groups (transitive), role template ids and guest type of
	// the user. Nil: unknown. Its ID may be empty.
	User *policy.User
	// Compliant says whether device management reports the device as compliant.
	// Unknown means that this is not known; a device that was never reported is
	// No.
	Compliant claims.Answer
	// Device has the attributes that device filters look at. Nil: what the
	// registration says, and such filters are then not evaluated.
	Device *policy.Device
	// IP and Country are where the service sees the request come from.
	IP      netip.Addr
	Country string
	// Platform is what the User-Agent names. Zero: that of Config.UserAgent.
	Platform policy.Platform
	// SignInRisk and UserRisk are levels of risk. Nil: unknown.
	SignInRisk, UserRisk *policy.RiskLevel
	// Methods are those with which the user authenticated for the strongest PRT,
	// which Status shows. Zero: what its amr says, which often names MFA but not
	// how it was done.
	Methods claims.Methods
	// AcceptedTerms are the ids of accepted terms of use. Nil: unknown.
	AcceptedTerms []string
}

// A Verdict is the answer in a word.
type Verdict string

// Answers.
const (
	Silent  Verdict = "silent"  // a token without a prompt
	Asked   Verdict = "asked"   // the user has to do something
	Refused Verdict = "refused" // no token, whatever the user does
	Unknown Verdict = "unknown" // a fact that decides is not known here
)

// An Explanation is why the user is, or is not, asked: the chain of facts that
// decides, as data, and by String as text that a help desk can read.
type Explanation struct {
	Verdict Verdict `json:"verdict"`
	// Because completes the sentence "The user is asked, because …".
	Because  string `json:"because"`
	Account  string `json:"account"`            // its home account id; empty: no account
	Username string `json:"username,omitempty"` // that it signed in with
	ClientID string `json:"clientId"`
	Resource string `json:"resource"`
	// Chain has the facts in the order in which they decide.
	Chain []Fact `json:"chain"`
	// Policies are the policies of the tenant that apply, as far as they are
	// known, including those that only report.
	Policies []Policy `json:"policies,omitempty"`
	// Last is what the service last said about this app and resource; nil
	// when it was not asked.
	Last *Observation `json:"last,omitempty"`
	// Decision is that of the policies; its Outcome is Invalid when they were
	// not judged.
	Decision policy.Decision `json:"-"`
}

// A Fact is one link of the chain.
type Fact struct {
	Question string        `json:"question"`
	Answer   claims.Answer `json:"answer"`
	Detail   string        `json:"detail,omitempty"`
}

// A Policy is a policy that applies.
type Policy struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	ReportOnly bool     `json:"reportOnly,omitempty"`
	Asks       []string `json:"asks,omitempty"`    // its controls
	Missing    []string `json:"missing,omitempty"` // those that the PRT does not satisfy
}
