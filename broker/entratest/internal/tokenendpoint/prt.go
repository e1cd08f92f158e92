package tokenendpoint

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// prtRecord is the content of a PRT: the session, and the session key that must sign
// every use of it.
type prtRecord struct {
	Session   session.Session `json:"s"`
	Key       []byte          `json:"k"`
	KeyIssued int64           `json:"j"`
	KDF       int             `json:"v"` // version of the key derivation that the client declared
	Issued    int64           `json:"i"`
	Expires   int64           `json:"e"`
	Born      int64           `json:"b"` // when its credential was last given
	Client    string          `json:"c"`
}

// helloSkew is the permitted clock skew between client and service for the times in
// an assertion.
const helloSkew = 5 * time.Minute

// signedGrant is the JWT bearer grant of MS-OAPXBC: the actual request is a JWT
// in the parameter request, signed with the device key or a session key.
func (s *Service) signedGrant(r *web.Request) (any, error) {
	s.begin(r, "prt")
	text := r.Values.Get("request")
	if text == "" {
		if r.Values.Get("assertion") != "" {
			return nil, web.InvalidRequest(240002, "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant.")
		}
		return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'request'.")
	}
	j, err := verify.ParseJWS(text)
	if err != nil {
		return nil, badJWT(err)
	}
	c, err := j.Claims()
	if err != nil {
		return nil, badJWT(err)
	}
	r.Entry.ClientID = strings.ToLower(c.ClientID)
	switch j.Header.Alg {
	case "RS256":
		return s.deviceSigned(r, j, c)
	case "HS256":
		return s.sessionSigned(r, j, c)
	}
	return nil, web.InvalidRequest(50120, "Unknown credential type or invalid JWT header.").Because("header alg is %q", web.Clip(j.Header.Alg))
}

func badJWT(err error) *web.STSError {
	return web.InvalidGrant(50027, "JWT token is invalid or malformed.").Because("%v", err)
}

// deviceSigned handles a request signed with the key of a device certificate.
func (s *Service) deviceSigned(r *web.Request, j *verify.JWS, c *verify.Claims) (any, error) {
	cert, err := j.Certificate()
	if err != nil {
		return nil, badJWT(err)
	}
	if err := s.Keeper.CheckNonce(c.Nonce); err != nil {
		return nil, err
	}
	dev, derr := s.Mint.DeviceOfCertificate(cert)
	if derr != nil {
		return nil, session.DeviceRefused(derr)
	}
	r.Entry.DeviceID = dev.ID
	if err := j.VerifyRSA(dev.Key); err != nil {
		if errors.Is(err, verify.ErrSignature) {
			return nil, web.InvalidGrant(50006, "Invalid signature.").Because("the request is not signed with the key of the device certificate")
		}
		return nil, badJWT(err)
	}
	switch c.GrantType {
	case wire.GrantDeviceToken:
		return s.deviceToken(r, dev, c)
	case wire.GrantDeviceAuth:
		return s.deviceCert(r, dev, c)
	}
	return s.newPRT(r, j, dev, c)
}

// newPRT issues a PRT for a credential. Conditional Access does not apply to it.
func (s *Service) newPRT(r *web.Request, j *verify.JWS, dev *directory.Device, c *verify.Claims) (any, error) {
	if c.ClientID == "" {
		return nil, badJWT(errors.New("claim client_id is missing"))
	}
	if err := s.prtClient(dev.Tenant, c); err != nil {
		return nil, err
	}
	u, ss, err := s.credential(r, dev, c)
	if err != nil {
		return nil, err
	}
	if err := access.SameTenant(r, u); err != nil {
		return nil, err
	}
	if u.Tenant != dev.Tenant {
		return nil, web.InvalidGrant(50020, "User account '%s' does not exist in the tenant of the device.", u.UPN)
	}
	if u.Guest && dev.JoinType != wire.JoinTypeRegister {
		// Microsoft Entra device management FAQ: guests cannot sign in to a joined
		// device. The code is not published.
		return nil, web.InvalidGrant(50020, "User account '%s' does not exist in the tenant of the device.", u.UPN).Because("a guest signs in to a device that is joined")
	}
	if !c.HasScope("openid") || !c.HasScope(wire.ScopeAZA) {
		if ss.bulk {
			return s.bulkToken(r, u, ss.Session, c)
		}
		return nil, web.Fail("invalid_scope", 28002, "Provided value for the input parameter scope is not valid when requesting a primary refresh token.").
			Because("claim scope is %q; it must include openid and aza", c.Scope)
	}
	ss.Device = dev.ID
	ss.Methods |= claims.MarkRSA
	if s.InheritDeviceMFA && ss.MFA == 0 && dev.Owner == u.ID && !dev.MFATime.IsZero() {
		ss.MFA = dev.MFATime.Unix()
		ss.Methods |= claims.MarkMFA
	}
	session.LogUser(r.Entry, u, &ss.Session)
	now := s.Keeper.Now().Unix()
	p := &prtRecord{Session: ss.Session, Key: s.Keeper.Rand.Bytes(wire.SessionKeySize), KeyIssued: now,
		KDF: max(j.Header.KDFVer, 1), Born: ss.Auth, Client: strings.ToLower(c.ClientID)}
	wrapped, err := s.Mint.WrapSessionKey(dev.Transport, p.Key)
	if err != nil {
		return nil, err
	}
	out := s.prtReply(r, p, u, c)
	out["session_key_jwe"] = wrapped
	return out, nil
}

// prtClient checks the client that asks for a PRT: it must be the Windows sign-in or
// the broker, whatever the credential. The error for other clients of the tenant is
// not published; here it is that of a scope which the client may not have.
func (s *Service) prtClient(t *directory.Tenant, c *verify.Claims) error {
	if !c.HasScope(wire.ScopeAZA) {
		return nil // the request is not for a PRT
	}
	client, err := s.Access.ClientApp(t, c.ClientID)
	if err != nil {
		return err
	}
	if client.ID == wire.ClientWindowsSignIn || client.ID == wire.ClientBroker || c.GrantType == wire.GrantRefreshToken {
		return nil // the client is checked together with the refresh token
	}
	return web.Fail("invalid_scope", 28002, "Provided value for the input parameter scope is not valid when requesting a primary refresh token.").
		Because("client %s (%s) may not have a PRT", client.ID, client.Name)
}

// credentialSession is a session with details needed only while a PRT is issued.
type credentialSession struct {
	session.Session
	bulk bool
}

// credential checks the user's credential of a PRT request.
func (s *Service) credential(r *web.Request, dev *directory.Device, c *verify.Claims) (*directory.User, *credentialSession, error) {
	switch c.GrantType {
	case wire.GrantPassword:
		u, err := s.Keeper.CheckPassword(r.Tenant, c.Username, c.Password)
		if err != nil {
			r.Entry.Username = c.Username
			return nil, nil, err
		}
		ss := s.Keeper.NewSession(u, claims.Password)
		ss.Password = true
		return u, &credentialSession{Session: ss}, nil
	case wire.GrantRefreshToken:
		return s.refreshCredential(dev, c)
	case wire.GrantJWTBearer:
		u, ss, err := s.assertionCredential(c.Assertion)
		if err != nil {
			return nil, nil, err
		}
		return u, &credentialSession{Session: *ss}, nil
	case wire.GrantSAML11, wire.GrantSAML20:
		u, ss, err := s.SAMLCredential(c.Assertion, c.GrantType)
		if err != nil {
			return nil, nil, err
		}
		return u, &credentialSession{Session: *ss}, nil
	}
	return nil, nil, web.Fail("unsupported_grant_type", 70003, "The app requested an unsupported grant type '%s'.", web.Clip(c.GrantType)).Because("claim grant_type is %q", web.Clip(c.GrantType))
}

// refreshCredential uses a refresh token of the broker client as a credential: its
// session, including MFA, becomes that of the PRT.
func (s *Service) refreshCredential(dev *directory.Device, c *verify.Claims) (*directory.User, *credentialSession, error) {
	var p prtRecord
	if s.Keeper.Box.Open(session.KindPRT, c.RefreshToken, &p) == nil {
		return nil, nil, web.InvalidGrant(7000016, "The primary refresh token was presented without a valid session key signature.").
			Because("a PRT in a request signed by the device key")
	}
	rec, u, err := s.openRefresh(c.RefreshToken)
	if err != nil {
		return nil, nil, err
	}
	not := web.InvalidGrant(50013, "Assertion is not within its valid scope: the refresh token in the assertion is not a primary refresh token.")
	if rec.Client == wire.ClientBulkJoin {
		return u, &credentialSession{Session: rec.Session, bulk: true}, nil
	}
	if rec.Client != wire.ClientBroker {
		return nil, nil, not.Because("the refresh token was issued to client %s; only those of %s become a PRT", rec.Client, wire.ClientBroker)
	}
	if !strings.EqualFold(c.ClientID, rec.Client) {
		return nil, nil, not.Because("claim client_id is %s, the refresh token was issued to %s", web.Clip(c.ClientID), rec.Client)
	}
	if rec.Session.Device != "" && rec.Session.Device != dev.ID {
		return nil, nil, not.Because("the refresh token belongs to device %s", rec.Session.Device)
	}
	return u, &credentialSession{Session: rec.Session}, nil
}

// assertionCredential checks an assertion signed with a Hello key or with the key
// of a user certificate. Only the latter's header has x5c.
func (s *Service) assertionCredential(assertion string) (*directory.User, *session.Session, error) {
	j, err := verify.ParseJWS(assertion)
	if err != nil {
		return nil, nil, badJWT(err)
	}
	if j.Header.X5C != nil && j.Header.Use == "" {
		return s.certificateCredential(j)
	}
	return s.helloCredential(assertion)
}

// helloCredential checks a Hello assertion. It counts as MFA, but not as fresh MFA:
// provisioning a credential (ngcmfa) still prompts the user (MS-OAPX 2.2.2.10).
// The service does not remember assertions: one may be used again until its nonce
// expires. It also ignores the audience, which is the tenant's id from some clients
// and "common" from others; key and issuer identify the user.
func (s *Service) helloCredential(assertion string) (*directory.User, *session.Session, error) {
	h, err := verify.ParseHello(assertion)
	if err != nil {
		return nil, nil, badJWT(err)
	}
	u, key := s.Keeper.Directory.HelloUser(h.Kid)
	if u == nil && s.Keeper.Directory.WentWithDevice(h.Kid, h.Issuer) {
		return nil, nil, errHelloDeviceGone
	}
	if u == nil || !strings.EqualFold(u.UPN, h.Issuer) {
		return nil, nil, web.InvalidGrant(130004, "UserNGCKeyNotFound - User principal does not have the NGC key ID configured.").
			Because("no user %q with the key id %q", web.Clip(h.Issuer), web.Clip(h.Kid))
	}
	if u.Disabled {
		return nil, nil, web.InvalidGrant(50057, "The user account is disabled.")
	}
	dev := s.Keeper.Directory.Device(key.DeviceID)
	if dev == nil {
		return nil, nil, errHelloDeviceGone
	}
	if !dev.Works(s.Keeper.Now()) {
		return nil, nil, web.InvalidGrant(130007, "NGC device is disabled.")
	}
	now := s.Keeper.Now()
	switch err := h.Verify(key.Key, now, helloSkew); {
	case errors.Is(err, verify.ErrSignature):
		return nil, nil, web.InvalidGrant(130005, "NGC key signature verification failed.")
	case errors.Is(err, verify.ErrHelloExpired):
		return nil, nil, web.InvalidGrant(500133, "Assertion is not within its valid time range.")
	case errors.Is(err, verify.ErrHelloNonce):
		return nil, nil, s.Keeper.CheckNonce("").Because("the Hello assertion has no request_nonce")
	case err != nil:
		return nil, nil, badJWT(err)
	}
	if err := s.Keeper.CheckNonce(h.Nonce); err != nil {
		return nil, nil, err
	}
	ss := s.Keeper.NewSession(u, claims.WindowsHello|claims.MarkMFA|claims.MarkRSA)
	ss.MFA = ss.Auth
	return u, &ss, nil
}

var errHelloDeviceGone = web.InvalidGrant(130008, "NGC device not found: the device referenced by the NGC key was deleted.")

// sealPRT sets the times of a PRT and seals it. A PRT from a temporary access pass
// ends with the pass.
func (s *Service) sealPRT(p *prtRecord) (token string, left int64) {
	now := s.Keeper.Now()
	end := min(now.Add(s.Keeper.TTL.PRT).Unix(), time.Unix(p.Born, 0).Add(s.Keeper.TTL.PRTMax).Unix())
	end = now.Add(p.Session.Capped(time.Duration(end-now.Unix())*time.Second, now)).Unix()
	p.Issued, p.Expires = now.Unix(), end
	s.PRTs.add(p)
	return s.Keeper.Box.Seal(session.KindPRT, p), end - now.Unix()
}

// prtReply returns the reply with a PRT, new or renewed (MS-OAPXBC 3.2.5.1.2.3).
func (s *Service) prtReply(r *web.Request, p *prtRecord, u *directory.User, c *verify.Claims) map[string]any {
	token, left := s.sealPRT(p)
	stated := max(left-1, 0) // as Entra states it: 1209599 for 14 days
	client := &directory.App{AppSpec: directory.AppSpec{ClientID: p.Client, Public: true}, ID: strings.ToLower(c.ClientID)}
	address, _ := s.Access.ClientAddress(r.Request)
	in := &mint.Issuance{Address: address, Client: client, User: u, Session: &p.Session, Now: s.Keeper.Now(), IDNone: true, SID: c.HasScope("ugs")}
	dev := s.Keeper.Directory.Device(p.Session.Device)
	out := map[string]any{
		"token_type": "Bearer", "refresh_token": token, "refresh_token_expires_in": stated,
		"id_token": s.Mint.IDToken(in, dev), "device_tenant_id": u.Tenant.ID,
	}
	if r.V2 {
		out["expires_in"], out["ext_expires_in"] = stated, 0
	} else {
		out["expires_in"], out["ext_expires_in"] = strconv.FormatInt(stated, 10), "0"
		out["expires_on"] = strconv.FormatInt(p.Expires, 10)
	}
	if r.Values.Get("client_info") == "1" {
		out["client_info"] = mint.ClientInfo(u)
	}
	if strings.EqualFold(r.Values.Get("tgt"), "true") {
		// No tenant here has a Kerberos realm: key type 0 means "none". The types are
		// present anyway, since clients read them as numbers (libhimmelblau).
		out["tgt_ad"] = `{"keyType":0,"error":"on-premises TGT not configured","sessionKeyType":0,"accountType":0}`
		out["tgt_cloud"] = `{"keyType":0,"error":"cloud TGT not configured","sessionKeyType":0,"accountType":0}`
		out["kerberos_top_level_names"] = ".windows.net,.windows.net:1433,.windows.net:3342,.azure.net,.azure.net:1433,.azure.net:3342"
	}
	return out
}
