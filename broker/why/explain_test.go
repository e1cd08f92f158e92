package why_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/why"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/prt"
)

const payroll = "4a1b2c3d-0000-4000-8000-0000000000aa"

var now = time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC)

// session is a PRT of a sign-in with a password, an hour ago, and MFA or not.
func session(mfa claims.Answer) why.PRT {
	e := claims.Evidence{MFA: claims.No, Methods: claims.Password, AuthTime: now.Add(-time.Hour)}
	if mfa == claims.Yes {
		e.MFA, e.At, e.Methods = claims.Yes, now.Add(-time.Hour), claims.Password|claims.FIDO2
	}
	return why.PRT{
		Credential: prt.ByRefreshToken, State: prt.Fresh, RenewedOn: now, ExpiresOn: now.Add(14 * 24 * time.Hour), HasSessionKey: true,
		Session: claims.Session{Evidence: e, DeviceCode: claims.No},
	}
}

// snapshot is a joined machine, signed in, where all that policies look at is known.
func snapshot(t *testing.T, change func(*why.Snapshot), policies ...policy.Policy) why.Snapshot {
	t.Helper()
	none := policy.RiskNone
	s := why.Snapshot{
		Now: now, ClientID: "app", Scopes: []string{"api://payroll/.default"}, Resource: "api://payroll", ResourceID: payroll,
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64)",
		Facts: why.Facts{
			User: &policy.User{ID: "u"}, Compliant: claims.No, Device: &policy.Device{ID: "d", TrustType: policy.TrustJoined},
			IP: netip.MustParseAddr("192.0.2.1"), SignInRisk: &none, UserRisk: &none, AcceptedTerms: []string{},
		},
		Device: &why.Device{ID: "d", JoinType: prt.JoinEntra, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), Hardware: true, KeyStore: "tpm"},
		Account: &why.Account{
			ID: "u.t", LocalID: "u", Username: "alice@contoso.example", Hello: &why.Hello{}, PRTs: []why.PRT{session(claims.No)},
		},
	}
	set, err := policy.Compile(&policy.Bundle{Policies: policies})
	require.NoError(t, err)
	s.Policies = set
	if change != nil {
		change(&s)
	}
	return s
}

// enforced is an enforced policy for everybody and every app.
func enforced(name string, grant *policy.GrantControls, change func(*policy.Policy)) policy.Policy {
	p := policy.Policy{
		ID: name, DisplayName: name, State: policy.StateEnabled, GrantControls: grant,
		Conditions: policy.Conditions{
			Users:        &policy.UserCondition{IncludeUsers: []string{"All"}},
			Applications: &policy.ApplicationCondition{Include: []string{"All"}},
		},
	}
	if change != nil {
		change(&p)
	}
	return p
}

func grant(controls ...string) *policy.GrantControls {
	return &policy.GrantControls{Operator: "OR", BuiltInControls: controls}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	mfa := enforced("MFA for all", grant("mfa"), nil)
	compliant := enforced("compliant", grant("compliantDevice"), nil)
	noDeviceCode := enforced("no device code", grant("block"), func(p *policy.Policy) {
		p.Conditions.AuthenticationFlows = &policy.FlowCondition{TransferMethods: policy.Flags{"deviceCodeFlow"}}
	})
	frequency := enforced("daily", nil, func(p *policy.Policy) {
		n := 1
		p.SessionControls = &policy.SessionControls{SignInFrequency: &policy.SignInFrequency{IsEnabled: true, Value: &n, Type: "days", AuthenticationType: "primaryAndSecondaryAuthentication"}}
	})
	groups := enforced("a group", grant("mfa"), func(p *policy.Policy) {
		p.Conditions.Users = &policy.UserCondition{IncludeGroups: []string{"g"}}
	})
	risky := enforced("risk", grant("block"), func(p *policy.Policy) { p.Conditions.UserRiskLevels = []string{"high"} })
	prts := func(all ...why.PRT) func(*why.Snapshot) {
		return func(s *why.Snapshot) { s.Account.PRTs = all }
	}
	code := session(claims.Yes)
	code.Session.DeviceCode = claims.Yes
	old := session(claims.No)
	old.Session.AuthTime = now.Add(-48 * time.Hour)
	expired := session(claims.Yes)
	expired.State = prt.Expired
	for name, tt := range map[string]struct {
		change   func(*why.Snapshot)
		policies []policy.Policy
		want     why.Verdict
		because  string
	}{
		"no registration":    {func(s *why.Snapshot) { s.Device = nil }, nil, why.Asked, "not registered"},
		"none is needed":     {func(s *why.Snapshot) { s.Device, s.Unbound = nil, true }, nil, why.Unknown, "refresh token decides"},
		"nobody":             {func(s *why.Snapshot) { s.Account = nil }, nil, why.Asked, "nobody is signed in"},
		"locked":             {func(s *why.Snapshot) { s.Account.PRTs, s.Account.Locked = nil, true }, nil, why.Asked, "locked"},
		"over":               {func(s *why.Snapshot) { s.Account.PRTs, s.Account.Over = nil, "the password was changed" }, nil, why.Asked, "the password was changed"},
		"no PRT":             {prts(), nil, why.Asked, "there is no PRT"},
		"an expired PRT":     {prts(expired), nil, why.Unknown, "the service has the last word"},
		"a token in memory":  {func(s *why.Snapshot) { s.Account.TokenUntil = now.Add(time.Hour) }, []policy.Policy{mfa}, why.Silent, "a token in memory"},
		"policies not known": {func(s *why.Snapshot) { s.Policies = nil }, nil, why.Unknown, "not asked about this app yet"},
		"and what came last": {func(s *why.Snapshot) {
			s.Policies, s.Account.Last = nil, &why.Observation{Time: now, Outcome: why.OutcomeAsked, Code: 50076}
		}, nil, why.Unknown, "needed a prompt (AADSTS50076)"},
		"resource not known":    {func(s *why.Snapshot) { s.ResourceID = "" }, []policy.Policy{mfa}, why.Unknown, "ResourceID"},
		"no policy":             {nil, nil, why.Silent, "no policy applies"},
		"MFA is missing":        {nil, []policy.Policy{mfa}, why.Asked, "“MFA for all” asks for MFA"},
		"MFA is there":          {prts(session(claims.Yes)), []policy.Policy{mfa}, why.Silent, "carries the MFA claim"},
		"another PRT has it":    {prts(session(claims.No), session(claims.Yes)), []policy.Policy{mfa}, why.Silent, "carries the MFA claim"},
		"no prompt brings it":   {nil, []policy.Policy{compliant}, why.Refused, "the user cannot provide"},
		"compliance not known":  {func(s *why.Snapshot) { s.Facts.Compliant, s.Facts.Device = claims.Unknown, nil }, []policy.Policy{compliant}, why.Unknown, "whether the device is compliant"},
		"a block":               {nil, []policy.Policy{enforced("nobody", grant("block"), nil)}, why.Refused, "blocks"},
		"a device code":         {prts(code), []policy.Policy{noDeviceCode}, why.Asked, "a sign-in on a page is not refused"},
		"origin not known":      {func(s *why.Snapshot) { s.Account.PRTs[0].Session.DeviceCode = claims.Unknown }, []policy.Policy{noDeviceCode}, why.Unknown, "began with a device code"},
		"a recent sign-in":      {nil, []policy.Policy{frequency}, why.Silent, "is satisfied"},
		"an old sign-in":        {prts(old), []policy.Policy{frequency}, why.Asked, "a new sign-in"},
		"an unknown sign-in":    {func(s *why.Snapshot) { s.Account.PRTs[0].Session.AuthTime = time.Time{} }, []policy.Policy{frequency}, why.Unknown, "when the user signed in"},
		"groups not known":      {func(s *why.Snapshot) { s.Facts.User = nil }, []policy.Policy{groups}, why.Unknown, "the groups and roles"},
		"groups that are known": {nil, []policy.Policy{groups}, why.Silent, "no policy applies"},
		"risk not known":        {func(s *why.Snapshot) { s.Facts.UserRisk = nil }, []policy.Policy{risky}, why.Unknown, "the risk of the user"},
		"a policy off":          {nil, []policy.Policy{enforced("off", grant("mfa"), func(p *policy.Policy) { p.State = policy.StateDisabled })}, why.Silent, "no policy applies"},
		"a report":              {nil, []policy.Policy{enforced("report", grant("mfa"), func(p *policy.Policy) { p.State = policy.StateReportOnly })}, why.Silent, "no policy applies"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := why.Explain(snapshot(t, tt.change, tt.policies...))
			require.Equal(t, tt.want, e.Verdict, e.Because)
			require.Contains(t, e.Because, tt.because)
			require.Contains(t, e.String(), e.Because)
			require.Equal(t, "app", e.ClientID)
		})
	}
}

// What a help desk reads names the user, the facts, the policies and what came last.
func TestExplanationText(t *testing.T) {
	t.Parallel()
	s := snapshot(t, func(s *why.Snapshot) {
		s.Account.Hello = &why.Hello{Software: true}
		s.Account.Last = &why.Observation{Time: now, Outcome: why.OutcomeAsked, Code: 50076, CorrelationID: "c-1"}
	}, enforced("MFA for all", grant("mfa"), nil), enforced("trial", grant("block"), func(p *policy.Policy) { p.State = policy.StateReportOnly }))
	require.Equal(t, `alice@contoso.example is asked, because policy “MFA for all” asks for MFA, and the PRT does not have it.
App app, resource api://payroll.
  Is the device registered?          yes: d, joined
  Is its certificate valid?          yes: until 2026-03-04
  Does a TPM hold its keys?          yes: tpm
  Is the user signed in here?        yes: alice@contoso.example
  Is there a Hello key?              yes: in software: Entra accepts it as MFA, but nothing counts wrong PINs
  Is there a PRT?                    yes: from refresh_token, fresh, renewed 2026-03-04 09:00:00.000 UTC, expires 2026-03-18 09:00:00.000 UTC
  Is there a session key for it?     yes
  Does it carry the MFA claim?       no: password
  Is a token in memory?              no
  Are the tenant's policies known?   yes
  Policy “MFA for all” applies, asks for MFA; missing: MFA.
  Policy “trial” applies (report-only: it asks nothing).
  Last request, 2026-03-04 09:00:00.000 UTC: asked, AADSTS50076, correlation id c-1.
`, why.Explain(s).String())
}
