package policy

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// ownEverything makes a set in which every policy has its own device filter,
// location and terms of use.
func ownEverything(t testing.TB, n int) *Set {
	t.Helper()
	b := &Bundle{}
	for i := range n {
		b.Locations = append(b.Locations, NamedLocation{
			Kind: IPLocation, ID: fmt.Sprintf("place-%d", i), Ranges: []string{fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)},
		})
		b.Policies = append(b.Policies, Policy{
			ID: fmt.Sprint(i), State: StateEnabled,
			Conditions: Conditions{
				Users:     &UserCondition{IncludeUsers: []string{"All"}},
				Devices:   &DeviceCondition{Filter: &Filter{Mode: "exclude", Rule: fmt.Sprintf(`device.displayName -eq "PC-%d"`, i)}},
				Locations: &LocationCondition{Include: []string{"All"}, Exclude: []string{fmt.Sprintf("place-%d", i)}},
			},
			GrantControls: &GrantControls{Operator: "OR", TermsOfUse: []string{fmt.Sprintf("terms-%d", i)}},
		})
	}
	s, err := Compile(b)
	require.NoError(t, err)
	return s
}

// Judging an unbound device asks each rule no more often than there are
// policies that have it, and sets no more bits: the cost grows with the number
// of policies, not with its square.
func TestFiltersGrowWithPolicies(t *testing.T) {
	const window = windowBlocks * blockSize
	for _, n := range []int{1, 300, window, window + 1, 9_000} {
		s := ownEverything(t, n)
		rules, posts, blocks := 0, 0, 0
		for _, w := range s.devices.filters.windows {
			rules += len(w)
			for _, f := range w {
				posts += len(f.posts)
				blocks += len(f.rows.inc) + len(f.rows.exc)
			}
		}
		require.Len(t, s.devices.filters.windows, (n+window-1)/window)
		require.Equal(t, n, rules)
		require.Equal(t, n, posts)
		require.Zero(t, blocks)
		in := &SignIn{User: &User{ID: "u"}, AppID: "a", ClientApp: ClientBrowser, Device: &Device{TrustType: TrustJoined, DisplayName: fmt.Sprintf("PC-%d", n-1)}}
		facts := s.Evaluate(in)
		require.Equal(t, n-1, facts.Applied, "all but the one that excludes the device")
		in.Endpoint = s.Endpoint(in.Device)
		require.Equal(t, s.Evaluate(in), facts)
	}
}

// The locations that an address can be in at once are one set, however many ranges
// and countries lead to it.
func TestSetsOfLocations(t *testing.T) {
	s, err := Compile(&Bundle{Locations: []NamedLocation{
		{Kind: IPLocation, ID: "office", Ranges: []string{"10.0.0.0/24", "10.0.2.0/24", "2001:db8::/32"}},
		{Kind: IPLocation, ID: "floor", Ranges: []string{"10.0.0.0/28", "10.0.2.0/28"}},
		{Kind: CountryLocation, ID: "here", Countries: []string{"DE", "AT", "CH"}},
	}})
	require.NoError(t, err)
	places := s.locations.bySymbol
	at := func(ids ...string) (set []int) {
		for _, id := range ids {
			set = append(set, places[s.ids.find(id)])
		}
		return set
	}
	require.ElementsMatch(t, [][]int{nil, at("office"), at("office", "floor"), at("floor"), at("here"), at(trustedIPsID), at(compliantNetworkID)}, s.locations.members)
	require.Len(t, s.locations.sets.cells, 2*len(s.locations.members), "what includes by it, and what excludes")
}

// A rule that many policies share is one row, and rows hold no more than a
// block for every two policies.
func TestSharedFiltersAreRows(t *testing.T) {
	b := &Bundle{}
	for i := range 9_000 {
		b.Policies = append(b.Policies, Policy{
			ID: fmt.Sprint(i), State: StateEnabled,
			Conditions: Conditions{
				Users:   &UserCondition{IncludeUsers: []string{"All"}},
				Devices: &DeviceCondition{Filter: &Filter{Mode: []string{"include", "exclude"}[i%2], Rule: fmt.Sprintf(`device.model -eq "M%d"`, i%7)}},
			},
			GrantControls: &GrantControls{Operator: "OR", BuiltInControls: []string{"mfa"}},
		})
	}
	s, err := Compile(b)
	require.NoError(t, err)
	blocks := 0
	for _, w := range s.devices.filters.windows {
		require.Len(t, w, 7)
		for _, f := range w {
			require.NotEmpty(t, f.rows.inc)
			blocks += len(f.rows.inc)
		}
	}
	require.Equal(t, 7*s.blocks, blocks, "of the last window no more than there is of it")
	require.LessOrEqual(t, blocks, 9_000/2)
	in := &SignIn{User: &User{ID: "u"}, AppID: "a", ClientApp: ClientBrowser, Device: &Device{TrustType: TrustJoined, Model: "M3"}}
	facts := s.Evaluate(in)
	in.Endpoint = s.Endpoint(in.Device)
	require.Equal(t, s.Evaluate(in), facts)
	require.Zero(t, testing.AllocsPerRun(5, func() { in.Endpoint = nil; s.Evaluate(in) }))
}

// Rows of one block hold as much as a list of two.
func TestRulesOfFewPoliciesAreLists(t *testing.T) {
	for sharing, rows := range map[int]int{1: 0, 2: 0, 3: 1} {
		b := &Bundle{}
		for range sharing {
			b.Policies = append(b.Policies, Policy{
				State:      StateEnabled,
				Conditions: Conditions{Devices: &DeviceCondition{Filter: &Filter{Mode: "include", Rule: `device.model -eq "X1"`}}},
			})
		}
		s, err := Compile(b)
		require.NoError(t, err)
		require.Len(t, s.devices.filters.windows[0], 1)
		require.Len(t, s.devices.filters.windows[0][0].rows.inc, rows, "%d policies", sharing)
	}
}

// The numbers that a selector keeps end with the last id that policies mention.
func TestNumbersOfIDs(t *testing.T) {
	var groups []string
	for i := range 100 {
		groups = append(groups, fmt.Sprintf("group-%d", i))
	}
	s, err := Compile(&Bundle{Policies: []Policy{{Conditions: Conditions{Users: &UserCondition{IncludeGroups: groups}}}}})
	require.NoError(t, err)
	require.Len(t, s.groups.number, int(s.ids.find(groups[99]))+1)
	require.Len(t, s.groups.posts, 1+100)
}

// BenchmarkOwnEverything is the worst set: it shows the growth in time.
func BenchmarkOwnEverything(b *testing.B) {
	for _, n := range []int{1_000, 2_000, 4_000, 8_000} {
		s := ownEverything(b, n)
		in := &SignIn{User: &User{ID: "u"}, AppID: "a", ClientApp: ClientBrowser, Device: &Device{TrustType: TrustJoined, DisplayName: "PC-7"}}
		b.Run(fmt.Sprintf("policies=%d/device=facts", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Evaluate(in)
			}
		})
		bound := *in
		bound.Endpoint = s.Endpoint(in.Device)
		b.Run(fmt.Sprintf("policies=%d/device=cached", n), func(b *testing.B) {
			for b.Loop() {
				s.Evaluate(&bound)
			}
		})
	}
}

// A set takes no more blocks than its policies need: a set of one is judged the
// fastest.
func TestBlocks(t *testing.T) {
	for policies, want := range map[int]int{0: 1, 1: 1, 255: 1, 256: 1, 257: 2, 512: 2, 513: 3} {
		s, err := Compile(&Bundle{Policies: make([]Policy, policies)})
		require.NoError(t, err)
		require.Equal(t, want, s.blocks, "%d policies", policies)
	}
}

// applicationsNamed makes a set of two blocks with a policy that names n
// applications, and asks it about some.
func applicationsNamed(t *testing.T, n int) *Set {
	t.Helper()
	p := Policy{
		ID: "p", State: StateEnabled,
		Conditions: Conditions{
			Users:        &UserCondition{IncludeUsers: []string{"All"}},
			Applications: &ApplicationCondition{Include: make([]string, n)},
		},
		GrantControls: &GrantControls{Operator: "OR", BuiltInControls: []string{"block"}},
	}
	for i := range n {
		p.Conditions.Applications.Include[i] = fmt.Sprintf("app-%d", i)
	}
	s, err := Compile(&Bundle{Policies: append([]Policy{p}, make([]Policy, blockSize)...)})
	require.NoError(t, err)
	for app, want := range map[string]Outcome{"app-0": OutcomeBlock, fmt.Sprintf("app-%d", n-1): OutcomeBlock, "app": OutcomeGrant} {
		in := &SignIn{User: &User{ID: "u"}, AppID: app, ClientApp: ClientBrowser}
		require.Equal(t, want, s.Evaluate(in).Outcome, app)
		in.Subject = s.Subject(in.User)
		require.Equal(t, want, s.Evaluate(in).Outcome, "%s, of a user whose row was made before", app)
	}
	return s
}

// Each application that policies name has a row, and so have all others together.
func TestRowsOfApplications(t *testing.T) {
	require.Len(t, applicationsNamed(t, 1).appRows.cells, 2*2)
	require.Len(t, applicationsNamed(t, 7).appRows.cells, 8*2)
}

// Where they would take more memory than they may, none has, and the answers are the
// same.
func TestTooManyRowsOfApplications(t *testing.T) {
	require.Len(t, applicationsNamed(t, maxAppCells/2-1).appRows.cells, maxAppCells)
	require.Empty(t, applicationsNamed(t, maxAppCells/2).appRows.cells)
}
