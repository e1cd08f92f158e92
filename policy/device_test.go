package policy_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// A device is the same to a policy however the request describes it, and in sets
// of every size. A request that cannot show a device has none, whatever is said of it.
func TestWaysToTellTheDevice(t *testing.T) {
	laptop := &policy.Device{TrustType: policy.TrustJoined, Model: "X1"}
	desktop := &policy.Device{TrustType: policy.TrustJoined, Model: "Z2"}
	on := func(model string) policy.Policy {
		return rule(model, []string{"block"}, func(p *policy.Policy) {
			p.Conditions.Devices = &policy.DeviceCondition{Filter: &policy.Filter{Mode: "include", Rule: `device.model -eq "` + model + `"`}}
		})
	}
	off := rule("off", []string{"block"}, func(p *policy.Policy) { p.State = policy.StateDisabled })
	for name, s := range map[string]*policy.Set{
		"few policies":  setOf(t, on("X1"), on("Z2")),
		"many policies": setOf(t, append(slices.Repeat([]policy.Policy{off}, 300), on("X1"), on("Z2"))...),
	} {
		for _, tt := range []struct {
			name   string
			change func(*policy.SignIn)
			want   []string
		}{
			{"not at all", func(*policy.SignIn) {}, nil},
			{"by its facts", func(in *policy.SignIn) { in.Device = laptop }, []string{"X1"}},
			{"by its row", func(in *policy.SignIn) { in.Endpoint = s.Endpoint(laptop) }, []string{"X1"}},
			{"by both, of which the row counts", func(in *policy.SignIn) { in.Endpoint, in.Device = s.Endpoint(laptop), desktop }, []string{"X1"}},
			{"by its facts in a device code flow", func(in *policy.SignIn) { in.Device, in.Flow = laptop, policy.TransferDeviceCode }, nil},
			{"by its row in a device code flow", func(in *policy.SignIn) { in.Endpoint, in.Flow = s.Endpoint(laptop), policy.TransferDeviceCode }, nil},
			{"by its facts over a legacy protocol", func(in *policy.SignIn) { in.Device, in.ClientApp = laptop, policy.ClientOther }, nil},
			{"by its facts at home, without trust", func(in *policy.SignIn) { in.Device, in.User.Guest = laptop, policy.GuestB2BCollaboration }, nil},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				in := ask(tt.change)
				decide := func() (ids []string) {
					d := s.Evaluate(in)
					for p := range d.Policies() {
						ids = append(ids, p.ID)
					}
					require.Equal(t, tt.want, applies(s, in))
					return ids
				}
				require.Equal(t, tt.want, decide())
				in.Subject, in.User = s.Subject(in.User), nil
				require.Equal(t, tt.want, decide(), "of a user whose row was made before")
			})
		}
	}
}

// A device's row grants what its facts do, and counts before them.
func TestRowsOfDevicesGrant(t *testing.T) {
	compliant := setOf(t, rule("p", []string{"compliantDevice"}))
	hybrid := setOf(t, rule("p", []string{"domainJoinedDevice"}))
	joined := &policy.Device{TrustType: policy.TrustHybrid}
	outcome := func(s *policy.Set, row, facts *policy.Device) policy.Outcome {
		return s.Evaluate(ask(func(in *policy.SignIn) { in.Endpoint, in.Device = s.Endpoint(row), facts })).Outcome
	}
	require.Equal(t, policy.OutcomeGrant, outcome(compliant, compliantLaptop, nil))
	require.Equal(t, policy.OutcomeGrant, outcome(hybrid, joined, nil))
	require.Equal(t, policy.OutcomeInterrupt, outcome(compliant, nil, compliantLaptop))
	require.Equal(t, policy.OutcomeInterrupt, outcome(hybrid, compliantLaptop, joined))
}

// The older lists tell compliant devices and hybrid joined ones apart.
func TestListsOfDeviceStates(t *testing.T) {
	listed := func(name string, include, exclude policy.Flags) policy.Policy {
		return rule(name, []string{"mfa"}, func(p *policy.Policy) {
			p.Conditions.DeviceStates = &policy.DeviceStateCondition{Include: include, Exclude: exclude}
		})
	}
	s := setOf(t,
		listed("compliant", policy.Flags{"Compliant"}, nil), listed("hybrid", policy.Flags{"domainJoined"}, nil),
		listed("not compliant", policy.Flags{"All"}, policy.Flags{"Compliant"}), listed("not hybrid", policy.Flags{"All"}, policy.Flags{"DomainJoined"}))
	for _, tt := range []struct {
		name   string
		device *policy.Device
		want   []string
	}{
		{"none", nil, []string{"not compliant", "not hybrid"}},
		{"compliant", compliantLaptop, []string{"compliant", "not hybrid"}},
		{"hybrid joined", &policy.Device{TrustType: policy.TrustHybrid}, []string{"hybrid", "not compliant"}},
		{"both", &policy.Device{TrustType: policy.TrustHybrid, Compliant: claims.Yes}, []string{"compliant", "hybrid"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, applies(s, ask(func(in *policy.SignIn) { in.Device = tt.device })))
		})
	}
}
