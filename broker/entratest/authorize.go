package entratest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// authRequest is an authorization request.
type authRequest struct {
	Tenant    string `json:"t"` // as in the path
	V2        bool   `json:"2,omitempty"`
	Client    string `json:"c"`
	Redirect  string `json:"r,omitempty"`
	Mode      string `json:"m,omitempty"` // query, fragment, form_post
	IDToken   bool   `json:"i,omitempty"` // response_type names id_token
	NoCode    bool   `json:"y,omitempty"` // response_type names no code
	State     string `json:"s,omitempty"`
	Nonce     string `json:"n,omitempty"`
	Resource  string `json:"v,omitempty"`
	Scope     string `json:"o,omitempty"`
	Challenge string `json:"h,omitempty"`
	Method    string `json:"d,omitempty"`
	Fresh     bool   `json:"f,omitempty"` // ngcmfa is asked for
	MFA       bool   `json:"a,omitempty"` // mfa is asked for
	Claims    string `json:"l,omitempty"`
	Prompt    string `json:"p,omitempty"`
	Hint      string `json:"u,omitempty"`
	Info      bool   `json:"j,omitempty"` // client_info=1
	Instance  bool   `json:"w,omitempty"` // instance_aware=true
	MaxAge    *int64 `json:"g,omitempty"` // max_age in seconds; nil: any
}

// authorize is the authorization endpoint: it signs in by what the browser
// shows, or by the sign-in pages.
func (s *Server) authorize(w http.ResponseWriter, r *request) {
	if s.answerDevice(w, r) {
		return
	}
	q := r.URL.Query()
	if r.Method == http.MethodPost {
		for k, v := range r.form {
			q[k] = v
		}
	}
	req, err := s.parseAuthorize(r, q)
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	fl := &flow{Request: req}
	if rt := q.Get("response_type"); rt != "code" && rt != "code id_token" && rt != "id_token" {
		s.redirectError(w, r, fl, fail("unsupported_response_type", 70005, "The 'response_type' '%s' is not supported.", clip(rt)))
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
	if fl.Session != nil && req.tooOld(fl.Session, s.Now()) {
		fl.signOut()
	}
	if fl.Session == nil && req.Prompt == "none" {
		s.redirectError(w, r, fl, fail("login_required", 50058, "A silent sign-in request was sent but no user is signed in."))
		return
	}
	s.proceed(w, r, fl)
}

// parseAuthorize checks what must hold before anything is sent to the
// redirect URI.
func (s *Server) parseAuthorize(r *request, q url.Values) (authRequest, error) {
	t := s.tenantOrHome(r, q.Get("login_hint"))
	client, err := s.clientApp(t, q.Get("client_id"))
	if err != nil {
		return authRequest{}, err
	}
	redirect := q.Get("redirect_uri")
	if redirect == "" && len(client.Redirects) == 1 {
		redirect = client.Redirects[0]
	}
	if redirect == "" {
		return authRequest{}, invalidRequest(900144, "The request must contain the following parameter: 'redirect_uri'.")
	}
	if err := checkRedirect(client, redirect); err != nil {
		return authRequest{}, err
	}
	mode := q.Get("response_mode")
	switch mode {
	case "":
		if mode = "query"; strings.Contains(q.Get("response_type"), "id_token") {
			mode = "fragment"
		}
	case "query", "fragment", "form_post":
	default:
		return authRequest{}, invalidRequest(70007, "'%s' is not a supported value of 'response_mode' when requesting a token.", clip(mode))
	}
	amr := strings.Fields(strings.ReplaceAll(q.Get("amr_values"), ",", " "))
	want, err := parseClaims(q.Get("claims"))
	if err != nil {
		return authRequest{}, err
	}
	maxAge, err := parseMaxAge(q.Get("max_age"))
	if err != nil {
		return authRequest{}, err
	}
	return authRequest{
		Tenant: tenantName(r), V2: r.v2, Client: client.ID, Redirect: redirect, Mode: mode,
		IDToken: strings.Contains(q.Get("response_type"), "id_token"), NoCode: q.Get("response_type") == "id_token",
		State: q.Get("state"), Nonce: q.Get("nonce"), Resource: q.Get("resource"), Scope: q.Get("scope"),
		Challenge: q.Get("code_challenge"), Method: q.Get("code_challenge_method"),
		Fresh:  slices.Contains(amr, "ngcmfa") || want.wantsFresh(),
		MFA:    slices.Contains(amr, "mfa") || want.wantsMFA(),
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
		return nil, invalidRequest(9002313, "Invalid request. Request is malformed or invalid.").because("max_age %q is no number of seconds", clip(text))
	}
	return &n, nil
}

// tooOld reports whether the user signed in longer ago than the request allows.
func (a *authRequest) tooOld(ss *session, now time.Time) bool {
	return a.MaxAge != nil && now.Unix()-ss.Auth >= *a.MaxAge
}

// tenantName is the tenant part of the path of the pages to come.
func tenantName(r *request) string {
	if r.tenant != nil {
		return r.tenant.ID
	}
	return "common"
}

// tenantOrHome is the tenant whose clients a request may name before anybody
// signed in.
func (s *Server) tenantOrHome(r *request, hint string) *directory.Tenant {
	if r.tenant != nil {
		return r.tenant
	}
	if t := s.dir.TenantOf(hint); t != nil {
		return t
	}
	return s.dir.Home()
}

// authorizeTarget checks the parameters whose faults go to the redirect URI.
func (s *Server) authorizeTarget(r *request, fl *flow) error {
	a := &fl.Request
	if a.Challenge != "" {
		if a.Method != "" && a.Method != "S256" && a.Method != "plain" {
			return invalidRequest(9002313, "Invalid request. Request is malformed or invalid.").because("code_challenge_method %q", clip(a.Method))
		}
		if !verify.Challenge(a.Challenge) {
			return invalidRequest(50147, "Invalid size of Code_Challenge parameter.")
		}
	}
	if a.V2 && a.Resource != "" {
		return invalidRequest(901002, "The 'resource' request parameter is not supported.")
	}
	if a.V2 && a.Scope == "" {
		return invalidRequest(900144, "The request must contain the following parameter: 'scope'.")
	}
	t := s.tenantOrHome(r, a.Hint)
	client, err := s.clientApp(t, a.Client)
	if err != nil {
		return err
	}
	_, err = s.flowTarget(fl, client, &directory.User{Tenant: t})
	return err
}

// flowTarget resolves what a sign-in is for.
func (s *Server) flowTarget(fl *flow, client *directory.App, u *directory.User) (*target, error) {
	if fl.Request.V2 {
		return s.resolveV2(u.Tenant, client, u, fl.Request.Scope)
	}
	return s.resolveV1(u.Tenant, client, u, fl.Request.Resource, fl.Request.Scope)
}

// singleSignOn signs in by the credentials the browser shows. It reports
// whether the browser could do better with a fresh nonce: the PRT cookie was
// there and its nonce was not, or was stale.
func (s *Server) singleSignOn(r *request, fl *flow) (challenge bool, err error) {
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
func credentials(r *request, name string) []string {
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
func (s *Server) prtCookie(r *request, text string) (ss *session, key []byte, stale bool, err error) {
	ignore := func(format string, args ...any) (*session, []byte, bool, error) {
		s.mistake(r, wire.CookieRefreshToken+" ignored: "+format, args...)
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
	r.entry, entry = entry, r.entry
	defer func() { r.entry = entry }()
	if nerr := s.checkNonce(c.Nonce); nerr != nil {
		s.mistake(r, "%s: %s", wire.CookieRefreshToken, nerr.why)
		return nil, nil, true, nil
	}
	b, _, _, err := s.proveSession(j, c)
	if err != nil {
		e := asSTSError(err)
		switch e.code {
		case 140001, 50027, 50013, 50006:
			return ignore("%s", e.why)
		}
		return nil, nil, false, err
	}
	if b.prt == nil {
		return ignore("the refresh token in it is no PRT")
	}
	return &b.prt.Session, b.key, false, nil
}

// deviceCookie checks an x-ms-DeviceCredential, which proves the device alone.
func (s *Server) deviceCookie(r *request, fl *flow, text string) {
	ignore := func(err error) { s.mistake(r, wire.CookieDevice+" ignored: %v", err) }
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
	if e := s.checkNonce(c.Nonce); e != nil {
		ignore(e)
		return
	}
	dev, e := s.deviceOfCertificate(cert)
	if e != nil {
		ignore(e)
		return
	}
	if err := j.VerifyRSA(dev.Key); err != nil {
		ignore(err)
		return
	}
	if c.GrantType != wire.GrantDeviceAuth {
		s.mistake(r, wire.CookieDevice+" ignored: claim grant_type is %q instead of device_auth", clip(c.GrantType))
		return
	}
	fl.Device = dev.ID
}

// challengeSSO sends the browser back to the same URL with a fresh nonce.
func (s *Server) challengeSSO(w http.ResponseWriter, r *request, q url.Values) {
	if q.Get("sso_nonce") != "" {
		q.Set("sso_reload", "True")
	}
	q.Set("sso_nonce", s.newNonce())
	w.Header().Set("Location", r.URL.Path+"?"+q.Encode())
	noStore(w)
	w.WriteHeader(http.StatusFound)
}

// The cookies of a browser session: one that ends with the browser, and one for
// those who stay signed in.
const (
	sessionCookieName    = "ESTSAUTH"
	persistentCookieName = "ESTSAUTHPERSISTENT"
)

func (s *Server) sessionCookie(r *request, fl *flow) {
	var ss session
	found := false
	for _, name := range []string{sessionCookieName, persistentCookieName} {
		if c, err := r.Cookie(name); err == nil && !found {
			found = s.box.Open(kindCookie, c.Value, &ss) == nil
		}
	}
	if !found {
		return
	}
	if _, err := s.userOf(&ss); err != nil {
		return
	}
	if fl.Request.Hint != "" {
		if u := s.dir.User(fl.Request.Hint); u == nil || u.ID != ss.User {
			return
		}
	}
	fl.Session, fl.SSO = &ss, true
}

func (s *Server) setSessionCookie(w http.ResponseWriter, ss *session, keep bool) {
	c := &http.Cookie{Name: sessionCookieName, Value: s.box.Seal(kindCookie, ss), Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode}
	http.SetCookie(w, c)
	if keep {
		c.Name, c.MaxAge = persistentCookieName, 90*24*3600
		http.SetCookie(w, c)
	}
}
