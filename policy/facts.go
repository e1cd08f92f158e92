package policy

import "github.com/prtbroker/prtbroker/claims"

// facts are derived from a sign-in before any policy is looked at.
type facts struct {
	in *SignIn
	traits
	have     int            // simple controls that are fulfilled
	methods  claims.Methods // that count in this tenant
	reach    claims.Methods // and those the user could still use
	external bool           // not an account of this tenant
	legacy   bool           // a protocol that carries no device and answers no prompt
	answers  bool           // what was proved counts: a person or an agent's user, by a modern protocol
	prompts  bool           // a person who can be asked for more
	devices  bool           // a device could still be shown
	override bool           // a policy's own strength for registersecurityinfo replaces others
	noTerms  bool           // terms of use do not count yet
	lenient  bool           // the current policy is one whose strength is replaced
	exempt   bool           // no policy applies: an agent's intermediate token exchange
	escape   bool           // LegacyBaselineScopes: exempt from policies with exclusions
	app      uint32         // number of the application
	demands  *demands       // of the sign-in's time
}

// gather checks the sign-in and takes from it what grants need.
func (s *Set) gather(in *SignIn, f *facts) Reason {
	f.in = in
	switch {
	case in.Subject != nil:
		if in.Subject.set != s {
			return ForeignSymbol
		}
		f.traits = in.Subject.traits
	case in.User != nil:
		if r := s.refuse(in.User); r != NoReason {
			return r
		}
		f.traits = in.User.traits()
	default:
		return NoSubject
	}
	if in.Endpoint != nil && in.Endpoint.set != s {
		return ForeignSymbol
	}
	if r := s.target(in, f); r != NoReason {
		return r
	}
	if f.kind == IdentityPerson && in.ClientApp == ClientUnknown {
		return NoClientApp
	}
	if in.ClientApp > ClientOther || in.Platform > PlatformLinux || in.Flow > TransferAuthentication ||
		in.SignInRisk > RiskHidden || in.UserRisk > RiskHidden || in.ServicePrincipalRisk > RiskHidden ||
		in.AgentRisk > RiskHidden || in.InsiderRisk > InsiderRiskElevated || in.Scopes > DirectoryScopes {
		return OutOfRange
	}
	if s.ids.foreign(in.Locations) {
		return ForeignSymbol
	}
	f.demands = &s.demands[s.era(in.Now)]
	s.proved(f)
	return NoReason
}

func (s *Set) target(in *SignIn, f *facts) Reason {
	targets := 0
	if in.App != 0 || in.AppID != "" {
		targets++
	}
	if in.Action != ActionNone {
		targets++
	}
	if in.AuthContext != 0 {
		targets++
	}
	if in.Traffic != TrafficNone {
		targets++
	}
	switch {
	case targets != 1:
		return NoTarget
	case in.Action > ActionRegisterDevice, in.Traffic > TrafficPrivate, in.AuthContext < 0, in.AuthContext > maxAuthContext:
		return OutOfRange
	case in.App != 0:
		n, ok := s.ids.number(in.App)
		if !ok {
			return ForeignSymbol
		}
		f.app = n
	case in.AppID != "":
		f.app = s.ids.find(in.AppID)
	}
	if in.Traffic != TrafficNone {
		f.app = s.trafficApp(in.Traffic)
		return NoReason
	}
	s.scopes(in, f)
	f.exempt = f.kind == IdentityAgent && f.app == s.wellKnown[appTokenExchange]
	return NoReason
}

// scopes judges a request for baseline scopes as what the option says. A
// confidential client that asks for OpenID Connect scopes alone is the resource
// itself.
func (s *Set) scopes(in *SignIn, f *facts) {
	switch {
	case in.Scopes == AnyScopes || !in.forApp() || in.Confidential && in.Scopes == OpenIDScopes:
	case !s.legacy:
		f.app = s.wellKnown[appBaseline]
	default:
		f.escape = !in.Confidential && in.Scopes <= UserScopes
	}
}

const (
	// factors that an external user can add in this tenant when the home
	// tenant's MFA is not trusted, on top of the first factor done at home
	untrustedSecond = claims.SMS | claims.Voice | claims.AuthenticatorPush | claims.SoftwareOATH
	anyMethod       = claims.QRCodePIN<<1 - 1
)

// forApp says whether the target is an application, or a traffic profile that
// an application stands for.
func (in *SignIn) forApp() bool {
	return in.Action == ActionNone && in.AuthContext == 0
}

// proved works out which controls are fulfilled, and which could be.
func (s *Set) proved(f *facts) {
	in := f.in
	f.external = f.guest > GuestInternal
	f.legacy = in.ClientApp >= ClientExchangeActiveSync
	f.answers = (f.kind == IdentityPerson || f.kind == IdentityAgentUser) && !f.legacy
	f.prompts = f.kind == IdentityPerson && !f.legacy
	f.devices = f.prompts && f.carriesDevice()
	f.methods = in.Methods
	f.reach = anyMethod &^ claims.WindowsHello
	if in.Available != 0 {
		f.reach = in.Available &^ claims.WindowsHello
	}
	f.reach |= f.methods
	if f.external && !f.mfaTrust {
		f.methods &= untrustedSecond | claims.Password | claims.FederatedSingleFactor
		f.reach &= untrustedSecond | claims.Password | claims.FederatedSingleFactor
		if f.guest == GuestB2BDirectConnect {
			f.methods, f.reach = 0, 0
		}
	}
	if f.answers {
		s.fulfilled(f)
	}
}

func (s *Set) fulfilled(f *facts) {
	in := f.in
	if mfa(f.methods) || f.external && !f.mfaTrust && f.methods&untrustedSecond != 0 {
		f.have |= bitMFA
	}
	if f.carriesDevice() {
		compliant, hybrid := in.Device.grants()
		if in.Endpoint != nil {
			compliant, hybrid = in.Endpoint.compliant, in.Endpoint.hybrid
		}
		if compliant {
			f.have |= bitCompliant
		}
		if hybrid {
			f.have |= bitHybrid
		}
	}
	if f.app != 0 && f.app == s.wellKnown[appEnrolment] {
		f.have |= bitCompliant // the control does not block enrolment, by which a device becomes compliant
	}
	if f.external {
		return
	}
	if in.ApprovedApp {
		f.have |= bitApproved
	}
	if in.ProtectedApp {
		f.have |= bitProtected
	}
	if in.PasswordChanged {
		f.have |= bitPassword
	}
}

// mfa says whether methods hold a combination of the built-in multifactor
// strength, or the mark that MFA was done.
func mfa(m claims.Methods) bool {
	const (
		alone = claims.WindowsHello | claims.FIDO2 | claims.CertificateMultiFactor | claims.DeviceBasedPush |
			claims.TemporaryAccessPassOneTime | claims.TemporaryAccessPassMultiUse | claims.FederatedMultiFactor |
			claims.MarkMFA | claims.MarkFreshMFA
		second = claims.AuthenticatorPush | claims.SoftwareOATH | claims.HardwareOATH | claims.SMS | claims.Voice
	)
	return m&alone != 0 ||
		m&(claims.Password|claims.FederatedSingleFactor) != 0 && m&second != 0 ||
		m&claims.Password != 0 && m&claims.CertificateSingleFactor != 0
}

// carriesDevice says whether the sign-in can show a device at all.
func (f *facts) carriesDevice() bool {
	return !f.legacy && f.in.Flow != TransferDeviceCode && (!f.external || f.deviceTrust)
}

// sharedChannel says whether policies for another type of guests reach the
// user: in Teams and SharePoint.
func (f *facts) sharedChannel() bool {
	sub := f.in.Subject
	return sub != nil && sub.shared != nil && sub.set.sharedApp(f.app)
}

func (s *Set) sharedApp(app uint32) bool {
	return app != 0 && (app == s.wellKnown[appTeams] || app == s.wellKnown[appSharePoint])
}
