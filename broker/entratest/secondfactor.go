package entratest

import (
	"encoding/base32"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// Names of second factors, as the real pages have them.
const (
	methodCode   = "PhoneAppOTP"
	methodNumber = "PhoneAppNotification"
	methodKey    = "FidoKey"
)

func (u *user) hasSecondFactor() bool {
	return u.totp != nil || u.numberMatch || len(u.passkeys) > 0 || len(u.hello) > 0
}

// secondFactors lists what the user can be asked for, best first, within what
// a strength accepts.
func (u *user) secondFactors(combinations []string) []pages.Method {
	var out []pages.Method
	if u.numberMatch && (allows(combinations, "microsoftAuthenticatorPush") || allows(combinations, "deviceBasedPush")) {
		out = append(out, pages.Method{ID: methodNumber, Label: "Approve in your authenticator app"})
	}
	if u.totp != nil && allows(combinations, "softwareOath") {
		out = append(out, pages.Method{ID: methodCode, Label: "Use a code from your authenticator app"})
	}
	if len(u.passkeys) > 0 && allows(combinations, "fido2") {
		out = append(out, pages.Method{ID: methodKey, Label: "Use a passkey"})
	}
	return out
}

// askSecondFactor shows the page of the user's best second factor, or lets the
// user register one. It always answers the request.
func (s *Server) askSecondFactor(w http.ResponseWriter, r *request, fl *flow, u *user, combinations []string) bool {
	if fl.Request.Prompt == "none" {
		s.endFlow(w, r, fl, fail("interaction_required", 50076, "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access the resource."))
		return true
	}
	methods := u.secondFactors(combinations)
	switch {
	case len(methods) == 0 && combinations != nil && u.hasSecondFactor():
		s.endFlow(w, r, fl, fail("interaction_required", 53003, "Your sign-in was successful but does not meet the criteria to access this resource: none of your methods satisfies the authentication strength."))
	case len(methods) == 0:
		s.mayEnroll(w, r, fl, u)
	default:
		fl.Prompts++
		s.showMethod(w, r, fl, u, methods[0].ID, nil)
	}
	return true
}

func (s *Server) showMethod(w http.ResponseWriter, r *request, fl *flow, u *user, method string, err error) {
	if method == methodKey {
		s.showPasskey(w, r, fl, err)
		return
	}
	name, title := "code", "Enter code"
	if method == methodNumber {
		name, title = "number", "Approve sign-in request"
		if _, waiting := s.flow.prompt(fl.Prompt); !waiting || err != nil {
			fl.Prompt = s.newPrompt(u)
		}
	}
	p := s.page(r, fl, name, title)
	p.Action = "/common/SAS/ProcessAuth"
	for _, m := range u.secondFactors(nil) {
		if m.ID != method {
			p.Methods = append(p.Methods, m)
		}
	}
	if method == methodNumber {
		n, _ := s.flow.prompt(fl.Prompt)
		p.Number = n.number
	}
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedTFA", p.Action
	p.Config["arrUserProofs"] = proofs(u)
	explain(&p, err)
	p.Write(w, http.StatusOK)
}

func proofs(u *user) []map[string]any {
	out := []map[string]any{}
	for i, m := range u.secondFactors(nil) {
		out = append(out, map[string]any{"authMethodId": m.ID, "data": m.ID, "display": m.Label, "isDefault": i == 0})
	}
	return out
}

func (s *Server) newPrompt(u *user) string {
	now := s.Now()
	p := &numberPrompt{id: hexString(s.rand.bytes(12)), user: u.id, number: 10 + s.rand.number(90), expires: now.Add(flowLife).Unix()}
	s.flow.addPrompt(p, now)
	s.opts.Logf("entratest: %s is asked for the number %d in the authenticator app", u.upn, p.number)
	return p.id
}

// AnswerNumberMatch types a number into the user's authenticator app. It
// reports whether a prompt was waiting; a wrong number declines it.
func (s *Server) AnswerNumberMatch(username string, number int) bool {
	u := s.dir.user(s.dir.qualify(username))
	return u != nil && s.flow.answerPrompt(u.id, number, s.Now())
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
	switch {
	case r.form.Get("assertion") != "":
		s.loginPasskey(w, r, fl)
		return
	case method == methodNumber:
		err = s.takeNumber(fl, u)
	default:
		method = methodCode
		err = s.takeCode(fl, u, r.form.Get("otc"))
	}
	if err != nil {
		s.mistake(r, "second factor: %v", err)
		r.entry = s.flowEntry(r, fl)
		s.record(r, err)
		s.showMethod(w, r, fl, u, method, err)
		return
	}
	s.proceed(w, r, fl)
}

func (s *Server) openFactorFlow(token string) (*flow, *user, error) {
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

func (s *Server) takeCode(fl *flow, u *user, code string) error {
	if !s.checkTOTP(u, code) {
		return invalidGrant(500121, "You didn't enter the expected verification code. Please try again.")
	}
	fl.Session.mfa(claims.SoftwareOATH, s.Now())
	return nil
}

func (s *Server) takeNumber(fl *flow, u *user) error {
	switch s.flow.usePrompt(fl.Prompt) {
	case loginApproved:
		fl.Session.mfa(claims.AuthenticatorPush, s.Now())
		fl.Prompt = ""
		return nil
	case loginPending:
		return errPromptWaits
	}
	return invalidGrant(500121, "Authentication failed during strong authentication request.").because("the prompt of %s was declined or is over", u.upn)
}

var errPromptWaits = invalidGrant(500121, "We are waiting for your approval in the authenticator app.")

// mayEnroll asks Conditional Access about the user action "register security
// information" before it shows the page for it.
func (s *Server) mayEnroll(w http.ResponseWriter, r *request, fl *flow, u *user) {
	dev, err := s.deviceOf(fl.Session)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return
	}
	a := s.evaluate(r, accessQuestion{user: u, session: fl.Session, device: dev, action: policy.RegisterSecurityInfo, browser: true})
	if a.outcome == policy.Block {
		s.endFlow(w, r, fl, fail("access_denied", 53010, "Can't configure multi-factor authentication methods because the organization requires this information to be set from specific locations or devices."))
		return
	}
	s.showEnroll(w, r, fl, nil)
}

// showEnroll lets a user without a second factor register an authenticator app.
func (s *Server) showEnroll(w http.ResponseWriter, r *request, fl *flow, err error) {
	if fl.Enroll == nil {
		fl.Enroll = s.rand.bytes(20)
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
	if fl.Enroll == nil || u.hasSecondFactor() {
		s.errorPage(w, r, invalidRequest(90023, "The request is not valid."))
		return
	}
	step, ok := totpMatch(fl.Enroll, r.form.Get("otc"), s.Now())
	if !ok {
		s.showEnroll(w, r, fl, invalidGrant(500121, "You didn't enter the expected verification code. Please try again."))
		return
	}
	secret := fl.Enroll
	if err := s.dir.changeUser(u.upn, func(u *user) error { u.totp, u.totpStep = secret, step; return nil }); err != nil {
		s.errorPage(w, r, err)
		return
	}
	fl.Enroll = nil
	fl.Prompts++
	fl.Session.mfa(claims.SoftwareOATH, s.Now())
	s.proceed(w, r, fl)
}
