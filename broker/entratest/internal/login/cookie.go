package login

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// The cookies of a browser session: one that ends with the browser, and one for
// users who stay signed in.
const (
	sessionCookieName    = "ESTSAUTH"
	persistentCookieName = "ESTSAUTHPERSISTENT"
)

func (s *Pages) sessionCookie(r *web.Request, fl *session.Flow) {
	var ss session.Session
	found := false
	for _, name := range []string{sessionCookieName, persistentCookieName} {
		if c, err := r.Cookie(name); err == nil && !found {
			found = s.Keeper.Box.Open(session.KindCookie, c.Value, &ss) == nil
		}
	}
	if !found {
		return
	}
	if _, err := s.Keeper.UserOf(&ss); err != nil {
		return
	}
	if ss.FromPRT && s.BindBrowserSessions {
		s.Web.Mistake(r, "session cookie of a sign-in by a PRT ignored: the PRT is not shown with it")
		return
	}
	if fl.Request.Hint != "" {
		if u := s.Keeper.Directory.User(fl.Request.Hint); u == nil || u.ID != ss.User {
			return
		}
	}
	fl.Session, fl.SSO = &ss, true
}

func (s *Pages) setSessionCookie(w http.ResponseWriter, ss *session.Session, keep bool) {
	c := &http.Cookie{Name: sessionCookieName, Value: s.Keeper.Box.Seal(session.KindCookie, ss), Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode}
	http.SetCookie(w, c)
	if keep {
		c.Name, c.MaxAge = persistentCookieName, 90*24*3600
		http.SetCookie(w, c)
	}
}
