package login

import (
	"net/http"
	"slices"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// showTerms asks the user to accept terms of use.
func (s *Pages) showTerms(w http.ResponseWriter, r *web.Request, fl *session.Flow, id string) {
	if fl.Request.Prompt == "none" {
		s.endFlow(w, r, fl, web.Fail("interaction_required", 50158, "External security challenge was not satisfied."))
		return
	}
	fl.Terms = id
	p := s.newPage(r, fl, "terms", "Terms of use")
	p.Text = "Your organisation asks you to accept its terms of use (" + id + ")."
	p.Action = "/common/Terms/Set"
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedTermsOfUse", p.Action
	p.Write(w, http.StatusOK)
}

// termsSet handles the answer from the terms page.
func (s *Pages) termsSet(w http.ResponseWriter, r *web.Request) {
	fl, u, err := s.openFactorFlow(flowField(r))
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	if r.Values.Get("terms") != "accept" || fl.Terms == "" {
		s.endFlow(w, r, fl, web.Fail("access_denied", 65004, "User declined the terms of use."))
		return
	}
	id := fl.Terms
	err = s.Keeper.Directory.ChangeUser(u.UPN, func(u *directory.User) error {
		u.Terms = append(slices.Clone(u.Terms), id)
		return nil
	})
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	s.next(w, r, fl)
}
