package login

import (
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// askSecondFactor shows the page of the user's best second factor, or lets the
// user register one. It always answers the request.
func (s *Pages) askSecondFactor(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, combinations []string) bool {
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
	// A sign-in with only a certificate cannot register a method: Entra considers
	// the owner of a certificate capable of MFA.
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
		if _, sends := methods[0].KindOf(); !sends { // prompts that are sent are counted separately
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

// codeLabels says where a code comes from.
var codeLabels = map[string]string{
	session.MethodCode:     "Code from your authenticator app",
	session.MethodHardware: "Code from your hardware token",
	session.MethodSMS:      "Code from the text message",
}

// againLabels are the buttons that ask for another prompt.
var againLabels = map[session.PromptKind]string{
	session.PromptNumber:  "Send another request to my authenticator app",
	session.PromptMessage: "Send another text message",
	session.PromptCall:    "Call me again",
}

// showMethod shows the page of a second factor: the named one, or the user's
// best. If the factor sends a prompt, showMethod sends it, but not after a failure:
// as on the real page, the user has to ask for another one.
func (s *Pages) showMethod(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, method string, err error) {
	f, ok := session.SecondFactor(u, fl, method)
	if !ok {
		if list := session.SecondFactors(u, fl); len(list) > 0 {
			f = list[0]
		}
	}
	if f.ID == "" {
		s.ErrorPage(w, r, web.InvalidRequest(90023, "The request is not valid."))
		return
	}
	if f.ID == session.MethodKey && !web.IsLoginHost(strings.ToLower(r.Host)) {
		s.showPasskey(w, r, fl, err)
		return
	}
	_, byKey := session.SecondFactor(u, fl, session.MethodKey)
	if byKey {
		s.Passkeys.Challenge(fl)
	}
	number, phone, again := 0, "", ""
	switch kind, sends := f.KindOf(); {
	case sends && err != nil && s.Keeper.WaitingPrompt(fl, u, kind) == nil:
		again = againLabels[kind]
	case sends:
		number = s.Keeper.PromptFor(fl, u, kind).Number
	}
	if f.ID == session.MethodSMS || f.ID == session.MethodVoice {
		phone = session.Masked(u.Phone)
	}
	p := s.newPage(r, fl, factorPages[f.ID][0], factorPages[f.ID][1])
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

// otherMethods offers the other second factors besides the one that a page is for,
// including a certificate.
func (s *Pages) otherMethods(p *pages.Page, r *web.Request, fl *session.Flow, method string) {
	u := s.Keeper.Directory.UserByID(fl.Session.User)
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

// processAuth checks the second factor from a page.
func (s *Pages) processAuth(w http.ResponseWriter, r *web.Request) {
	fl, u, err := s.openFactorFlow(flowField(r))
	if err != nil {
		s.ErrorPage(w, r, err)
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
		s.next(w, r, fl)
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
	if err := s.Keeper.TakeFactor(fl, u, method, r.Values.Get("otc")); err != nil {
		s.Web.Mistake(r, "second factor: %v", err)
		r.Entry = s.flowEntry(r, fl)
		s.Web.Record(r, err)
		s.showMethod(w, r, fl, u, method, err)
		return
	}
	s.next(w, r, fl)
}

func (s *Pages) openFactorFlow(token string) (*session.Flow, *directory.User, error) {
	fl, err := s.Keeper.OpenFlow(token)
	if err != nil {
		return nil, nil, err
	}
	if fl.Session == nil {
		return nil, nil, web.InvalidRequest(90014, "The required field 'ctx' is missing from the credential.").Because("a second factor was sent before the first")
	}
	u, err := s.Keeper.UserOf(fl.Session)
	return fl, u, err
}

// proofsOf lists second factors as the pages' configuration does.
func proofsOf(u *directory.User, fl *session.Flow) []map[string]any {
	out := []map[string]any{}
	for i, f := range session.SecondFactors(u, fl) {
		display := f.Label
		if f.ID == session.MethodSMS || f.ID == session.MethodVoice {
			display = session.Masked(u.Phone)
		}
		out = append(out, map[string]any{"authMethodId": f.ID, "data": f.ID, "display": display, "isDefault": i == 0})
	}
	return out
}
