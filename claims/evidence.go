package claims

import (
	"fmt"
	"time"
)

// An Answer is Yes, No or Unknown. The zero value is Unknown: a token that does
// not say does not mean No.
type Answer uint8

// The answers.
const (
	Unknown Answer = iota
	No
	Yes
)

var answers = [...]string{"unknown", "no", "yes"}

// String returns "unknown", "no" or "yes".
func (a Answer) String() string {
	if int(a) < len(answers) {
		return answers[a]
	}
	return fmt.Sprintf("Answer(%d)", uint8(a))
}

// MarshalText returns "yes", "no" or "unknown".
func (a Answer) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote; anything else is Unknown.
func (a *Answer) UnmarshalText(text []byte) error {
	*a = Unknown
	for i, s := range answers {
		if s == string(text) {
			*a = Answer(i)
		}
	}
	return nil
}

// A Source says where evidence comes from.
type Source string

const (
	SourceNone        Source = ""              // there is no evidence
	SourceIDToken     Source = "id_token"      // a sign-in: its time is the time of the authentication
	SourceAccessToken Source = "access_token"  // a token for a resource
	SourcePRT         Source = "prt"           // the id_token of a PRT issuance
	SourceRenewal     Source = "prt_renewal"   // a plain renewal: it proves nothing new
	SourceHello       Source = "hello"         // a Hello key signed: two factors in one gesture
	SourceRefresh     Source = "refresh_token" // inherited from the refresh token that became a PRT
	SourceCertificate Source = "certificate"   // a user certificate signed
)

// Evidence is what is known about how a sign-in was authenticated. The zero
// value knows nothing. It is a value: pass it by value, merge it with
// [Evidence.Merge], and never mix the evidence of two PRTs.
type Evidence struct {
	// MFA says whether multi-factor authentication was done.
	MFA Answer `json:"mfa"`
	// Methods are the methods and marks that were named; 0 when none were.
	Methods Methods `json:"methods,omitzero"`
	// At is when MFA was proven. Zero when MFA is not Yes or the time is not
	// known.
	At time.Time `json:"at,omitzero"`
	// AuthTime is when the user last authenticated by any factor. Zero when it
	// is not known.
	AuthTime time.Time `json:"auth_time,omitzero"`
	// Source is where MFA and Methods come from.
	Source Source `json:"source,omitempty"`
	// TokenID names the token they come from (its uti claim); empty when it
	// has none.
	TokenID string `json:"token_id,omitempty"`
	// DeviceID is the device that the token names, lower case; empty when it
	// names none.
	DeviceID string `json:"device_id,omitempty"`
}

// Fresh says whether MFA was proven no longer ago than maxAge, as a sign-in
// frequency asks: Yes; No if there was no MFA or it is older; Unknown if it is
// not known whether or when. A time up to five minutes in the future is fresh,
// because clocks differ; one further away is Unknown.
func (e Evidence) Fresh(maxAge time.Duration, now time.Time) Answer {
	switch {
	case e.MFA != Yes:
		return e.MFA
	case e.At.IsZero():
		return Unknown
	}
	age := now.Sub(e.At)
	switch {
	case age < -5*time.Minute:
		return Unknown
	case age <= maxAge:
		return Yes
	}
	return No
}

// Merge returns what is known after newer was learnt about the same PRT or
// session:
//
//   - a token without amr says nothing: what was known stays;
//   - a renewal without a credential may say whether MFA was done, but never
//     when or how: if it agrees, everything stays;
//   - evidence that agrees and has neither a time nor another method, as most
//     tokens do, changes nothing: amr is coarser than what is known;
//   - other evidence replaces MFA, Methods and Source; if it has no time and MFA
//     stays Yes, the known time stays;
//   - times do not go back, and older evidence changes nothing that is known.
func (e Evidence) Merge(newer Evidence) Evidence {
	out := e
	if newer.DeviceID != "" {
		out.DeviceID = newer.DeviceID
	}
	renewal := newer.Source == SourceRenewal
	if !renewal {
		out.AuthTime = later(e.AuthTime, newer.AuthTime)
	}
	if newer.MFA == Unknown || older(newer, e) || newer.MFA == e.MFA && (renewal || !newer.adds(e)) {
		return out
	}
	out.MFA, out.Methods = newer.MFA, newer.Methods
	out.Source, out.TokenID = newer.Source, newer.TokenID
	switch {
	case newer.MFA == No:
		out.At = time.Time{}
	case !renewal:
		out.At = later(e.At, newer.At)
	}
	return out
}

// adds reports whether e has a time or a method beyond those of known.
func (e Evidence) adds(known Evidence) bool {
	return e.At.After(known.At) || e.Methods.Modes()&^known.Methods != 0
}

// older reports whether a was authenticated before b, as far as both say.
func older(a, b Evidence) bool {
	return b.MFA != Unknown && !a.AuthTime.IsZero() && a.AuthTime.Before(b.AuthTime)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// String describes the evidence in one line, for logs and status.
func (e Evidence) String() string {
	s := "MFA " + e.MFA.String()
	if m := e.Methods.String(); m != "" {
		s += " by " + m
	}
	if !e.At.IsZero() {
		s += " at " + e.At.UTC().Format(time.RFC3339)
	}
	if e.Source != SourceNone {
		s += " from " + string(e.Source)
	}
	return s
}

// OtherMethods returns the methods that the user may have used besides the
// known ones: amr says otp for several kinds of codes, and mfa without saying
// how.
func (e Evidence) OtherMethods() Methods {
	const (
		codes = SoftwareOATH | HardwareOATH | SMS | TemporaryAccessPassOneTime | TemporaryAccessPassMultiUse
		any   = codes | Voice | AuthenticatorPush | DeviceBasedPush | CertificateMultiFactor |
			WindowsHello | FIDO2 | FederatedMultiFactor
	)
	switch named := e.Methods.Modes() &^ Password; {
	case e.MFA == No:
		return 0
	case e.MFA == Unknown:
		return any | MarkMFA
	case named == 0:
		return any
	case named&codes != 0:
		return codes
	}
	return 0
}

// MayAdd reports whether a sign-in with evidence e may have what a sign-in with
// evidence to lacked when a policy refused it: another method, a later MFA or,
// if the policy asked about the age of the sign-in (stale), a later sign-in.
func (e Evidence) MayAdd(to Evidence, stale bool) bool {
	later := func(x, y time.Time) bool { return x.IsZero() || x.After(y) }
	methods := (e.Methods | e.OtherMethods()).Modes() &^ Password
	if e.MFA != No && (methods&^to.Methods != 0 || later(e.At, to.At)) {
		return true
	}
	return stale && later(e.AuthTime, to.AuthTime)
}

// A Session is what Conditional Access sees of how a session began.
type Session struct {
	Evidence
	// DeviceCode says whether it began with a device code, which policies may
	// block, and which applies to every token derived from it.
	DeviceCode Answer
}

// MayAdd reports whether the session may succeed where the session to was
// refused by a policy: because of its evidence, as [Evidence.MayAdd] says, or
// because it did not begin with a device code while to did or may have.
func (s Session) MayAdd(to Session, stale bool) bool {
	return s.Evidence.MayAdd(to.Evidence, stale) || s.BeganOtherwise(to)
}

// BeganOtherwise reports whether the session did not begin with a device code
// although than did or may have.
func (s Session) BeganOtherwise(than Session) bool {
	return s.DeviceCode != Yes && than.DeviceCode != No
}
