package login

import (
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// deviceLoginPage is the page on which a user enters a code.
func (s *Pages) deviceLoginPage(w http.ResponseWriter, r *web.Request) {
	if s.Web.HostKind(r.Request) == web.OnDeviceLogin {
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
	d, ok := s.Keeper.Pending.DeviceLoginOf(code)
	switch {
	case code == "":
		s.showUserCode(w, r, "", 90119)
	case !ok:
		s.showUserCode(w, r, code, 70018)
	case d.State != session.LoginPending:
		s.showUserCode(w, r, code, 90120)
	case s.Keeper.Now().Unix() >= d.Expires:
		s.showUserCode(w, r, code, 70019)
	default:
		s.next(w, r, &session.Flow{
			Request: session.AuthRequest{Client: d.Client, Resource: d.Resource, Scope: d.Scope, V2: d.V2,
				Fresh: d.Fresh, MFA: d.MFA, Tenant: tenantName(r)},
			DeviceCode: d.DeviceCode,
		})
	}
}

func (s *Pages) showUserCode(w http.ResponseWriter, _ *web.Request, code string, wrong int) {
	p := pages.Page{Name: "usercode", Title: "Enter code", Username: code, Action: "/common/oauth2/deviceauth",
		Nonce: s.pageNonce(), Config: map[string]any{"pgid": "ConvergedRemoteConnect"}}
	switch wrong {
	case 90119:
		web.Explain(&p, web.InvalidRequest(90119, "Enter the code."))
	case 70018:
		web.Explain(&p, web.InvalidRequest(70018, "That code didn't work. Check the code and try again."))
	case 70019:
		web.Explain(&p, web.InvalidRequest(70019, "That code has expired."))
	case 90120:
		web.Explain(&p, web.InvalidRequest(90120, "That code was already used."))
	}
	p.Write(w, http.StatusOK)
}

// mustConfirm reports whether the user has to confirm the app: someone else may have
// sent the device code, or opened the browser.
func (s *Pages) mustConfirm(fl *session.Flow) bool {
	to := strings.ToLower(fl.Request.Redirect)
	native := s.Traits.ConfirmApp && !strings.HasPrefix(to, "https:") && !strings.HasPrefix(to, "http:")
	return (fl.DeviceCode != "" || native) && !fl.Confirmed
}

// showConfirm asks the user to confirm the app that is signing in.
func (s *Pages) showConfirm(w http.ResponseWriter, r *web.Request, fl *session.Flow, client *directory.App) {
	p := s.newPage(r, fl, "confirm", "Are you trying to sign in to "+client.Name+"?")
	p.Action = "/appverify"
	if fl.DeviceCode != "" {
		p.Text = "An app or device showed you a code. Continue only if you trust it and asked for the code yourself: anyone who sent it to you will be signed in as you."
	}
	p.Config["pgid"], p.Config["urlPost"] = "CmsiInterrupt", p.Action
	p.Write(w, http.StatusOK)
}

// appVerify handles the answer from the page that names the app.
func (s *Pages) appVerify(w http.ResponseWriter, r *web.Request) {
	fl, _, err := s.openFactorFlow(flowField(r))
	if err == nil && !s.mustConfirm(fl) {
		err = web.InvalidRequest(90023, "The request is not valid.").Because("no app is waiting for the answer")
	}
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	if yes := r.Values.Get("ContinueAuth"); yes != "true" {
		if fl.DeviceCode == "" {
			err := web.Fail("access_denied", 65004, "The user did not confirm the app.")
			r.Entry = s.flowEntry(r, fl)
			s.Web.Record(r, err)
			s.redirectError(w, r, fl, err)
			return
		}
		s.Keeper.Pending.Settle(fl.DeviceCode, session.LoginPending, session.LoginDeclined, session.Session{})
		s.showMessage(w, r, "You have not signed in", "The app or device will not be signed in. You may close this window.")
		return
	}
	fl.Confirmed = true
	s.next(w, r, fl)
}
