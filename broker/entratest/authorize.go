package entratest

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
	"github.com/prtbroker/prtbroker/internal/wire"
)

// authorize is the authorization endpoint: it signs in by what the browser
// shows, or by the sign-in pages.
func (s *Server) authorize(w http.ResponseWriter, r *web.Request) {
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
		s.errorPage(w, r, err)
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
			s.errorPage(w, r, err)
			return
		}
		if challenge && q.Get("sso_nonce") == "" || challenge && q.Get("sso_nonce") != "" && q.Get("sso_reload") == "" {
			s.challengeSSO(w, r, q)
			return
		}
	}
	if fl.Session != nil && req.TooOld(fl.Session, s.Now()) {
		fl.SignOut()
	}
	if fl.Session == nil && req.Prompt == "none" {
		s.redirectError(w, r, fl, web.Fail("login_required", 50058, "A silent sign-in request was sent but no user is signed in."))
		return
	}
	s.proceed(w, r, fl)
}

// parseAuthorize checks what must hold before anything is sent to the
// redirect URI.
func (s *Server) parseAuthorize(r *web.Request, q url.Values) (session.AuthRequest, error) {
	t := s.tenantOrHome(r, q.Get("login_hint"))
	client, err := s.access.ClientApp(t, q.Get("client_id"))
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
// not in Microsoft's reference; MSAL asks for it and checks what comes of it.
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

// tenantName is the tenant part of the path of the pages to come.
func tenantName(r *web.Request) string {
	if r.Tenant != nil {
		return r.Tenant.ID
	}
	return "common"
}

// tenantOrHome is the tenant whose clients a request may name before anybody
// signed in.
func (s *Server) tenantOrHome(r *web.Request, hint string) *directory.Tenant {
	if r.Tenant != nil {
		return r.Tenant
	}
	if t := s.dir.TenantOf(hint); t != nil {
		return t
	}
	return s.dir.Home()
}

// authorizeTarget checks the parameters whose faults go to the redirect URI.
func (s *Server) authorizeTarget(r *web.Request, fl *session.Flow) error {
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
	client, err := s.access.ClientApp(t, a.Client)
	if err != nil {
		return err
	}
	_, err = s.access.FlowTarget(fl, client, &directory.User{Tenant: t})
	return err
}

// singleSignOn signs in by the credentials the browser shows. It reports
// whether the browser could do better with a fresh nonce: the PRT cookie was
// there and its nonce was not, or was stale.
func (s *Server) singleSignOn(r *web.Request, fl *session.Flow) (challenge bool, err error) {
	for _, text := range credentials(r, wire.CookieRefreshToken) {
		ss, key, stale, err := s.prtCookie(r, text)
		if stale {
			challenge = true
			continue
		}
		if err != nil {
			return false, err
		}
		if ss == nil {
			continue
		}
		if u := s.dir.UserByID(ss.User); fl.Request.Hint != "" && (u == nil || !strings.EqualFold(u.UPN, fl.Request.Hint)) {
			fl.Device = ss.Device // somebody else signs in on this device
			continue
		}
		fl.Session, fl.Key, fl.SSO = ss, key, true
		return false, nil
	}
	if challenge {
		return true, nil
	}
	s.sessionCookie(r, fl)
	for _, text := range credentials(r, wire.CookieDevice) {
		s.deviceCookie(r, fl, text)
	}
	return false, nil
}

// credentials returns the values of a header and of cookies of the same name;
// with several accounts the names are numbered.
func credentials(r *web.Request, name string) []string {
	out := append([]string{}, r.Header.Values(name)...)
	for _, c := range r.Cookies() {
		if rest, ok := strings.CutPrefix(c.Name, name); ok && strings.Trim(rest, "0123456789") == "" {
			out = append(out, c.Value)
		}
	}
	return out
}

// prtCookie checks an x-ms-RefreshTokenCredential. What is wrong with it makes
// the service ignore it, but for a stale nonce, a dead session and a disabled
// device.
func (s *Server) prtCookie(r *web.Request, text string) (ss *session.Session, key []byte, stale bool, err error) {
	ignore := func(format string, args ...any) (*session.Session, []byte, bool, error) {
		s.web.Mistake(r, wire.CookieRefreshToken+" ignored: "+format, args...)
		return nil, nil, false, nil
	}
	j, err := verify.ParseJWS(text)
	if err != nil {
		return ignore("%v", err)
	}
	c, err := j.Claims()
	if err != nil {
		return ignore("%v", err)
	}
	entry := &directory.LogEntry{}
	r.Entry, entry = entry, r.Entry
	defer func() { r.Entry = entry }()
	if nerr := s.keeper.CheckNonce(c.Nonce); nerr != nil {
		s.web.Mistake(r, "%s: %s", wire.CookieRefreshToken, nerr.Why)
		return nil, nil, true, nil
	}
	b, _, _, err := s.sts.ProveSession(j, c)
	if err != nil {
		e := web.AsSTSError(err)
		switch e.Code {
		case 140001, 50027, 50013, 50006:
			return ignore("%s", e.Why)
		}
		return nil, nil, false, err
	}
	if b.PRT == nil {
		return ignore("the refresh token in it is not a PRT")
	}
	return &b.PRT.Session, b.Key, false, nil
}

// deviceCookie checks an x-ms-DeviceCredential, which proves the device alone.
func (s *Server) deviceCookie(r *web.Request, fl *session.Flow, text string) {
	ignore := func(err error) { s.web.Mistake(r, wire.CookieDevice+" ignored: %v", err) }
	j, err := verify.ParseJWS(text)
	if err != nil {
		ignore(err)
		return
	}
	c, err := j.Claims()
	if err != nil {
		ignore(err)
		return
	}
	cert, err := j.Certificate()
	if err != nil {
		ignore(err)
		return
	}
	if e := s.keeper.CheckNonce(c.Nonce); e != nil {
		ignore(e)
		return
	}
	dev, e := s.mint.DeviceOfCertificate(cert)
	if e != nil {
		ignore(e)
		return
	}
	if err := j.VerifyRSA(dev.Key); err != nil {
		ignore(err)
		return
	}
	if c.GrantType != wire.GrantDeviceAuth {
		s.web.Mistake(r, wire.CookieDevice+" ignored: claim grant_type is %q instead of device_auth", web.Clip(c.GrantType))
		return
	}
	fl.Device = dev.ID
}

// challengeSSO sends the browser back to the same URL with a fresh nonce.
func (s *Server) challengeSSO(w http.ResponseWriter, r *web.Request, q url.Values) {
	if q.Get("sso_nonce") != "" {
		q.Set("sso_reload", "True")
	}
	q.Set("sso_nonce", s.keeper.NewNonce())
	web.NoStore(w)
	writeRedirect(w, r.URL.Path+"?"+q.Encode())
}

// The cookies of a browser session: one that ends with the browser, and one for
// those who stay signed in.
const (
	sessionCookieName    = "ESTSAUTH"
	persistentCookieName = "ESTSAUTHPERSISTENT"
)

func (s *Server) sessionCookie(r *web.Request, fl *session.Flow) {
	var ss session.Session
	found := false
	for _, name := range []string{sessionCookieName, persistentCookieName} {
		if c, err := r.Cookie(name); err == nil && !found {
			found = s.keeper.Box.Open(session.KindCookie, c.Value, &ss) == nil
		}
	}
	if !found {
		return
	}
	if _, err := s.keeper.UserOf(&ss); err != nil {
		return
	}
	if ss.FromPRT && s.opts.BindBrowserSessions {
		s.web.Mistake(r, "session cookie of a sign-in by a PRT ignored: the PRT is not shown with it")
		return
	}
	if fl.Request.Hint != "" {
		if u := s.dir.User(fl.Request.Hint); u == nil || u.ID != ss.User {
			return
		}
	}
	fl.Session, fl.SSO = &ss, true
}

func (s *Server) setSessionCookie(w http.ResponseWriter, ss *session.Session, keep bool) {
	c := &http.Cookie{Name: sessionCookieName, Value: s.keeper.Box.Seal(session.KindCookie, ss), Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode}
	http.SetCookie(w, c)
	if keep {
		c.Name, c.MaxAge = persistentCookieName, 90*24*3600
		http.SetCookie(w, c)
	}
}
