package adfs

import (
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// passive is the federation server's page for browsers.
func (s *Server) passive(w http.ResponseWriter, r *web.Request) {
	q := r.URL.Query()
	p := pages.Page{Name: "federation", Title: "Sign in at " + r.Host, Username: q.Get("username"), Nonce: ids.Hex(s.Keeper.Rand.Bytes(16)),
		Action: r.URL.RequestURI(), Config: map[string]any{}, FormAct: "https://" + wire.LoginHost}
	if q.Get("wa") != "wsignin1.0" || q.Get("wtrealm") != CloudAudience {
		s.ErrorPage(w, r, web.InvalidRequest(50107, "The requested federation realm object '%s' does not exist.", web.Clip(q.Get("wtrealm"))))
		return
	}
	if r.Method == http.MethodGet {
		p.Write(w, http.StatusOK)
		return
	}
	p.Username = r.Values.Get("UserName")
	u, err := s.federatedPassword(r, p.Username, r.Values.Get("Password"))
	if err != nil {
		web.Explain(&p, web.InvalidGrant(50126, "Incorrect user ID or password. Type the correct user ID and password, and try again."))
		p.Write(w, http.StatusOK)
		return
	}
	multiple, answered := s.passiveFactor(w, r, u, p)
	if answered {
		return
	}
	done := pages.Page{Name: "formpost", Title: "Working…", Nonce: ids.Hex(s.Keeper.Rand.Bytes(16)), Config: map[string]any{},
		To: template.URL(web.LoginURL + "login.srf"), FormAct: "https://" + wire.LoginHost,
		Hidden: []pages.Field{{Name: "wa", Value: "wsignin1.0"}, {Name: "wctx", Value: q.Get("wctx")},
			{Name: "wresult", Value: rstr(Trust2005, SAML11, s.assertion(u, strings.ToLower(r.Host), SAML11, multiple), s.Keeper.Now().UTC())}}}
	if fl, err := s.Keeper.OpenFlow(q.Get("wctx")); err == nil {
		done.FormAct = s.FormTargets(fl) // redirects from the form end there
	}
	done.Write(w, http.StatusOK)
}

// passiveFactor asks the user for a code if they have a second factor at the
// federation server. It reports whether the code was right and whether it answered
// the request.
func (s *Server) passiveFactor(w http.ResponseWriter, r *web.Request, u *directory.User, p pages.Page) (multiple, answered bool) {
	code := strings.Join(strings.Fields(r.Values.Get("otc")), "")
	if u.FederationTOTP == nil {
		return false, false
	}
	if _, ok := totp.Match(u.FederationTOTP, code, s.Keeper.Now()); ok {
		return true, false
	}
	p.Name, p.Title = "code", "Enter code"
	p.Method, p.Label = session.MethodCode, "Code from your authenticator app"
	// The page carries the password along: this server has no sessions.
	for _, name := range slices.Sorted(maps.Keys(r.Values)) {
		if !slices.Contains([]string{"otc", "mfaAuthMethod"}, name) {
			p.Hidden = append(p.Hidden, pages.Field{Name: name, Value: r.Values.Get(name)})
		}
	}
	if code != "" {
		web.Explain(&p, session.ErrWrongCode)
	}
	p.Write(w, http.StatusOK)
	return false, true
}
