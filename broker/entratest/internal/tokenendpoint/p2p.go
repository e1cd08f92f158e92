package tokenendpoint

import (
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// csrPKCS10 is the csr_type of a certificate request (MS-OAPXBC 3.2.5.1.4).
const csrPKCS10 = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment#PKCS10"

// Validity of peer-to-peer certificates.
const (
	userCertLife   = time.Hour
	deviceCertLife = 24 * time.Hour
)

// deviceToken answers with a device token, without a user, in plain JSON.
func (s *Service) deviceToken(r *web.Request, dev *directory.Device, c *verify.Claims) (any, error) {
	r.Entry.Grant = "device_token"
	client, err := s.Access.ClientApp(dev.Tenant, c.ClientID)
	if err != nil {
		return nil, err
	}
	if c.RedirectURI != "" {
		if err := access.CheckRedirect(client, c.RedirectURI); err != nil {
			return nil, err
		}
	}
	if c.Resource == "" {
		return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'resource'.")
	}
	res := s.Keeper.Directory.Resource(dev.Tenant, c.Resource)
	if res == nil {
		return nil, access.UnknownResource(c.Resource, dev.Tenant)
	}
	if !res.NoDevice && !res.DeviceTokens {
		return nil, web.InvalidGrant(221000, "Device-only tokens are not supported by this resource.")
	}
	r.Entry.Resource = res.ID
	now := s.Keeper.Now()
	life := s.Keeper.TTL.AccessToken
	return map[string]any{
		"token_type": "Bearer", "expires_in": web.Seconds(life), "ext_expires_in": web.Seconds(life), "resource": c.Resource,
		"access_token": s.Mint.Keys.Sign(map[string]any{
			"aud": c.Resource, "iss": directory.IssuerV1("", dev.Tenant.ID), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(life).Unix(),
			"tid": dev.Tenant.ID, "appid": client.ID, "appidacr": mint.ClientACR(client), "deviceid": dev.ID, "oid": dev.ObjectID,
			"sub": dev.ObjectID, "idtyp": "device", "amr": []string{"rsa"}, "ver": "1.0",
		}),
	}, nil
}

// deviceCert issues a peer-to-peer certificate of the device.
func (s *Service) deviceCert(r *web.Request, dev *directory.Device, c *verify.Claims) (any, error) {
	r.Entry.Grant = "p2p_device_certificate"
	if c.CertUse != "device_cert" {
		return nil, web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.").Because("claim cert_token_use is %q", web.Clip(c.CertUse))
	}
	return s.p2pCertificate(c, &x509.Certificate{
		Subject:  p2pName(dev.Tenant.ID, dev.ID),
		NotAfter: s.Keeper.Now().Add(deviceCertLife),
		DNSNames: c.DNSNames,
	})
}

// userCert issues a peer-to-peer certificate of the user of a PRT.
func (s *Service) userCert(r *web.Request, b *boundToken, u *directory.User, c *verify.Claims) (any, error) {
	r.Entry.Grant = "p2p_user_certificate"
	if b.PRT == nil || c.CertUse != "user_cert" {
		return nil, web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.").Because("claim cert_token_use is %q", web.Clip(c.CertUse))
	}
	out, err := s.p2pCertificate(c, &x509.Certificate{
		Subject:  p2pName(u.Tenant.ID, u.UPN, ids.SID(u.ID)),
		NotAfter: s.Keeper.Now().Add(userCertLife),
	})
	if err != nil || r.Values.Get("windows_api_version") == "1.0" { // this version does not encrypt replies
		return out, err
	}
	return s.Mint.EncryptReply(b.Key, s.gcmFor(r), out), nil
}

// p2pName returns the subject of a peer-to-peer certificate.
func p2pName(tenant string, names ...string) pkix.Name {
	n := pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: mint.OIDDomainComponent, Value: mint.Ia5(tenant)}}}
	for i := len(names) - 1; i >= 0; i-- {
		n.ExtraNames = append(n.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: names[i]})
	}
	return n
}

func (s *Service) p2pCertificate(c *verify.Claims, template *x509.Certificate) (map[string]any, error) {
	bad := web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.")
	if c.CSRType != csrPKCS10 {
		return nil, bad.Because("claim csr_type is %q", web.Clip(c.CSRType))
	}
	csr, err := verify.CertificateRequest(c.CSR)
	if err != nil {
		return nil, bad.Because("%v", err)
	}
	pub, ok := csr.PublicKey.(*rsa.PublicKey)
	if !ok || pub.N.BitLen() < 2048 {
		return nil, bad.Because("the certificate request has no RSA key of 2048 bits")
	}
	template.SerialNumber = new(big.Int).SetBytes(s.Keeper.Rand.Bytes(16))
	template.NotBefore = s.Keeper.Now().Add(-5 * time.Minute)
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, authority, err := s.Mint.Keys.Device.PeerToPeer(template, pub)
	if err != nil {
		return nil, bad.Because("%v", err)
	}
	b64 := base64.StdEncoding
	return map[string]any{"token_type": "x509", "x5c": b64.EncodeToString(der), "x5c_ca": b64.EncodeToString(authority)}, nil
}

// devicelessPRT adds a PRT without a device to the reply for an authorization code.
// This is the mobile brokers' protocol version 3.0, in which the session key is
// wrapped for a key from the request.
func (s *Service) devicelessPRT(r *web.Request, rec *session.CodeRecord, client *directory.App, u *directory.User, jwkText string, out map[string]any) (any, error) {
	if client.ID != wire.ClientBroker || r.Values.Get("prt_protocol_version") != "3.0" || !strings.Contains(" "+r.Values.Get("scope")+" ", " aza ") {
		return nil, web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.").
			Because("stk_jwk needs the broker client, prt_protocol_version 3.0 and scope aza")
	}
	pub, err := verify.JWK(jwkText)
	if err != nil {
		return nil, web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.").Because("stk_jwk: %v", err)
	}
	p := &prtRecord{Session: rec.Session, Key: s.Keeper.Rand.Bytes(wire.SessionKeySize), KeyIssued: s.Keeper.Now().Unix(),
		KDF: 1, Born: rec.Session.Auth, Client: client.ID}
	p.Session.Device = ""
	p.Session.Methods &^= claims.MarkRSA
	wrapped, err := s.Mint.WrapSessionKey(pub, p.Key)
	if err != nil {
		return nil, err
	}
	token, left := s.sealPRT(p)
	out["refresh_token"], out["refresh_token_expires_in"], out["session_key_jwe"] = token, max(left-1, 0), wrapped
	return out, nil
}
