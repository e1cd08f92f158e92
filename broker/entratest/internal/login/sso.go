package login

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// singleSignOn signs in with the credentials that the browser presents. It reports
// whether to challenge the browser for a PRT cookie with a fresh nonce, because the
// nonce in its cookie was missing or stale.
func (s *Pages) singleSignOn(r *web.Request, fl *session.Flow) (challenge bool, err error) {
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
		if u := s.Keeper.Directory.UserByID(ss.User); fl.Request.Hint != "" && (u == nil || !strings.EqualFold(u.UPN, fl.Request.Hint)) {
			fl.Device = ss.Device // another user signs in on this device
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

// credentials returns the values of a header and of cookies of the same name.
// With several accounts the names are numbered.
func credentials(r *web.Request, name string) []string {
	out := append([]string{}, r.Header.Values(name)...)
	for _, c := range r.Cookies() {
		if rest, ok := strings.CutPrefix(c.Name, name); ok && strings.Trim(rest, "0123456789") == "" {
			out = append(out, c.Value)
		}
	}
	return out
}

// prtCookie checks an x-ms-RefreshTokenCredential. The service ignores an invalid
// cookie, except for a stale nonce, an ended session or a disabled device.
func (s *Pages) prtCookie(r *web.Request, text string) (ss *session.Session, key []byte, stale bool, err error) {
	ignore := func(format string, args ...any) (*session.Session, []byte, bool, error) {
		s.Web.Mistake(r, wire.CookieRefreshToken+" ignored: "+format, args...)
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
	if nerr := s.Keeper.CheckNonce(c.Nonce); nerr != nil {
		s.Web.Mistake(r, "%s: %s", wire.CookieRefreshToken, nerr.Why)
		return nil, nil, true, nil
	}
	b, _, _, err := s.STS.ProveSession(j, c)
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
func (s *Pages) deviceCookie(r *web.Request, fl *session.Flow, text string) {
	ignore := func(err error) { s.Web.Mistake(r, wire.CookieDevice+" ignored: %v", err) }
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
	if e := s.Keeper.CheckNonce(c.Nonce); e != nil {
		ignore(e)
		return
	}
	dev, e := s.Mint.DeviceOfCertificate(cert)
	if e != nil {
		ignore(e)
		return
	}
	if err := j.VerifyRSA(dev.Key); err != nil {
		ignore(err)
		return
	}
	if c.GrantType != wire.GrantDeviceAuth {
		s.Web.Mistake(r, wire.CookieDevice+" ignored: claim grant_type is %q instead of device_auth", web.Clip(c.GrantType))
		return
	}
	fl.Device = dev.ID
}

// challengeSSO sends the browser back to the same URL with a fresh nonce.
func (s *Pages) challengeSSO(w http.ResponseWriter, r *web.Request, q url.Values) {
	if q.Get("sso_nonce") != "" {
		q.Set("sso_reload", "True")
	}
	q.Set("sso_nonce", s.Keeper.NewNonce())
	web.NoStore(w)
	web.Redirect(w, r.URL.Path+"?"+q.Encode())
}
