package login

import (
	"encoding/base32"
	"net/http"
	"net/url"
	"slices"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// mayEnroll asks Conditional Access about the user action "register security
// information" before it shows the page for it. A user without a method cannot satisfy
// a policy that demands MFA. Such a policy for all apps covers the action too, but does
// not prevent it, since the registration is what will satisfy the policy. A policy that
// names the action must be satisfied first, with a method that needs no registration,
// such as an access pass (Entra, "Protect security info registration with Conditional
// Access policy").
func (s *Pages) mayEnroll(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User) {
	dev, err := s.Keeper.DeviceOf(fl.Session)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return
	}
	a := s.Access.Evaluate(r, access.Question{User: u, Session: fl.Session, Device: dev, Action: policy.ActionRegisterSecurityInfo, Browser: true})
	if a.Outcome == policy.OutcomeBlock || a.Outcome == policy.OutcomeInterrupt && a.Named && asksForMFA(a.Prompt) {
		s.endFlow(w, r, fl, web.Fail("access_denied", 53010, "Can't configure multi-factor authentication methods because the organization requires this information to be set from specific locations or devices."))
		return
	}
	fl.MayPutOff = false
	s.showEnroll(w, r, fl, nil)
}

// asksToRegister shows the page for a registration that is not yet required and that
// the user can postpone. It reports whether it answered the request.
func (s *Pages) asksToRegister(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User) bool {
	if fl.PutOff || fl.SSO || fl.Request.Prompt == "none" || u.FederatedMFA() {
		return false
	}
	due := s.Traits.RegistrationDays > 0 && !session.HasSecondFactor(u)
	if fl.Session.Methods&(claims.SMS|claims.Voice) != 0 {
		due = s.Traits.RegistrationCampaign && u.TOTP == nil && !u.NumberMatch
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
func (s *Pages) showEnroll(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	if fl.Enroll == nil {
		fl.Enroll = s.Keeper.Rand.Bytes(20)
	}
	p := s.newPage(r, fl, "enroll", "Keep your account secure")
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
			p.Config["iRemainingDaysToSkipMfaRegistration"] = s.Traits.RegistrationDays
		}
	}
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// proofUp checks the first code of a newly registered app.
func (s *Pages) proofUp(w http.ResponseWriter, r *web.Request) {
	fl, u, err := s.openFactorFlow(flowField(r))
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	if fl.MayPutOff && r.Values.Get("otc") == "" && r.Values.Get("LoginOptions") != "" {
		fl.PutOff = true
		s.next(w, r, fl)
		return
	}
	if fl.Enroll == nil || len(session.SecondFactors(u, fl)) > 0 && !fl.MayPutOff {
		s.ErrorPage(w, r, web.InvalidRequest(90023, "The request is not valid."))
		return
	}
	step, ok := totp.Match(fl.Enroll, r.Values.Get("otc"), s.Keeper.Now())
	if !ok {
		s.showEnroll(w, r, fl, web.InvalidGrant(500121, "You didn't enter the expected verification code. Please try again."))
		return
	}
	secret := fl.Enroll
	if err := s.Keeper.Directory.ChangeUser(u.UPN, func(u *directory.User) error { u.TOTP, u.TOTPStep = secret, step; return nil }); err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	fl.Enroll = nil
	fl.Prompts++
	fl.Session.ProveMFA(claims.SoftwareOATH, s.Keeper.Now())
	s.next(w, r, fl)
}
