package login

import (
	"net/http"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// consentPage asks the user to grant a third-party client the scopes that it lacks.
// It reports whether it answered the request.
func (s *Pages) consentPage(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, client *directory.App, tg *access.Target) bool {
	if len(tg.Missing) == 0 && fl.Request.Prompt != "consent" || fl.Consented {
		return false
	}
	if client.FirstParty && (tg.Resource == nil || tg.Resource.FirstParty) {
		err := access.Consent(client, tg)
		if err == nil {
			return false
		}
		s.endFlow(w, r, fl, err)
		return true
	}
	if fl.Request.Prompt == "none" {
		s.endFlow(w, r, fl, access.Consent(client, tg))
		return true
	}
	if s.NoUserConsent && !slices.ContainsFunc(u.Roles, mayConsent) {
		err := web.Fail("access_denied", 90094, "Admin consent is required for the permissions requested by this application. An administrator must grant the permissions of '%s'(%s).", client.ID, client.Name)
		r.Entry = s.flowEntry(r, fl)
		s.Web.Record(r, err)
		s.ErrorPage(w, r, err)
		return true
	}
	p := s.newPage(r, fl, "consent", "Permissions requested")
	p.Action, p.App = "/common/Consent/Set", client.Name
	for _, sc := range append(slices.Clone(tg.Scopes), tg.Missing...) {
		p.Scopes = append(p.Scopes, strings.TrimRight(tg.Audience, "/")+"/"+sc)
	}
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedConsent", p.Action
	p.Write(w, http.StatusOK)
	return true
}

// mayConsent reports whether a directory role may consent where users may not: Global
// Administrator, Application Administrator or Cloud Application Administrator
// (Microsoft, "Grant tenant-wide admin consent to an application").
func mayConsent(role string) bool {
	return slices.Contains([]string{"62e90394-69f5-4237-9190-012177145e10", "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", "158c047a-c907-4556-b7ef-446551a6b5f7"}, strings.ToLower(role))
}

// consentSet handles the answer from the consent page.
func (s *Pages) consentSet(w http.ResponseWriter, r *web.Request) {
	fl, u, err := s.openFactorFlow(flowField(r))
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	if fl.Request.AdminConsent {
		s.adminConsentSet(w, r, fl)
		return
	}
	if r.Values.Get("consent") != "accept" {
		err := web.Fail("access_denied", 65004, "User declined to consent to access the app.")
		r.Entry = s.flowEntry(r, fl)
		s.Web.Record(r, err)
		s.redirectError(w, r, fl, err)
		return
	}
	client, err := s.Access.ClientApp(u.Tenant, fl.Request.Client)
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	tg, err := s.Access.FlowTarget(fl, client, u)
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	var scopes []string
	for _, sc := range tg.Missing {
		scopes = append(scopes, tg.Resource.ID+"/"+sc)
	}
	if err := s.Keeper.Directory.GrantConsent(u, client.ID, scopes); err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	fl.Consented = true
	s.next(w, r, fl)
}
