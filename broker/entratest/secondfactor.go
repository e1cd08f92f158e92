package entratest

import (
	"encoding/base32"
	"net/http"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// askSecondFactor shows the page of the user's best second factor, or lets the
// user register one. It always answers the request.
func (s *Server) askSecondFactor(w http.ResponseWriter, r *request, fl *flow, u *directory.User, combinations []string) bool {
	if fl.Request.Prompt == "none" {
		s.endFlow(w, r, fl, fail("interaction_required", 50076, "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access the resource."))
		return true
	}
	fl.Accept = combinations
	if u.FederatedMFA() {
		s.askFederation(w, r, fl, u)
		return true
	}
	methods := secondFactors(u, fl)
	// Nobody registers a method by a certificate alone: Entra takes its owner
	// for somebody who can do MFA.
	byCertificate := fl.Session.Methods&claims.CertificateSingleFactor != 0
	switch {
	case len(methods) == 0 && certificateHelps(u, fl) && isLoginHost(strings.ToLower(r.Host)):
		fl.Prompts++
		s.showCertificate(w, r, fl)
	case len(methods) == 0 && (byCertificate || combinations != nil && hasSecondFactor(u)):
		s.endFlow(w, r, fl, fail("interaction_required", 53003, "Your sign-in was successful but does not meet the criteria to access this resource: none of your methods satisfies the authentication strength."))
	case len(methods) == 0:
		s.mayEnroll(w, r, fl, u)
	default:
		if _, sends := methods[0].kindOf(); !sends { // what is sent counts by itself
			fl.Prompts++
		}
		s.showMethod(w, r, fl, u, methods[0].id, nil)
	}
	return true
}

// Pages of second factors: template and title.
var factorPages = map[string][2]string{
	methodCode:     {"code", "Enter code"},
	methodHardware: {"code", "Enter code"},
	methodSMS:      {"code", "Enter code"},
	methodNumber:   {"number", "Approve sign-in request"},
	methodVoice:    {"call", "Approve sign-in request"},
}

// codeLabels say where a code comes from.
var codeLabels = map[string]string{
	methodCode:     "Code from your authenticator app",
	methodHardware: "Code from your hardware token",
	methodSMS:      "Code from the text message",
}

// againLabels ask for another prompt.
var againLabels = map[promptKind]string{
	promptNumber:  "Send another request to my authenticator app",
	promptMessage: "Send another text message",
	promptCall:    "Call me again",
}

// showMethod shows the page of a second factor: the named one, or the user's
// best. One that sends something sends it, but not after a failure, as the real
// page does not: another prompt comes when the user asks for it.
func (s *Server) showMethod(w http.ResponseWriter, r *request, fl *flow, u *directory.User, method string, err error) {
	f, ok := secondFactor(u, fl, method)
	if !ok {
		if list := secondFactors(u, fl); len(list) > 0 {
			f = list[0]
		}
	}
	if f.id == "" {
		s.errorPage(w, r, invalidRequest(90023, "The request is not valid."))
		return
	}
	if f.id == methodKey {
		s.showPasskey(w, r, fl, err)
		return
	}
	number, phone, again := 0, "", ""
	switch kind, sends := f.kindOf(); {
	case sends && err != nil && s.waitingPrompt(fl, u, kind) == nil:
		again = againLabels[kind]
	case sends:
		number = s.promptFor(fl, u, kind).number
	}
	if f.id == methodSMS || f.id == methodVoice {
		phone = masked(u.Phone)
	}
	p := s.page(r, fl, factorPages[f.id][0], factorPages[f.id][1])
	p.Action = "/common/SAS/ProcessAuth"
	p.Method, p.Label, p.Number, p.Phone, p.Again = f.id, codeLabels[f.id], number, phone, again
	s.otherMethods(&p, r, fl, f.id)
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedTFA", p.Action
	p.Config["arrUserProofs"] = proofsOf(u, fl)
	explain(&p, err)
	p.Write(w, http.StatusOK)
}

// otherMethods offers the second factors beside the one that a page is for, a
// certificate among them.
func (s *Server) otherMethods(p *pages.Page, r *request, fl *flow, method string) {
	u := s.dir.UserByID(fl.Session.User)
	if u == nil {
		return
	}
	for _, f := range secondFactors(u, fl) {
		if f.id != method {
			p.Methods = append(p.Methods, pages.Method{ID: f.id, Label: f.label})
		}
	}
	if certificateHelps(u, fl) {
		s.offerCertificate(p, r, fl)
	}
}

// processAuth takes the second factor of a page.
func (s *Server) processAuth(w http.ResponseWriter, r *request) {
	fl, u, err := s.openFactorFlow(flowField(r))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	if method := r.form.Get("switch"); method != "" {
		s.showMethod(w, r, fl, u, method, nil)
		return
	}
	if fl.Proved { // by the JSON endpoints
		fl.Proved = false
		s.proceed(w, r, fl)
		return
	}
	method := r.form.Get("mfaAuthMethod")
	if _, ok := secondFactor(u, fl, methodKey); ok && r.form.Get("assertion") != "" {
		s.loginPasskey(w, r, fl)
		return
	}
	if method == "" {
		method = methodCode
	}
	if err := s.takeFactor(fl, u, method, r.form.Get("otc")); err != nil {
		s.mistake(r, "second factor: %v", err)
		r.entry = s.flowEntry(r, fl)
		s.record(r, err)
		s.showMethod(w, r, fl, u, method, err)
		return
	}
	s.proceed(w, r, fl)
}

func (s *Server) openFactorFlow(token string) (*flow, *directory.User, error) {
	fl, err := s.openFlow(token)
	if err != nil {
		return nil, nil, err
	}
	if fl.Session == nil {
		return nil, nil, invalidRequest(90014, "The required field 'ctx' is missing from the credential.").because("a second factor before the first")
	}
	u, err := s.userOf(fl.Session)
	return fl, u, err
}

// mayEnroll asks Conditional Access about the user action "register security
// information" before it shows the page for it. Who has no method cannot meet a
// policy that asks for MFA; those for all apps, which mean the action too, are
// what the registration is for, and one that names the action is for methods
// that need none registered, such as an access pass (Entra, "Protect security
// info registration with Conditional Access policy").
func (s *Server) mayEnroll(w http.ResponseWriter, r *request, fl *flow, u *directory.User) {
	dev, err := s.deviceOf(fl.Session)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return
	}
	a := s.evaluate(r, accessQuestion{user: u, session: fl.Session, device: dev, action: policy.RegisterSecurityInfo, browser: true})
	if a.outcome == policy.Block || a.outcome == policy.Interrupt && a.named && asksForMFA(a.prompt) {
		s.endFlow(w, r, fl, fail("access_denied", 53010, "Can't configure multi-factor authentication methods because the organization requires this information to be set from specific locations or devices."))
		return
	}
	s.showEnroll(w, r, fl, nil)
}

func asksForMFA(controls []policy.Control) bool {
	return slices.ContainsFunc(controls, func(c policy.Control) bool {
		return c.Kind == policy.MFA || c.Kind == policy.ReauthenticateMFA || c.Kind == policy.AuthenticationStrength
	})
}

// showEnroll lets a user without a second factor register an authenticator app.
func (s *Server) showEnroll(w http.ResponseWriter, r *request, fl *flow, err error) {
	if fl.Enroll == nil {
		fl.Enroll = s.rand.Bytes(20)
	}
	p := s.page(r, fl, "enroll", "Keep your account secure")
	p.Action = "/common/SAS/ProofUp"
	p.Secret = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(fl.Enroll)
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedProofUpRedirect", p.Action
	p.Config["iRemainingDaysToSkipMfaRegistration"] = 0
	explain(&p, err)
	p.Write(w, http.StatusOK)
}

// proofUp takes the first code of a newly registered app.
func (s *Server) proofUp(w http.ResponseWriter, r *request) {
	fl, u, err := s.openFactorFlow(flowField(r))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	if fl.Enroll == nil || len(secondFactors(u, fl)) > 0 {
		s.errorPage(w, r, invalidRequest(90023, "The request is not valid."))
		return
	}
	step, ok := totp.Match(fl.Enroll, r.form.Get("otc"), s.Now())
	if !ok {
		s.showEnroll(w, r, fl, invalidGrant(500121, "You didn't enter the expected verification code. Please try again."))
		return
	}
	secret := fl.Enroll
	if err := s.dir.ChangeUser(u.UPN, func(u *directory.User) error { u.TOTP, u.TOTPStep = secret, step; return nil }); err != nil {
		s.errorPage(w, r, err)
		return
	}
	fl.Enroll = nil
	fl.Prompts++
	fl.Session.mfa(claims.SoftwareOATH, s.Now())
	s.proceed(w, r, fl)
}
