package login

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/policy"
)

// next shows the next page of a sign-in, or ends it.
func (s *Pages) next(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	if fl.Username == "" {
		fl.Username = fl.Request.Hint
	}
	if fl.Session == nil {
		s.showSignIn(w, r, fl, nil)
		return
	}
	u, err := s.Keeper.UserOf(fl.Session)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return
	}
	// This holds for sign-ins on a page and for credentials from the browser alike.
	if t := s.Keeper.FlowTenant(fl); t != nil && t != u.Tenant {
		s.endFlow(w, r, fl, access.NotInTenant(u, t))
		return
	}
	fl.Username = u.UPN
	if fl.Session.Device == "" && fl.Device != "" {
		fl.Session.Device = fl.Device
	}
	if fl.DeviceCode != "" {
		// The device that shows the pages is not the one that gets the tokens.
		fl.Session.Device, fl.Session.DeviceCode = "", true
	}
	client, err := s.Access.ClientApp(u.Tenant, fl.Request.Client)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return
	}
	tg, err := s.Access.FlowTarget(fl, client, u)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return
	}
	if s.ask(w, r, fl, u, client, tg) {
		return
	}
	if fl.Request.AdminConsent {
		s.adminConsentPage(w, r, fl, u, client, tg)
		return
	}
	if !s.consentPage(w, r, fl, u, client, tg) {
		s.finish(w, r, fl, u)
	}
}

// ask asks the user for what the request or Conditional Access requires. It reports
// whether it answered the request.
func (s *Pages) ask(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, client *directory.App, tg *access.Target) bool {
	for _, a := range []*directory.App{client, tg.Resource} {
		if err := s.Access.Assigned(a, u); err != nil {
			s.endFlow(w, r, fl, err)
			return true
		}
	}
	dev, err := s.Keeper.DeviceOf(fl.Session)
	if err != nil {
		s.endFlow(w, r, fl, deletedDevicePage(err, u.Tenant.Name))
		return true
	}
	fresh := fl.Session.FreshMFA(s.Keeper.Now(), s.Keeper.TTL.FreshMFA)
	if fl.Request.MFA && fl.Session.MFA == 0 || fl.Request.Fresh && !fresh {
		return s.askSecondFactor(w, r, fl, u, nil)
	}
	q := access.ToResource(client, tg)
	q.User, q.Session, q.Device = u, fl.Session, dev
	if done := s.enforce(w, r, fl, u, q); done {
		return true
	}
	want, err := access.ParseClaims(fl.Request.Claims)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return true
	}
	for _, c := range want.Contexts {
		q := q
		q.Resource, q.Scopes, q.Context = nil, policy.AnyScopes, access.ContextNumber(c)
		if done := s.enforce(w, r, fl, u, q); done {
			return true
		}
	}
	return s.asksToRegister(w, r, fl, u)
}

// enforce asks Conditional Access and shows the page that it calls for.
func (s *Pages) enforce(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, q access.Question) bool {
	r.Entry = s.flowEntry(r, fl)
	a := s.Access.Evaluate(r, q)
	results := r.Entry.Policies
	r.Entry = nil
	if a.Outcome == policy.OutcomeInterrupt && len(a.Prompt) > 0 {
		switch c := a.Prompt[0]; c.Kind {
		case policy.MFA, policy.ReauthenticateMFA, policy.AuthenticationStrength:
			return s.askSecondFactor(w, r, fl, u, s.Access.StrengthMethods(q, c))
		case policy.Reauthenticate:
			fl.SignOut()
			s.showSignIn(w, r, fl, nil)
			return true
		case policy.TermsOfUse:
			s.showTerms(w, r, fl, c.ID)
			return true
		case policy.PasswordChange, policy.RiskRemediation:
			// MFA comes first (Microsoft, "Conditional Access: Grant", Require
			// password change). Only a user who signed in with a password can change it.
			if fl.Session.Password && fl.Session.MFA == 0 && session.HasSecondFactor(u) {
				return s.askSecondFactor(w, r, fl, u, nil)
			}
			if fl.Session.Password && fl.Session.MFA != 0 && fl.Request.Prompt != "none" {
				fl.Expired = true
				s.showChangePassword(w, r, fl, nil)
				return true
			}
		}
	}
	if err := s.Access.Refusal(a, q, false); err != nil {
		s.endFlowWith(w, r, fl, err, results)
		return true
	}
	return false
}

func (s *Pages) flowEntry(r *web.Request, fl *session.Flow) *directory.LogEntry {
	grant := "authorize"
	if fl.DeviceCode != "" {
		grant = "device_code_page"
	}
	e := &directory.LogEntry{
		Time: s.Keeper.Now(), CorrelationID: web.CorrelationID(r.Request), Endpoint: string(web.EndpointAuthorize), Grant: grant,
		Interactive: !fl.SSO || fl.Prompts > 0, ClientID: fl.Request.Client,
		Platform: access.PlatformNames[access.PlatformOf(r.UserAgent())], MFAPrompts: fl.Prompts, Username: fl.Username,
	}
	s.Access.LogAddress(r.Request, e)
	if fl.Session != nil {
		if u := s.Keeper.Directory.UserByID(fl.Session.User); u != nil {
			session.LogUser(e, u, fl.Session)
			if client := s.Keeper.Directory.App(u.Tenant, fl.Request.Client); client != nil {
				if tg, err := s.Access.FlowTarget(fl, client, u); err == nil {
					e.Resource = tg.ID()
				}
			}
		}
	}
	return e
}

// endFlow ends a sign-in with an error.
func (s *Pages) endFlow(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	s.endFlowWith(w, r, fl, err, nil)
}

func (s *Pages) endFlowWith(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error, results []directory.PolicyResult) {
	if s.challengeDevice(w, r, fl, err) {
		return
	}
	r.Entry = s.flowEntry(r, fl)
	r.Entry.Policies = results
	s.Web.Record(r, err)
	if fl.Request.Prompt == "none" {
		s.redirectError(w, r, fl, err)
		return
	}
	s.ErrorPage(w, r, err)
}

// deletedDevicePage returns the error that the pages show for a deleted device, where
// the token endpoint answers AADSTS50155 (Microsoft, "Error AADSTS700003 - Your
// organization has deleted this device").
func deletedDevicePage(err error, tenant string) error {
	if web.AsSTSError(err).Code != 50155 {
		return err
	}
	return web.InvalidGrant(700003, "Device object was not found in the tenant '%s' directory.", tenant).Sub("device_authentication_failed")
}
