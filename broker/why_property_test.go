package broker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/policy/policytest"
)

// What Why predicts is what the emulator then does, for 500 random tenants,
// users, devices and policies. The emulator decides by the policy engine that
// Why uses too, so its answer is also held against the naive evaluator, which
// shares no code with it, over facts that the test itself knows. Answers that
// are Unknown are allowed where facts were withheld, and bounded.
func TestWhyPredictsTheService(t *testing.T) {
	tenants := 500
	if testing.Short() {
		tenants = 60
	}
	var asked, unknown, needless int
	seen := map[broker.WhyVerdict]int{}
	for seed := range tenants {
		r := &randomTenant{t: t, Rand: rand.New(rand.NewPCG(uint64(seed), 7))}
		r.build()
		for _, app := range []string{payrollID, openID, wire.ResourceGraphApp} {
			why, got := r.question(app)
			asked++
			seen[why.Verdict]++
			if why.Verdict == broker.WhyUnknown {
				unknown++
				if r.allKnown {
					needless++
				}
				continue
			}
			require.Equal(t, got, why.Verdict, "tenant %d, app %s: %s\n%s", seed, app, why, r.policies)
		}
		_ = r.w.b.Close()
	}
	t.Logf("%d questions: %v; %d unknown although all facts were given", asked, seen, needless)
	require.Less(t, unknown, asked/3, "Unknown is not a way out")
	require.Less(t, needless, asked/10)
	for _, v := range []broker.WhyVerdict{broker.WhySilent, broker.WhyAsked, broker.WhyRefused} {
		require.Greater(t, seen[v], asked/40, v)
	}
}

type randomTenant struct {
	*rand.Rand
	t        *testing.T
	w        *world
	policies string
	facts    broker.Facts
	truth    policy.SignIn // without the app and the methods
	allKnown bool
	bundle   *policy.Bundle
}

const (
	financeID = "33333333-0000-4000-8000-000000000001"
	officeID  = "44444444-0000-4000-8000-000000000001"
)

func (r *randomTenant) chance(percent int) bool { return r.IntN(100) < percent }

func pick[T any](r *randomTenant, list ...T) T { return list[r.IntN(len(list))] }

// build makes the tenant, the device, the user and the PRT.
func (r *randomTenant) build() {
	address := netip.MustParseAddr(pick(r, "198.51.100.7", "203.0.113.5"))
	member := r.chance(50)
	var risk, userRisk policy.RiskLevel
	names := []string{"none", "low", "medium", "high"}
	if r.chance(20) {
		risk, userRisk = policy.RiskLevel(r.IntN(4)), policy.RiskLevel(r.IntN(4))
	}
	r.policies = r.randomPolicies()
	r.w = newWorld(r.t, withPolicies(r.policies), withOptions(func(o *entratestOptions) {
		o.Logf = nil
		g := entratest.Group{ID: financeID, Name: "Finance"}
		if member {
			g.Members = []string{"alice"}
		}
		o.Groups = []entratest.Group{g}
		o.ClientAddress = func(*http.Request) (netip.Addr, string) { return address, "" }
	}))
	join := pick(r, broker.Join, broker.Join, broker.Register)
	d, err := r.w.b.RegisterDevice(r.t.Context(), broker.RegisterRequest{JoinType: join, Credential: broker.Password{Username: alice, Password: password}})
	if err != nil { // a policy on registering devices is not among the random ones
		r.t.Fatal(err)
	}
	r.truth = policy.SignIn{
		User:       &policy.User{},
		ClientApp:  policy.MobileOrDesktop,
		Platform:   policy.Linux,
		IP:         address,
		SignInRisk: risk,
		UserRisk:   userRisk,
		Device:     &policy.Device{ID: d.ID, DisplayName: "pc-1", OperatingSystem: "Linux", OperatingSystemVersion: "Debian 12", TrustType: policy.Joined},
	}
	if join == broker.Register {
		r.truth.Device.TrustType = policy.Registered
	}
	if member {
		r.truth.User.Groups = []string{financeID}
	}
	if r.chance(60) {
		compliant := r.chance(50)
		require.NoError(r.t, r.w.srv.SetCompliant(d.ID, compliant))
		r.truth.Device.Compliant = policy.No
		if compliant {
			r.truth.Device.Compliant = policy.Yes
		}
	}
	r.signIn()
	require.NoError(r.t, r.w.srv.SetRisk(alice, names[userRisk], names[risk]))
	for range r.IntN(4) { // use keeps the PRT alive and moves no time
		r.w.clock.Advance(time.Duration(1+r.IntN(30)) * time.Hour)
		require.NoError(r.t, r.w.b.RenewPRT(r.t.Context(), broker.Account{}))
	}
	bundle, _, err := policy.Load(strings.NewReader(r.policies))
	require.NoError(r.t, err)
	r.bundle = bundle
	r.know(risk, userRisk)
}

// signIn gets a PRT in a random way; the times of the truth are those of it.
func (r *randomTenant) signIn() {
	ctx, now := r.t.Context(), r.w.clock.Now()
	var cred broker.Credential
	r.truth.AuthTime = now
	switch r.IntN(4) {
	case 0:
		cred = broker.AuthCode{LoginHint: alice, MFA: true}
		r.truth.Methods, r.truth.MFATime = claims.Password|claims.SoftwareOATH|claims.MarkMFA, now
	case 1:
		cred = broker.DeviceCodeFlow{MFA: true}
		r.truth.Methods, r.truth.MFATime = claims.Password|claims.SoftwareOATH|claims.MarkMFA, now
		r.truth.Flow = policy.DeviceCodeFlow
	default:
		cred = broker.Password{Username: alice, Password: password}
		r.truth.Methods = claims.Password
	}
	res, err := r.w.b.SignIn(ctx, cred)
	if err != nil && r.truth.Flow == policy.DeviceCodeFlow {
		// The tenant refuses device codes: sign in by password then.
		r.truth.Flow, r.truth.Methods, r.truth.MFATime = policy.NoTransfer, claims.Password, time.Time{}
		res, err = r.w.b.SignIn(ctx, broker.Password{Username: alice, Password: password})
	}
	if err != nil && errors.Is(err, broker.ErrBlocked) {
		r.truth.Methods, r.truth.MFATime = claims.Password, time.Time{}
		res, err = r.w.b.SignIn(ctx, broker.Password{Username: alice, Password: password})
	}
	require.NoError(r.t, err)
	r.truth.User.ID = res.Account.LocalAccountID
}

// know gives the facts to Why, or withholds some.
func (r *randomTenant) know(risk, userRisk policy.RiskLevel) {
	r.allKnown = r.chance(60)
	given := func() bool { return r.allKnown || r.chance(75) }
	r.facts = broker.Facts{AcceptedTerms: []string{}}
	if given() {
		u := *r.truth.User
		r.facts.User = &u
	}
	if given() {
		r.facts.Compliant = max(r.truth.Device.Compliant, policy.No)
	}
	if given() {
		r.facts.IP = r.truth.IP
	}
	if given() {
		r.facts.SignInRisk, r.facts.UserRisk = &risk, &userRisk
	}
	if given() {
		r.facts.Methods = r.truth.Methods &^ claims.MarkMFA
	}
	if given() {
		d := *r.truth.Device
		r.facts.Device = &d
	}
}

// question asks Why, then the service, then the naive evaluator.
func (r *randomTenant) question(app string) (broker.Explanation, broker.WhyVerdict) {
	scopes := map[string][]string{payrollID: payroll, openID: open, wire.ResourceGraphApp: graph}[app]
	set, err := policy.Compile(r.bundle)
	require.NoError(r.t, err)
	cfg := r.w.cfg
	cfg.Policies = func() *policy.Set { return set }
	b, err := broker.New(r.t.Context(), cfg)
	require.NoError(r.t, err)
	defer b.Close()
	why, err := b.Why(r.t.Context(), broker.WhyInput{Scopes: scopes, ResourceID: app, Facts: r.facts})
	require.NoError(r.t, err)
	require.NotEmpty(r.t, why.Because)

	_, err = b.AcquireTokenSilent(r.t.Context(), scopes)
	got := verdictOf(r.t, err)

	in := r.truth
	in.AppID, in.Now = app, r.w.clock.Now()
	if in.MFATime.IsZero() {
		in.MFATime = in.AuthTime
	}
	naive := policytest.Naive(r.bundle, policytest.Options{}, &in)
	require.Equal(r.t, naiveVerdict(naive), got, "the emulator and the naive evaluator: %v\n%+v\n%s", err, naive, r.policies)
	return why, got
}

func verdictOf(t *testing.T, err error) broker.WhyVerdict {
	t.Helper()
	switch {
	case err == nil:
		return broker.WhySilent
	case errors.Is(err, broker.ErrInteractionRequired):
		return broker.WhyAsked
	case errors.Is(err, broker.ErrBlocked):
		return broker.WhyRefused
	}
	t.Fatalf("neither silent nor asked nor refused: %v", err)
	return ""
}

func naiveVerdict(v policytest.Verdict) broker.WhyVerdict {
	switch v.Outcome {
	case policy.Grant:
		return broker.WhySilent
	case policy.Interrupt:
		switch v.Controls[0].Kind {
		case policy.CompliantDevice, policy.HybridJoinedDevice, policy.ApprovedApplication:
			return broker.WhyRefused
		}
		return broker.WhyAsked
	}
	return broker.WhyRefused
}

// randomPolicies is a Graph export of one to five policies.
func (r *randomTenant) randomPolicies() string {
	var list []json.RawMessage
	for i := range 2 + r.IntN(6) {
		p, err := json.Marshal(r.randomPolicy(i))
		require.NoError(r.t, err)
		list = append(list, p)
	}
	out, err := json.Marshal(map[string]any{
		"policies": list,
		"namedLocations": []any{map[string]any{
			"@odata.type": "#microsoft.graph.ipNamedLocation", "id": officeID, "displayName": "Office", "isTrusted": true,
			"ipRanges": []any{map[string]any{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "198.51.100.0/24"}},
		}},
	})
	require.NoError(r.t, err)
	return string(out)
}

func (r *randomTenant) randomPolicy(i int) map[string]any {
	users := pick(r,
		map[string]any{"includeUsers": []string{"All"}},
		map[string]any{"includeUsers": []string{"All"}},
		map[string]any{"includeGroups": []string{financeID}},
		map[string]any{"includeUsers": []string{"All"}, "excludeGroups": []string{financeID}},
	)
	apps := pick(r, []string{payrollID}, []string{openID, payrollID}, []string{wire.ResourceGraphApp}, []string{"All"})
	conditions := map[string]any{
		"users": users, "applications": map[string]any{"includeApplications": apps, "excludeApplications": []string{wire.ResourceRegistrationApp}},
		"clientAppTypes": []string{pick(r, "all", "all", "mobileAppsAndDesktopClients", "browser")},
	}
	if r.chance(20) {
		conditions["platforms"] = map[string]any{"includePlatforms": []string{pick(r, "all", "linux", "windows")}}
	}
	if r.chance(25) {
		conditions["locations"] = pick(r,
			map[string]any{"includeLocations": []string{"All"}, "excludeLocations": []string{officeID}},
			map[string]any{"includeLocations": []string{officeID}})
	}
	if r.chance(12) {
		conditions[pick(r, "signInRiskLevels", "userRiskLevels")] = []string{pick(r, "low", "medium", "high"), "high"}
	}
	if r.chance(10) {
		conditions["authenticationFlows"] = map[string]any{"transferMethods": "deviceCodeFlow"}
	}
	if r.chance(10) {
		conditions["devices"] = map[string]any{"deviceFilter": map[string]any{"mode": pick(r, "include", "exclude"), "rule": pick(r, `device.trustType -eq "AzureAD"`, `device.isCompliant -eq True`)}}
	}
	p := map[string]any{
		"id": fmt.Sprintf("99999999-0000-4000-8000-%012d", i), "displayName": fmt.Sprint("policy ", i),
		"state":      pick(r, "enabled", "enabled", "enabled", "enabled", "enabled", "enabledForReportingButNotEnforced", "disabled"),
		"conditions": conditions,
	}
	if r.chance(20) {
		p["sessionControls"] = map[string]any{"signInFrequency": map[string]any{
			"isEnabled": true, "type": "hours", "value": pick(r, 1, 24), "authenticationType": pick(r, "primaryAndSecondaryAuthentication", "secondaryAuthentication"), "frequencyInterval": "timeBased",
		}}
	}
	if p["sessionControls"] == nil || r.chance(50) {
		p["grantControls"] = pick(r,
			map[string]any{"operator": "OR", "builtInControls": []string{"mfa"}},
			map[string]any{"operator": "OR", "builtInControls": []string{"mfa"}},
			map[string]any{"operator": "OR", "builtInControls": []string{"mfa", "compliantDevice"}},
			map[string]any{"operator": "AND", "builtInControls": []string{"mfa", "compliantDevice"}},
			map[string]any{"operator": "OR", "builtInControls": []string{"compliantDevice"}},
			map[string]any{"operator": "OR", "builtInControls": []string{"compliantDevice", "domainJoinedDevice"}},
			map[string]any{"operator": "OR", "builtInControls": []string{"block"}},
			map[string]any{"operator": "OR", "builtInControls": []string{}, "authenticationStrength": map[string]any{"id": policy.StrengthPhishingResistant}},
		)
	}
	return p
}
