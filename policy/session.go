package policy

import (
	"errors"
	"time"
)

// everyTimeTolerance is how old an authentication may be under everyTime.
const everyTimeTolerance = 5 * time.Minute

// A session is a policy's session controls, compiled.
type session struct {
	any     bool
	control Session
}

// frequency returns the period of a sign-in frequency; 0 is every time.
func (f *SignInFrequency) frequency() (time.Duration, error) {
	if f.AuthenticationType != "" && member([]string{"primaryAndSecondaryAuthentication", "secondaryAuthentication"}, f.AuthenticationType) < 0 {
		return 0, errors.New("unknown authenticationType")
	}
	switch {
	case equalASCII(f.Interval, "everyTime"):
		return 0, nil
	case f.Interval != "" && !equalASCII(f.Interval, "timeBased"):
		return 0, errors.New("unknown frequencyInterval")
	case f.Value == nil || *f.Value < 1 || *f.Value > maxFrequency:
		return 0, errors.New("a value of 1 or more is needed")
	case equalASCII(f.Type, "hours"):
		return time.Duration(*f.Value) * time.Hour, nil
	case equalASCII(f.Type, "days"):
		return time.Duration(*f.Value) * 24 * time.Hour, nil
	}
	return 0, errors.New("type is neither hours nor days")
}

// maxFrequency keeps days within a time.Duration.
const maxFrequency = 100_000

func newSession(s *SessionControls) session {
	var out Session
	if s == nil {
		return session{}
	}
	out.AppEnforcedRestrictions = s.ApplicationEnforcedRestrictions.on()
	out.TokenProtection = s.SecureSignInSession.on()
	out.ResilienceDisabled = s.DisableResilienceDefaults != nil && *s.DisableResilienceDefaults
	if k := s.CloudAppSecurity; k != nil && k.IsEnabled {
		out.CloudAppSecurity = CloudAppSecurityMode(max(0, member(casNames, k.Type)))
	}
	if k := s.PersistentBrowser; k != nil && k.IsEnabled {
		out.PersistentBrowser = BrowserPersistence(max(0, member(persistNames, k.Mode)))
	}
	if k := s.ContinuousAccessEvaluation; k != nil {
		out.ContinuousAccess = ContinuousAccessMode(max(0, member(continuousNames, k.Mode)))
	}
	if k := s.GlobalSecureAccessProfile; k != nil && k.IsEnabled {
		out.SecureAccessProfiles = 1
	}
	if k := s.SignInFrequency; k != nil && k.IsEnabled {
		out.setFrequency(k)
	}
	return session{any: out != Session{}, control: out}
}

func (s *Switch) on() bool { return s != nil && s.IsEnabled }

func (s *Session) setFrequency(f *SignInFrequency) {
	period, err := f.frequency()
	second := equalASCII(f.AuthenticationType, "secondaryAuthentication")
	switch {
	case err != nil:
	case second && period == 0:
		s.EveryTimeMFA = true
	case second:
		s.SignInFrequencyMFA = period
	case period == 0:
		s.EveryTime = true
	default:
		s.SignInFrequency = period
	}
}

// merge adds the controls of another policy: the stricter one wins.
func (s *Session) merge(o *Session) {
	s.SignInFrequency = shorter(s.SignInFrequency, o.SignInFrequency)
	s.SignInFrequencyMFA = shorter(s.SignInFrequencyMFA, o.SignInFrequencyMFA)
	s.EveryTime = s.EveryTime || o.EveryTime
	s.EveryTimeMFA = s.EveryTimeMFA || o.EveryTimeMFA
	s.PersistentBrowser = max(s.PersistentBrowser, o.PersistentBrowser)
	s.CloudAppSecurity = max(s.CloudAppSecurity, o.CloudAppSecurity)
	s.ContinuousAccess = max(s.ContinuousAccess, o.ContinuousAccess)
	s.AppEnforcedRestrictions = s.AppEnforcedRestrictions || o.AppEnforcedRestrictions
	s.TokenProtection = s.TokenProtection || o.TokenProtection
	s.ResilienceDisabled = s.ResilienceDisabled || o.ResilienceDisabled
	s.SecureAccessProfiles += o.SecureAccessProfiles
}

func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// due says which authentication a policy's sign-in frequency asks for now:
// the number of a control, or -1.
func (s *Session) due(f *facts) int {
	switch {
	case f.in.Background && (f.in.ClientApp == ClientBrowser || f.in.Confidential):
		return -1
	case s.EveryTime && f.age() > everyTimeTolerance, s.SignInFrequency > 0 && f.age() >= s.SignInFrequency:
		return numReauth
	case s.EveryTimeMFA && f.ageMFA() > everyTimeTolerance, s.SignInFrequencyMFA > 0 && f.ageMFA() >= s.SignInFrequencyMFA:
		return numReauthMFA
	}
	return -1
}

// refuses says whether a policy's token protection refuses the request: the
// request is not bound to a device, and no prompt can bind it.
func (s *Session) refuses(f *facts) bool {
	return s.TokenProtection && !f.in.Bound && (f.kind == IdentityPerson || f.kind == IdentityAgentUser)
}

const never = time.Duration(1<<63 - 1)

// age is the age of the session's authentication: of the first factor, or of
// MFA where that was done and is older.
func (f *facts) age() time.Duration {
	age := f.since(f.in.AuthTime)
	if f.have&bitMFA != 0 {
		age = max(age, f.ageMFA())
	}
	return age
}

// ageMFA is the age of the second factor; one that was never given is due.
func (f *facts) ageMFA() time.Duration {
	if f.have&bitMFA == 0 {
		return never
	}
	if f.in.MFATime.IsZero() {
		return f.since(f.in.AuthTime)
	}
	return f.since(f.in.MFATime)
}

func (f *facts) since(t time.Time) time.Duration {
	if t.IsZero() || f.in.Now.IsZero() {
		return never
	}
	return f.in.Now.Sub(t)
}
