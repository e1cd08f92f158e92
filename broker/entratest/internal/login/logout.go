package login

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// logout ends the browser session. Refresh tokens and PRTs stay valid, as with
// the real service.
func (s *Pages) logout(w http.ResponseWriter, r *web.Request) {
	for _, name := range []string{sessionCookieName, persistentCookieName} {
		http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode})
	}
	to := r.URL.Query().Get("post_logout_redirect_uri")
	if to == "" {
		s.showMessage(w, r, "You signed out of your account", "It's a good idea to close all browser windows.")
		return
	}
	if !s.registeredRedirect(r, to) {
		s.ErrorPage(w, r, web.InvalidRequest(50011, "The post_logout_redirect_uri '%s' is registered by no application.", web.Clip(to)))
		return
	}
	if state := r.URL.Query().Get("state"); state != "" {
		u, err := url.Parse(to)
		if err == nil {
			q := u.Query()
			q.Set("state", state)
			u.RawQuery = q.Encode()
			to = u.String()
		}
	}
	web.Redirect(w, to)
}

// registeredRedirect reports whether some client of the tenant redirects to uri.
func (s *Pages) registeredRedirect(r *web.Request, uri string) bool {
	t := s.tenantOrHome(r, "")
	return slices.ContainsFunc(s.Keeper.Directory.Clients(t), func(a *directory.App) bool { return access.CheckRedirect(a, uri) == nil })
}
