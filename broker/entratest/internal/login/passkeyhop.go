package login

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/passkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Passkeys belong to login.microsoft.com, and the sign-in pages to
// login.microsoftonline.com. A page posts a form to urlFidoLogin on the other host,
// which says where the assertion is to be sent; the page that comes back has the
// challenge. The names of the fields, and the presence of sErrorCode and the rest of
// $Config, are taken from libhimmelblau (auth.rs) and the scripts that penetration
// testers use against the real service.

// offerFido puts the address of the passkey page into $Config.
func offerFido(p *pages.Page, r *web.Request, fl *session.Flow) {
	ctx, _ := p.Config["sCtx"].(string)
	p.HopTo = passkeys.Origin + pathOf(fl, "fido/get") + "?uiflavor=Web"
	p.Config["fIsFidoSupported"], p.Config["urlFidoLogin"] = true, p.HopTo
	p.Config["urlResume"] = absolute(r, pathOf(fl, "resume")) + "?" + url.Values{"ctx": {ctx}}.Encode()
	p.Config["iAllowedIdentities"] = 2 // accounts of organizations only, not personal ones
}

// hopFields returns the fields of the form that leads to urlFidoLogin after a first
// factor.
func hopFields(p *pages.Page) []pages.Field {
	text := func(name string) string { s, _ := p.Config[name].(string); return s }
	credentials := ""
	if list, _ := p.Config["arrFidoAllowList"].([]string); len(list) > 0 {
		credentials = list[0]
	}
	return []pages.Field{
		{Name: "flow", Value: "mfa"}, {Name: "allowedIdentities", Value: "2"},
		{Name: "canary", Value: text("sFT")}, {Name: "serverChallenge", Value: text("sFT")},
		{Name: "postBackUrl", Value: text("urlPost")}, {Name: "postBackUrlAad", Value: text("urlPost")},
		{Name: "cancelUrl", Value: text("urlResume")}, {Name: "resumeUrl", Value: text("urlResume")},
		{Name: "correlationId", Value: text("correlationId")}, {Name: "credentialsJson", Value: credentials},
		{Name: "ctx", Value: text("sCtx")}, {Name: "username", Value: p.Username}, {Name: "loginCanary", Value: text("canary")},
	}
}

// fidoPosted answers the form of a page with the page on which a passkey signs.
func (s *Pages) fidoPosted(w http.ResponseWriter, r *web.Request) {
	sent := map[string]string{}
	for name, v := range r.Values {
		sent[strings.ToLower(name)] = v[0]
	}
	fl, err := s.Keeper.OpenFlow(sent["ctx"])
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	back, ok := onLoginHost(sent["postbackurl"])
	if !ok {
		s.ErrorPage(w, r, web.InvalidRequest(90023, "The request is not valid.").Because("postBackUrl %q is not on a sign-in host", web.Clip(sent["postbackurl"])))
		return
	}
	var missing []string
	for _, f := range hopFields(&pages.Page{}) {
		if name := strings.ToLower(f.Name); name != "flow" && sent[name] == "" {
			missing = append(missing, f.Name)
		}
	}
	if len(missing) > 0 {
		s.Web.Mistake(r, "form of a passkey lacks %s", strings.Join(missing, ", "))
	}
	if fl.Username == "" {
		fl.Username = sent["username"]
	}
	p := s.passkeyPage(r, fl)
	p.Action, p.Config["urlPost"] = back, back
	if resume, ok := onLoginHost(sent["resumeurl"]); ok {
		p.Config["urlResume"] = resume
	}
	p.Write(w, http.StatusOK)
}

// onLoginHost resolves a URL, possibly a path, against the sign-in host, and reports
// whether it leads to a sign-in host.
func onLoginHost(text string) (string, bool) {
	base, err := url.Parse(web.LoginURL)
	if err != nil || text == "" {
		return "", false
	}
	u, err := base.Parse(text)
	if err != nil || u.Scheme != "https" || !web.IsLoginHost(strings.ToLower(u.Host)) {
		return "", false
	}
	return u.String(), true
}
