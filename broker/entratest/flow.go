package entratest

import (
	"html"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/policy"
)

// proceed shows the next page of a sign-in, or ends it.
func (s *Server) proceed(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	if fl.Username == "" {
		fl.Username = fl.Request.Hint
	}
	if fl.Session == nil {
		s.showSignIn(w, r, fl, nil)
		return
	}
	u, err := s.keeper.UserOf(fl.Session)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return
	}
	// Whatever signed in, a page or what the browser showed.
	if t := s.keeper.FlowTenant(fl); t != nil && t != u.Tenant {
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
	client, err := s.access.ClientApp(u.Tenant, fl.Request.Client)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return
	}
	tg, err := s.access.FlowTarget(fl, client, u)
	if err != nil {
		s.endFlow(w, r, fl, err)
		return
	}
	if s.challenge(w, r, fl, u, client, tg) {
		return
	}
	if !s.consentPage(w, r, fl, u, client, tg) {
		s.finish(w, r, fl, u)
	}
}

// challenge asks for what the request or Conditional Access wants. It reports
// whether it answered the request.
func (s *Server) challenge(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, client *directory.App, tg *access.Target) bool {
	for _, a := range []*directory.App{client, tg.Resource} {
		if err := s.access.Assigned(a, u); err != nil {
			s.endFlow(w, r, fl, err)
			return true
		}
	}
	dev, err := s.keeper.DeviceOf(fl.Session)
	if err != nil {
		s.endFlow(w, r, fl, deletedDevicePage(err, u.Tenant.Name))
		return true
	}
	fresh := fl.Session.FreshMFA(s.Now(), s.opts.TTL.FreshMFA)
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
func (s *Server) enforce(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, q access.Question) bool {
	r.Entry = s.flowEntry(r, fl)
	a := s.access.Evaluate(r, q)
	results := r.Entry.Policies
	r.Entry = nil
	if a.Outcome == policy.OutcomeInterrupt && len(a.Prompt) > 0 {
		switch c := a.Prompt[0]; c.Kind {
		case policy.MFA, policy.ReauthenticateMFA, policy.AuthenticationStrength:
			return s.askSecondFactor(w, r, fl, u, s.access.StrengthMethods(q, c))
		case policy.Reauthenticate:
			fl.SignOut()
			s.showSignIn(w, r, fl, nil)
			return true
		case policy.TermsOfUse:
			s.showTerms(w, r, fl, c.ID)
			return true
		case policy.PasswordChange, policy.RiskRemediation:
			// MFA is asked for first (Microsoft, "Conditional Access: Grant", Require
			// password change). Only somebody with a password here has one to change.
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
	if err := s.access.Refusal(a, q, false); err != nil {
		s.endFlowWith(w, r, fl, err, results)
		return true
	}
	return false
}

func (s *Server) flowEntry(r *web.Request, fl *session.Flow) *directory.LogEntry {
	grant := "authorize"
	if fl.DeviceCode != "" {
		grant = "device_code_page"
	}
	e := &directory.LogEntry{
		Time: s.Now(), CorrelationID: web.CorrelationID(r.Request), Endpoint: string(web.EndpointAuthorize), Grant: grant,
		Interactive: !fl.SSO || fl.Prompts > 0, ClientID: fl.Request.Client,
		Platform: access.PlatformNames[access.PlatformOf(r.UserAgent())], MFAPrompts: fl.Prompts, Username: fl.Username,
	}
	if fl.Session != nil {
		if u := s.dir.UserByID(fl.Session.User); u != nil {
			session.LogUser(e, u, fl.Session)
			if client := s.dir.App(u.Tenant, fl.Request.Client); client != nil {
				if tg, err := s.access.FlowTarget(fl, client, u); err == nil {
					e.Resource = tg.ID()
				}
			}
		}
	}
	return e
}

// endFlow ends a sign-in with an error.
func (s *Server) endFlow(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	s.endFlowWith(w, r, fl, err, nil)
}

func (s *Server) endFlowWith(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error, results []directory.PolicyResult) {
	if s.challengeDevice(w, r, fl, err) {
		return
	}
	r.Entry = s.flowEntry(r, fl)
	r.Entry.Policies = results
	s.web.Record(r, err)
	if fl.Request.Prompt == "none" {
		s.redirectError(w, r, fl, err)
		return
	}
	s.errorPage(w, r, err)
}

// finish ends a sign-in well: with a code at the redirect URI, or by approving
// the device code.
func (s *Server) finish(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User) {
	if s.opts.AskToStaySignedIn && !fl.KMSI && !fl.SSO && fl.Request.Prompt != "none" && fl.DeviceCode == "" {
		s.showKMSI(w, r, fl)
		return
	}
	if fl.DeviceCode != "" && !fl.Confirmed {
		if client, err := s.access.ClientApp(u.Tenant, fl.Request.Client); err == nil {
			s.showConfirm(w, r, fl, client)
			return
		}
	}
	r.Entry = s.flowEntry(r, fl)
	if rules := s.dir.AccessRules(u.Tenant); rules != nil {
		s.logPolicies(r, fl, u)
	}
	if fl.DeviceCode != "" {
		if !s.keeper.Pending.Settle(fl.DeviceCode, session.LoginPending, session.LoginApproved, *fl.Session) {
			err := web.InvalidRequest(90120, "The device flow request was already authorized or declined.")
			s.web.Record(r, err)
			s.errorPage(w, r, err)
			return
		}
		s.web.Record(r, nil)
		s.showMessage(w, r, "You have signed in", "You may close this window and go back to your device.")
		return
	}
	now := s.Now()
	code := s.keeper.Box.Seal(session.KindCode, session.CodeRecord{
		ID: ids.Hex(s.rand.Bytes(12)), Session: *fl.Session, Client: fl.Request.Client, Redirect: fl.Request.Redirect,
		Challenge: fl.Request.Challenge, Method: fl.Request.Method, Resource: fl.Request.Resource, Scope: fl.Request.Scope,
		Nonce: fl.Request.Nonce, Fresh: fl.Request.Fresh, Key: fl.Key, Claims: fl.Request.Claims, Aged: fl.Request.MaxAge != nil,
		Expires: now.Add(s.opts.TTL.Code).Unix(),
	})
	s.web.Record(r, nil)
	kept := *fl.Session
	kept.FromPRT = kept.FromPRT || fl.Key != nil
	s.setSessionCookie(w, &kept, fl.KMSI)
	out := url.Values{"code": {code}, "session_state": {fl.Session.SID}}
	if fl.Request.NoCode {
		code = ""
		out.Del("code")
	}
	if fl.Request.IDToken {
		out.Set("id_token", s.frontIDToken(r, fl, u, code))
	}
	if fl.Request.Info {
		out.Set("client_info", mint.ClientInfo(u))
	}
	if fl.Request.Instance {
		out.Set("cloud_instance_name", cloudName)
		out.Set("cloud_instance_host_name", "login.microsoftonline.com")
		out.Set("cloud_graph_host_name", "graph.windows.net")
		out.Set("msgraph_host", "graph.microsoft.com")
	}
	s.redirect(w, r, fl, out)
}

// logPolicies fills the results of Conditional Access into the open entry.
func (s *Server) logPolicies(r *web.Request, fl *session.Flow, u *directory.User) {
	client, err := s.access.ClientApp(u.Tenant, fl.Request.Client)
	if err != nil {
		return
	}
	tg, err := s.access.FlowTarget(fl, client, u)
	if err != nil {
		return
	}
	dev, _ := s.keeper.DeviceOf(fl.Session) // it was checked before
	q := access.ToResource(client, tg)
	q.User, q.Session, q.Device = u, fl.Session, dev
	s.access.Evaluate(r, q)
}

func (s *Server) frontIDToken(r *web.Request, fl *session.Flow, u *directory.User, code string) string {
	client, err := s.access.ClientApp(u.Tenant, fl.Request.Client)
	if err != nil {
		return ""
	}
	dev, _ := s.keeper.DeviceOf(fl.Session)
	address, _ := s.access.ClientAddress(r.Request)
	return s.mint.IDToken(&mint.Issuance{Base: web.LocalBase(r.Request), Address: address, Client: client, User: u, Session: fl.Session, V2: fl.Request.V2,
		Nonce: fl.Request.Nonce, Code: code, Aged: fl.Request.MaxAge != nil, Now: s.Now()}, dev)
}

// redirect sends parameters to the redirect URI in the wanted mode.
func (s *Server) redirect(w http.ResponseWriter, r *web.Request, fl *session.Flow, out url.Values) {
	if fl.Request.State != "" {
		out.Set("state", fl.Request.State)
	}
	web.NoStore(w)
	to := fl.Request.Redirect
	switch fl.Request.Mode {
	case "form_post":
		s.showFormPost(w, r, to, out)
		return
	case "fragment":
		to += "#" + out.Encode()
	default:
		sep := "?"
		if strings.Contains(to, "?") {
			sep = "&"
		}
		to += sep + out.Encode()
	}
	if s.opts.Pages.ScriptRedirect && fl.Request.Mode == "query" {
		p := pages.Page{Name: "redirect", Title: "Sign in", To: template.URL(to), Nonce: s.pageNonce(), Config: map[string]any{}}
		p.Write(w, http.StatusOK)
		return
	}
	writeRedirect(w, to)
}

// writeRedirect sends a browser elsewhere, with the short hypertext note that RFC
// 9110, 15.4 asks for: programs that do not follow redirects read the link in it.
func writeRedirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusFound)
	_, _ = io.WriteString(w, "<html><head><title>Object moved</title></head><body>\r\n"+
		`<h2>Object moved to <a href="`+html.EscapeString(to)+`">here</a>.</h2>`+"\r\n</body></html>\r\n")
}

func (s *Server) redirectError(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	e := web.AsSTSError(err)
	s.web.Mistake(r, "AADSTS%d %s: %s", e.Code, e.OAuth, strings.TrimSpace(e.Text+" "+e.Why))
	body := s.web.ErrorBody(e, web.CorrelationID(r.Request))
	out := url.Values{"error": {e.OAuth}, "error_description": {body.Description}, "error_uri": {body.URI}}
	if e.Suberror != "" {
		out.Set("error_subcode", e.Suberror)
	}
	if e.Claims != "" {
		out.Set("claims", e.Claims)
	}
	s.redirect(w, r, fl, out)
}

// deletedDevicePage is what the pages say of a deleted device, where the token
// endpoint says AADSTS50155 (Microsoft, "Error AADSTS700003 - Your organization
// has deleted this device").
func deletedDevicePage(err error, tenant string) error {
	if web.AsSTSError(err).Code != 50155 {
		return err
	}
	return web.InvalidGrant(700003, "Device object was not found in the tenant '%s' directory.", tenant).Sub("device_authentication_failed")
}
