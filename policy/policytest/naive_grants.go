package policytest

import (
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

func (n *naive) external() bool {
	return n.user.Guest != policy.GuestNone && n.user.Guest != policy.GuestInternal
}

func (n *naive) legacy() bool {
	c := n.in.ClientApp
	return c == policy.ClientExchangeActiveSync || c == policy.ClientExchangeActiveSyncOK || c == policy.ClientOther
}

func (n *naive) canPrompt() bool { return n.user.Kind == policy.IdentityPerson && !n.legacy() }

func (n *naive) answers() bool {
	return (n.user.Kind == policy.IdentityPerson || n.user.Kind == policy.IdentityAgentUser) && !n.legacy()
}

// device is the device that the service sees, if it sees one.
func (n *naive) device() *policy.Device {
	if n.showsDevice() {
		return n.in.Device
	}
	return nil
}

func (n *naive) showsDevice() bool {
	return !n.legacy() && n.in.Flow != policy.TransferDeviceCode && !(n.external() && !n.user.DeviceTrust)
}

func compliant(d *policy.Device) bool {
	return d != nil && d.Compliant == claims.Yes && d.TrustType != policy.TrustNone
}

func hybrid(d *policy.Device) bool { return d != nil && d.TrustType == policy.TrustHybrid }

const localFactors = claims.Password | claims.FederatedSingleFactor | claims.SMS | claims.Voice | claims.AuthenticatorPush | claims.SoftwareOATH

// counting drops the methods that do not count for an external user whose
// home tenant is not trusted.
func (n *naive) counting(m claims.Methods) claims.Methods {
	switch {
	case !n.external() || n.user.MFATrust:
		return m
	case n.user.Guest == policy.GuestB2BDirectConnect:
		return 0
	}
	return m & localFactors
}

// reach is what the user could show in this sign-in: what was shown, and what
// can be shown in a step-up, where Windows Hello is not offered.
func (n *naive) reach() claims.Methods {
	more := n.in.Available
	if more == 0 {
		more = 1<<18 - 1
	}
	return n.counting(n.in.Methods | more&^claims.WindowsHello)
}

func builtInMFA(m claims.Methods) bool {
	if m&(claims.MarkMFA|claims.MarkFreshMFA) != 0 {
		return true
	}
	for _, s := range policy.BuiltInStrengths() {
		if s.ID == policy.StrengthMFA && fits(&s, m, nil) {
			return true
		}
	}
	return false
}

func (n *naive) mfa() bool {
	if !n.answers() {
		return false
	}
	m := n.counting(n.in.Methods)
	second := claims.SMS | claims.Voice | claims.AuthenticatorPush | claims.SoftwareOATH
	return builtInMFA(m) || n.external() && !n.user.MFATrust && m&second != 0
}

// has says whether a control is fulfilled.
func (n *naive) has(p *policy.Policy, c policy.Control) bool {
	in := n.in
	if c.Kind == policy.AuthenticationStrength && n.replaced && !namesRegistration(p) {
		return true
	}
	if !n.answers() {
		return false
	}
	switch c.Kind {
	case policy.MFA:
		return n.mfa()
	case policy.CompliantDevice:
		return compliant(n.device()) || n.enrolment()
	case policy.HybridJoinedDevice:
		return hybrid(n.device())
	case policy.ApprovedApplication:
		return in.ApprovedApp && !n.external()
	case policy.CompliantApplication:
		return in.ProtectedApp && !n.external()
	case policy.PasswordChange:
		return in.PasswordChanged && !n.external()
	case policy.RiskRemediation:
		return in.RiskRemediated && !n.external()
	case policy.AuthenticationStrength:
		return fits(n.strength(c.ID), n.counting(in.Methods), in)
	case policy.TermsOfUse:
		return listed(in.AcceptedTerms, c.ID)
	default:
		return listed(in.CustomFactors, c.ID)
	}
}

// can says whether a control that is not fulfilled could be in this sign-in.
func (n *naive) can(c policy.Control) bool {
	if !n.canPrompt() {
		return false
	}
	mobile := n.in.Platform == policy.PlatformAndroid || n.in.Platform == policy.PlatformIOS
	switch c.Kind {
	case policy.MFA:
		return builtInMFA(n.reach())
	case policy.AuthenticationStrength:
		return fits(n.strength(c.ID), n.reach(), nil)
	case policy.CompliantDevice:
		return n.showsDevice() && n.in.Platform != policy.PlatformUnknown
	case policy.HybridJoinedDevice:
		return n.showsDevice() && n.in.Platform == policy.PlatformWindows
	case policy.ApprovedApplication:
		return !n.external() && mobile
	case policy.CompliantApplication:
		return !n.external() && (mobile || n.in.Platform == policy.PlatformWindows)
	case policy.PasswordChange, policy.RiskRemediation:
		return !n.external()
	}
	return true
}

// due says which authentication a sign-in frequency asks for.
func (n *naive) due(s *policy.SessionControls) policy.ControlKind {
	if s == nil || s.SignInFrequency == nil || !s.SignInFrequency.IsEnabled {
		return policy.NoControl
	}
	if n.in.Background && (n.in.ClientApp == policy.ClientBrowser || n.in.Confidential) {
		return policy.NoControl
	}
	f := s.SignInFrequency
	limit := 5*time.Minute + 1
	if !strings.EqualFold(f.Interval, "everyTime") {
		limit = time.Duration(*f.Value) * time.Hour
		if strings.EqualFold(f.Type, "days") {
			limit *= 24
		}
	}
	old := func(t time.Time) bool {
		return t.IsZero() || n.in.Now.IsZero() || n.in.Now.Sub(t) >= limit
	}
	mfaTime := n.in.MFATime
	if mfaTime.IsZero() {
		mfaTime = n.in.AuthTime
	}
	if strings.EqualFold(f.AuthenticationType, "secondaryAuthentication") {
		if !n.mfa() || old(mfaTime) {
			return policy.ReauthenticateMFA
		}
		return policy.NoControl
	}
	if old(n.in.AuthTime) || n.mfa() && old(mfaTime) {
		return policy.Reauthenticate
	}
	return policy.NoControl
}

// retired says whether approvedApplication no longer counts.
func (n *naive) retired() bool {
	day := time.Date(2026, time.July, 1, 0, 0, 0, 0, time.UTC)
	if !n.o.ApprovedAppUntil.IsZero() {
		day = n.o.ApprovedAppUntil
	}
	return n.in.Now.IsZero() || !n.in.Now.Before(day)
}

// unbound says whether token protection refuses the request.
func (n *naive) unbound(s *policy.SessionControls) bool {
	on := s != nil && s.SecureSignInSession != nil && s.SecureSignInSession.IsEnabled
	user := n.user.Kind == policy.IdentityPerson || n.user.Kind == policy.IdentityAgentUser
	return on && user && !n.in.Bound
}

// enrolment says whether the sign-in is one to Microsoft Intune Enrollment.
func (n *naive) enrolment() bool {
	return n.forApp() && strings.EqualFold(n.app(), "d4ebce55-015a-49b5-a083-c84d1797ae8c")
}
