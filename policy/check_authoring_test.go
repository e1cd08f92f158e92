package policy_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

// What Entra would refuse to save, or its author hardly meant, is evaluated and
// reported. The pages are named in check_authoring.go.
func TestAuthoring(t *testing.T) {
	userRisk := func(p *policy.Policy) { p.Conditions.UserRiskLevels = []string{"high"} }
	all := func(p *policy.Policy) { p.GrantControls.Operator = "AND" }
	for _, tt := range []struct {
		name     string
		grant    []string
		change   []func(*policy.Policy)
		warnings []string // a part of each
	}{
		{"a policy as it should be", []string{"mfa"}, nil, nil},
		{"nothing demanded", nil, nil, []string{"neither a grant control nor a session control"}},
		{"a session control that is off", nil, []func(*policy.Policy){func(p *policy.Policy) {
			p.SessionControls = &policy.SessionControls{PersistentBrowser: &policy.PersistentBrowser{Mode: "never"}}
		}}, []string{"neither a grant control nor a session control"}},
		{"a session control alone", nil, []func(*policy.Policy){func(p *policy.Policy) {
			p.GrantControls, p.SessionControls = nil, &policy.SessionControls{PersistentBrowser: &policy.PersistentBrowser{IsEnabled: true, Mode: "never"}}
		}}, nil},
		{"password change as the template has it", []string{"mfa", "passwordChange"}, []func(*policy.Policy){userRisk, all}, nil},
		{"password change alone", []string{"passwordChange"}, []func(*policy.Policy){userRisk}, nil},
		{"password change for one app", []string{"mfa", "passwordChange"}, []func(*policy.Policy){userRisk, all, apps([]string{exchange}, nil)}, []string{"needs all resources"}},
		{"password change with an exclusion", []string{"mfa", "passwordChange"}, []func(*policy.Policy){userRisk, all, apps([]string{"All"}, []string{exchange})}, []string{"needs all resources"}},
		{"password change by platform", []string{"mfa", "passwordChange"}, []func(*policy.Policy){userRisk, all, func(p *policy.Policy) {
			p.Conditions.Platforms = &policy.PlatformCondition{Include: []string{"windows"}}
		}}, []string{"user risk only"}},
		{"password change by sign-in risk", []string{"mfa", "passwordChange"}, []func(*policy.Policy){userRisk, all, func(p *policy.Policy) {
			p.Conditions.SignInRiskLevels = []string{"high"}
		}}, []string{"user risk only"}},
		{"password change by risk of a workload", []string{"mfa", "passwordChange"}, []func(*policy.Policy){userRisk, all, func(p *policy.Policy) {
			p.Conditions.ServicePrincipalRiskLevels = []string{"high"}
		}}, []string{"user risk only"}},
		{"password change by insider risk", []string{"mfa", "passwordChange"}, []func(*policy.Policy){userRisk, all, func(p *policy.Policy) {
			p.Conditions.InsiderRiskLevels = policy.Flags{"elevated"}
		}}, []string{"user risk only"}},
		{"password change by risk of an agent", []string{"mfa", "passwordChange"}, []func(*policy.Policy){userRisk, all, func(p *policy.Policy) {
			p.Conditions.AgentIDRiskLevels = policy.Flags{"high"}
		}}, []string{"user risk only"}},
		{"password change with a strength", []string{"passwordChange"}, []func(*policy.Policy){userRisk, all, func(p *policy.Policy) {
			p.GrantControls.AuthenticationStrength = &policy.Strength{ID: policy.StrengthMFA}
		}}, nil},
		{"password change or a strength", []string{"passwordChange"}, []func(*policy.Policy){userRisk, func(p *policy.Policy) {
			p.GrantControls.AuthenticationStrength = &policy.Strength{ID: policy.StrengthMFA}
		}}, []string{"as an alternative to MFA"}},
		{"password change and a device", []string{"passwordChange", "compliantDevice"}, []func(*policy.Policy){userRisk, all}, []string{"other controls than MFA"}},
		{"password change or MFA", []string{"mfa", "passwordChange"}, []func(*policy.Policy){userRisk}, []string{"as an alternative to MFA"}},
		{"registering devices", []string{"mfa"}, []func(*policy.Policy){registering(func(*policy.Policy) {})}, nil},
		{"registering compliant devices", []string{"compliantDevice"}, []func(*policy.Policy){registering(func(*policy.Policy) {})}, []string{"compliantDevice is not available"}},
		{"registering devices by filter", []string{"mfa"}, []func(*policy.Policy){registering(func(p *policy.Policy) {
			p.Conditions.Devices = &policy.DeviceCondition{Filter: &policy.Filter{Mode: "exclude", Rule: `device.model -eq "X"`}}
		})}, []string{"conditions on devices"}},
		{"registering devices by client", []string{"mfa"}, []func(*policy.Policy){registering(func(p *policy.Policy) {
			p.Conditions.ClientAppTypes = []string{"browser"}
		})}, []string{"client apps are not available"}},
		{"guests twice", []string{"mfa"}, []func(*policy.Policy){users(policy.UserCondition{
			IncludeUsers: []string{"GuestsOrExternalUsers"}, IncludeGuests: &policy.GuestCondition{Types: policy.Flags{"internalGuest"}},
		})}, []string{"one or the other"}},
		{"guests twice, excluded", []string{"mfa"}, []func(*policy.Policy){users(policy.UserCondition{
			IncludeUsers: []string{"All"}, ExcludeUsers: []string{"GuestsOrExternalUsers"}, ExcludeGuests: &policy.GuestCondition{Types: policy.Flags{"internalGuest"}},
		})}, []string{"one or the other"}},
		{"names of users and groups", []string{"mfa"}, []func(*policy.Policy){users(policy.UserCondition{
			IncludeUsers: []string{"alice@contoso.com"}, ExcludeGroups: []string{"staff@contoso.com"},
		})}, []string{`"alice@contoso.com" is a user name`, `"staff@contoso.com" is a user name`}},
		{"block and MFA", []string{"block", "mfa"}, nil, []string{"block beside"}},
		{"block and terms of use", []string{"block"}, []func(*policy.Policy){func(p *policy.Policy) {
			p.GrantControls.TermsOfUse = []string{"tou"}
		}}, []string{"block beside"}},
		{"block and a custom control", []string{"block"}, []func(*policy.Policy){func(p *policy.Policy) {
			p.GrantControls.CustomFactors = []string{"Duo"}
		}}, []string{"block beside"}},
		{"MFA of a workload", []string{"mfa"}, []func(*policy.Policy){workloads}, []string{"can only be blocked"}},
		{"nothing demanded of a workload", nil, []func(*policy.Policy){workloads}, []string{"neither a grant control nor a session control"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := setOf(t, rule("p", tt.grant, tt.change...))
			found := diagnosed(s, policy.CodeAuthoring)
			require.Len(t, found, len(tt.warnings), "%v", found)
			for i, want := range tt.warnings {
				require.Contains(t, found[i].Message, want)
				require.Equal(t, policy.SeverityWarning, found[i].Severity)
				require.True(t, strings.HasPrefix(found[i].Path, "$.policies[0]."), found[i].Path)
			}
		})
	}
}

func workloads(p *policy.Policy) {
	p.Conditions.Users = nil
	p.Conditions.ClientApplications = &policy.ClientApplicationCondition{Include: []string{"ServicePrincipalsInMyTenant"}}
}

func registering(change func(*policy.Policy)) func(*policy.Policy) {
	return func(p *policy.Policy) {
		p.Conditions.Applications = &policy.ApplicationCondition{UserActions: []string{"urn:user:registerdevice"}}
		change(p)
	}
}
