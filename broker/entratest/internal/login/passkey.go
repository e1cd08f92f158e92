package login

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/passkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// fidoGet is the page on which a passkey signs, at the host that is its
// relying party.
func (s *Pages) fidoGet(w http.ResponseWriter, r *web.Request) {
	fl, err := s.Keeper.OpenFlow(r.URL.Query().Get("ctx"))
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	err = fl.Failed.Err()
	fl.Failed = nil
	s.showPasskey(w, r, fl, err)
}

// showPasskey shows the page on which a passkey signs. Browsers let a page use
// only the passkeys of its own host, so other hosts redirect there.
func (s *Pages) showPasskey(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	host := strings.ToLower(r.Host)
	if host != passkeys.RelyingParty && web.IsLoginHost(host) {
		if err != nil {
			e := web.AsSTSError(err)
			fl.Failed = &session.Failure{Code: e.Code, Text: e.Text}
		}
		web.NoStore(w)
		web.Redirect(w, passkeys.Origin+pathOf(fl, "fido/get")+"?"+url.Values{"ctx": {s.Keeper.SealFlow(fl)}}.Encode())
		return
	}
	p := s.passkeyPage(r, fl)
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// passkeyPage returns that page, with a challenge that is still valid.
func (s *Pages) passkeyPage(r *web.Request, fl *session.Flow) pages.Page {
	s.Passkeys.Challenge(fl)
	allow := []string{}
	if u := s.Keeper.Directory.User(fl.Username); u != nil {
		allow = u.PasskeyIDs()
	}
	p := s.newPage(r, fl, "passkey", "Face, fingerprint, PIN or security key")
	p.Action, p.OtherWay = pathOf(fl, "login"), true
	if fl.Session != nil {
		p.Action, p.OtherWay = "/common/SAS/ProcessAuth", false
		s.otherMethods(&p, r, fl, session.MethodKey)
	}
	if strings.ToLower(r.Host) == passkeys.RelyingParty {
		p.Action = strings.TrimSuffix(web.LoginURL, "/") + p.Action
	}
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedFido", p.Action
	p.Config["sFidoChallenge"], p.Config["arrFidoAllowList"] = string(fl.Challenge), allow
	return p
}

// loginPasskey accepts an assertion, as a first factor or as a second.
func (s *Pages) loginPasskey(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	u, key, err := s.Passkeys.Check(r, fl)
	if err != nil {
		r.Entry = s.flowEntry(r, fl)
		s.Web.Mistake(r, "sign-in page: %v", web.AsSTSError(err).Why)
		s.Web.Record(r, err)
		fl.Challenge = nil
		s.passkeyRefused(w, r, fl, err)
		return
	}
	fl.Challenge = nil
	method := claims.FIDO2
	if key.Hello {
		method = claims.WindowsHello | claims.MarkRSA
	}
	if fl.Session != nil {
		fl.Session.ProveMFA(method, s.Keeper.Now())
		fl.Session.AAGUID = key.AAGUID
		s.next(w, r, fl)
		return
	}
	ss := s.Keeper.NewSession(u, method)
	ss.ProveMFA(method, s.Keeper.Now())
	ss.AAGUID = key.AAGUID
	s.signedIn(w, r, fl, ss)
}

// passkeyRefused shows what is wrong with an assertion: on the passkey page if this
// host serves it, and otherwise on the page before it.
func (s *Pages) passkeyRefused(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	if !web.IsLoginHost(strings.ToLower(r.Host)) {
		s.showPasskey(w, r, fl, err)
		return
	}
	if fl.Session == nil {
		s.showSignIn(w, r, fl, err)
		return
	}
	if u := s.Keeper.Directory.UserByID(fl.Session.User); u != nil {
		s.showMethod(w, r, fl, u, session.MethodKey, err)
		return
	}
	s.ErrorPage(w, r, err)
}
