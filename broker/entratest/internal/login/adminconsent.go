package login

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// adminConsent is the endpoint at which an administrator allows an application its
// permissions for the whole tenant (Microsoft, "Admin consent on the Microsoft identity
// platform", 2023-11). At v2.0 it is for the scopes that are named, or with /.default for
// all permissions, as it is without /v2.0.
func (s *Pages) adminConsent(w http.ResponseWriter, r *web.Request) {
	req, err := s.parseAuthorize(r, r.URL.Query())
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	req.AdminConsent, req.Mode, req.Resource, req.Prompt = true, "query", "", ""
	fl := &session.Flow{Request: req}
	if err := s.authorizeTarget(r, fl); err != nil {
		s.redirectError(w, r, fl, err)
		return
	}
	if _, err := s.singleSignOn(r, fl); err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	s.next(w, r, fl)
}

// adminConsentPage asks an administrator, or acts on the answer, and refuses any other
// user.
func (s *Pages) adminConsentPage(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, client *directory.App, tg *access.Target) {
	if !slices.ContainsFunc(u.Roles, mayConsent) {
		s.endFlow(w, r, fl, web.Fail("access_denied", 90094, "Admin consent is required for the permissions requested by this application. An administrator must grant the permissions of '%s'(%s).", client.ID, client.Name))
		return
	}
	if fl.Consented {
		s.grantForTenant(w, r, fl, u, client, tg)
		return
	}
	p := s.newPage(r, fl, "consent", "Permissions requested. Accept for your organization")
	p.Action, p.App = "/common/Consent/Set", client.Name
	p.Scopes = adminScopes(client, tg)
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedConsent", p.Action
	p.Write(w, http.StatusOK)
}

// adminScopes returns the permissions that the page lists.
func adminScopes(client *directory.App, tg *access.Target) []string {
	if everything(tg) {
		list := []string{"all permissions that the application is registered with"}
		for resource, roles := range client.Permissions {
			for _, role := range roles {
				list = append(list, strings.TrimRight(resource, "/")+"/"+role)
			}
		}
		slices.Sort(list[1:])
		return list
	}
	var list []string
	for _, sc := range slices.Concat(tg.Scopes, tg.Missing) {
		list = append(list, strings.TrimRight(tg.Audience, "/")+"/"+sc)
	}
	return list
}

// everything reports whether the request is for all permissions of the application.
func everything(tg *access.Target) bool { return tg.Resource == nil || tg.Default() }

// adminConsentSet handles the administrator's answer.
func (s *Pages) adminConsentSet(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	if r.Values.Get("consent") == "accept" {
		fl.Consented = true
		s.next(w, r, fl)
		return
	}
	err := web.Fail("consent_required", 65004, "The resource owner or authorization server denied the request.")
	r.Entry = s.flowEntry(r, fl)
	s.Web.Record(r, err)
	if !fl.Request.V2 {
		s.redirect(w, r, fl, url.Values{"error": {"permission_denied"}, "error_description": {"The admin canceled the request"}})
		return
	}
	s.redirectError(w, r, fl, err)
}

// grantForTenant records the consent and tells the application.
func (s *Pages) grantForTenant(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, client *directory.App, tg *access.Target) {
	resource, scopes := "", []string(nil)
	if !everything(tg) {
		resource, scopes = tg.Resource.ID, slices.Concat(tg.Scopes, tg.Missing)
	}
	if err := s.Keeper.Directory.ConsentForTenant(u.Tenant, client, resource, scopes); err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	r.Entry = s.flowEntry(r, fl)
	s.Web.Record(r, nil)
	out := url.Values{"tenant": {u.Tenant.ID}}
	if fl.Request.V2 {
		out.Set("scope", fl.Request.Scope)
	}
	s.redirect(w, r, fl, out)
}
