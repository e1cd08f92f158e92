package policy_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

// In Teams, policies for direct connect users of one tenant reach its collaboration
// users, wherever in a set of several windows they are; those of another tenant, and
// those that exclude, do not.
func TestSharedChannelsInLargeSets(t *testing.T) {
	from := func(tenants ...string) *policy.GuestCondition {
		return &policy.GuestCondition{
			Types: policy.Flags{"b2bDirectConnectUser"}, Tenants: &policy.ExternalTenants{MembershipKind: "enumerated", Members: tenants},
		}
	}
	policies := slices.Repeat([]policy.Policy{rule("off", nil, func(p *policy.Policy) { p.State = policy.StateDisabled })}, 4_200)
	var want []string
	for _, i := range []int{5, 255, 256, 300, 4_095, 4_096, 4_101, 4_199} {
		policies[i] = rule(strconv.Itoa(i), []string{"mfa"}, users(policy.UserCondition{IncludeGuests: from("contoso", "fabrikam")}))
		want = append(want, strconv.Itoa(i))
	}
	policies[10] = rule("elsewhere", []string{"mfa"}, users(policy.UserCondition{IncludeGuests: from("contoso")}))
	policies[11] = rule("not those", []string{"mfa"}, users(policy.UserCondition{ExcludeGuests: from("fabrikam")}))
	s := setOf(t, policies...)
	in := ask(func(in *policy.SignIn) {
		in.AppID = "cc15fd57-2c6c-4117-a88c-83b1d56b4bbe"
		in.User.Guest, in.User.HomeTenant = policy.GuestB2BCollaboration, "fabrikam"
	})
	require.Equal(t, want, applies(s, in))
	require.Equal(t, len(want), s.Evaluate(in).Applied)
	in.Subject = s.Subject(in.User)
	require.Equal(t, want, applies(s, in), "of a user whose row was made before")
}
