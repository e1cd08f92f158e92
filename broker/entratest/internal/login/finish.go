package login

import (
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// finish completes a sign-in: with a code at the redirect URI, or by approving the
// device code.
func (s *Pages) finish(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User) {
	if s.AskToStaySignedIn && !fl.KMSI && !fl.SSO && fl.Request.Prompt != "none" && fl.DeviceCode == "" {
		s.showKMSI(w, r, fl)
		return
	}
	if s.mustConfirm(fl) {
		if fl.Request.Prompt == "none" {
			s.endFlow(w, r, fl, web.Fail("interaction_required", 50199, "For security reasons, user confirmation is required for this request."))
			return
		}
		if client, err := s.Access.ClientApp(u.Tenant, fl.Request.Client); err == nil {
			s.showConfirm(w, r, fl, client)
			return
		}
	}
	r.Entry = s.flowEntry(r, fl)
	if rules := s.Keeper.Directory.AccessRules(u.Tenant); rules != nil {
		s.logPolicies(r, fl, u)
	}
	if fl.DeviceCode != "" {
		if !s.Keeper.Pending.Settle(fl.DeviceCode, session.LoginPending, session.LoginApproved, *fl.Session) {
			err := web.InvalidRequest(90120, "The device flow request was already authorized or declined.")
			s.Web.Record(r, err)
			s.ErrorPage(w, r, err)
			return
		}
		s.Web.Record(r, nil)
		s.showMessage(w, r, "You have signed in", "You may close this window and go back to your device.")
		return
	}
	now := s.Keeper.Now()
	code := s.Keeper.Box.Seal(session.KindCode, session.CodeRecord{
		ID: ids.Hex(s.Keeper.Rand.Bytes(12)), Session: *fl.Session, Client: fl.Request.Client, Redirect: fl.Request.Redirect,
		Challenge: fl.Request.Challenge, Method: fl.Request.Method, Resource: fl.Request.Resource, Scope: fl.Request.Scope,
		Nonce: fl.Request.Nonce, Fresh: fl.Request.Fresh, Key: fl.Key, Claims: fl.Request.Claims, Aged: fl.Request.MaxAge != nil,
		Expires: now.Add(s.Keeper.TTL.Code).Unix(),
	})
	s.Web.Record(r, nil)
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
		out.Set("cloud_instance_name", web.CloudName)
		out.Set("cloud_instance_host_name", "login.microsoftonline.com")
		out.Set("cloud_graph_host_name", "graph.windows.net")
		out.Set("msgraph_host", "graph.microsoft.com")
	}
	s.redirect(w, r, fl, out)
}

// logPolicies fills the results of Conditional Access into the open entry.
func (s *Pages) logPolicies(r *web.Request, fl *session.Flow, u *directory.User) {
	client, err := s.Access.ClientApp(u.Tenant, fl.Request.Client)
	if err != nil {
		return
	}
	tg, err := s.Access.FlowTarget(fl, client, u)
	if err != nil {
		return
	}
	dev, _ := s.Keeper.DeviceOf(fl.Session) // it was checked before
	q := access.ToResource(client, tg)
	q.User, q.Session, q.Device = u, fl.Session, dev
	s.Access.Evaluate(r, q)
}

func (s *Pages) frontIDToken(r *web.Request, fl *session.Flow, u *directory.User, code string) string {
	client, err := s.Access.ClientApp(u.Tenant, fl.Request.Client)
	if err != nil {
		return ""
	}
	dev, _ := s.Keeper.DeviceOf(fl.Session)
	address, _ := s.Access.ClientAddress(r.Request)
	return s.Mint.IDToken(&mint.Issuance{Base: web.LocalBase(r.Request), Address: address, Client: client, User: u, Session: fl.Session, V2: fl.Request.V2,
		Email: slices.Contains(strings.Fields(fl.Request.Scope), "email"), InURL: fl.Request.Mode == "fragment",
		Nonce: fl.Request.Nonce, Code: code, Aged: fl.Request.MaxAge != nil, Now: s.Keeper.Now()}, dev)
}

// redirect sends parameters to the redirect URI in the requested mode.
func (s *Pages) redirect(w http.ResponseWriter, r *web.Request, fl *session.Flow, out url.Values) {
	if fl.Request.AdminConsent {
		out.Set("admin_consent", "True")
	}
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
	if s.Traits.ScriptRedirect && fl.Request.Mode == "query" {
		p := pages.Page{Name: "redirect", Title: "Sign in", To: template.URL(to), Nonce: s.pageNonce(), Config: map[string]any{}}
		p.Write(w, http.StatusOK)
		return
	}
	web.Redirect(w, to)
}

func (s *Pages) redirectError(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	e := web.AsSTSError(err)
	s.Web.Mistake(r, "AADSTS%d %s: %s", e.Code, e.OAuth, strings.TrimSpace(e.Text+" "+e.Why))
	body := s.Web.ErrorBody(e, web.CorrelationID(r.Request))
	out := url.Values{"error": {e.OAuth}, "error_description": {body.Description}, "error_uri": {body.URI}}
	if e.Suberror != "" {
		out.Set("error_subcode", e.Suberror)
	}
	if e.Claims != "" {
		out.Set("claims", e.Claims)
	}
	s.redirect(w, r, fl, out)
}

func (s *Pages) showFormPost(w http.ResponseWriter, _ *web.Request, to string, values url.Values) {
	p := pages.Page{Name: "formpost", Title: "Working…", To: template.URL(to), FormAct: formOrigin(to), Nonce: s.pageNonce(), Config: map[string]any{}}
	for _, name := range sortedKeys(values) {
		p.Hidden = append(p.Hidden, pages.Field{Name: name, Value: values.Get(name)})
	}
	p.Write(w, http.StatusOK)
}

func sortedKeys(v url.Values) []string {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
