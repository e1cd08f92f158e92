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
		{"person", policy.Person},
		{"workload", policy.Workload},
		{"agent", policy.Agent},
		{"agentUser", policy.AgentUser},
	}
	guests = []word[policy.GuestType]{
		{"member", policy.Member},
		{"internalGuest", policy.InternalGuest},
		{"b2bCollaborationGuest", policy.B2BCollaborationGuest},
		{"b2bCollaborationMember", policy.B2BCollaborationMember},
		{"b2bDirectConnectUser", policy.B2BDirectConnectUser},
		{"otherExternalUser", policy.OtherExternalUser},
		{"serviceProvider", policy.ServiceProvider},
	}
	actions = []word[policy.UserAction]{
		{"registerSecurityInformation", policy.RegisterSecurityInfo},
		{"registerOrJoinDevices", policy.RegisterDevice},
		{"urn:user:registersecurityinfo", policy.RegisterSecurityInfo},
		{"urn:user:registerdevice", policy.RegisterDevice},
	}
	policyStates = []word[policy.State]{
		{"enabled", policy.Enabled},
		{"disabled", policy.Disabled},
		{"enabledForReportingButNotEnforced", policy.ReportOnly},
		{"report-only", policy.ReportOnly},
		{"on", policy.Enabled},
		{"off", policy.Disabled},
	}
	clientApps = []word[policy.ClientApp]{
		{"browser", policy.Browser},
		{"mobileAppsAndDesktopClients", policy.MobileOrDesktop},
		{"exchangeActiveSync", policy.ExchangeActiveSync},
		{"easSupported", policy.ExchangeActiveSyncOK},
		{"other", policy.OtherClients},
		{"desktop", policy.MobileOrDesktop},
		{"mobile", policy.MobileOrDesktop},
	}
	platforms = []word[policy.Platform]{
		{"unknown", policy.UnknownPlatform},
		{"android", policy.Android},
		{"iOS", policy.IOS},
		{"windows", policy.Windows},
		{"windowsPhone", policy.WindowsPhone},
		{"macOS", policy.MacOS},
		{"linux", policy.Linux},
	}
	flows = []word[policy.TransferFlow]{
		{"none", policy.NoTransfer},
		{"deviceCodeFlow", policy.DeviceCodeFlow},
		{"authenticationTransfer", policy.AuthenticationTransfer},
	}
	profiles = []word[policy.TrafficProfile]{
		{"none", policy.NoTraffic},
		{"internet", policy.InternetTraffic},
		{"m365", policy.Microsoft365Traffic},
		{"private", policy.PrivateTraffic},
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
		{"", policy.Invalid},
		{"grant", policy.Grant},
		{"interrupt", policy.Interrupt},
		{"block", policy.Block},
	}
	// methodAliases are beside the names of authenticationMethodModes.
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
