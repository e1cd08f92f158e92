package policy

import (
	"fmt"
	"strings"

	"github.com/prtbroker/prtbroker/claims"
)

// methodNames are Graph's authenticationMethodModes.
var methodNames = map[string]claims.Methods{
	"password":                    claims.Password,
	"voice":                       claims.Voice,
	"hardwareoath":                claims.HardwareOATH,
	"softwareoath":                claims.SoftwareOATH,
	"sms":                         claims.SMS,
	"fido2":                       claims.FIDO2,
	"windowshelloforbusiness":     claims.WindowsHello,
	"microsoftauthenticatorpush":  claims.AuthenticatorPush,
	"devicebasedpush":             claims.DeviceBasedPush,
	"temporaryaccesspassonetime":  claims.TemporaryAccessPassOneTime,
	"temporaryaccesspassmultiuse": claims.TemporaryAccessPassMultiUse,
	"email":                       claims.Email,
	"x509certificatesinglefactor": claims.CertificateSingleFactor,
	"x509certificatemultifactor":  claims.CertificateMultiFactor,
	"federatedsinglefactor":       claims.FederatedSingleFactor,
	"federatedmultifactor":        claims.FederatedMultiFactor,
	"qrcodepin":                   claims.QRCodePIN,
}

// Ids of the built-in authentication strengths.
const (
	StrengthMFA               = "00000000-0000-0000-0000-000000000002"
	StrengthPasswordless      = "00000000-0000-0000-0000-000000000003"
	StrengthPhishingResistant = "00000000-0000-0000-0000-000000000004"
)

// BuiltInStrengths returns the three strengths that every tenant has. A
// Bundle that holds a strength of the same id overrides them.
//
// Source: Microsoft Entra documentation, "Conditional Access authentication
// strength", built-in authentication strengths.
func BuiltInStrengths() []Strength {
	resistant := []string{"windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor"}
	passwordless := append(resistant[:3:3], "deviceBasedPush")
	mfa := append(passwordless[:4:4], "temporaryAccessPassOneTime", "temporaryAccessPassMultiUse", "federatedMultiFactor")
	for _, second := range []string{"microsoftAuthenticatorPush", "softwareOath", "hardwareOath", "sms", "voice"} {
		mfa = append(mfa, "password,"+second, "federatedSingleFactor,"+second)
	}
	mfa = append(mfa, "password,x509CertificateSingleFactor", "password,x509CertificateMultiFactor")
	return []Strength{
		{ID: StrengthMFA, DisplayName: "Multifactor authentication", PolicyType: "builtIn", RequirementsSatisfied: "mfa", AllowedCombinations: mfa},
		{ID: StrengthPasswordless, DisplayName: "Passwordless MFA", PolicyType: "builtIn", RequirementsSatisfied: "mfa", AllowedCombinations: passwordless},
		{ID: StrengthPhishingResistant, DisplayName: "Phishing-resistant MFA", PolicyType: "builtIn", RequirementsSatisfied: "mfa", AllowedCombinations: resistant},
	}
}

// A strength is satisfied by methods that hold all of base and one of any.
// Combinations that share all but one method are merged this way, and a
// built-in strength takes three comparisons.
type strength struct {
	plain      []factored
	restricted []restricted
	all        claims.Methods // every method of some combination
}

type factored struct{ base, any claims.Methods }

type restricted struct {
	combination claims.Methods
	configs     []*CombinationConfig // all must admit
}

// parseCombination reads "password,sms"; spaces are allowed.
func parseCombination(s string) (m claims.Methods, err error) {
	for name := range strings.SplitSeq(s, ",") {
		bit, ok := methodNames[lower(strings.TrimSpace(name))]
		if !ok {
			return 0, fmt.Errorf("unknown authentication method %q", strings.TrimSpace(name))
		}
		m |= bit
	}
	return m, nil
}

func newStrength(p *Strength) (*strength, error) {
	s := &strength{}
	for _, text := range p.AllowedCombinations {
		m, err := parseCombination(text)
		if err != nil {
			return nil, err
		}
		s.all |= m
		configs, err := p.configsOf(m)
		if err != nil {
			return nil, err
		}
		if configs != nil {
			s.restricted = append(s.restricted, restricted{m, configs})
			continue
		}
		s.addPlain(m)
	}
	return s, nil
}

func (p *Strength) configsOf(m claims.Methods) (configs []*CombinationConfig, err error) {
	for i := range p.Configurations {
		c := &p.Configurations[i]
		if len(c.AppliesTo) == 0 && m&c.subject() != 0 {
			configs = append(configs, c)
		}
		for _, text := range c.AppliesTo {
			to, err := parseCombination(text)
			if err != nil {
				return nil, err
			}
			if to == m {
				configs = append(configs, c)
				break
			}
		}
	}
	return configs, nil
}

// addPlain merges a combination into a factored one: the lowest method but
// the base, so that password+sms and password+voice meet.
func (s *strength) addPlain(m claims.Methods) {
	base := claims.Methods(0)
	if first := primaryMethods & m; first != 0 && first != m {
		base = first
	}
	rest := m &^ base
	if rest&(rest-1) != 0 { // three methods or an unusual pair: as it is
		s.plain = append(s.plain, factored{rest&(rest-1) | base, rest & -rest})
		return
	}
	for i := range s.plain {
		if s.plain[i].base == base {
			s.plain[i].any |= rest
			return
		}
	}
	s.plain = append(s.plain, factored{base, rest})
}

const primaryMethods = claims.Password | claims.FederatedSingleFactor

func (s *strength) satisfiedBy(m claims.Methods, in *SignIn) bool {
	for _, f := range s.plain {
		if m&f.base == f.base && m&f.any != 0 {
			return true
		}
	}
	for i := range s.restricted {
		if r := &s.restricted[i]; m&r.combination == r.combination && r.admits(in) {
			return true
		}
	}
	return false
}

// reachable says whether the methods could satisfy the strength if the
// authenticator or certificate is one that it admits.
func (s *strength) reachable(m claims.Methods) bool {
	if s.satisfiable(m) {
		return true
	}
	for i := range s.restricted {
		if c := s.restricted[i].combination; m&c == c {
			return true
		}
	}
	return false
}

func (s *strength) satisfiable(m claims.Methods) bool {
	for _, f := range s.plain {
		if m&f.base == f.base && m&f.any != 0 {
			return true
		}
	}
	return false
}

func (r *restricted) admits(in *SignIn) bool {
	for _, c := range r.configs {
		if !c.admits(in) {
			return false
		}
	}
	return true
}

// maxPolicyOIDs is how many policy OIDs of a certificate Entra looks at.
const maxPolicyOIDs = 5

// subject is the methods that a configuration is about, for one that does not
// name its combinations.
func (c *CombinationConfig) subject() claims.Methods {
	if len(c.AllowedAAGUIDs) > 0 {
		return claims.FIDO2
	}
	return claims.CertificateSingleFactor | claims.CertificateMultiFactor
}

// admits checks the lists that a configuration has: inside a list any entry
// will do, and an issuer list and a policy list must both fit.
func (c *CombinationConfig) admits(in *SignIn) bool {
	if len(c.AllowedAAGUIDs) > 0 && !containsID(c.AllowedAAGUIDs, in.AAGUID) {
		return false
	}
	if len(c.AllowedIssuerSKIs) > 0 && !containsID(c.AllowedIssuerSKIs, in.CertIssuerSKI) {
		return false
	}
	if len(c.AllowedPolicyOIDs) == 0 {
		return true
	}
	for _, oid := range in.CertPolicyOIDs[:min(len(in.CertPolicyOIDs), maxPolicyOIDs)] {
		if containsID(c.AllowedPolicyOIDs, oid) {
			return true
		}
	}
	return false
}
