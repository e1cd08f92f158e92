package access

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
)

// Question is a question to Conditional Access.
type Question struct {
	User     *directory.User // nil: a workload signs in
	Session  *session.Session
	Device   *directory.Device // nil: no device was proved
	Resource *directory.App    // nil: the user's own directory entry
	client   *directory.App    // nil: the user action of a page
	Scopes   policy.ScopeKind
	Context  int  // authentication context 1–99; 0: none
	Browser  bool // the client is a web or single-page app
	Bound    bool // the request is signed with the session key of a PRT
	Action   policy.UserAction
	tenant   *directory.Tenant // of a workload
}

// OfWorkload is the question about an app-only token.
func OfWorkload(client, resource *directory.App, t *directory.Tenant) Question {
	return Question{Resource: resource, client: client, Scopes: policy.AnyScopes, tenant: t}
}

func (q *Question) inTenant() *directory.Tenant {
	if q.User == nil {
		return q.tenant
	}
	return q.User.Tenant
}

// ToResource is the question about a token for a target.
func ToResource(client *directory.App, tg *Target) Question {
	return Question{Resource: tg.Resource, client: client, Scopes: tg.scopeKind(), Browser: client.SPA || !client.Public}
}

// Answer is the decision of Conditional Access.
type Answer struct {
	Outcome  policy.Outcome
	reason   policy.Reason
	Prompt   []policy.Control // for Interrupt: what to ask for; for Block: what cannot be fulfilled
	deciding []directory.PolicyResult
	results  []directory.PolicyResult
	Named    bool // a deciding policy names the user action, rather than covering it as a policy for all apps
}

// Evaluate asks Conditional Access and writes the results to the log entry.
func (e *Engine) Evaluate(r *web.Request, q Question) Answer {
	a := e.evaluate(r, q)
	if a.Outcome == policy.OutcomeGrant && q.User != nil && q.User.MFARequired && q.Session.MFA == 0 && q.Action == policy.ActionNone {
		a.Outcome, a.Prompt = policy.OutcomeInterrupt, []policy.Control{{Kind: policy.MFA}}
	}
	return a
}

func (e *Engine) evaluate(r *web.Request, q Question) Answer {
	rules := e.Keeper.Directory.AccessRules(q.inTenant())
	if rules == nil {
		return Answer{Outcome: policy.OutcomeGrant}
	}
	set, bundle := rules.Full, rules.Bundle
	if q.Resource != nil && q.Resource.NoDevice {
		set, bundle = rules.Exempt, rules.ExemptBundle
	}
	in := e.signIn(r.Request, q)
	j := e.judge(set, bundle, in)
	a := Answer{Outcome: j.Outcome, reason: j.Reason, Prompt: j.Controls}
	for i, v := range j.Results {
		p := &bundle.Policies[i]
		a.results = append(a.results, directory.PolicyResult{ID: p.ID, Name: p.DisplayName, Result: resultNames[v]})
	}
	for _, i := range j.Deciding {
		p := &bundle.Policies[i]
		a.deciding = append(a.deciding, directory.PolicyResult{ID: p.ID, Name: p.DisplayName})
		if apps := p.Conditions.Applications; q.Action != policy.ActionNone && apps != nil && len(apps.UserActions) > 0 {
			a.Named = true
		}
	}
	if r.Entry != nil {
		r.Entry.Policies = a.results
		if e.Judge == nil { // whose reasons are not known
			r.Entry.Asked = &directory.Asked{Set: set, SignIn: in}
		}
	}
	return a
}

// judge asks the engine, or Judge in its place.
func (e *Engine) judge(set *policy.Set, b *policy.Bundle, in *policy.SignIn) Judgement {
	if e.Judge != nil {
		return e.Judge(b, in)
	}
	var res policy.Results
	d := set.EvaluateInto(in, &res)
	out := Judgement{Outcome: d.Outcome, Reason: d.Reason, Controls: res.Controls, Results: res.Policies}
	for p := range d.Policies() {
		for i := range b.Policies {
			if set.Policy(i) == p {
				out.Deciding = append(out.Deciding, i)
			}
		}
	}
	return out
}

var resultNames = map[policy.Result]string{
	policy.ResultSuccess: "success", policy.ResultFailure: "failure", policy.ResultNotApplied: "notApplied",
	policy.ResultNotEnabled: "notEnabled", policy.ResultUnknown: "unknown",
	policy.ResultReportOnlySuccess: "reportOnlySuccess", policy.ResultReportOnlyFailure: "reportOnlyFailure",
	policy.ResultReportOnlyNotApplied: "reportOnlyNotApplied", policy.ResultReportOnlyInterrupted: "reportOnlyInterrupted",
}

// workload is the app-only sign-in of an application.
func (e *Engine) workload(r *http.Request, q Question) *policy.SignIn {
	in := &policy.SignIn{
		User: &policy.User{Kind: policy.IdentityWorkload, ID: q.client.ServicePrincipalID}, AppID: q.Resource.PolicyID,
		Scopes: q.Scopes, Confidential: true, Now: e.Keeper.Now(),
	}
	in.IP, in.Country = e.ClientAddress(r)
	return in
}

func (e *Engine) signIn(r *http.Request, q Question) *policy.SignIn {
	if q.User == nil {
		return e.workload(r, q)
	}
	in := &policy.SignIn{
		User:           &policy.User{ID: q.User.ID, Groups: e.Keeper.Directory.GroupsOf(q.User), Roles: q.User.Roles},
		Scopes:         q.Scopes,
		Confidential:   q.client != nil && !q.client.Public,
		Bound:          q.Bound,
		ClientApp:      policy.ClientMobileOrDesktop,
		Platform:       PlatformOf(r.UserAgent()),
		Device:         policyDevice(q.Device),
		Methods:        q.Session.Methods &^ (claims.MarkFreshMFA | claims.MarkRSA),
		AAGUID:         q.Session.AAGUID,
		CertIssuerSKI:  q.Session.Issuer,
		CertPolicyOIDs: q.Session.Policies,
		AcceptedTerms:  q.User.Terms,

		PasswordChanged: q.Session.Remediated,
		RiskRemediated:  q.Session.Remediated,

		Now:      e.Keeper.Now(),
		AuthTime: q.Session.AuthTime(),
		MFATime:  q.Session.MFATime(),
	}
	in.User.Guest, in.User.HomeTenant = e.guestType(q.User)
	if q.Browser {
		in.ClientApp = policy.ClientBrowser
	}
	if q.Session.DeviceCode {
		in.Flow = policy.TransferDeviceCode
	}
	in.IP, in.Country = e.ClientAddress(r)
	in.UserRisk, _ = directory.RiskLevel(q.User.UserRisk) // checked when it was set
	in.SignInRisk, _ = directory.RiskLevel(q.User.SignInRisk)
	switch {
	case q.Action != policy.ActionNone:
		in.Action = q.Action
	case q.Context != 0:
		in.AuthContext = q.Context
	case in.Confidential && q.Scopes == policy.OpenIDScopes:
		in.AppID = q.client.PolicyID // a confidential client that signs in a user is itself the resource
	case q.Resource == nil:
		in.AppID = wire.ResourceAADGraph
	default:
		in.AppID = q.Resource.PolicyID
	}
	return in
}

// LogAddress writes where a request comes from to its log entry.
func (e *Engine) LogAddress(r *http.Request, entry *directory.LogEntry) {
	ip, country := e.ClientAddress(r)
	if ip.IsValid() {
		entry.Address = ip.String()
	}
	entry.Country = country
}

// ClientAddress returns the address that a request comes from as Conditional Access
// sees it, with the country if it is known.
func (e *Engine) ClientAddress(r *http.Request) (netip.Addr, string) {
	if e.Address != nil {
		return e.Address(r)
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, ""
	}
	return ap.Addr().Unmap(), ""
}

func policyDevice(dev *directory.Device) *policy.Device {
	if dev == nil {
		return nil
	}
	out := &policy.Device{
		ID: dev.ID, DisplayName: dev.Name, OperatingSystem: dev.Kind, OperatingSystemVersion: dev.OSVersion,
		TrustType: policy.TrustJoined, Compliant: claims.Unknown,
	}
	switch dev.JoinType {
	case wire.JoinTypeRegister:
		out.TrustType = policy.TrustRegistered
	case wire.JoinTypeHybrid:
		out.TrustType = policy.TrustHybrid
	}
	if dev.Managed {
		out.Managed, out.Compliant = true, claims.No
	}
	if dev.Compliant {
		out.Compliant = claims.Yes
	}
	return out
}

// StrengthMethods returns the combinations that a strength accepts, which the
// export lists separately or inside a policy; nil: any second factor will do.
func (e *Engine) StrengthMethods(q Question, c policy.Control) []string {
	if c.Kind != policy.AuthenticationStrength {
		return nil
	}
	bundle := e.Keeper.Directory.AccessRules(q.inTenant()).Bundle
	known := slices.Clone(bundle.Strengths)
	for _, p := range bundle.Policies {
		if p.GrantControls != nil && p.GrantControls.AuthenticationStrength != nil {
			known = append(known, *p.GrantControls.AuthenticationStrength)
		}
	}
	for _, st := range append(known, policy.BuiltInStrengths()...) {
		if strings.EqualFold(st.ID, c.ID) && st.AllowedCombinations != nil {
			return st.AllowedCombinations
		}
	}
	return nil
}

// guestType returns the type of an external user and the user's own tenant (Microsoft,
// "Authentication and Conditional Access for B2B users"; Microsoft Graph,
// conditionalAccessGuestsOrExternalUsers).
func (e *Engine) guestType(u *directory.User) (policy.GuestType, string) {
	switch {
	case u.External() && u.Guest:
		return policy.GuestB2BCollaboration, e.Keeper.Directory.HomeTenantID(u)
	case u.External():
		return policy.GuestB2BMember, e.Keeper.Directory.HomeTenantID(u)
	case u.Guest:
		return policy.GuestInternal, ""
	}
	return policy.GuestNone, ""
}
