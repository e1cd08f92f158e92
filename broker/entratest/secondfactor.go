package entratest

import (
	"encoding/base32"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// askSecondFactor shows the page of the user's best second factor, or lets the
// user register one. It always answers the request.
func (s *Server) askSecondFactor(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, combinations []string) bool {
	if fl.Request.Prompt == "none" {
		s.endFlow(w, r, fl, web.Fail("interaction_required", 50076, "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access the resource."))
		return true
	}
	fl.Accept = combinations
	if u.FederatedMFA() {
		s.askFederation(w, r, fl, u)
		return true
	}
	methods := session.SecondFactors(u, fl)
	// Nobody registers a method by a certificate alone: Entra takes its owner
	// for somebody who can do MFA.
	byCertificate := fl.Session.Methods&claims.CertificateSingleFactor != 0
	switch {
	case len(methods) == 0 && certificateHelps(u, fl) && web.IsLoginHost(strings.ToLower(r.Host)):
		fl.Prompts++
		s.showCertificate(w, r, fl)
	case len(methods) == 0 && (byCertificate || combinations != nil && session.HasSecondFactor(u)):
		s.endFlow(w, r, fl, web.Fail("interaction_required", 53003, "Your sign-in was successful but does not meet the criteria to access this resource: none of your methods satisfies the authentication strength."))
	case len(methods) == 0:
		s.mayEnroll(w, r, fl, u)
	default:
		if _, sends := methods[0].KindOf(); !sends { // what is sent counts by itself
			fl.Prompts++
		}
		s.showMethod(w, r, fl, u, methods[0].ID, nil)
	}
	return true
}

// Pages of second factors: template and title.
var factorPages = map[string][2]string{
	session.MethodCode:     {"code", "Enter code"},
	session.MethodHardware: {"code", "Enter code"},
	session.MethodSMS:      {"code", "Enter code"},
	session.MethodNumber:   {"number", "Approve sign-in request"},
	session.MethodVoice:    {"call", "Approve sign-in request"},
	session.MethodKey:      {"securitykey", "Use your passkey"},
}

// codeLabels say where a code comes from.
var codeLabels = map[string]string{
	session.MethodCode:     "Code from your authenticator app",
	session.MethodHardware: "Code from your hardware token",
	session.MethodSMS:      "Code from the text message",
}

// againLabels ask for another prompt.
var againLabels = map[session.PromptKind]string{
	session.PromptNumber:  "Send another request to my authenticator app",
	session.PromptMessage: "Send another text message",
	session.PromptCall:    "Call me again",
}

// showMethod shows the page of a second factor: the named one, or the user's
// best. One that sends something sends it, but not after a failure, as the real
// page does not: another prompt comes when the user asks for it.
func (s *Server) showMethod(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, method string, err error) {
	f, ok := session.SecondFactor(u, fl, method)
	if !ok {
		if list := session.SecondFactors(u, fl); len(list) > 0 {
			f = list[0]
		}
	}
	if f.ID == "" {
		s.errorPage(w, r, web.InvalidRequest(90023, "The request is not valid."))
		return
	}
	if f.ID == session.MethodKey && !web.IsLoginHost(strings.ToLower(r.Host)) {
		s.showPasskey(w, r, fl, err)
		return
	}
	_, byKey := session.SecondFactor(u, fl, session.MethodKey)
	if byKey {
		s.passkeys.Challenge(fl)
	}
	number, phone, again := 0, "", ""
	switch kind, sends := f.KindOf(); {
	case sends && err != nil && s.keeper.WaitingPrompt(fl, u, kind) == nil:
		again = againLabels[kind]
	case sends:
		number = s.keeper.PromptFor(fl, u, kind).Number
	}
	if f.ID == session.MethodSMS || f.ID == session.MethodVoice {
		phone = session.Masked(u.Phone)
	}
	p := s.page(r, fl, factorPages[f.ID][0], factorPages[f.ID][1])
	p.Action = "/common/SAS/ProcessAuth"
	p.Method, p.Label, p.Number, p.Phone, p.Again = f.ID, codeLabels[f.ID], number, phone, again
	s.otherMethods(&p, r, fl, f.ID)
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedTFA", absolute(r, p.Action)
	p.Config["arrUserProofs"] = proofsOf(u, fl)
	if byKey {
		p.Config["sFidoChallenge"], p.Config["arrFidoAllowList"] = string(fl.Challenge), u.PasskeyIDs()
		p.Hop = hopFields(&p)
	}
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// otherMethods offers the second factors beside the one that a page is for, a
// certificate among them.
func (s *Server) otherMethods(p *pages.Page, r *web.Request, fl *session.Flow, method string) {
	u := s.dir.UserByID(fl.Session.User)
	if u == nil {
		return
	}
	for _, f := range session.SecondFactors(u, fl) {
		if f.ID != method {
			p.Methods = append(p.Methods, pages.Method{ID: f.ID, Label: f.Label})
		}
	}
	if certificateHelps(u, fl) {
		s.offerCertificate(p, r, fl)
	}
}

// processAuth takes the second factor of a page.
func (s *Server) processAuth(w http.ResponseWriter, r *web.Request) {
	fl, u, err := s.openFactorFlow(flowField(r))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	if method := r.Values.Get("switch"); method != "" {
		if f, ok := session.SecondFactor(u, fl, method); ok && f.ID == session.MethodKey {
			s.showPasskey(w, r, fl, nil)
			return
		}
		s.showMethod(w, r, fl, u, method, nil)
		return
	}
	if fl.Proved { // by the JSON endpoints
		fl.Proved = false
		s.proceed(w, r, fl)
		return
	}
	method := r.Values.Get("mfaAuthMethod")
	if _, ok := session.SecondFactor(u, fl, session.MethodKey); ok && r.Values.Get("assertion") != "" {
		s.loginPasskey(w, r, fl)
		return
	}
	if method == "" {
		method = session.MethodCode
	}
	if err := s.keeper.TakeFactor(fl, u, method, r.Values.Get("otc")); err != nil {
		s.web.Mistake(r, "second factor: %v", err)
		r.Entry = s.flowEntry(r, fl)
		s.web.Record(r, err)
		s.showMethod(w, r, fl, u, method, err)
		return
	}
	s.proceed(w, r, fl)
}

func (s *Server) openFactorFlow(token string) (*session.Flow, *directory.User, error) {
	fl, err := s.keeper.OpenFlow(token)
	if err != nil {
		return nil, nil, err
	}
	if fl.Session == nil {
		return nil, nil, web.InvalidRequest(90014, "The required field 'ctx' is missing from the credential.").Because("a second factor before the first")
	}
	u, err := s.keeper.UserOf(fl.Session)
	return fl, u, err
}

// mayEnroll asks Conditional Access about the user action "register security
// information" before it shows the page for it. Who has no method cannot meet a
// policy that asks for MFA; those for all apps, which mean the action too, are
// what the registration is for, and one that names the action is for methods
// that need none registered, such as an access pass (Entra, "Protect security
// info registration with Conditional Access policy").
func (s *Server) mayEnroll(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User) {
	dev, err := s.keeper.DeviceOf(fl.Session)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return
	}
	a := s.access.Evaluate(r, access.Question{User: u, Session: fl.Session, Device: dev, Action: policy.ActionRegisterSecurityInfo, Browser: true})
	if a.Outcome == policy.OutcomeBlock || a.Outcome == policy.OutcomeInterrupt && a.Named && asksForMFA(a.Prompt) {
		s.endFlow(w, r, fl, web.Fail("access_denied", 53010, "Can't configure multi-factor authentication methods because the organization requires this information to be set from specific locations or devices."))
		return
	}
	fl.MayPutOff = false
	s.showEnroll(w, r, fl, nil)
}

// asksToRegister shows the page that asks for a registration which nothing demands
// yet, and that can be put off. It reports whether it answered the request.
func (s *Server) asksToRegister(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User) bool {
	if fl.PutOff || fl.SSO || fl.Request.Prompt == "none" || u.FederatedMFA() {
		return false
	}
	due := s.opts.Pages.RegistrationDays > 0 && !session.HasSecondFactor(u)
	if fl.Session.Methods&(claims.SMS|claims.Voice) != 0 {
		due = s.opts.Pages.RegistrationCampaign && u.TOTP == nil && !u.NumberMatch
	}
	if !due {
		return false
	}
	fl.MayPutOff = true
	s.showEnroll(w, r, fl, nil)
	return true
}

func asksForMFA(controls []policy.Control) bool {
	return slices.ContainsFunc(controls, func(c policy.Control) bool {
		return c.Kind == policy.MFA || c.Kind == policy.ReauthenticateMFA || c.Kind == policy.AuthenticationStrength
	})
}

// showEnroll lets a user without a second factor register an authenticator app.
func (s *Server) showEnroll(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	if fl.Enroll == nil {
		fl.Enroll = s.rand.Bytes(20)
	}
	p := s.page(r, fl, "enroll", "Keep your account secure")
	p.Action = "/common/SAS/ProofUp"
	p.Secret = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(fl.Enroll)
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedProofUpRedirect", p.Action
	if fl.MayPutOff {
		p.Skip = absolute(r, pathOf(fl, "resume")) + "?" + url.Values{"ctx": {p.Config["sCtx"].(string)},
			"flowtoken": {p.Config["sFT"].(string)}, "skipmfaregistration": {"1"}}.Encode()
		p.Config["urlSkipMfaRegistration"] = p.Skip
		if fl.Session.MFA != 0 {
			p.Config["sErrorCode"], p.Config["iErrorCode"] = "50203", 50203
		} else {
			p.Config["iRemainingDaysToSkipMfaRegistration"] = s.opts.Pages.RegistrationDays
		}
	}
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// proofUp takes the first code of a newly registered app.
func (s *Server) proofUp(w http.ResponseWriter, r *web.Request) {
	fl, u, err := s.openFactorFlow(flowField(r))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	if fl.MayPutOff && r.Values.Get("otc") == "" && r.Values.Get("LoginOptions") != "" {
		fl.PutOff = true
		s.proceed(w, r, fl)
		return
	}
	if fl.Enroll == nil || len(session.SecondFactors(u, fl)) > 0 && !fl.MayPutOff {
		s.errorPage(w, r, web.InvalidRequest(90023, "The request is not valid."))
		return
	}
	step, ok := totp.Match(fl.Enroll, r.Values.Get("otc"), s.Now())
	if !ok {
		s.showEnroll(w, r, fl, web.InvalidGrant(500121, "You didn't enter the expected verification code. Please try again."))
		return
	}
	secret := fl.Enroll
	if err := s.dir.ChangeUser(u.UPN, func(u *directory.User) error { u.TOTP, u.TOTPStep = secret, step; return nil }); err != nil {
		s.errorPage(w, r, err)
		return
	}
	fl.Enroll = nil
	fl.Prompts++
	fl.Session.ProveMFA(claims.SoftwareOATH, s.Now())
	s.proceed(w, r, fl)
}
