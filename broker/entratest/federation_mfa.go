package entratest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// multipleAuthn is how a federation server is asked for MFA and states it.
const multipleAuthn = "http://schemas.microsoft.com/claims/multipleauthn"

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
	q := url.Values{"wa": {"wsignin1.0"}, "wtrealm": {cloudAudience}, "wauth": {multipleAuthn}, "username": {u.UPN}, "wctx": {s.keeper.SealFlow(fl)}}
	web.NoStore(w)
	writeRedirect(w, "https://"+directory.FederationHost(domainOf(u.UPN))+"/adfs/ls/?"+q.Encode())
}

// passiveFactor asks for a code at the federation server, of a user who has one
// there. It reports whether a right one was given and whether it answered the
// request.
func (s *Server) passiveFactor(w http.ResponseWriter, r *web.Request, u *directory.User, p pages.Page) (multiple, answered bool) {
	code := strings.Join(strings.Fields(r.Values.Get("otc")), "")
	if u.FederationTOTP == nil {
		return false, false
	}
	if _, ok := totp.Match(u.FederationTOTP, code, s.Now()); ok {
		return true, false
	}
	p.Name, p.Title = "code", "Enter code"
	p.Method, p.Label = session.MethodCode, codeLabels[session.MethodCode]
	// The page carries the password along: this server has no sessions.
	for _, name := range sortedKeys(r.Values) {
		if !slices.Contains([]string{"otc", "mfaAuthMethod"}, name) {
			p.Hidden = append(p.Hidden, pages.Field{Name: name, Value: r.Values.Get(name)})
		}
	}
	if code != "" {
		explain(&p, session.ErrWrongCode)
	}
	p.Write(w, http.StatusOK)
	return false, true
}
