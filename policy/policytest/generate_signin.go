package policytest

import (
	"net/netip"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// A Question is a sign-in, with facts as facts, and the ids of locations that
// are known to hold.
type Question struct {
	policy.SignIn
	LocationIDs []string
}

var now = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

var addresses = []string{
	"198.51.100.7", "198.51.100.85", "198.51.100.64", "198.51.100.255", "198.51.101.0", "203.0.113.5", "203.0.113.70",
	"203.0.113.200", "8.8.8.8", "::ffff:198.51.100.85", "::ffff:192.0.2.9", "192.0.2.9", "2001:db8::1", "2001:db8:1::1", "2001:db9::", "::1", "0.0.0.0", "255.255.255.255",
}

// SignIn makes a valid sign-in.
func (g Generator) SignIn() Question {
	q := Question{SignIn: policy.SignIn{
		User:      g.user(),
		ClientApp: pick(g, []policy.ClientApp{policy.ClientBrowser, policy.ClientBrowser, policy.ClientMobileOrDesktop, policy.ClientMobileOrDesktop, policy.ClientExchangeActiveSync, policy.ClientExchangeActiveSyncOK, policy.ClientOther}),
		Platform:  policy.Platform(g.IntN(int(policy.PlatformLinux) + 1)),
		Device:    g.device(),
		Methods:   g.methods(),
		Now:       now,
		AuthTime:  now.Add(-time.Duration(g.IntN(300)) * time.Hour / 10), // now and then a frequency exactly
	}}
	g.target(&q.SignIn)
	g.place(&q)
	g.risks(&q.SignIn)
	g.proof(&q.SignIn)
	if g.chance(6) {
		q.Flow = pick(g, []policy.TransferFlow{policy.TransferDeviceCode, policy.TransferAuthentication})
	}
	q.AgentEndpointUser, q.Background = g.chance(20), g.chance(10)
	q.Confidential, q.Bound = g.chance(4), !g.chance(4)
	return q
}

func (g Generator) user() *policy.User {
	u := &policy.User{ID: g.cased(pick(g, userIDs)), Groups: g.some(append(groupIDs, "group-elsewhere"), 3), Roles: g.some(roleIDs, 1)}
	switch g.IntN(10) {
	case 0:
		u.Kind = pick(g, []policy.IdentityKind{policy.IdentityWorkload, policy.IdentityWorkload, policy.IdentityAgent, policy.IdentityAgentUser})
		u.ID, u.MultiTenant, u.Attributes = g.cased(pick(g, spIDs)), g.chance(5), g.attributes()
		u.Blueprint = pick(g, append(blueprintIDs, "", "Blueprint-0"))
	case 1, 2, 3:
		u.Guest = policy.GuestType(1 + g.IntN(int(policy.GuestServiceProvider)))
		u.HomeTenant = g.cased(pick(g, append(tenantIDs, "tenant-elsewhere", "")))
		u.MFATrust, u.DeviceTrust, u.GuestAccount = g.chance(2), g.chance(2), g.chance(2)
	}
	return u
}

func (g Generator) attributes() []policy.Attribute {
	if g.chance(3) {
		return nil
	}
	list := []policy.Attribute{{Name: "Finance_Level", Values: []string{pick(g, []string{"high", "higher", "low"})}}}
	if g.chance(2) {
		list = append(list, policy.Attribute{Name: "finance_tags", Values: g.exact([]string{"high", "low", "HIGH"}, 2), Multiple: true})
	}
	return list
}

func (g Generator) target(in *policy.SignIn) {
	switch g.IntN(12) {
	case 0, 1:
		in.Action = pick(g, []policy.UserAction{policy.ActionRegisterSecurityInfo, policy.ActionRegisterSecurityInfo, policy.ActionRegisterDevice})
	case 2:
		in.AuthContext = pick(g, []int{1, 2, 3, 99})
	case 3:
		in.Traffic = policy.TrafficProfile(1 + g.IntN(3))
	default:
		in.AppID = g.cased(pick(g, append(appIDs, "app-elsewhere")))
		if g.chance(8) {
			in.Scopes = policy.ScopeKind(1 + g.IntN(3))
		}
		in.AgentResource = g.chance(12)
		if g.chance(4) {
			in.AppAttributes = g.attributes()
		}
	}
}

func (g Generator) place(q *Question) {
	if !g.chance(10) {
		q.IP = netip.MustParseAddr(pick(g, addresses))
	}
	q.Country = pick(g, []string{"DE", "de", "AT", "US", "FR", "", "EU"})
	if g.chance(6) {
		q.GPSCountry = pick(g, []string{"DE", "US", policy.UnknownCountry})
	}
	q.CompliantNetwork = g.chance(8)
	if g.chance(8) {
		q.LocationIDs = g.some(append(placeIDs, "elsewhere"), 2)
	}
}

func (g Generator) risks(in *policy.SignIn) {
	for _, r := range []*policy.RiskLevel{&in.SignInRisk, &in.UserRisk, &in.ServicePrincipalRisk, &in.AgentRisk} {
		if g.chance(3) {
			*r = policy.RiskLevel(g.IntN(int(policy.RiskHidden) + 1))
		}
	}
	if g.chance(4) {
		in.InsiderRisk = policy.InsiderRisk(g.IntN(int(policy.InsiderRiskElevated) + 1))
	}
}

func (g Generator) methods() claims.Methods {
	return pick(g, []claims.Methods{
		0, claims.Password, claims.Password | claims.SMS, claims.Password | claims.AuthenticatorPush, claims.WindowsHello,
		claims.FIDO2, claims.CertificateMultiFactor, claims.Password | claims.CertificateSingleFactor, claims.CertificateSingleFactor,
		claims.Password | claims.SMS | claims.SoftwareOATH, claims.FederatedSingleFactor, claims.FederatedMultiFactor, claims.FederatedSingleFactor | claims.Voice,
		claims.Password | claims.MarkMFA, claims.TemporaryAccessPassOneTime, claims.QRCodePIN, claims.SMS, claims.DeviceBasedPush, claims.Password | claims.HardwareOATH | claims.SMS,
	})
}

func (g Generator) proof(in *policy.SignIn) {
	in.AAGUID = pick(g, []string{"", "AAGUID-1", "aaguid-9"})
	in.CertIssuerSKI = pick(g, []string{"", "ski-1", "ski-2"})
	in.CertPolicyOIDs = pick(g, [][]string{nil, {"1.2.3"}, {"9", "8", "7", "6", "1.2.4"}, {"9", "8", "7", "6", "5", "1.2.4"}})
	in.ApprovedApp, in.ProtectedApp = g.chance(4), g.chance(4)
	in.PasswordChanged, in.RiskRemediated = g.chance(5), g.chance(5)
	in.AcceptedTerms, in.CustomFactors = g.some(termIDs, 2), g.some(factorIDs, 1)
	if g.chance(4) {
		in.Available = g.methods()
	}
	switch g.IntN(4) {
	case 0:
		in.MFATime = in.AuthTime.Add(-time.Duration(g.IntN(50)) * time.Hour)
	case 1:
		in.AuthTime = now.Add(-time.Duration(g.IntN(10)) * time.Minute)
	}
	if g.chance(30) {
		in.AuthTime = time.Time{}
	}
	if g.chance(60) {
		in.Now = time.Time{}
	}
}

func (g Generator) device() *policy.Device {
	if g.chance(3) {
		return nil
	}
	d := &policy.Device{
		ID: "a", DisplayName: pick(g, []string{"", "Surface", "SAW-1", "ärger"}), Model: pick(g, []string{"", "Surface Pro", "surface"}),
		Ownership: pick(g, []string{"", "Company", "Personal"}), OperatingSystem: "Windows", Manufacturer: pick(g, []string{"", "a", "xPro"}),
		TrustType: policy.TrustType(g.IntN(4)), Compliant: claims.Answer(g.IntN(3)),
		SystemLabels: g.exact([]string{"CloudPC", "cloudpc", "M365Managed"}, 2),
	}
	d.Managed = g.chance(3)
	d.ExtensionAttributes[0] = pick(g, []string{"", "SAW", "saw-1"})
	d.ExtensionAttributes[14] = pick(g, []string{"", "a"})
	return d
}
