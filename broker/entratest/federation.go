package entratest

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// toFederation sends a browser to the federation server (WS-Federation).
func (s *Server) toFederation(w http.ResponseWriter, _ *web.Request, fl *session.Flow) {
	web.NoStore(w)
	writeRedirect(w, adfs.URL(fl.Username, s.keeper.SealFlow(fl)))
}

// loginSRF takes what the federation server sends back through the browser.
func (s *Server) loginSRF(w http.ResponseWriter, r *web.Request) {
	fl, err := s.keeper.OpenFlow(r.Values.Get("wctx"))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	text := r.Values.Get("wresult")
	from, to := strings.Index(text, "<saml:Assertion"), strings.LastIndex(text, "</saml:Assertion>")
	if from < 0 || to < from {
		s.errorPage(w, r, web.InvalidGrant(50008, "SAML assertion is missing or misconfigured in the token."))
		return
	}
	raw := text[from : to+len("</saml:Assertion>")]
	u, ss, err := s.sts.SAMLCredential(base64.StdEncoding.EncodeToString([]byte(raw)), wire.GrantSAML11)
	if err != nil {
		r.Entry = s.flowEntry(r, fl)
		s.web.Record(r, err)
		s.errorPage(w, r, err)
		return
	}
	fl.Username = u.UPN
	s.signedIn(w, r, fl, *ss)
}
