package benchpeers

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// Facts is a sign-in as a general engine gets it: everything that the engine
// cannot work out is given.
type Facts struct {
	User       string
	Groups     []string
	Roles      []string
	Guest      string // guestOrExternalUserTypes, or ""
	App        string
	Client     string // clientAppTypes
	Platform   string // includePlatforms, or ""
	Locations  []string
	SignInRisk string
	UserRisk   string
	Flow       string // transferMethods, or ""
	DeviceTag  string // extensionAttribute1
	Satisfied  []string
}

// Question is one sign-in in both forms.
type Question struct {
	SignIn policy.SignIn
	Facts  Facts
}

// allTrusted is in Facts.Locations when a trusted location holds the address.
const allTrusted = "AllTrusted"

var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// Questions draws n sign-ins of users in 50 groups each.
func Questions(n int) []Question {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	prefixes := make([][]netip.Prefix, manyLocations)
	for i := range prefixes {
		for _, s := range ranges(i) {
			prefixes[i] = append(prefixes[i], netip.MustParsePrefix(s))
		}
	}
	out := make([]Question, n)
	for i := range out {
		out[i] = question(r, prefixes)
	}
	return out
}

func question(r *rand.Rand, prefixes [][]netip.Prefix) (q Question) {
	in, f := &q.SignIn, &q.Facts
	in.Now, in.AuthTime, in.MFATime = start, start, start
	who(r, in, f)
	how(r, in, f)
	proof(r, in, f)

	f.App = appID(r.IntN(manyApps))
	in.AppID = f.App
	in.IP = netip.AddrFrom4([4]byte{100, byte(r.IntN(60)), byte(r.IntN(64)), byte(r.IntN(256))})
	for i, ps := range prefixes {
		if !slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(in.IP) }) {
			continue
		}
		f.Locations = append(f.Locations, locationID(i))
		if trusted(i) && !slices.Contains(f.Locations, allTrusted) {
			f.Locations = append(f.Locations, allTrusted)
		}
	}
	if chance(r, 6) {
		in.SignInRisk, f.SignInRisk = policy.RiskHigh, "high"
	} else if chance(r, 10) {
		in.SignInRisk, f.SignInRisk = policy.RiskMedium, "medium"
	} else {
		f.SignInRisk = "none"
	}
	f.UserRisk = "none"
	if chance(r, 5) {
		in.UserRisk, f.UserRisk = policy.RiskHigh, "high"
	}
	return q
}

func who(r *rand.Rand, in *policy.SignIn, f *Facts) {
	f.User = userID(r.IntN(manyUsers))
	for len(f.Groups) < 50 {
		if g := groupID(r.IntN(manyGroups)); !slices.Contains(f.Groups, g) {
			f.Groups = append(f.Groups, g)
		}
	}
	if chance(r, 2) {
		f.Groups[0] = breakGlass
	}
	if chance(r, 15) {
		f.Roles = some(r, 3, manyRoles, roleID)
	}
	in.User = &policy.User{ID: f.User, Groups: f.Groups, Roles: f.Roles}
	if chance(r, 10) {
		f.Guest = "b2bCollaborationGuest"
		in.User.Guest, in.User.HomeTenant = policy.GuestB2BCollaboration, "tenant-partner"
		in.User.MFATrust, in.User.DeviceTrust = true, true
	}
}

func how(r *rand.Rand, in *policy.SignIn, f *Facts) {
	clients := []struct {
		name  string
		value policy.ClientApp
	}{{"browser", policy.ClientBrowser}, {"mobileAppsAndDesktopClients", policy.ClientMobileOrDesktop}, {"other", policy.ClientOther}}
	c := clients[min(r.IntN(20)/9, 2)] // one in ten is a legacy client
	f.Client, in.ClientApp = c.name, c.value
	platforms := []struct {
		name  string
		value policy.Platform
	}{{"windows", policy.PlatformWindows}, {"macOS", policy.PlatformMacOS}, {"iOS", policy.PlatformIOS}, {"android", policy.PlatformAndroid}, {"", policy.PlatformUnknown}}
	p := platforms[r.IntN(len(platforms))]
	f.Platform, in.Platform = p.name, p.value
	if in.ClientApp == policy.ClientMobileOrDesktop && chance(r, 8) {
		f.Flow, in.Flow = "deviceCodeFlow", policy.TransferDeviceCode
	}
}

// proof draws methods and device. Legacy clients and device-code flows carry
// no device, and legacy clients no second factor.
func proof(r *rand.Rand, in *policy.SignIn, f *Facts) {
	in.Methods = claims.Password
	if in.ClientApp == policy.ClientOther {
		return
	}
	if chance(r, 85) {
		in.Methods = pick(r, []claims.Methods{
			claims.Password | claims.SMS, claims.Password | claims.AuthenticatorPush, claims.WindowsHello, claims.FIDO2,
		})
		f.Satisfied = append(f.Satisfied, "mfa")
	}
	strong := in.Methods == claims.WindowsHello || in.Methods == claims.FIDO2
	if strong {
		f.Satisfied = append(f.Satisfied, phishingResistant)
	}
	if strong || in.Methods == claims.Password|claims.AuthenticatorPush {
		f.Satisfied = append(f.Satisfied, onboarding)
	}
	if chance(r, 90) {
		in.AcceptedTerms = []string{"terms-1"}
		f.Satisfied = append(f.Satisfied, "terms-1")
	}
	if in.Flow == policy.TransferDeviceCode || in.Platform == policy.PlatformUnknown || chance(r, 15) {
		return
	}
	d := &policy.Device{ID: "device", TrustType: policy.TrustJoined, Compliant: claims.Yes}
	if chance(r, 20) {
		d.Compliant = claims.No
	} else {
		f.Satisfied = append(f.Satisfied, "compliantDevice")
	}
	if in.Platform == policy.PlatformWindows && chance(r, 40) {
		d.TrustType = policy.TrustHybrid
		f.Satisfied = append(f.Satisfied, "domainJoinedDevice")
	}
	if chance(r, 5) {
		d.ExtensionAttributes[0] = privileged
		// A filter sees the attribute of a managed, compliant or hybrid joined
		// device only (Microsoft Entra, "Filter for devices").
		if d.Compliant == claims.Yes || d.TrustType == policy.TrustHybrid {
			f.DeviceTag = privileged
		}
	}
	in.Device = d
}
