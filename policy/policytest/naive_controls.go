package policytest

import (
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

var methods = []string{
	"password", "voice", "hardwareOath", "softwareOath", "sms", "fido2", "windowsHelloForBusiness",
	"microsoftAuthenticatorPush", "deviceBasedPush", "temporaryAccessPassOneTime", "temporaryAccessPassMultiUse",
	"email", "x509CertificateSingleFactor", "x509CertificateMultiFactor", "federatedSingleFactor", "federatedMultiFactor",
	"", "qrCodePin",
}

func combination(s string) (m claims.Methods, ok bool) {
	for _, name := range strings.Split(s, ",") {
		i := slices.IndexFunc(methods, func(n string) bool { return n != "" && strings.EqualFold(n, strings.TrimSpace(name)) })
		if i < 0 {
			return 0, false
		}
		m |= 1 << i
	}
	return m, true
}

// fits says whether methods hold an allowed combination; without a sign-in
// the restrictions of combinations are taken to hold.
func fits(s *policy.Strength, m claims.Methods, in *policy.SignIn) bool {
	for _, text := range s.AllowedCombinations {
		c, _ := combination(text)
		if m&c == c && (in == nil || configured(s, c, in)) {
			return true
		}
	}
	return false
}

func configured(s *policy.Strength, c claims.Methods, in *policy.SignIn) bool {
	for _, k := range s.Configurations {
		concerned := slices.ContainsFunc(k.AppliesTo, func(text string) bool {
			m, _ := combination(text)
			return m == c
		})
		if !concerned {
			continue
		}
		if k.AllowedAAGUIDs != nil && !listed(k.AllowedAAGUIDs, in.AAGUID) {
			return false
		}
		if k.AllowedIssuerSKIs != nil && !listed(k.AllowedIssuerSKIs, in.CertIssuerSKI) {
			return false
		}
		oids := in.CertPolicyOIDs
		if len(oids) > 5 {
			oids = oids[:5]
		}
		if k.AllowedPolicyOIDs != nil && !slices.ContainsFunc(oids, func(o string) bool { return listed(k.AllowedPolicyOIDs, o) }) {
			return false
		}
	}
	return true
}

// strength finds a strength by id: in the bundle, among the built-in ones,
// or embedded whole in some policy.
func (n *naive) strength(id string) *policy.Strength {
	lists := [][]policy.Strength{n.b.Strengths, policy.BuiltInStrengths()}
	for _, p := range n.b.Policies {
		if p.GrantControls != nil && p.GrantControls.AuthenticationStrength != nil {
			lists = append(lists, []policy.Strength{*p.GrantControls.AuthenticationStrength})
		}
	}
	for _, list := range lists {
		for i := range list {
			if strings.EqualFold(list[i].ID, id) && len(list[i].AllowedCombinations) > 0 {
				return &list[i]
			}
		}
	}
	return nil
}

func mergeSession(s *policy.Session, k *policy.SessionControls) {
	if k == nil {
		return
	}
	on := func(w *policy.Switch) bool { return w != nil && w.IsEnabled }
	s.AppEnforcedRestrictions = s.AppEnforcedRestrictions || on(k.ApplicationEnforcedRestrictions)
	s.TokenProtection = s.TokenProtection || on(k.SecureSignInSession)
	s.ResilienceDisabled = s.ResilienceDisabled || k.DisableResilienceDefaults != nil && *k.DisableResilienceDefaults
	if c := k.CloudAppSecurity; c != nil && c.IsEnabled {
		modes := map[string]policy.CloudAppSecurityMode{"mcasConfigured": policy.CloudAppSecurityCustom, "monitorOnly": policy.CloudAppSecurityMonitorOnly, "blockDownloads": policy.CloudAppSecurityBlockDownloads}
		s.CloudAppSecurity = max(s.CloudAppSecurity, modes[c.Type])
	}
	if c := k.PersistentBrowser; c != nil && c.IsEnabled {
		if c.Mode == "never" {
			s.PersistentBrowser = policy.BrowserNever
		} else if s.PersistentBrowser != policy.BrowserNever {
			s.PersistentBrowser = policy.BrowserAlways
		}
	}
	if c := k.ContinuousAccessEvaluation; c != nil {
		modes := map[string]policy.ContinuousAccessMode{"disabled": policy.ContinuousAccessDisabled, "strictEnforcement": policy.ContinuousAccessStrict, "strictLocation": policy.ContinuousAccessStrictLocation}
		s.ContinuousAccess = max(s.ContinuousAccess, modes[c.Mode])
	}
	if c := k.GlobalSecureAccessProfile; c != nil && c.IsEnabled {
		s.SecureAccessProfiles++
	}
	if f := k.SignInFrequency; f != nil && f.IsEnabled {
		mergeFrequency(s, f)
	}
}

func mergeFrequency(s *policy.Session, f *policy.SignInFrequency) {
	second := f.AuthenticationType == "secondaryAuthentication"
	if f.Interval == "everyTime" {
		if second {
			s.EveryTimeMFA = true
		} else {
			s.EveryTime = true
		}
		return
	}
	d := time.Duration(*f.Value) * time.Hour
	if f.Type == "days" {
		d *= 24
	}
	old := &s.SignInFrequency
	if second {
		old = &s.SignInFrequencyMFA
	}
	if *old == 0 || d < *old {
		*old = d
	}
}
