package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

func TestRestrictedStrengths(t *testing.T) {
	b := &policy.Bundle{
		Strengths: []policy.Strength{
			{ID: "keys", AllowedCombinations: []string{"fido2", "password,sms,voice"}, Configurations: []policy.CombinationConfig{{AppliesTo: []string{"fido2"}, AllowedAAGUIDs: []string{"a-1", "a-2"}}}},
			{ID: "cards", AllowedCombinations: []string{"x509CertificateMultiFactor"}, Configurations: []policy.CombinationConfig{{AllowedIssuerSKIs: []string{"9A4248C6"}, AllowedPolicyOIDs: []string{"1.2.3"}}}},
			{ID: "hello", AllowedCombinations: []string{"windowsHelloForBusiness"}},
			{ID: "models", AllowedCombinations: []string{"fido2", "password,sms", "federatedSingleFactor,voice", "x509CertificateMultiFactor"}, Configurations: []policy.CombinationConfig{{AllowedAAGUIDs: []string{"a-1"}}}},
			{ID: "password", AllowedCombinations: []string{"password"}},
		},
	}
	for _, id := range []string{"keys", "cards", "hello", "models", "password"} {
		b.Policies = append(b.Policies, rule(id, nil, func(p *policy.Policy) {
			p.GrantControls.AuthenticationStrength = &policy.Strength{ID: id}
			p.Conditions.Applications.Include = []string{id}
		}))
	}
	s := compile(t, b)
	for _, tt := range []struct {
		name, app string
		change    func(*policy.SignIn)
		want      policy.Outcome
	}{
		{"model", "keys", func(in *policy.SignIn) { in.Methods, in.AAGUID = claims.FIDO2, "A-2" }, policy.OutcomeGrant},
		{"other model", "keys", func(in *policy.SignIn) { in.Methods, in.AAGUID = claims.FIDO2, "a-3" }, policy.OutcomeInterrupt},
		{"unknown model", "keys", func(in *policy.SignIn) { in.Methods = claims.FIDO2 }, policy.OutcomeInterrupt},
		{"another combination", "keys", func(in *policy.SignIn) { in.Methods = claims.Password | claims.SMS | claims.Voice }, policy.OutcomeGrant},
		{"part of a combination", "keys", func(in *policy.SignIn) { in.Methods = claims.Password | claims.SMS }, policy.OutcomeInterrupt},
		{"issuer and policy", "cards", func(in *policy.SignIn) {
			in.Methods, in.CertIssuerSKI, in.CertPolicyOIDs = claims.CertificateMultiFactor, "9a4248c6", []string{"1", "1.2.3"}
		}, policy.OutcomeGrant},
		{"issuer only", "cards", func(in *policy.SignIn) { in.Methods, in.CertIssuerSKI = claims.CertificateMultiFactor, "9a4248c6" }, policy.OutcomeInterrupt},
		{"another issuer", "cards", func(in *policy.SignIn) {
			in.Methods, in.CertIssuerSKI, in.CertPolicyOIDs = claims.CertificateMultiFactor, "00000000", []string{"1.2.3"}
		}, policy.OutcomeInterrupt},
		{"a model, of all combinations with keys", "models", func(in *policy.SignIn) { in.Methods, in.AAGUID = claims.FIDO2, "a-1" }, policy.OutcomeGrant},
		{"another model, of all combinations with keys", "models", func(in *policy.SignIn) { in.Methods, in.AAGUID = claims.FIDO2, "a-2" }, policy.OutcomeInterrupt},
		{"models are a matter of keys", "models", func(in *policy.SignIn) { in.Methods = claims.Password | claims.SMS }, policy.OutcomeGrant},
		{"and not of certificates", "models", func(in *policy.SignIn) { in.Methods = claims.CertificateMultiFactor }, policy.OutcomeGrant},
		{"the second factor of another combination", "models", func(in *policy.SignIn) { in.Methods = claims.Password | claims.Voice }, policy.OutcomeInterrupt},
		{"the other combination", "models", func(in *policy.SignIn) { in.Methods = claims.FederatedSingleFactor | claims.Voice }, policy.OutcomeGrant},
		{"one method", "password", func(in *policy.SignIn) { in.Methods = claims.Password }, policy.OutcomeGrant},
		{"not the one method", "password", func(in *policy.SignIn) { in.Methods = claims.SMS }, policy.OutcomeInterrupt},
		{"the sixth policy does not count", "cards", func(in *policy.SignIn) {
			in.Methods, in.CertIssuerSKI, in.CertPolicyOIDs = claims.CertificateMultiFactor, "9a4248c6", []string{"1", "2", "3", "4", "5", "1.2.3"}
		}, policy.OutcomeInterrupt},
		{"Hello is not a step-up", "hello", func(in *policy.SignIn) { in.Methods = claims.Password }, policy.OutcomeBlock},
		{"Hello", "hello", func(in *policy.SignIn) { in.Methods = claims.WindowsHello }, policy.OutcomeGrant},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := ask(tt.change)
			in.AppID = tt.app
			require.Equal(t, tt.want, s.Evaluate(in).Outcome)
		})
	}
}

// A strength that is embedded whole in a policy counts for every policy that
// names its id, unless the bundle has it; the first of an id counts.
func TestEmbeddedStrengths(t *testing.T) {
	demand := func(id string, combinations ...string) policy.Policy {
		return rule(strings.Join(append(combinations, id), " "), nil, func(p *policy.Policy) {
			p.Conditions.Applications.Include = []string{id}
			p.GrantControls.AuthenticationStrength = &policy.Strength{ID: id, AllowedCombinations: combinations}
		})
	}
	s := compile(t, &policy.Bundle{
		Strengths: []policy.Strength{
			{ID: "held", AllowedCombinations: []string{"fido2"}},
			{ID: "HELD", AllowedCombinations: []string{"password"}},
			{ID: "empty"},
		},
		Policies: []policy.Policy{
			demand("embedded"), demand("Embedded", "fido2"), demand("held", "password"), demand("empty", "fido2"),
			demand("nowhere"), demand("odd", "telepathy"),
		},
	})
	for i, want := range []bool{true, true, true, true, false, false} {
		require.Equal(t, want, s.Evaluable(i), s.Policy(i).ID)
	}
	for _, app := range []string{"embedded", "held", "empty"} {
		for m, want := range map[claims.Methods]policy.Outcome{claims.FIDO2: policy.OutcomeGrant, claims.Password: policy.OutcomeInterrupt} {
			require.Equal(t, want, s.Evaluate(ask(func(in *policy.SignIn) { in.AppID, in.Methods = app, m })).Outcome, app)
		}
	}
	require.Equal(t, 1, s.Evaluate(ask(func(in *policy.SignIn) { in.AppID = "odd" })).Unevaluable)
	require.Equal(t, policy.ReasonInvalidPolicy, s.Explain(ask(func(in *policy.SignIn) { in.AppID = "odd" })).Policies[5].Reasons)
	var told []string
	for _, d := range s.Diagnostics() {
		told = append(told, d.String())
	}
	require.ElementsMatch(t, []string{
		`$.strengths[1]: warning: a strength of this id was there before: the first one counts (duplicate)`,
		`$.policies[4].grantControls.authenticationStrength: error: the bundle has no authentication strength "nowhere" (no-strength)`,
		`$.policies[5].grantControls.authenticationStrength: error: unknown authentication method "telepathy" (bad-strength)`,
	}, told)
}

// A strength that is embedded without an id is its policy's own: no other one without
// an id takes its place, in a policy or in the bundle.
func TestStrengthsWithoutIDs(t *testing.T) {
	models := func(ids ...string) []policy.CombinationConfig {
		return []policy.CombinationConfig{{AllowedAAGUIDs: ids}}
	}
	password := policy.Strength{AllowedCombinations: []string{"password"}}
	keys := policy.Strength{AllowedCombinations: []string{"fido2"}}
	for _, tt := range []struct {
		name      string
		held      []policy.Strength
		own       []policy.Strength // of one policy each
		evaluable []bool
	}{
		{"one", nil, []policy.Strength{keys}, []bool{true}},
		{"two that are alike", nil, []policy.Strength{keys, {DisplayName: "Keys", AllowedCombinations: []string{"fido2"}}}, []bool{true, true}},
		{"two of other combinations", nil, []policy.Strength{password, keys}, []bool{true, false}},
		{"two of other models", nil, []policy.Strength{
			{AllowedCombinations: []string{"fido2"}, Configurations: models("a")},
			{AllowedCombinations: []string{"fido2"}, Configurations: models("b")},
		}, []bool{true, false}},
		{"another in the bundle", []policy.Strength{password}, []policy.Strength{keys}, []bool{false}},
		{"nothing but the absence of an id", []policy.Strength{password}, []policy.Strength{{}}, []bool{false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &policy.Bundle{Strengths: tt.held}
			for i := range tt.own {
				b.Policies = append(b.Policies, rule("p", nil, func(p *policy.Policy) { p.GrantControls.AuthenticationStrength = &tt.own[i] }))
			}
			s := compile(t, b, policy.FailClosed())
			for i, want := range tt.evaluable {
				require.Equal(t, want, s.Evaluable(i), "policy %d", i)
			}
			d := s.Evaluate(ask(func(in *policy.SignIn) { in.Methods = claims.Password }))
			require.NotEqual(t, policy.OutcomeGrant, d.Outcome, "a password is not enough for any of them")
		})
	}
}

// The strength of a policy that names the registration of security information
// replaces others there and nowhere else, in sets of every size.
func TestStrengthOfRegistration(t *testing.T) {
	demand := func(id string, change func(*policy.Policy)) func(*policy.Policy) {
		return func(p *policy.Policy) {
			p.GrantControls.AuthenticationStrength = &policy.Strength{ID: id}
			change(p)
		}
	}
	off := rule("off", nil, func(p *policy.Policy) { p.State = policy.StateDisabled })
	for _, others := range []int{0, 300, 4_200} {
		s := setOf(t, append(slices.Repeat([]policy.Policy{off}, others),
			rule("everywhere", nil, demand(policy.StrengthPhishingResistant, func(*policy.Policy) {})),
			rule("registration", nil, demand(policy.StrengthMFA, func(p *policy.Policy) {
				p.Conditions.Applications = &policy.ApplicationCondition{Include: []string{"portal"}, UserActions: []string{"urn:user:registersecurityinfo"}}
			})))...)
		for _, tt := range []struct {
			name   string
			change func(*policy.SignIn)
			want   policy.Outcome
		}{
			{"registration", func(in *policy.SignIn) { in.AppID, in.Action = "", policy.ActionRegisterSecurityInfo }, policy.OutcomeGrant},
			{"an application of the same policy", func(in *policy.SignIn) { in.AppID = "portal" }, policy.OutcomeInterrupt},
			{"the application from a place that is looked up", func(in *policy.SignIn) { in.AppID, in.CompliantNetwork = "portal", true }, policy.OutcomeInterrupt},
		} {
			t.Run(fmt.Sprintf("%d more/%s", others, tt.name), func(t *testing.T) {
				in := ask(tt.change, func(in *policy.SignIn) { in.Methods = claims.Password | claims.SMS })
				require.Equal(t, tt.want, s.Evaluate(in).Outcome)
				e := s.Explain(in)
				require.Equal(t, tt.want, e.Decision.Outcome)
				require.Equal(t, tt.want == policy.OutcomeGrant, e.Policies[others].Grants[0].Satisfied)
				in.Subject = s.Subject(in.User)
				require.Equal(t, tt.want, s.Evaluate(in).Outcome, "of a user whose row was made before")
			})
		}
	}
}

// Beyond the first 128 different grants of a set, each policy is judged by itself, as
// strictly.
func TestStrengthAmongManyGrants(t *testing.T) {
	for _, others := range []int{0, 127, 128, 129} {
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			var policies []policy.Policy
			in := ask(func(in *policy.SignIn) { in.Methods = claims.Password })
			for i := range others {
				terms := []string{fmt.Sprint("terms ", i)}
				in.AcceptedTerms = append(in.AcceptedTerms, terms...)
				policies = append(policies, rule("terms", nil, func(p *policy.Policy) { p.GrantControls.TermsOfUse = terms }))
			}
			s := setOf(t, append(policies, rule("strength", nil, func(p *policy.Policy) {
				p.GrantControls.AuthenticationStrength = &policy.Strength{ID: policy.StrengthMFA}
			}))...)
			require.Equal(t, []policy.ControlKind{policy.AuthenticationStrength}, prompts(s.Evaluate(in)))
			in.Methods |= claims.SMS
			require.Equal(t, policy.OutcomeGrant, s.Evaluate(in).Outcome)
		})
	}
}
