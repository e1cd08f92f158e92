package entratest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
)

const (
	deviceLoginURL = "https://microsoft.com/devicelogin"
	pollInterval   = 5 // seconds
)

// deviceCodeStart begins a device code flow (RFC 8628, 3.1).
func (s *Server) deviceCodeStart(w http.ResponseWriter, r *request) {
	out, err := s.startDeviceCode(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	noStore(w)
	writeJSON(w, http.StatusOK, out)
}

func (s *Server) startDeviceCode(r *request) (map[string]any, error) {
	form := r.form
	if form == nil {
		form = url.Values{}
	}
	get := func(name string) string { // v1 takes query parameters too
		if v := form.Get(name); v != "" || r.v2 {
			return v
		}
		return r.URL.Query().Get(name)
	}
	t := r.tenant
	if t == nil {
		t = s.dir.Home()
	}
	client, err := s.clientApp(t, get("client_id"))
	if err != nil {
		return nil, err
	}
	if !client.Public {
		return nil, fail("invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.").
			because("client %s is not registered as public (mobile and desktop)", client.ID)
	}
	if r.v2 && get("scope") == "" {
		return nil, invalidRequest(900144, "The request body must contain the following parameter: 'scope'.")
	}
	if r.v2 && get("resource") != "" {
		return nil, invalidRequest(901002, "The 'resource' request parameter is not supported.")
	}
	want, err := parseClaims(get("claims"))
	if err != nil {
		return nil, err
	}
	amr := strings.Fields(get("amr_values"))
	now := s.Now()
	d := &deviceLogin{
		deviceCode: "FAQABIQEAAAA" + ids.Hex(s.rand.Bytes(24)), userCode: s.userCode(),
		client: client.ID, resource: get("resource"), scope: get("scope"), v2: r.v2,
		fresh: slices.Contains(amr, "ngcmfa") || want.wantsFresh(), mfa: slices.Contains(amr, "mfa") || want.wantsMFA(),
		expires: now.Add(s.opts.TTL.DeviceCode).Unix(),
	}
	s.flow.addDeviceLogin(d, now)
	message := fmt.Sprintf("To sign in, use a web browser to open the page %s and enter the code %s to authenticate.", deviceLoginURL, d.userCode)
	life := seconds(s.opts.TTL.DeviceCode)
	if r.v2 {
		return map[string]any{"user_code": d.userCode, "device_code": d.deviceCode, "verification_uri": deviceLoginURL,
			"expires_in": int64(s.opts.TTL.DeviceCode.Seconds()), "interval": pollInterval, "message": message}, nil
	}
	return map[string]any{"user_code": d.userCode, "device_code": d.deviceCode, "verification_url": deviceLoginURL,
		"expires_in": life, "interval": fmt.Sprint(pollInterval), "message": message}, nil
}

// userCode returns a code without letters that look alike.
func (s *Server) userCode() string {
	const letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	out := make([]byte, 9)
	for i, b := range s.rand.Bytes(len(out)) {
		out[i] = letters[int(b)%len(letters)]
	}
	return string(out)
}

// deviceCodeGrant polls for the result. The session keeps the mark of its
// origin for good.
func (s *Server) deviceCodeGrant(r *request) (any, error) {
	code := r.form.Get("device_code")
	if code == "" {
		code = r.form.Get("code")
	}
	if code == "" {
		return nil, invalidRequest(900144, "The request body must contain the following parameter: 'device_code'.")
	}
	d, ok := s.flow.deviceLogin(code)
	if !ok {
		return nil, fail("bad_verification_code", 70018, "Invalid verification code due to a user typing in wrong user code for device code flow.")
	}
	if !strings.EqualFold(r.form.Get("client_id"), d.client) {
		return nil, invalidGrant(70000, "Provided grant is invalid or malformed.").because("the device code was issued to client %s", d.client)
	}
	switch {
	case d.state == loginDeclined:
		return nil, fail("authorization_declined", 70000, "The user declined the authorization.")
	case d.state == loginUsed:
		return nil, invalidGrant(54005, "OAuth2 device code was already redeemed.")
	case s.Now().Unix() >= d.expires:
		return nil, fail("expired_token", 70019, "Verification code expired.")
	case d.state == loginPending:
		return nil, fail("authorization_pending", 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
	}
	s.begin(r, "device_code")
	u, err := s.userOf(&d.session)
	if err != nil {
		return nil, err
	}
	noteUser(r.entry, u, &d.session)
	if err := sameTenant(r, u); err != nil {
		return nil, err
	}
	client, err := s.plainClient(r, u.Tenant)
	if err != nil {
		return nil, err
	}
	if !s.flow.settle(code, loginApproved, loginUsed, session{}) {
		return nil, invalidGrant(54005, "OAuth2 device code was already redeemed.")
	}
	in := issuance{fresh: d.fresh && d.session.fresh(s.Now(), s.opts.TTL.FreshMFA)}
	if d.v2 && r.form.Get("scope") == "" {
		in.target, err = s.resolveV2(u.Tenant, client, u, d.scope)
	} else if !d.v2 && r.form.Get("resource") == "" && !r.v2 {
		in.target, err = s.resolveV1(u.Tenant, client, u, d.resource, d.scope)
	}
	if err != nil {
		return nil, err
	}
	return s.issueForm(r, client, u, &d.session, in)
}

// deviceLoginPage is the page on which a user enters a code.
func (s *Server) deviceLoginPage(w http.ResponseWriter, r *request) {
	if s.hostKind(r.Request) == onDeviceLogin {
		to := loginURL + "common/oauth2/deviceauth"
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
	code := strings.ToUpper(strings.TrimSpace(r.form.Get("otc")))
	d, ok := s.flow.deviceLoginOf(code)
	switch {
	case code == "":
		s.showUserCode(w, r, "", 90119)
	case !ok:
		s.showUserCode(w, r, code, 70018)
	case d.state != loginPending:
		s.showUserCode(w, r, code, 90120)
	case s.Now().Unix() >= d.expires:
		s.showUserCode(w, r, code, 70019)
	default:
		s.proceed(w, r, &flow{
			Request: authRequest{Client: d.client, Resource: d.resource, Scope: d.scope, V2: d.v2,
				Fresh: d.fresh, MFA: d.mfa, Tenant: tenantName(r)},
			DeviceCode: d.deviceCode,
		})
	}
}
