package policy_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

// placesOf makes a set with one policy per location, which applies inside it.
func placesOf(t testing.TB, locations ...policy.NamedLocation) *policy.Set {
	b := &policy.Bundle{Locations: locations}
	for _, l := range locations {
		b.Policies = append(b.Policies, rule(l.ID, []string{"mfa"}, func(p *policy.Policy) {
			p.Conditions.Locations = &policy.LocationCondition{Include: []string{l.ID}}
		}))
	}
	return compile(t, b)
}

func TestRanges(t *testing.T) {
	s := placesOf(t,
		policy.NamedLocation{Kind: policy.IPLocation, ID: "all4", Ranges: []string{"0.0.0.0/0"}},
		policy.NamedLocation{Kind: policy.IPLocation, ID: "top", Ranges: []string{"255.255.255.255/32", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"}},
		policy.NamedLocation{Kind: policy.IPLocation, ID: "adjacent", Ranges: []string{"10.0.0.0/25", "10.0.0.128/25", "10.0.1.0-10.0.1.0"}},
		policy.NamedLocation{Kind: policy.IPLocation, ID: "nested", Ranges: []string{"10.0.0.0/8", "10.0.0.0/24", "10.0.0.0/24"}},
		policy.NamedLocation{Kind: policy.IPLocation, ID: "within", Ranges: []string{"10.9.0.0/16", "10.9.1.0/24"}},
		policy.NamedLocation{Kind: policy.IPLocation, ID: "mapped", Ranges: []string{"::ffff:172.16.0.0/108"}},
		policy.NamedLocation{Kind: policy.IPLocation, ID: "v6", Ranges: []string{"2001:db8::/127", "fe80::1-fe80::5"}},
		policy.NamedLocation{Kind: policy.IPLocation, ID: "address", Ranges: []string{"192.0.2.1"}},
	)
	for _, tt := range []struct {
		ip   string
		want []string
	}{
		{"0.0.0.0", []string{"all4"}},
		{"255.255.255.255", []string{"all4", "top"}},
		{"255.255.255.254", []string{"all4"}},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", []string{"top"}},
		{"10.0.0.0", []string{"all4", "adjacent", "nested"}},
		{"10.0.0.255", []string{"all4", "adjacent", "nested"}},
		{"10.0.1.0", []string{"all4", "adjacent", "nested"}},
		{"10.0.1.1", []string{"all4", "nested"}},
		{"10.255.255.255", []string{"all4", "nested"}},
		{"11.0.0.0", []string{"all4"}},
		{"10.9.0.255", []string{"all4", "nested", "within"}},
		{"10.9.1.5", []string{"all4", "nested", "within"}},
		{"10.9.2.0", []string{"all4", "nested", "within"}},
		{"172.31.255.255", []string{"all4", "mapped"}},
		{"::ffff:172.16.0.0", []string{"all4", "mapped"}},
		{"2001:db8::1", []string{"v6"}},
		{"2001:db8::2", nil},
		{"fe80::5%eth0", []string{"v6"}},
		{"fe80::6", nil},
		{"::", nil},
		{"192.0.2.1", []string{"all4", "address"}},
	} {
		require.Equal(t, tt.want, applies(s, ask(func(in *policy.SignIn) { in.IP = netip.MustParseAddr(tt.ip) })), tt.ip)
	}
	require.Empty(t, applies(s, ask()), "an unknown address lies nowhere")

	s = placesOf(t,
		policy.NamedLocation{Kind: policy.IPLocation, ID: "all6", Ranges: []string{"::/0"}},
		policy.NamedLocation{Kind: policy.IPLocation, ID: "all4", Ranges: []string{"::ffff:0.0.0.0/96"}},
	)
	for ip, want := range map[string][]string{
		"::": {"all6"}, "ffff::1": {"all6"}, "0.0.0.0": {"all4"}, "255.255.255.255": {"all4"}, "::ffff:10.0.0.1": {"all4"},
	} {
		require.Equal(t, want, applies(s, ask(func(in *policy.SignIn) { in.IP = netip.MustParseAddr(ip) })), ip)
	}
	require.Empty(t, applies(s, ask()), "not even in what holds every address")
}

// Two letters are a country; whatever else the service may say is unknown.
func TestCountries(t *testing.T) {
	s := placesOf(t,
		policy.NamedLocation{Kind: policy.CountryLocation, ID: "germany", Countries: []string{"DE", "de"}},
		policy.NamedLocation{Kind: policy.CountryLocation, ID: "ends", Countries: []string{"AA", "zz"}, LookupMethod: "clientIpAddress"},
		policy.NamedLocation{Kind: policy.CountryLocation, ID: "unknown", IncludeUnknown: true},
	)
	for country, want := range map[string][]string{
		"DE": {"germany"}, "dE": {"germany"}, "BE": nil, "DK": nil, "ED": nil, "aa": {"ends"}, "ZZ": {"ends"},
		"": {"unknown"}, "D": {"unknown"}, "DEU": {"unknown"}, "D1": {"unknown"}, "1D": {"unknown"}, "Z{": {"unknown"}, "{A": {"unknown"}, policy.UnknownCountry: {"unknown"},
	} {
		require.Equal(t, want, applies(s, ask(func(in *policy.SignIn) { in.Country = country })), country)
	}
}

func TestBadLocations(t *testing.T) {
	for _, l := range []policy.NamedLocation{
		{Kind: policy.IPLocation, ID: "x", Ranges: []string{"10.0.0.0/33"}},
		{Kind: policy.IPLocation, ID: "x", Ranges: []string{"10.0.0.9-10.0.0.1"}},
		{Kind: policy.IPLocation, ID: "x", Ranges: []string{"10.0.0.1-::1"}},
		{Kind: policy.IPLocation, ID: "x", Ranges: []string{"::ffff:10.0.0.0/90"}},
		{Kind: policy.IPLocation, ID: "x", Ranges: []string{""}},
		{Kind: policy.CountryLocation, ID: "x", Countries: []string{"DEU"}},
		{Kind: policy.CountryLocation, ID: "x", Countries: []string{"??"}},
		{Kind: policy.CountryLocation, ID: "x", Countries: []string{"{A"}},
		{Kind: policy.CountryLocation, ID: "x", Countries: []string{"A{"}},
		{Kind: policy.CountryLocation, ID: "x", Countries: []string{"DE"}, LookupMethod: "guess"},
		{Kind: "#microsoft.graph.moonNamedLocation", ID: "x"},
	} {
		s := placesOf(t, l)
		require.False(t, s.Evaluable(0), "%+v", l)
	}
}

func TestPlacesKnownByOtherMeans(t *testing.T) {
	s := placesOf(t,
		policy.NamedLocation{Kind: policy.CountryLocation, ID: "gps", Countries: []string{"DE"}, LookupMethod: "authenticatorAppGps"},
		policy.NamedLocation{Kind: policy.CompliantNetworkLocation, ID: "network"},
		policy.NamedLocation{Kind: policy.ServiceTagLocation, ID: "tags"},
		policy.NamedLocation{Kind: policy.PrivateLinkLocation, ID: "link"},
	)
	require.Empty(t, applies(s, ask(func(in *policy.SignIn) { in.Country = "DE" })), "GPS needs proof")
	require.Equal(t, []string{"gps"}, applies(s, ask(func(in *policy.SignIn) { in.GPSCountry = "DE" })))
	require.Equal(t, []string{"network"}, applies(s, ask(func(in *policy.SignIn) { in.CompliantNetwork = true })))
	require.Equal(t, []string{"tags", "link"}, applies(s, ask(func(in *policy.SignIn) { in.Locations = s.Symbols(nil, []string{"TAGS", "link", "other"}) })))
}

// The well-known locations are not exported; where a program names them, what
// it says counts.
func TestWellKnownLocationsOfTheBundle(t *testing.T) {
	const trustedIPs, compliantNetwork = "00000000-0000-0000-0000-000000000000", "3d46dbda-8382-466a-856d-eb00cbc6b910"
	b := &policy.Bundle{
		Locations: []policy.NamedLocation{
			{Kind: policy.IPLocation, ID: trustedIPs, IsTrusted: true, Ranges: []string{"198.51.100.0/24"}},
			{Kind: policy.IPLocation, ID: compliantNetwork, Ranges: []string{"192.0.2.0/24"}},
		},
	}
	for name, id := range map[string]string{"a trusted IPs": trustedIPs, "b network": compliantNetwork, "c trusted": "AllTrusted"} {
		b.Policies = append(b.Policies, rule(name, []string{"mfa"}, func(p *policy.Policy) {
			p.Conditions.Locations = &policy.LocationCondition{Include: []string{id}}
		}))
	}
	slices.SortFunc(b.Policies, func(x, y policy.Policy) int { return strings.Compare(x.ID, y.ID) })
	from := func(s *policy.Set, ip string) []string {
		return applies(s, ask(func(in *policy.SignIn) { in.IP = netip.MustParseAddr(ip) }))
	}
	s := compile(t, b)
	require.Empty(t, s.Diagnostics(), "what the bundle holds is not taken for none")
	require.Equal(t, []string{"a trusted IPs", "c trusted"}, from(s, "198.51.100.7"))
	require.Equal(t, []string{"b network"}, from(s, "192.0.2.7"))

	s = compile(t, b, policy.WithTrustedIPs(netip.MustParsePrefix("203.0.113.0/24")))
	require.Equal(t, []string{"a trusted IPs", "c trusted"}, from(s, "203.0.113.7"), "the option comes first")
	require.Empty(t, from(s, "198.51.100.7"))
	require.Len(t, diagnosed(s, policy.CodeDuplicate), 1, "and the other is reported")

	b.Locations = nil
	s = compile(t, b)
	require.Empty(t, from(s, "198.51.100.7"))
	require.Len(t, diagnosed(s, policy.CodeNoLocation), 1, "of none that are known the author is told")
	require.Empty(t, compile(t, b, policy.WithTrustedIPs()).Diagnostics(), "but not when the option says that there are none")
}

// FuzzRegions compares the region table with asking each prefix.
func FuzzRegions(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 8, 10, 1, 0, 0, 16, 10, 1, 2, 0, 24}, []byte{10, 1, 2, 3}, false)
	f.Add([]byte{0, 0, 0, 0, 0, 255, 255, 255, 255, 32}, []byte{255, 255, 255, 255}, false)
	f.Add([]byte{0x20, 1, 0xd, 0xb8, 32, 0x20, 1, 0xd, 0xb9, 29}, []byte{0x20, 1, 0xd, 0xb8}, true)
	f.Fuzz(func(t *testing.T, ranges, address []byte, v6 bool) {
		if len(ranges) > 5*40 || len(address) < 4 {
			return
		}
		var locations []policy.NamedLocation
		var prefixes []netip.Prefix
		for i := 0; i+5 <= len(ranges); i += 5 {
			p := netip.PrefixFrom(addr(ranges[i:i+4], v6), int(ranges[i+4])%33)
			prefixes = append(prefixes, p)
			locations = append(locations, policy.NamedLocation{Kind: policy.IPLocation, ID: fmt.Sprint("l", i), Ranges: []string{p.String()}})
		}
		s := placesOf(t, locations...)
		// the address itself and the edges of every prefix with their neighbours
		probes := []netip.Addr{addr(address, v6)}
		for _, p := range prefixes {
			first := p.Masked().Addr()
			last := binary.BigEndian.Uint32(head(first)) | uint32(1<<(32-p.Bits())-1)
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], last)
			end := addr(b[:], v6)
			probes = append(probes, first, end)
			for _, a := range []netip.Addr{first.Prev(), end.Next()} {
				if a.IsValid() {
					probes = append(probes, a)
				}
			}
		}
		for _, a := range probes {
			var want []string
			for i, p := range prefixes {
				if p.Masked().Contains(a) {
					want = append(want, locations[i].ID)
				}
			}
			require.Equal(t, want, applies(s, ask(func(in *policy.SignIn) { in.IP = a })), "%v in %v", a, prefixes)
		}
	})
}

// addr makes an address of four bytes, the high ones in IPv6.
func addr(b []byte, v6 bool) netip.Addr {
	if !v6 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	var a [16]byte
	copy(a[:], b[:4])
	a[0] |= 0x20 // never ::ffff:0:0/96
	return netip.AddrFrom16(a)
}

func head(a netip.Addr) []byte { return a.AsSlice()[:4] }

// Locations without ids are known by name; those without either are trusted
// or not, and never confused with an id that nothing has.
func TestLocationsWithoutIDs(t *testing.T) {
	b := &policy.Bundle{
		Locations: []policy.NamedLocation{
			{Kind: policy.IPLocation, DisplayName: "Office", Ranges: []string{"198.51.100.0/24"}},
			{Kind: policy.IPLocation, IsTrusted: true, Ranges: []string{"203.0.113.0/24"}},
			{Kind: policy.IPLocation, Ranges: []string{"192.0.2.0/24"}},
		},
	}
	for _, id := range []string{"office", "AllTrusted", "elsewhere"} {
		b.Policies = append(b.Policies, rule(id, []string{"mfa"}, func(p *policy.Policy) {
			p.Conditions.Locations = &policy.LocationCondition{Include: []string{id}}
		}))
	}
	s := compile(t, b)
	require.False(t, s.Evaluable(2))
	at := func(ip string) []string {
		return applies(s, ask(func(in *policy.SignIn) {
			in.IP, in.Locations = netip.MustParseAddr(ip), s.Symbols(nil, []string{"elsewhere"})
		}))
	}
	require.Equal(t, []string{"office"}, at("198.51.100.1"))
	require.Equal(t, []string{"AllTrusted"}, at("203.0.113.1"))
	require.Empty(t, at("192.0.2.1"))
}

func TestLoadKindsOfLocations(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       policy.LocationKind
	}{
		{"in another casing", `{"@odata.type":"#Microsoft.Graph.CountryNamedLocation","countriesAndRegions":["DE"]}`, policy.CountryLocation},
		{"without the mark", `{"@odata.type":"microsoft.graph.serviceTagNamedLocation","serviceTags":["AzureCloud"]}`, policy.ServiceTagLocation},
		{"by its ranges", `{"ipRanges":["192.0.2.0/24"]}`, policy.IPLocation},
		{"by its countries", `{"countriesAndRegions":["DE"]}`, policy.CountryLocation},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, diags := load(t, tt.text)
			require.Len(t, b.Locations, 1)
			require.Equal(t, tt.want, b.Locations[0].Kind)
			for _, d := range diags {
				require.NotEqual(t, policy.SeverityError, d.Severity, d.String())
			}
		})
	}
}

// A location that cannot be evaluated is reported when it is loaded, whether or
// not a policy refers to it.
func TestLoadBadLocation(t *testing.T) {
	for text, want := range map[string]string{
		`{"@odata.type":"#microsoft.graph.moonNamedLocation","displayName":"Base"}`: `$: error: location "Base": unknown kind of location "#microsoft.graph.moonNamedLocation" (bad-location)`,
		`{"displayName":"Abroad","countriesAndRegions":["DEU"]}`:                    `$: error: location "Abroad": "DEU" is not a country code (bad-location)`,
	} {
		_, diags := load(t, text)
		require.Len(t, diags, 1)
		require.Equal(t, want, diags[0].String())
		diags[0].File = "places.json"
		require.Equal(t, "places.json: "+want, diags[0].String())
	}
}
