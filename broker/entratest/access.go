package entratest

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
)

// accessQuestion is what Conditional Access is asked.
type accessQuestion struct {
	user     *directory.User
	session  *session.Session
	device   *directory.Device // nil: none was proved
	resource *directory.App    // nil: the user's own directory entry
	client   *directory.App    // nil: the user action of a page
	scopes   policy.ScopeKind
	context  int  // authentication context 1–99; 0: none
	browser  bool // the client is a web or single-page app
	bound    bool // the request is signed with the session key of a PRT
	action   policy.UserAction
}

// toResource is the question about a token for a target.
func toResource(client *directory.App, tg *target) accessQuestion {
	return accessQuestion{resource: tg.resource, client: client, scopes: tg.scopeKind(), browser: client.SPA || !client.Public}
}

// accessAnswer is what Conditional Access said.
type accessAnswer struct {
	outcome  policy.Outcome
	reason   policy.Reason
	prompt   []policy.Control // of Interrupt: what to ask; of Block: what cannot be fulfilled
	deciding []directory.PolicyResult
	results  []directory.PolicyResult
	named    bool // a deciding policy names the user action, and does not meet it as one for all apps
}

// evaluate asks Conditional Access and writes the results to the log entry.
func (s *Server) evaluate(r *web.Request, q accessQuestion) accessAnswer {
	rules := s.dir.AccessRules(q.user.Tenant)
	if rules == nil {
		return accessAnswer{outcome: policy.Grant}
	}
	set, bundle := rules.Full, rules.Bundle
	if q.resource != nil && q.resource.NoDevice {
		set, bundle = rules.Exempt, rules.ExemptBundle
	}
	j := s.judge(set, bundle, s.signIn(r.Request, q))
	a := accessAnswer{outcome: j.Outcome, reason: j.Reason, prompt: j.Controls}
	for i, v := range j.Results {
		p := &bundle.Policies[i]
		a.results = append(a.results, directory.PolicyResult{ID: p.ID, Name: p.DisplayName, Result: resultNames[v]})
	}
	for _, i := range j.Deciding {
		p := &bundle.Policies[i]
		a.deciding = append(a.deciding, directory.PolicyResult{ID: p.ID, Name: p.DisplayName})
		if apps := p.Conditions.Applications; q.action != policy.NoAction && apps != nil && len(apps.UserActions) > 0 {
			a.named = true
		}
	}
	if r.Entry != nil {
		r.Entry.Policies = a.results
	}
	return a
}

// judge asks the engine, or whoever sits in its place.
func (s *Server) judge(set *policy.Set, b *policy.Bundle, in *policy.SignIn) Judgement {
	if s.opts.Judge != nil {
		return s.opts.Judge(b, in)
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

func (s *Server) signIn(r *http.Request, q accessQuestion) *policy.SignIn {
	in := &policy.SignIn{
		User:           &policy.User{ID: q.user.ID, Groups: s.dir.GroupsOf(q.user), Roles: q.user.Roles},
		Scopes:         q.scopes,
		Confidential:   q.client != nil && !q.client.Public,
		Bound:          q.bound,
		ClientApp:      policy.MobileOrDesktop,
		Platform:       platformOf(r.UserAgent()),
		Device:         policyDevice(q.device),
		Methods:        q.session.Methods &^ (claims.MarkFreshMFA | claims.MarkRSA),
		AAGUID:         q.session.AAGUID,
		CertIssuerSKI:  q.session.Issuer,
		CertPolicyOIDs: q.session.Policies,
		AcceptedTerms:  q.user.Terms,
		Now:            s.Now(),
		AuthTime:       q.session.AuthTime(),
		MFATime:        q.session.MFATime(),
	}
	if q.user.Guest {
		in.User.Guest = policy.InternalGuest
	}
	if q.browser {
		in.ClientApp = policy.Browser
	}
	if q.session.DeviceCode {
		in.Flow = policy.DeviceCodeFlow
	}
	in.IP, in.Country = s.clientAddress(r)
	in.UserRisk, _ = directory.RiskLevel(q.user.UserRisk) // checked when it was set
	in.SignInRisk, _ = directory.RiskLevel(q.user.SignInRisk)
	switch {
	case q.action != policy.NoAction:
		in.Action = q.action
	case q.context != 0:
		in.AuthContext = q.context
	case in.Confidential && q.scopes == policy.OpenIDScopes:
		in.AppID = q.client.PolicyID // a confidential client that signs a user in is the resource itself
	case q.resource == nil:
		in.AppID = wire.ResourceAADGraph
	default:
		in.AppID = q.resource.PolicyID
	}
	return in
}

func (s *Server) clientAddress(r *http.Request) (netip.Addr, string) {
	if s.opts.ClientAddress != nil {
		return s.opts.ClientAddress(r)
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
		TrustType: policy.Joined, Compliant: policy.Unknown,
	}
	switch dev.JoinType {
	case wire.JoinTypeRegister:
		out.TrustType = policy.Registered
	case wire.JoinTypeHybrid:
		out.TrustType = policy.Hybrid
	}
	if dev.Managed {
		out.Managed, out.Compliant = true, policy.No
	}
	if dev.Compliant {
		out.Compliant = policy.Yes
	}
	return out
}

// platformOf reads the platform from the User-Agent alone, as Conditional
// Access does.
func platformOf(agent string) policy.Platform {
	agent = strings.ToLower(agent)
	for _, p := range []struct {
		mark     string
		platform policy.Platform
	}{
		{"windows phone", policy.WindowsPhone}, {"android", policy.Android},
		{"iphone", policy.IOS}, {"ipad", policy.IOS}, {"ios", policy.IOS},
		{"windows", policy.Windows}, {"macintosh", policy.MacOS}, {"mac os", policy.MacOS}, {"macos", policy.MacOS},
		{"cros", policy.UnknownPlatform}, {"linux", policy.Linux}, {"ubuntu", policy.Linux}, {"x11", policy.Linux},
	} {
		if strings.Contains(agent, p.mark) {
			return p.platform
		}
	}
	return policy.UnknownPlatform
}

var platformNames = map[policy.Platform]string{
	policy.Android: "android", policy.IOS: "iOS", policy.Windows: "windows", policy.WindowsPhone: "windowsPhone",
	policy.MacOS: "macOS", policy.Linux: "linux",
}

// refusal turns an answer into the error of a token request, nil for a grant.
// A PRT says that the session came with one.
func (s *Server) refusal(a accessAnswer, q accessQuestion, prt bool) error {
	switch a.outcome {
	case policy.Grant:
		return nil
	case policy.Interrupt:
		return s.interrupt(a, q, prt)
	case policy.Block:
		if a.reason == policy.Unsatisfiable {
			return s.unsatisfiable(a, q)
		}
		return blocked(a)
	}
	return web.Fail("server_error", 50000, "There was an error issuing a token.").Because("the policy engine could not judge: reason %d", a.reason)
}

func blocked(a accessAnswer) *web.STSError {
	return web.Fail("access_denied", 53003, "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.").
		Sub("message_only").Because("blocked by %s", names(a.deciding))
}

func names(list []directory.PolicyResult) string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name)
	}
	return strings.Join(out, ", ")
}

func (s *Server) interrupt(a accessAnswer, q accessQuestion, prt bool) error {
	if len(a.prompt) == 0 {
		return blocked(a)
	}
	e := promptError(a.prompt[0], q, prt)
	e.Claims = policyChallenge(a.deciding)
	return e.Because("asked for by %s", names(a.deciding))
}

func (s *Server) unsatisfiable(a accessAnswer, q accessQuestion) error {
	if len(a.prompt) == 0 {
		return blocked(a)
	}
	switch a.prompt[0].Kind {
	case policy.CompliantDevice, policy.HybridJoinedDevice, policy.ApprovedApplication, policy.CompliantApplication:
		return promptError(a.prompt[0], q, false).Because("asked for by %s", names(a.deciding))
	case policy.TokenProtection:
		return web.Fail("access_denied", 530084, "Access has been blocked by conditional access token protection policy.").
			Sub("message_only").Because("the request is not bound to a device, which %s demands", names(a.deciding))
	}
	return blocked(a)
}

// promptError is the refusal that asks for a control.
func promptError(c policy.Control, q accessQuestion, prt bool) *web.STSError {
	ask := func(code int, suberror, text string) *web.STSError {
		return web.Fail("interaction_required", code, "%s", text).Sub(suberror)
	}
	switch c.Kind {
	case policy.MFA, policy.AuthenticationStrength:
		if !session.HasSecondFactor(q.user) {
			return ask(50079, "basic_action", "Due to a configuration change made by your administrator, or because you moved to a new location, you must enroll in multi-factor authentication to access the resource.")
		}
		return ask(50076, "basic_action", "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access the resource.")
	case policy.ReauthenticateMFA:
		return ask(50078, "basic_action", "Presented multi-factor authentication has expired due to policies configured by your administrator, you must refresh your multi-factor authentication to access the resource.")
	case policy.Reauthenticate:
		const text = "The refresh token has expired or is invalid due to sign-in frequency checks by Conditional Access."
		if prt {
			return ask(70043, "basic_action", text)
		}
		return web.InvalidGrant(70043, text).Sub("bad_token")
	case policy.CompliantDevice:
		if q.device == nil {
			return ask(50097, "additional_action", "Device authentication is required.")
		}
		return ask(53000, "additional_action", "Device is not in required device state: compliant. Conditional Access policy requires a compliant device, and the device is not compliant.")
	case policy.HybridJoinedDevice:
		if q.device == nil {
			return ask(50097, "additional_action", "Device authentication is required.")
		}
		return ask(53001, "additional_action", "Device is not in required device state: domain_joined. Conditional Access policy requires a domain joined device, and the device is not domain joined.")
	case policy.ApprovedApplication:
		return web.Fail("access_denied", 53002, "Application used is not an approved application for Conditional Access.").Sub("message_only")
	case policy.CompliantApplication:
		return web.Fail("unauthorized_client", 53009, "Application needs to enforce Intune protection policies.").Sub("protection_policy_required")
	case policy.PasswordChange, policy.RiskRemediation:
		return ask(50135, "additional_action", "Password change is required due to account risk.")
	case policy.TermsOfUse, policy.CustomFactor:
		return ask(50158, "additional_action", "External security challenge was not satisfied.")
	}
	return web.Fail("access_denied", 53003, "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.").Sub("message_only")
}

// policyChallenge is the claims challenge that names the policies.
func policyChallenge(list []directory.PolicyResult) string {
	ids := []string{}
	for _, p := range list {
		ids = append(ids, p.ID)
	}
	out, _ := json.Marshal(map[string]any{"access_token": map[string]any{"capolids": map[string]any{"essential": true, "values": ids}}})
	return string(out)
}
