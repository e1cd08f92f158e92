package policy

import "strconv"

func name(names []string, i int) string {
	if i < len(names) && names[i] != "" {
		return names[i]
	}
	return strconv.Itoa(i)
}

// String returns the outcome in lower case.
func (o Outcome) String() string {
	return name([]string{"invalid", "grant", "block", "interrupt"}, int(o))
}

// String says the reason in a few words.
func (r Reason) String() string {
	return name([]string{
		"none", "no subject", "not one target", "no client app", "of another set", "value out of range",
		"block control", "unsatisfiable", "unevaluable policy",
	}, int(r))
}

// String returns the name in the sign-in log of Graph.
func (r Result) String() string {
	return name([]string{
		"success", "failure", "notApplied", "notEnabled", "unknown", "unknownFutureValue",
		"reportOnlySuccess", "reportOnlyFailure", "reportOnlyNotApplied", "reportOnlyInterrupted",
	}, int(r))
}

// String returns Graph's name of the control, or of the condition behind it.
func (k ControlKind) String() string {
	return name([]string{
		"none", "signInFrequency", "signInFrequency (second factor)", "secureSignInSession", "mfa", "authenticationStrength", "compliantDevice",
		"domainJoinedDevice", "approvedApplication", "compliantApplication", "passwordChange", "riskRemediation",
		"termsOfUse", "customAuthenticationFactor",
	}, int(k))
}

// String returns the kind, and the id where there is one.
func (c Control) String() string {
	if c.ID == "" {
		return c.Kind.String()
	}
	return c.Kind.String() + " " + c.ID
}

// String returns Graph's name, or unknown.
func (p Platform) String() string {
	return name(append([]string{"unknown"}, platformNames[1:]...), int(p))
}

// String returns Graph's name, or unknown.
func (c ClientApp) String() string {
	return name([]string{"unknown", "browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "easSupported", "other"}, int(c))
}

// String returns Graph's name.
func (r RiskLevel) String() string { return name(riskNames, int(r)) }

// String returns Graph's name.
func (r InsiderRisk) String() string { return name(insiderNames, int(r)) }

// String returns Graph's name.
func (t TransferFlow) String() string { return name(flowNames, int(t)) }

// String returns Graph's name, or member.
func (t GuestType) String() string {
	return name(append([]string{"member"}, guestNames[1:]...), int(t))
}

// String returns the kind in lower case.
func (k IdentityKind) String() string {
	return name([]string{"person", "workload", "agent", "agent user"}, int(k))
}

// String returns Graph's name, or default.
func (m BrowserPersistence) String() string {
	return name(append([]string{"default"}, persistNames[1:]...), int(m))
}

// String returns Graph's name, or none.
func (m CloudAppSecurityMode) String() string {
	return name(append([]string{"none"}, casNames[1:]...), int(m))
}

// String returns Graph's name, or default.
func (m ContinuousAccessMode) String() string {
	return name(append([]string{"default"}, continuousNames[1:]...), int(m))
}
