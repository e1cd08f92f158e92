package login

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// toFederation sends a browser to the federation server (WS-Federation).
func (s *Pages) toFederation(w http.ResponseWriter, _ *web.Request, fl *session.Flow) {
	web.NoStore(w)
	web.Redirect(w, adfs.URL(fl.Username, s.Keeper.SealFlow(fl)))
}

// loginSRF handles the reply of the federation server, sent through the browser.
func (s *Pages) loginSRF(w http.ResponseWriter, r *web.Request) {
	fl, err := s.Keeper.OpenFlow(r.Values.Get("wctx"))
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	text := r.Values.Get("wresult")
	from, to := strings.Index(text, "<saml:Assertion"), strings.LastIndex(text, "</saml:Assertion>")
	if from < 0 || to < from {
		s.ErrorPage(w, r, web.InvalidGrant(50008, "SAML assertion is missing or misconfigured in the token."))
		return
	}
	raw := text[from : to+len("</saml:Assertion>")]
	u, ss, err := s.STS.SAMLCredential(base64.StdEncoding.EncodeToString([]byte(raw)), wire.GrantSAML11)
	if err != nil {
		r.Entry = s.flowEntry(r, fl)
		s.Web.Record(r, err)
		s.ErrorPage(w, r, err)
		return
	}
	fl.Username = u.UPN
	s.signedIn(w, r, fl, *ss)
}

// askFederation sends a browser to the federation server for MFA (WS-Federation
// 1.2, 13.2.2, wauth), unless it has already come back from there without MFA.
func (s *Pages) askFederation(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User) {
	switch {
	case !session.Allows(fl.Accept, claims.FederatedMultiFactor, fl.Session.Methods):
		s.endFlow(w, r, fl, web.Fail("interaction_required", 53003, "Your sign-in was successful but does not meet the criteria to access this resource: none of your methods satisfies the authentication strength."))
		return
	case fl.Federated:
		s.endFlow(w, r, fl, web.Fail("interaction_required", 50074, "Strong Authentication is required.").Because("the federation server of %s did not state MFA", u.UPN))
		return
	}
	fl.Prompts++
	fl.Federated = true
	q := url.Values{"wa": {"wsignin1.0"}, "wtrealm": {adfs.CloudAudience}, "wauth": {adfs.MultipleAuthn}, "username": {u.UPN}, "wctx": {s.Keeper.SealFlow(fl)}}
	web.NoStore(w)
	web.Redirect(w, "https://"+directory.FederationHost(adfs.DomainOf(u.UPN))+"/adfs/ls/?"+q.Encode())
}
