package policy

import (
	"testing"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/stretchr/testify/require"
)

func TestQuick(t *testing.T) {
	b := &Bundle{Policies: []Policy{
		{ID: "p1", Conditions: Conditions{Users: &UserCondition{IncludeUsers: []string{"All"}, ExcludeGroups: []string{"glass"}}, Applications: &ApplicationCondition{Include: []string{"All"}}}, GrantControls: &GrantControls{Operator: "OR", BuiltInControls: []string{"mfa"}}},
		{ID: "p2", Conditions: Conditions{Users: &UserCondition{IncludeUsers: []string{"All"}}, Applications: &ApplicationCondition{Include: []string{"App"}}, Platforms: &PlatformCondition{Include: []string{"linux"}}}, GrantControls: &GrantControls{Operator: "OR", BuiltInControls: []string{"block"}}},
	}}
	s, err := Compile(b)
	require.NoError(t, err)
	in := &SignIn{Subject: s.Subject(&User{ID: "u"}), AppID: "x", ClientApp: MobileOrDesktop}
	d := s.Evaluate(in)
	require.Equal(t, Interrupt, d.Outcome)
	for c := range d.Prompt() {
		require.Equal(t, MFA, c.Kind)
	}
	in.Methods = claims.Password | claims.SMS
	d = s.Evaluate(in)
	require.Equal(t, Grant, d.Outcome)
	in.AppID, in.Platform = "APP", Linux
	d = s.Evaluate(in)
	require.Equal(t, Block, d.Outcome)
	for p := range d.Policies() {
		require.Equal(t, "p2", p.ID)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Evaluate(in) }))
	in.User, in.Subject = &User{ID: "u", Groups: []string{"GLASS"}}, nil
	in.AppID = "y"
	in.Methods = 0
	in.Device = &Device{}
	d = s.Evaluate(in)
	require.Equal(t, Grant, d.Outcome)
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Evaluate(in) }))
}
