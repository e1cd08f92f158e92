package entratest

import (
	"net/http"
	"net/url"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// askFederation sends a browser to the federation server for MFA (WS-Federation
// 1.2, 13.2.2, wauth), unless it was there and came back without.
func (s *Server) askFederation(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User) {
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
	q := url.Values{"wa": {"wsignin1.0"}, "wtrealm": {adfs.CloudAudience}, "wauth": {adfs.MultipleAuthn}, "username": {u.UPN}, "wctx": {s.keeper.SealFlow(fl)}}
	web.NoStore(w)
	writeRedirect(w, "https://"+directory.FederationHost(adfs.DomainOf(u.UPN))+"/adfs/ls/?"+q.Encode())
}
