package policytest

import (
	"net/netip"

	"github.com/prtbroker/prtbroker/policy"
)

var trustedIPs = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/28"), netip.MustParsePrefix("2001:db8:1::/48")}

// places are named locations that overlap.
func places() []policy.NamedLocation {
	return []policy.NamedLocation{
		{Kind: policy.IPLocation, ID: "office", IsTrusted: true, Ranges: []string{"198.51.100.0/24", "203.0.113.128/25"}},
		{Kind: policy.IPLocation, ID: "hq", Ranges: []string{"198.51.100.64/26", "198.51.100.7/29"}},
		{Kind: policy.IPLocation, ID: "vpn", IsTrusted: true, Ranges: []string{"203.0.113.64/26", "198.51.100.80-198.51.100.90"}},
		{Kind: policy.IPLocation, ID: "v6", Ranges: []string{"2001:db8::/32", "::ffff:192.0.2.0/120"}},
		{Kind: policy.CountryLocation, ID: "home", Countries: []string{"DE"}},
		{Kind: policy.CountryLocation, ID: "dach", Countries: []string{"DE", "at", "CH"}, LookupMethod: "clientIpAddress"},
		{Kind: policy.CountryLocation, ID: "unknown", Countries: []string{"US"}, IncludeUnknown: true},
		{Kind: policy.CountryLocation, ID: "gps", Countries: []string{"DE", "FR"}, IncludeUnknown: true, LookupMethod: "authenticatorAppGps"},
		{Kind: policy.CompliantNetworkLocation, ID: "network", IsTrusted: true},
		{Kind: policy.ServiceTagLocation, ID: "tags", ServiceTags: []string{"AzureCloud"}},
		{Kind: policy.IPLocation, ID: "bad", Ranges: []string{"xx.xx.xxx.xx/32"}},
	}
}

func customStrengths() []policy.Strength {
	return []policy.Strength{
		{ID: "keys", AllowedCombinations: []string{"fido2", "windowsHelloForBusiness"}, Configurations: []policy.CombinationConfig{
			{AppliesTo: []string{"fido2"}, AllowedAAGUIDs: []string{"aaguid-1", "aaguid-2"}},
		}},
		{ID: "cards", AllowedCombinations: []string{"x509CertificateMultiFactor", "password, x509CertificateSingleFactor"}, Configurations: []policy.CombinationConfig{
			{AppliesTo: []string{"x509CertificateMultiFactor", "password,x509CertificateSingleFactor"}, AllowedIssuerSKIs: []string{"ski-1"}},
			{AppliesTo: []string{"x509CertificateMultiFactor"}, AllowedPolicyOIDs: []string{"1.2.3", "1.2.4"}},
		}},
		{ID: "odd", AllowedCombinations: []string{"windowsHelloForBusiness", "password,sms", "password,voice", "password,sms,softwareOath", "hardwareOath,sms"}},
	}
}

func (g Generator) grants() *policy.GrantControls {
	if g.chance(12) {
		return nil
	}
	c := &policy.GrantControls{Operator: pick(g, []string{"OR", "AND", "or", ""})}
	if g.chance(8) {
		c.BuiltInControls = []string{"block"}
		return c
	}
	c.BuiltInControls = g.exact([]string{"mfa", "mfa", "mfa", "compliantDevice", "compliantDevice", "domainJoinedDevice", "approvedApplication", "compliantApplication", "passwordChange", "riskRemediation"}, 3)
	if g.chance(60) {
		c.BuiltInControls = []string{"compliantNetwork"}
	}
	if g.chance(4) {
		c.AuthenticationStrength = &policy.Strength{ID: g.cased(pick(g, strengths))}
		if g.chance(30) {
			c.AuthenticationStrength.ID = "nowhere"
		}
		if g.chance(10) {
			c.AuthenticationStrength = &policy.Strength{ID: "embedded", AllowedCombinations: []string{"deviceBasedPush", "password,hardwareOath"}}
		}
	}
	if g.chance(8) {
		c.TermsOfUse = g.some(termIDs, 2)
	}
	if g.chance(15) {
		c.CustomFactors = g.some(factorIDs, 1)
	}
	return c
}

func (g Generator) session() *policy.SessionControls {
	s := &policy.SessionControls{}
	on := func() *policy.Switch { return &policy.Switch{IsEnabled: !g.chance(4)} }
	if g.chance(4) {
		s.ApplicationEnforcedRestrictions = on()
	}
	if g.chance(4) {
		s.SecureSignInSession = on()
	}
	if g.chance(4) {
		s.CloudAppSecurity = &policy.CloudAppSecurity{IsEnabled: !g.chance(4), Type: pick(g, []string{"mcasConfigured", "monitorOnly", "blockDownloads"})}
	}
	if g.chance(4) {
		s.PersistentBrowser = &policy.PersistentBrowser{IsEnabled: !g.chance(4), Mode: pick(g, []string{"always", "never"})}
	}
	if g.chance(2) {
		s.SignInFrequency = g.frequency()
	}
	if g.chance(6) {
		v := g.chance(2)
		s.DisableResilienceDefaults = &v
	}
	if g.chance(6) {
		s.ContinuousAccessEvaluation = &policy.ContinuousAccess{Mode: pick(g, []string{"strictEnforcement", "disabled", "strictLocation"})}
	}
	if g.chance(8) {
		s.GlobalSecureAccessProfile = &policy.SecureAccess{IsEnabled: !g.chance(4), ProfileID: "profile"}
	}
	return s
}

func (g Generator) frequency() *policy.SignInFrequency {
	f := &policy.SignInFrequency{
		IsEnabled:          !g.chance(5),
		AuthenticationType: pick(g, []string{"", "primaryAndSecondaryAuthentication", "secondaryAuthentication"}),
	}
	if g.chance(3) {
		f.Interval = "everyTime"
		return f
	}
	n := 1 + g.IntN(12)
	f.Value, f.Type, f.Interval = &n, pick(g, []string{"hours", "hours", "days"}), pick(g, []string{"", "timeBased"})
	return f
}
