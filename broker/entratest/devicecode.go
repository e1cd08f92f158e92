package entratest

import (
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// deviceLoginPage is the page on which a user enters a code.
func (s *Server) deviceLoginPage(w http.ResponseWriter, r *web.Request) {
	if s.web.HostKind(r.Request) == web.OnDeviceLogin {
		to := web.LoginURL + "common/oauth2/deviceauth"
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r.Request, to, http.StatusFound)
		return
	}
	if r.Method == http.MethodGet {
		s.showUserCode(w, r, r.URL.Query().Get("otc"), 0)
		return
	}
	code := strings.ToUpper(strings.TrimSpace(r.Values.Get("otc")))
	d, ok := s.keeper.Pending.DeviceLoginOf(code)
	switch {
	case code == "":
		s.showUserCode(w, r, "", 90119)
	case !ok:
		s.showUserCode(w, r, code, 70018)
	case d.State != session.LoginPending:
		s.showUserCode(w, r, code, 90120)
	case s.Now().Unix() >= d.Expires:
		s.showUserCode(w, r, code, 70019)
	default:
		s.proceed(w, r, &session.Flow{
			Request: session.AuthRequest{Client: d.Client, Resource: d.Resource, Scope: d.Scope, V2: d.V2,
				Fresh: d.Fresh, MFA: d.MFA, Tenant: tenantName(r)},
			DeviceCode: d.DeviceCode,
		})
	}
}
