package login

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// authorize is the authorization endpoint: it signs the user in with the credentials
// that the browser presents, or through the sign-in pages.
func (s *Pages) authorize(w http.ResponseWriter, r *web.Request) {
	if s.answerDevice(w, r) {
		return
	}
	q := r.URL.Query()
	if r.Method == http.MethodPost {
		for k, v := range r.Values {
			q[k] = v
		}
	}
	req, err := s.parseAuthorize(r, q)
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	fl := &session.Flow{Request: req}
	if rt := q.Get("response_type"); rt != "code" && rt != "code id_token" && rt != "id_token" {
		s.redirectError(w, r, fl, web.Fail("unsupported_response_type", 70005, "The 'response_type' '%s' is not supported.", web.Clip(rt)))
		return
	}
	if err := s.authorizeTarget(r, fl); err != nil {
		s.redirectError(w, r, fl, err)
		return
	}
	if req.Prompt != "login" {
		challenge, err := s.singleSignOn(r, fl)
		if err != nil {
			s.ErrorPage(w, r, err)
			return
		}
		if challenge && q.Get("sso_nonce") == "" || challenge && q.Get("sso_nonce") != "" && q.Get("sso_reload") == "" {
			s.challengeSSO(w, r, q)
			return
		}
	}
	if fl.Session != nil && req.TooOld(fl.Session, s.Keeper.Now()) {
		fl.SignOut()
	}
	if fl.Session == nil && req.Prompt == "none" {
		s.redirectError(w, r, fl, web.Fail("login_required", 50058, "A silent sign-in request was sent but no user is signed in."))
		return
	}
	s.next(w, r, fl)
}

// parseAuthorize checks what must hold before anything is sent to the
// redirect URI.
func (s *Pages) parseAuthorize(r *web.Request, q url.Values) (session.AuthRequest, error) {
	t := s.tenantOrHome(r, q.Get("login_hint"))
	client, err := s.Access.ClientApp(t, q.Get("client_id"))
	if err != nil {
		return session.AuthRequest{}, err
	}
	redirect := q.Get("redirect_uri")
	if redirect == "" && len(client.Redirects) == 1 {
		redirect = client.Redirects[0]
	}
	if redirect == "" {
		return session.AuthRequest{}, web.InvalidRequest(900144, "The request must contain the following parameter: 'redirect_uri'.")
	}
	if err := access.CheckRedirect(client, redirect); err != nil {
		return session.AuthRequest{}, err
	}
	mode := q.Get("response_mode")
	switch mode {
	case "":
		if mode = "query"; strings.Contains(q.Get("response_type"), "id_token") {
			mode = "fragment"
		}
	case "query", "fragment", "form_post":
	default:
		return session.AuthRequest{}, web.InvalidRequest(70007, "'%s' is not a supported value of 'response_mode' when requesting a token.", web.Clip(mode))
	}
	amr := strings.Fields(strings.ReplaceAll(q.Get("amr_values"), ",", " "))
	want, err := access.ParseClaims(q.Get("claims"))
	if err != nil {
		return session.AuthRequest{}, err
	}
	maxAge, err := parseMaxAge(q.Get("max_age"))
	if err != nil {
		return session.AuthRequest{}, err
	}
	return session.AuthRequest{
		Tenant: tenantName(r), V2: r.V2, Client: client.ID, Redirect: redirect, Mode: mode,
		IDToken: strings.Contains(q.Get("response_type"), "id_token"), NoCode: q.Get("response_type") == "id_token",
		State: q.Get("state"), Nonce: q.Get("nonce"), Resource: q.Get("resource"), Scope: q.Get("scope"),
		Challenge: q.Get("code_challenge"), Method: q.Get("code_challenge_method"),
		Fresh:  slices.Contains(amr, "ngcmfa") || want.WantsFresh(),
		MFA:    slices.Contains(amr, "mfa") || want.WantsMFA(),
		Claims: q.Get("claims"), Prompt: q.Get("prompt"), Hint: q.Get("login_hint"),
		Info: q.Get("client_info") == "1", Instance: q.Get("instance_aware") == "true", MaxAge: maxAge,
	}, nil
}

// parseMaxAge reads max_age (OpenID Connect Core, 3.1.2.1), in seconds. It is
// not in Microsoft's reference, but MSAL sends it and checks the result.
func parseMaxAge(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return nil, web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.").Because("max_age %q is not a number of seconds", web.Clip(text))
	}
	return &n, nil
}

// tenantName returns the tenant part for the paths of the following pages.
func tenantName(r *web.Request) string {
	if r.Tenant != nil {
		return r.Tenant.ID
	}
	return "common"
}

// tenantOrHome returns the tenant whose clients a request may name before the user
// has signed in.
func (s *Pages) tenantOrHome(r *web.Request, hint string) *directory.Tenant {
	if r.Tenant != nil {
		return r.Tenant
	}
	if t := s.Keeper.Directory.TenantOf(hint); t != nil {
		return t
	}
	return s.Keeper.Directory.Home()
}

// authorizeTarget checks the parameters whose errors go to the redirect URI.
func (s *Pages) authorizeTarget(r *web.Request, fl *session.Flow) error {
	a := &fl.Request
	if a.Challenge != "" {
		if a.Method != "" && a.Method != "S256" && a.Method != "plain" {
			return web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.").Because("code_challenge_method %q", web.Clip(a.Method))
		}
		if !verify.Challenge(a.Challenge) {
			return web.InvalidRequest(50147, "Invalid size of Code_Challenge parameter.")
		}
	}
	if a.V2 && a.Resource != "" {
		return web.InvalidRequest(901002, "The 'resource' request parameter is not supported.")
	}
	if a.V2 && a.Scope == "" {
		return web.InvalidRequest(900144, "The request must contain the following parameter: 'scope'.")
	}
	t := s.tenantOrHome(r, a.Hint)
	client, err := s.Access.ClientApp(t, a.Client)
	if err != nil {
		return err
	}
	_, err = s.Access.FlowTarget(fl, client, &directory.User{Tenant: t})
	return err
}
