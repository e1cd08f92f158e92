package login

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// PKeyAuth (MS-PKAP) is how a browser that announces it proves its device with
// the device certificate, without a PRT: the service challenges with 401, and
// the browser sends the request again with a JWS in the header Authorization.

// canPKeyAuth reports whether the browser supports the challenge.
func canPKeyAuth(r *web.Request) bool {
	return r.Header.Get("x-ms-PKeyAuth") == "1.0" || strings.Contains(r.UserAgent(), "PKeyAuth/1.0")
}

// challengeDevice asks for a proof of the device, once per sign-in. It reports
// whether it answered the request.
func (s *Pages) challengeDevice(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) bool {
	if web.AsSTSError(err).Code != 50097 || fl.Challenged || fl.Request.Prompt == "none" || !canPKeyAuth(r) {
		return false
	}
	fl.Challenged = true
	issuer := "OU=82dbaca4-3e81-46ca-9c73-0950c1eaca97,CN=MS-Organization-Access,DC=windows,DC=net"
	w.Header().Set("WWW-Authenticate", `PKeyAuth nonce="`+s.Keeper.NewNonce()+`",CertAuthorities="`+issuer+`",Version="1.0",Context="`+s.Keeper.SealFlow(fl)+`"`)
	web.NoStore(w)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

var pkeyAuthParameter = regexp.MustCompile(`(\w+)="([^"]*)"`)

// answerDevice handles the answer to a challenge. It reports whether the request
// was one.
func (s *Pages) answerDevice(w http.ResponseWriter, r *web.Request) bool {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "PKeyAuth ")
	if !ok {
		return false
	}
	p := map[string]string{}
	for _, m := range pkeyAuthParameter.FindAllStringSubmatch(text, -1) {
		p[m[1]] = m[2]
	}
	fl, err := s.Keeper.OpenFlow(p["Context"])
	if err == nil && p["AuthToken"] != "" { // without it, there is no device
		fl.Device, err = s.pkeyAuthDevice(r, p["AuthToken"])
	}
	if err != nil {
		s.ErrorPage(w, r, err)
		return true
	}
	s.next(w, r, fl)
	return true
}

func (s *Pages) pkeyAuthDevice(r *web.Request, token string) (string, error) {
	bad := web.InvalidRequest(50099, "PKeyAuth JWT signature is invalid.")
	j, err := verify.ParseJWS(token)
	if err != nil {
		return "", bad.Because("%v", err)
	}
	c, err := j.PKeyAuth()
	if err != nil {
		return "", bad.Because("%v", err)
	}
	if e := s.Keeper.CheckNonce(c.Nonce); e != nil {
		return "", bad.Because("claim nonce: %s", e.Why)
	}
	if want := "https://" + r.Host + r.URL.Path; c.Audience != want {
		return "", bad.Because("claim aud is %q instead of %q", web.Clip(c.Audience), want)
	}
	cert, err := j.Certificate()
	if err != nil {
		return "", bad.Because("%v", err)
	}
	dev, derr := s.Mint.DeviceOfCertificate(cert)
	if derr != nil {
		return "", session.DeviceRefused(derr)
	}
	if err := j.VerifyRSA(dev.Key); err != nil {
		if errors.Is(err, verify.ErrSignature) {
			return "", bad
		}
		return "", bad.Because("%v", err)
	}
	return dev.ID, nil
}
