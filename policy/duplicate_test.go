package policy_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

// Of two named locations with one id the first counts, in either order.
func TestFirstDuplicateLocationWins(t *testing.T) {
	office := policy.NamedLocation{Kind: policy.IPLocation, ID: "office", Ranges: []string{"198.51.100.0/24"}}
	elsewhere := policy.NamedLocation{Kind: policy.IPLocation, ID: "office", Ranges: []string{"203.0.113.0/24"}}
	for _, tt := range []struct {
		name      string
		locations []policy.NamedLocation
		blocked   string
		free      string
	}{
		{"office first", []policy.NamedLocation{office, elsewhere}, "198.51.100.7", "203.0.113.7"},
		{"elsewhere first", []policy.NamedLocation{elsewhere, office}, "203.0.113.7", "198.51.100.7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := load(t, `[{"id":"a","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},
				"locations":{"includeLocations":["office"]}},"grantControls":{"operator":"OR","builtInControls":["block"]}}]`)
			b.Locations = tt.locations
			s := compile(t, b)
			outcome := func(ip string) policy.Outcome {
				d := s.Evaluate(&policy.SignIn{User: &policy.User{ID: "u"}, AppID: "app", ClientApp: policy.ClientBrowser, IP: netip.MustParseAddr(ip)})
				return d.Outcome
			}
			require.NotEqual(t, outcome(tt.free), outcome(tt.blocked))
			require.Equal(t, policy.OutcomeBlock, outcome(tt.blocked))
		})
	}
}
