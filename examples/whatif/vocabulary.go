package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// word is one value of an enumeration, by the name Graph gives it. The first
// word of a list is the default.
type word[T any] struct {
	name  string
	value T
}

// modeNames are the names of authenticationMethodModes that a person may mean.
func modeNames() (names []string) {
	for bit := claims.Methods(1); bit <= claims.QRCodePIN; bit <<= 1 {
		if name := bit.String(); !strings.Contains(name, ",") {
			if _, ok := claims.ParseMode(name); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

func choose[T any](what, s string, words []word[T]) (T, error) {
	if s == "" {
		return words[0].value, nil
	}
	names := make([]string, len(words))
	for i, w := range words {
		if strings.EqualFold(w.name, s) {
			return w.value, nil
		}
		names[i] = w.name
	}
	var none T
	return none, fmt.Errorf("%q is not a known %s; use one of %s", s, what, strings.Join(slices.DeleteFunc(names, func(n string) bool { return n == "" }), ", "))
}

var (
	identities = []word[policy.IdentityKind]{
		{"person", policy.IdentityPerson},
		{"workload", policy.IdentityWorkload},
		{"agent", policy.IdentityAgent},
		{"agentUser", policy.IdentityAgentUser},
	}
	guests = []word[policy.GuestType]{
		{"member", policy.GuestNone},
		{"internalGuest", policy.GuestInternal},
		{"b2bCollaborationGuest", policy.GuestB2BCollaboration},
		{"b2bCollaborationMember", policy.GuestB2BMember},
		{"b2bDirectConnectUser", policy.GuestB2BDirectConnect},
		{"otherExternalUser", policy.GuestOtherExternal},
		{"serviceProvider", policy.GuestServiceProvider},
	}
	actions = []word[policy.UserAction]{
		{"registerSecurityInformation", policy.ActionRegisterSecurityInfo},
		{"registerOrJoinDevices", policy.ActionRegisterDevice},
		{"urn:user:registersecurityinfo", policy.ActionRegisterSecurityInfo},
		{"urn:user:registerdevice", policy.ActionRegisterDevice},
	}
	policyStates = []word[policy.State]{
		{"enabled", policy.StateEnabled},
		{"disabled", policy.StateDisabled},
		{"enabledForReportingButNotEnforced", policy.StateReportOnly},
		{"report-only", policy.StateReportOnly},
		{"on", policy.StateEnabled},
		{"off", policy.StateDisabled},
	}
	clientApps = []word[policy.ClientApp]{
		{"browser", policy.ClientBrowser},
		{"mobileAppsAndDesktopClients", policy.ClientMobileOrDesktop},
		{"exchangeActiveSync", policy.ClientExchangeActiveSync},
		{"easSupported", policy.ClientExchangeActiveSyncOK},
		{"other", policy.ClientOther},
		{"desktop", policy.ClientMobileOrDesktop},
		{"mobile", policy.ClientMobileOrDesktop},
	}
	platforms = []word[policy.Platform]{
		{"unknown", policy.PlatformUnknown},
		{"android", policy.PlatformAndroid},
		{"iOS", policy.PlatformIOS},
		{"windows", policy.PlatformWindows},
		{"windowsPhone", policy.PlatformWindowsPhone},
		{"macOS", policy.PlatformMacOS},
		{"linux", policy.PlatformLinux},
	}
	flows = []word[policy.TransferFlow]{
		{"none", policy.TransferNone},
		{"deviceCodeFlow", policy.TransferDeviceCode},
		{"authenticationTransfer", policy.TransferAuthentication},
	}
	profiles = []word[policy.TrafficProfile]{
		{"none", policy.TrafficNone},
		{"internet", policy.TrafficInternet},
		{"m365", policy.TrafficMicrosoft365},
		{"private", policy.TrafficPrivate},
	}
	risks = []word[policy.RiskLevel]{
		{"none", policy.RiskNone},
		{"low", policy.RiskLow},
		{"medium", policy.RiskMedium},
		{"high", policy.RiskHigh},
		{"hidden", policy.RiskHidden},
	}
	insiderRisks = []word[policy.InsiderRisk]{
		{"none", policy.InsiderRiskNone},
		{"minor", policy.InsiderRiskMinor},
		{"moderate", policy.InsiderRiskModerate},
		{"elevated", policy.InsiderRiskElevated},
	}
	outcomes = []word[policy.Outcome]{
		{"", policy.OutcomeInvalid},
		{"grant", policy.OutcomeGrant},
		{"interrupt", policy.OutcomeInterrupt},
		{"block", policy.OutcomeBlock},
	}
	// methodAliases are accepted in addition to the names of authenticationMethodModes.
	methodAliases = []word[claims.Methods]{
		{"pwd", claims.Password},
		{"mfa", claims.MarkMFA},
		{"hello", claims.WindowsHello},
		{"push", claims.AuthenticatorPush},
		{"otp", claims.SoftwareOATH},
		{"tap", claims.TemporaryAccessPassOneTime},
		{"certificate", claims.CertificateMultiFactor},
	}
)
