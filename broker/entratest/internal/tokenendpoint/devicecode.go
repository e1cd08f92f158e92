package tokenendpoint

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

const (
	DeviceLoginURL = "https://microsoft.com/devicelogin"
	pollInterval   = 5 // seconds
)

// deviceCodeStart begins a device code flow (RFC 8628, 3.1).
func (s *Service) deviceCodeStart(w http.ResponseWriter, r *web.Request) {
	out, err := s.startDeviceCode(r)
	if err != nil {
		s.Web.Refuse(w, r, err)
		return
	}
	web.NoStore(w)
	web.WriteJSON(w, http.StatusOK, out)
}

func (s *Service) startDeviceCode(r *web.Request) (map[string]any, error) {
	form := r.Values
	if form == nil {
		form = url.Values{}
	}
	get := func(name string) string { // v1 accepts query parameters too
		if v := form.Get(name); v != "" || r.V2 {
			return v
		}
		return r.URL.Query().Get(name)
	}
	t := r.Tenant
	if t == nil {
		t = s.Keeper.Directory.Home()
	}
	client, err := s.Access.ClientApp(t, get("client_id"))
	if err != nil {
		return nil, err
	}
	if !client.Public {
		return nil, web.Fail("invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.").
			Because("client %s is not registered as public (mobile and desktop)", client.ID)
	}
	if r.V2 && get("scope") == "" {
		return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'scope'.")
	}
	if r.V2 && get("resource") != "" {
		return nil, web.InvalidRequest(901002, "The 'resource' request parameter is not supported.")
	}
	want, err := access.ParseClaims(get("claims"))
	if err != nil {
		return nil, err
	}
	amr := strings.Fields(get("amr_values"))
	now := s.Keeper.Now()
	d := &session.DeviceLogin{
		DeviceCode: "FAQABIQEAAAA" + ids.Hex(s.Keeper.Rand.Bytes(24)), UserCode: s.userCode(),
		Client: client.ID, Resource: get("resource"), Scope: get("scope"), V2: r.V2,
		Fresh: slices.Contains(amr, "ngcmfa") || want.WantsFresh(), MFA: slices.Contains(amr, "mfa") || want.WantsMFA(),
		Expires: now.Add(s.Keeper.TTL.DeviceCode).Unix(),
	}
	s.Keeper.Pending.AddDeviceLogin(d, now)
	page := DeviceLoginURL
	if base := web.LocalBase(r.Request); base != "" {
		page = base + "common/oauth2/deviceauth"
	}
	message := fmt.Sprintf("To sign in, use a web browser to open the page %s and enter the code %s to authenticate.", page, d.UserCode)
	life := web.Seconds(s.Keeper.TTL.DeviceCode)
	if r.V2 {
		return map[string]any{"user_code": d.UserCode, "device_code": d.DeviceCode, "verification_uri": page,
			"expires_in": int64(s.Keeper.TTL.DeviceCode.Seconds()), "interval": pollInterval, "message": message}, nil
	}
	return map[string]any{"user_code": d.UserCode, "device_code": d.DeviceCode, "verification_url": page,
		"expires_in": life, "interval": fmt.Sprint(pollInterval), "message": message}, nil
}

// userCode returns a code without characters that look alike.
func (s *Service) userCode() string {
	const letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	out := make([]byte, 9)
	for i, b := range s.Keeper.Rand.Bytes(len(out)) {
		out[i] = letters[int(b)%len(letters)]
	}
	return string(out)
}

// deviceCodeGrant polls for the result. The session stays marked as begun with a
// device code.
func (s *Service) deviceCodeGrant(r *web.Request) (any, error) {
	code := r.Values.Get("device_code")
	if code == "" {
		code = r.Values.Get("code")
	}
	if code == "" {
		return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'device_code'.")
	}
	d, ok := s.Keeper.Pending.DeviceLogin(code)
	if !ok {
		return nil, web.Fail("bad_verification_code", 70018, "Invalid verification code due to a user typing in wrong user code for device code flow.")
	}
	if !strings.EqualFold(r.Values.Get("client_id"), d.Client) {
		return nil, web.InvalidGrant(70000, "Provided grant is invalid or malformed.").Because("the device code was issued to client %s", d.Client)
	}
	switch {
	case d.State == session.LoginDeclined:
		return nil, web.Fail("authorization_declined", 70000, "The user declined the authorization.")
	case d.State == session.LoginUsed:
		return nil, web.InvalidGrant(54005, "OAuth2 device code was already redeemed.")
	case s.Keeper.Now().Unix() >= d.Expires:
		return nil, web.Fail("expired_token", 70019, "Verification code expired.")
	case d.State == session.LoginPending:
		return nil, web.Fail("authorization_pending", 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
	}
	s.begin(r, "device_code")
	u, err := s.Keeper.UserOf(&d.Session)
	if err != nil {
		return nil, err
	}
	session.LogUser(r.Entry, u, &d.Session)
	if err := access.SameTenant(r, u); err != nil {
		return nil, err
	}
	client, err := s.plainClient(r, u.Tenant)
	if err != nil {
		return nil, err
	}
	if !s.Keeper.Pending.Settle(code, session.LoginApproved, session.LoginUsed, session.Session{}) {
		return nil, web.InvalidGrant(54005, "OAuth2 device code was already redeemed.")
	}
	in := issuance{Issuance: mint.Issuance{Fresh: d.Fresh && d.Session.FreshMFA(s.Keeper.Now(), s.Keeper.TTL.FreshMFA)}}
	if d.V2 && r.Values.Get("scope") == "" {
		in.target, err = s.Access.ResolveV2(u.Tenant, client, u, d.Scope)
	} else if !d.V2 && r.Values.Get("resource") == "" && !r.V2 {
		in.target, err = s.Access.ResolveV1(u.Tenant, client, u, d.Resource, d.Scope)
	}
	if err != nil {
		return nil, err
	}
	return s.issueForm(r, client, u, &d.Session, in)
}
