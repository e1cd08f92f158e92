package login

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/passkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// newPage returns a page with what all pages of a flow have in common.
func (s *Pages) newPage(r *web.Request, fl *session.Flow, name, title string) pages.Page {
	ctx := s.Keeper.SealFlow(fl)
	canary := s.Keeper.Box.Seal(session.KindFlow, "canary") // nothing checks it: see the package documentation
	p := pages.Page{
		Name: name, Title: title, Username: fl.Username, Nonce: s.pageNonce(),
		Hidden: []pages.Field{{Name: "ctx", Value: ctx}, {Name: "flowToken", Value: ctx}, {Name: "canary", Value: canary},
			{Name: "client-request-id", Value: web.CorrelationID(r.Request)}},
		FormAct: s.FormTargets(fl),
		Config: map[string]any{
			"sFTName": "flowToken", "sCanaryTokenName": "canary",
			"sFT": ctx, "sCtx": ctx, "canary": canary, "sCrossDomainCanary": canary, "apiCanary": canary,
			"sessionId": s.Keeper.Rand.GUID(), "correlationId": web.CorrelationID(r.Request),
			"urlGetCredentialType": absolute(r, pathOf(fl, "GetCredentialType")),
			"urlBeginAuth":         absolute(r, "/common/SAS/BeginAuth"), "urlEndAuth": absolute(r, "/common/SAS/EndAuth"),
			"urlGetOneTimeCode": absolute(r, pathOf(fl, "GetOneTimeCode")), "urlSessionState": absolute(r, pathOf(fl, "DeviceCodeStatus")),
			"fIsPasskeySupportEnabled": !s.Traits.SecurityKeysOnly, "iMaxPollAttempts": 60, "iPollingInterval": 1000,
		},
	}
	offerFido(&p, r, fl)
	if t := s.Keeper.Directory.TenantOf(fl.Username); t != nil {
		p.Tenant = t.Name
	}
	return p
}

// absolute returns the full URL of a path on the host that the page came from. In
// $Config the real pages give full URLs for the endpoints that scripts call and for
// the forms of the two factors (pages captured by the authors of saml2aws), but only
// the path for interrupts such as the question whether to stay signed in.
func absolute(r *web.Request, path string) string {
	if base := web.LocalBase(r.Request); base != "" {
		return strings.TrimSuffix(base, "/") + path
	}
	if !web.IsLoginHost(strings.ToLower(r.Host)) { // see BrowserURL
		return "http://" + r.Host + path
	}
	return "https://" + r.Host + path
}

func (s *Pages) pageNonce() string { return ids.Hex(s.Keeper.Rand.Bytes(16)) }

func pathOf(fl *session.Flow, name string) string {
	t := fl.Request.Tenant
	if t == "" {
		t = "common"
	}
	return "/" + t + "/" + name
}

// FormTargets returns the origins that the forms of a sign-in may lead to. Browsers
// check redirects against them too: to the app, to the host of passkeys and back,
// and to federation servers.
func (s *Pages) FormTargets(fl *session.Flow) string {
	targets := []string{formOrigin(fl.Request.Redirect), passkeys.Origin, strings.TrimSuffix(web.LoginURL, "/")}
	for _, t := range s.Keeper.Directory.Tenants() {
		for _, domain := range slices.Sorted(maps.Keys(t.Federated)) {
			targets = append(targets, "https://"+directory.FederationHost(domain))
		}
	}
	return strings.Join(targets, " ")
}

// formOrigin returns the origin that a form may lead to when it ends in a redirect.
func formOrigin(redirect string) string {
	u, err := url.Parse(redirect)
	switch {
	case err != nil || u.Scheme == "":
		return ""
	case u.Scheme == "http" || u.Scheme == "https":
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + ":"
}

func (s *Pages) ErrorPage(w http.ResponseWriter, r *web.Request, err error) {
	e := web.AsSTSError(err)
	s.Web.Mistake(r, "error page AADSTS%d: %s", e.Code, strings.TrimSpace(e.Text+" "+e.Why))
	p := pages.Page{Name: "message", Title: "Sign-in failed", Nonce: s.pageNonce(), Error: e.Error(), Code: e.Code,
		Config: map[string]any{"pgid": "ConvergedError", "sErrorCode": strconv.Itoa(e.Code), "iErrorCode": e.Code, "sErrTxt": e.Text,
			"strServiceExceptionMessage": e.Error(), "correlationId": web.CorrelationID(r.Request),
			"sessionId": s.Keeper.Rand.GUID(), "canary": s.Keeper.Box.Seal(session.KindFlow, "canary")}}
	status := http.StatusOK // pages are for people and have status 200, except for server errors
	if e.OAuth == "server_error" {
		status = http.StatusInternalServerError
	}
	p.Write(w, status)
}

func (s *Pages) showMessage(w http.ResponseWriter, _ *web.Request, title, text string) {
	pages.Message(s.pageNonce(), title, text).Write(w, http.StatusOK)
}
