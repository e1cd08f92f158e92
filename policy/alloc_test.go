package policy_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/policy/policytest"
)

// asked is one way to ask, which must not allocate.
type asked struct {
	name string
	in   policy.SignIn
}

func waysToAsk(t *policytest.Tenant, s *policy.Set) []asked {
	rows := t.Office()
	rows.Subject, rows.Endpoint = s.Subject(t.Employee(50)), s.Endpoint(t.Laptop())
	with := func(change func(*policy.SignIn)) policy.SignIn {
		in := rows
		change(&in)
		return in
	}
	return []asked{
		{"rows", rows},
		{"app symbol", with(func(in *policy.SignIn) { in.App, in.AppID = s.Symbol(in.AppID), "" })},
		{"strings", with(func(in *policy.SignIn) { in.Subject, in.User = nil, t.Employee(200) })},
		{"more groups than fit", with(func(in *policy.SignIn) { in.Subject, in.User = nil, t.Employee(1990) })},
		{"symbols", with(func(in *policy.SignIn) {
			in.Subject, in.User = nil, &policy.User{GroupSymbols: s.Symbols(nil, t.Employee(200).Groups)}
		})},
		{"device facts", with(func(in *policy.SignIn) { in.Endpoint, in.Device = nil, t.Laptop() })},
		{"all facts", with(func(in *policy.SignIn) {
			in.Subject, in.Endpoint, in.User, in.Device = nil, nil, t.Employee(50), t.Laptop()
			in.User.Guest, in.User.HomeTenant = policy.GuestB2BMember, "tenant-1"
			in.AppAttributes = []policy.Attribute{{Name: "Finance_Level", Values: []string{"high"}}}
			in.GPSCountry, in.CompliantNetwork, in.Locations = "DE", true, []policy.Symbol{s.Symbol("country-DE")}
		})},
		{"interrupt", with(func(in *policy.SignIn) { in.Methods = 0; in.AcceptedTerms = nil })},
		{"user action", with(func(in *policy.SignIn) { in.AppID, in.Action = "", policy.ActionRegisterSecurityInfo })},
		{"auth context", with(func(in *policy.SignIn) { in.AppID, in.AuthContext = "", 1 })},
		{"blocked", with(func(in *policy.SignIn) { in.Flow = policy.TransferDeviceCode })},
		{"invalid", with(func(in *policy.SignIn) { in.ClientApp = policy.ClientUnknown })},
	}
}

func TestNoAllocations(t *testing.T) {
	for _, n := range []int{0, 1, 240, 2_000, 10_000} {
		tenant := policytest.NewTenant(n, 3)
		s, err := policy.Compile(tenant.Bundle)
		require.NoError(t, err)
		var r policy.Results
		for _, a := range waysToAsk(tenant, s) {
			t.Run(fmt.Sprintf("policies=%d/%s", n, a.name), func(t *testing.T) {
				require.Zero(t, testing.AllocsPerRun(20, func() { s.Evaluate(&a.in) }), "Evaluate")
				s.EvaluateInto(&a.in, &r)
				require.Zero(t, testing.AllocsPerRun(20, func() { s.EvaluateInto(&a.in, &r) }), "EvaluateInto")
				d := s.Evaluate(&a.in)
				require.Zero(t, testing.AllocsPerRun(20, func() {
					for range d.Prompt() {
						continue
					}
					for range d.Missing() {
						continue
					}
					for range d.Policies() {
						continue
					}
				}), "reading the Decision")
			})
		}
		ids := tenant.Employee(200).Groups
		dst := make([]policy.Symbol, 0, len(ids))
		require.Zero(t, testing.AllocsPerRun(20, func() { dst = s.Symbols(dst[:0], ids) }), "Symbols")
	}
}

// No memory is taken either when more of a user's groups and roles are in policies
// than are kept from one window to the next, which are 256 with the mark between.
func TestNoAllocationsForManyRoles(t *testing.T) {
	off := rule("off", nil, func(p *policy.Policy) { p.State = policy.StateDisabled })
	for _, tt := range []struct{ groups, roles int }{{254, 1}, {255, 1}, {254, 2}, {0, 255}, {0, 256}, {256, 0}} {
		t.Run(fmt.Sprintf("groups=%d/roles=%d", tt.groups, tt.roles), func(t *testing.T) {
			policies := slices.Repeat([]policy.Policy{off}, 4_100)
			user := &policy.User{ID: "u"}
			for i := range tt.groups {
				user.Groups = append(user.Groups, fmt.Sprintf("group-%d", i))
				policies = append(policies, rule("p", nil, users(policy.UserCondition{IncludeGroups: user.Groups[i:]})))
			}
			for i := range tt.roles {
				user.Roles = append(user.Roles, fmt.Sprintf("role-%d", i))
				policies = append(policies, rule("p", nil, users(policy.UserCondition{IncludeRoles: user.Roles[i:]})))
			}
			s := setOf(t, policies...)
			in := ask(func(in *policy.SignIn) { in.User = user })
			require.Equal(t, tt.groups+tt.roles, s.Evaluate(in).Applied)
			require.Zero(t, testing.AllocsPerRun(5, func() { s.Evaluate(in) }))
		})
	}
}

// Rules are judged without memory too, whatever the casing and alphabet.
func TestNoAllocationsInRules(t *testing.T) {
	r, err := policy.ParseFilterRule(`-not (device.displayName -contains "Ärger") -and device.systemLabels -notContains "CloudPC" -or device.model -endsWith "X1"`)
	require.NoError(t, err)
	d := &policy.Device{DisplayName: "großer ÄRGER", Model: "ThinkPad x1", SystemLabels: []string{"M365Managed"}}
	require.Zero(t, testing.AllocsPerRun(20, func() { r.MatchDevice(d); r.MatchDevice(nil) }))
}

// Sets are swapped while sixteen goroutines evaluate; a Subject of the old
// Set is refused, never misread.
func TestSwapWhileEvaluating(t *testing.T) {
	tenants := []*policytest.Tenant{policytest.NewTenant(240, 1), policytest.NewTenant(300, 2)}
	var sets []*policy.Set
	for _, x := range tenants {
		s, err := policy.Compile(x.Bundle)
		require.NoError(t, err)
		sets = append(sets, s)
	}
	var current atomic.Pointer[policy.Set]
	current.Store(sets[0])
	var wg sync.WaitGroup
	var judged, refused atomic.Int64
	for range 16 {
		wg.Go(func() {
			in := tenants[0].Office()
			var r policy.Results
			for i := range 500 {
				s := current.Load()
				in.User = tenants[0].Employee(20)
				if i%50 == 0 {
					in.Subject = s.Subject(in.User)
				}
				d := s.EvaluateInto(&in, &r)
				switch {
				case d.Outcome != policy.OutcomeInvalid:
					judged.Add(1)
				case d.Reason == policy.ForeignSymbol:
					refused.Add(1)
					in.Subject = nil
				default:
					t.Errorf("reason %v", d.Reason)
				}
				if i%100 == 0 {
					s.Explain(&in)
				}
			}
		})
	}
	for i := range 500 {
		current.Store(sets[i%2])
	}
	wg.Wait()
	require.Positive(t, judged.Load())
}
