package entratest

import (
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

func sortedKeys(v url.Values) []string {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// consentPage asks the user to let a third-party client have the scopes it
// lacks. It reports whether it answered the request.
func (s *Server) consentPage(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User, client *directory.App, tg *access.Target) bool {
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
	p := s.page(r, fl, "consent", "Permissions requested")
	p.Action, p.App = "/common/Consent/Set", client.Name
	for _, sc := range append(slices.Clone(tg.Scopes), tg.Missing...) {
		p.Scopes = append(p.Scopes, strings.TrimRight(tg.Audience, "/")+"/"+sc)
	}
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedConsent", p.Action
	p.Write(w, http.StatusOK)
	return true
}

// consentSet takes the answer of the consent page.
func (s *Server) consentSet(w http.ResponseWriter, r *web.Request) {
	fl, u, err := s.openFactorFlow(flowField(r))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	if r.Values.Get("consent") != "accept" {
		err := web.Fail("access_denied", 65004, "User declined to consent to access the app.")
		r.Entry = s.flowEntry(r, fl)
		s.web.Record(r, err)
		s.redirectError(w, r, fl, err)
		return
	}
	client, err := s.access.ClientApp(u.Tenant, fl.Request.Client)
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	tg, err := s.access.FlowTarget(fl, client, u)
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	var scopes []string
	for _, sc := range tg.Missing {
		scopes = append(scopes, tg.Resource.ID+"/"+sc)
	}
	if err := s.dir.GrantConsent(u, client.ID, scopes); err != nil {
		s.errorPage(w, r, err)
		return
	}
	fl.Consented = true
	s.proceed(w, r, fl)
}

// showTerms asks the user to accept terms of use.
func (s *Server) showTerms(w http.ResponseWriter, r *web.Request, fl *session.Flow, id string) {
	if fl.Request.Prompt == "none" {
		s.endFlow(w, r, fl, web.Fail("interaction_required", 50158, "External security challenge was not satisfied."))
		return
	}
	fl.Terms = id
	p := s.page(r, fl, "terms", "Terms of use")
	p.Text = "Your organisation asks you to accept its terms of use (" + id + ")."
	p.Action = "/common/Terms/Set"
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedTermsOfUse", p.Action
	p.Write(w, http.StatusOK)
}

// termsSet takes the answer of the terms page.
func (s *Server) termsSet(w http.ResponseWriter, r *web.Request) {
	fl, u, err := s.openFactorFlow(flowField(r))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	if r.Values.Get("terms") != "accept" || fl.Terms == "" {
		s.endFlow(w, r, fl, web.Fail("access_denied", 65004, "User declined the terms of use."))
		return
	}
	id := fl.Terms
	err = s.dir.ChangeUser(u.UPN, func(u *directory.User) error {
		u.Terms = append(slices.Clone(u.Terms), id)
		return nil
	})
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	s.proceed(w, r, fl)
}
