package policy

import (
	"iter"
	"time"
)

// Outcome is what Conditional Access says of a sign-in.
type Outcome uint8

// Outcomes. The zero value is never an answer to a valid question.
const (
	OutcomeInvalid   Outcome = iota // the sign-in cannot be judged: Decision.Reason says why
	OutcomeGrant                    // a token is issued
	OutcomeBlock                    // no token, whatever the user does
	OutcomeInterrupt                // no token until the controls of Decision.Prompt are fulfilled
)

// Reason says why an Outcome is Invalid or Block.
type Reason uint8

// Reasons.
const (
	NoReason      Reason = iota
	NoSubject            // Invalid: neither Subject nor User
	NoTarget             // Invalid: none, or more than one, of application, action and context
	NoClientApp          // Invalid: a user without ClientApp
	ForeignSymbol        // Invalid: a Subject, Endpoint or Symbol of another Set
	OutOfRange           // Invalid: an enumerated field holds no known value
	BlockControl         // Block: a policy with the control block applies
	Unsatisfiable        // Block: a policy demands what this sign-in cannot fulfil
	Unevaluable          // Block: a policy that may apply cannot be evaluated, and the Set fails closed
)

const (
	maxDeciding = 4 // policies a Decision names
	maxControls = 8 // controls a Decision names
)

// Decision is the answer to a SignIn: a value of fixed size that refers to
// its Set for names.
type Decision struct {
	Outcome Outcome
	Reason  Reason

	// Unevaluable counts the policies that may apply and cannot be evaluated.
	// Unless the Set fails closed they are not enforced.
	Unevaluable int
	// Applied counts the enforced policies that apply.
	Applied int
	// Deciding counts the policies that decided: those that block, those that
	// cannot be satisfied, those that wait for a prompt, or for OutcomeGrant those that
	// applied. Policies names the first of them.
	Deciding int
	// Controls counts the controls that Prompt or Missing yields, and
	// MoreControls says that there are more than eight.
	Controls     int
	MoreControls bool

	Session Session

	set      *Set
	deciding [maxDeciding]int32
	controls [maxControls]uint16
}

// Policies yields the first four deciding policies in the order of the Set.
func (d *Decision) Policies() iter.Seq[*Policy] {
	return func(yield func(*Policy) bool) {
		for _, i := range d.deciding[:min(d.Deciding, maxDeciding)] {
			if !yield(d.set.Policy(int(i))) {
				return
			}
		}
	}
}

// Prompt yields, in prompt order, the first eight controls that the user must
// fulfil and can fulfil now: of an OR policy the first that this sign-in can
// still satisfy, of an AND policy all that are missing. It is empty unless the
// Outcome is OutcomeInterrupt.
func (d *Decision) Prompt() iter.Seq[Control] { return d.yieldControls(OutcomeInterrupt) }

// Missing yields the first eight controls whose absence makes the Outcome a
// OutcomeBlock with reason Unsatisfiable, such as compliantDevice in a device-code
// flow.
func (d *Decision) Missing() iter.Seq[Control] { return d.yieldControls(OutcomeBlock) }

func (d *Decision) yieldControls(when Outcome) iter.Seq[Control] {
	return func(yield func(Control) bool) {
		if d.Outcome != when {
			return
		}
		for _, c := range d.controls[:d.Controls] {
			if !yield(d.set.control(c)) {
				return
			}
		}
	}
}

// ControlKind is a kind of grant control, in the order in which Entra prompts.
type ControlKind uint8

// Kinds of controls. Reauthenticate and ReauthenticateMFA come from a sign-in
// frequency, TokenProtection from secureSignInSession, the others from a grant.
const (
	NoControl              ControlKind = iota
	Reauthenticate                     // the first factor again, and MFA where it was done
	ReauthenticateMFA                  // the second factor again
	TokenProtection                    // a request bound to the device; no prompt can satisfy it
	MFA                                // mfa
	AuthenticationStrength             // ID is that of the strength
	CompliantDevice                    // compliantDevice
	HybridJoinedDevice                 // domainJoinedDevice
	ApprovedApplication                // approvedApplication
	CompliantApplication               // compliantApplication: app protection
	PasswordChange                     // passwordChange
	RiskRemediation                    // riskRemediation
	TermsOfUse                         // ID is that of the agreement
	CustomFactor                       // ID is its name
)

// Control is one thing a sign-in needs.
type Control struct {
	Kind ControlKind
	ID   string // of a strength, terms of use or custom factor
}

// Session combines the session controls of all applied policies. The zero value
// of a field means that no policy sets it.
type Session struct {
	SignInFrequency         time.Duration // the shortest; 0: none, unless EveryTime
	SignInFrequencyMFA      time.Duration // the shortest of those that ask the second factor only
	EveryTime               bool          // reauthenticate each time, with five minutes of tolerance
	EveryTimeMFA            bool          // the same for the second factor only
	PersistentBrowser       BrowserPersistence
	CloudAppSecurity        CloudAppSecurityMode
	ContinuousAccess        ContinuousAccessMode
	AppEnforcedRestrictions bool
	TokenProtection         bool // secureSignInSession
	ResilienceDisabled      bool // disableResilienceDefaults
	SecureAccessProfiles    int  // how many Global Secure Access profiles apply
}

// BrowserPersistence is a mode of persistentBrowser; never wins.
type BrowserPersistence uint8

// Modes of persistentBrowser.
const (
	BrowserDefault BrowserPersistence = iota
	BrowserAlways
	BrowserNever
)

// CloudAppSecurityMode is a mode of cloudAppSecurity; the greater wins.
type CloudAppSecurityMode uint8

// Modes of cloudAppSecurity.
const (
	CloudAppSecurityNone CloudAppSecurityMode = iota
	CloudAppSecurityCustom
	CloudAppSecurityMonitorOnly
	CloudAppSecurityBlockDownloads
)

// ContinuousAccessMode is a mode of continuousAccessEvaluation; the greater
// wins.
type ContinuousAccessMode uint8

// Modes of continuousAccessEvaluation.
const (
	ContinuousAccessDefault ContinuousAccessMode = iota
	ContinuousAccessDisabled
	ContinuousAccessStrict
	ContinuousAccessStrictLocation
)

// Result is how one policy fared, in the vocabulary of the sign-in log
// (appliedConditionalAccessPolicyResult).
type Result uint8

// Results. ResultUnknown is the result of a policy that cannot be evaluated.
const (
	ResultSuccess Result = iota
	ResultFailure
	ResultNotApplied
	ResultNotEnabled
	ResultUnknown
	_ // unknownFutureValue
	ResultReportOnlySuccess
	ResultReportOnlyFailure
	ResultReportOnlyNotApplied
	ResultReportOnlyInterrupted
)

// Results is the caller's memory for EvaluateInto, reused from call to call.
type Results struct {
	Policies []Result  // of Set.Policy(i), in its order; empty when the Outcome is Invalid
	Controls []Control // all controls that Decision.Prompt or Missing would yield

	prompt, missing []uint16
}
