package tokenendpoint

import (
	"errors"
	"slices"
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

// boundToken is what a session-key-signed request presents: a PRT, or an app's
// refresh token that was minted from one.
type boundToken struct {
	PRT     *prtRecord     // nil: an app's refresh token
	refresh *refreshRecord // nil: a PRT
	Key     []byte
	kdf     int
}

func (b *boundToken) session() *session.Session {
	if b.PRT != nil {
		return &b.PRT.Session
	}
	return &b.refresh.Session
}

// openBound opens the refresh_token of a session-key-signed request.
func (s *Service) openBound(token string) (*boundToken, error) {
	var p prtRecord
	if s.Keeper.Box.Open(session.KindPRT, token, &p) == nil {
		return &boundToken{PRT: &p, Key: p.Key, kdf: p.KDF}, nil
	}
	var rec refreshRecord
	if s.Keeper.Box.Open(session.KindRefresh, token, &rec) == nil && rec.Key != nil {
		return &boundToken{refresh: &rec, Key: rec.Key, kdf: rec.KDF}, nil
	}
	return nil, web.InvalidGrant(50013, "Assertion failed: the refresh token in the assertion is not a primary refresh token.").
		Because("claim refresh_token is neither a PRT nor a refresh token minted from one")
}

// ProveSession checks nonce and signature of a JWS that presents a PRT, then that the
// PRT, its session, its user and its device are still valid.
func (s *Service) ProveSession(j *verify.JWS, c *verify.Claims) (*boundToken, *directory.User, *directory.Device, error) {
	b, err := s.openBound(c.RefreshToken)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := s.Keeper.CheckNonce(c.Nonce); err != nil {
		return nil, nil, nil, err
	}
	switch err := j.VerifySession(b.Key, b.kdf); {
	case errors.Is(err, verify.ErrSignature):
		return nil, nil, nil, web.InvalidGrant(140001, "The session key is not valid.").Because("the HS256 signature does not verify under the session key of this PRT")
	case errors.Is(err, verify.ErrDowngrade):
		return nil, nil, nil, web.InvalidGrant(50027, "JWT token is invalid or malformed.").Because("%v: the request lacks kdf_ver 2", err)
	case err != nil:
		return nil, nil, nil, badJWT(err)
	}
	if s.RefuseKDFv1 && j.Header.KDFVer < 2 {
		return nil, nil, nil, web.InvalidGrant(5000611, "Symmetric Key Derivation Function version 'KDFV1' is invalid. Update the device for the latest updates.")
	}
	if _, err := s.Keeper.UserOf(b.session()); err != nil && b.session().Ends != 0 {
		return nil, nil, nil, err // the access pass has ended, and so has the PRT
	}
	if err := b.expired(s.Keeper.Now()); err != nil {
		return nil, nil, nil, err
	}
	u, err := s.Keeper.UserOf(b.session())
	if err != nil {
		return nil, nil, nil, err
	}
	dev, err := s.Keeper.DeviceOf(b.session())
	if err != nil {
		return nil, nil, nil, err
	}
	return b, u, dev, nil
}

func (b *boundToken) expired(now time.Time) error {
	issued, expires := int64(0), int64(0)
	if b.PRT != nil {
		issued, expires = b.PRT.Issued, b.PRT.Expires
	} else {
		issued, expires = b.refresh.Issued, b.refresh.Expires
	}
	if now.Unix() < expires {
		return nil
	}
	return web.InvalidGrant(700082, "The refresh token has expired due to inactivity. The token was issued on %s and was inactive for %s.",
		time.Unix(issued, 0).UTC().Format(time.RFC3339), now.Sub(time.Unix(issued, 0)).Truncate(time.Second)).Sub("bad_token")
}

// sessionSigned handles a request signed under a session key: the renewal of a
// PRT, or its exchange for the tokens of an app.
func (s *Service) sessionSigned(r *web.Request, j *verify.JWS, c *verify.Claims) (any, error) {
	r.Entry.Grant = "prt_exchange"
	if c.HasScope(wire.ScopeAZA) && c.Resource == "" {
		r.Entry.Grant = "prt_renewal"
	}
	b, u, dev, err := s.ProveSession(j, c)
	if b != nil {
		session.LogUser(r.Entry, u, b.session())
	}
	if err != nil {
		return nil, err
	}
	if err := access.SameTenant(r, u); err != nil {
		return nil, err
	}
	if c.CertUse != "" {
		return s.userCert(r, b, u, c)
	}
	if c.GrantType != wire.GrantRefreshToken && c.GrantType != wire.GrantJWTBearer {
		return nil, web.Fail("unsupported_grant_type", 70003, "The app requested an unsupported grant type '%s'.", web.Clip(c.GrantType)).Because("claim grant_type is %q", web.Clip(c.GrantType))
	}
	if r.Entry.Grant == "prt_renewal" {
		return s.renew(r, b, u, dev, c)
	}
	return s.exchange(r, b, u, c)
}

// renew answers with a new PRT. Its expiry moves; the times of authentication
// and MFA move only if the request also carries the user's credential.
func (s *Service) renew(r *web.Request, b *boundToken, u *directory.User, dev *directory.Device, c *verify.Claims) (any, error) {
	if b.PRT == nil {
		return nil, web.InvalidGrant(50013, "Assertion failed: the refresh token in the assertion is not a primary refresh token.").
			Because("an app's refresh token cannot be renewed into a PRT")
	}
	next := *b.PRT
	if err := s.unlock(r, &next, u, dev, c); err != nil {
		return nil, err
	}
	now := s.Keeper.Now()
	wrapped := ""
	// Only on joined and hybrid joined devices (Microsoft Learn, "Understanding
	// Primary Refresh Token (PRT)").
	aged := now.Sub(time.Unix(next.KeyIssued, 0)) > s.Keeper.TTL.SessionKey && dev != nil && dev.JoinType != wire.JoinTypeRegister
	if dev != nil && (s.RollSessionKey || aged) {
		next.Key, next.KeyIssued = s.Keeper.Rand.Bytes(wire.SessionKeySize), now.Unix()
		var err error
		if wrapped, err = s.Mint.WrapSessionKey(dev.Transport, next.Key); err != nil {
			return nil, err
		}
		if s.RollDropsMFA && next.Session.Password {
			next.Session.DropMFA()
		}
	}
	session.LogUser(r.Entry, u, &next.Session)
	out := s.prtReply(r, &next, u, c)
	if wrapped != "" {
		out["session_key_jwe"] = wrapped
	}
	return s.Mint.EncryptReply(b.Key, s.gcmFor(r), out), nil
}

// unlock processes the credential in a renewal, if any: an assertion or the password.
// On a device that is only registered, an unlock has no effect. Evidence from
// different credentials is not combined: Windows keeps a PRT for each credential, so
// that MFA done with one does not count for another (Microsoft Learn, "Understanding
// Primary Refresh Token (PRT)"). The credential that the PRT was issued for updates its
// times; a different credential replaces it, as in a new PRT.
func (s *Service) unlock(r *web.Request, p *prtRecord, u *directory.User, dev *directory.Device, c *verify.Claims) error {
	var fresh session.Session
	switch {
	case c.Assertion != "":
		hu, ss, err := s.assertionCredential(c.Assertion)
		if err != nil {
			return err
		}
		if hu.ID != u.ID {
			return web.InvalidGrant(50013, "Assertion failed: the credential is of another user than the primary refresh token.")
		}
		fresh = *ss
	case c.Password != "":
		pu, err := s.Keeper.CheckPassword(r.Tenant, c.Username, c.Password)
		if err != nil {
			return err
		}
		if pu.ID != u.ID {
			return web.InvalidGrant(50013, "Assertion failed: the credential is of another user than the primary refresh token.")
		}
		fresh = s.Keeper.NewSession(u, claims.Password)
		fresh.Password = true
	default:
		return nil
	}
	if dev == nil || dev.JoinType == wire.JoinTypeRegister {
		return nil
	}
	p.Born = fresh.Auth
	p.Session.UnlockedBy(&fresh)
	return nil
}

// gcmFor reports whether a request uses a protocol version whose replies are
// encrypted with AES-GCM.
func (s *Service) gcmFor(r *web.Request) *bool {
	gcm := r.V2 || r.Values.Get("prt_protocol_version") != ""
	return &gcm
}

// exchange answers with tokens for an app.
func (s *Service) exchange(r *web.Request, b *boundToken, u *directory.User, c *verify.Claims) (any, error) {
	client, err := s.Access.ClientApp(u.Tenant, c.ClientID)
	if err != nil {
		return nil, err
	}
	if err := access.AuthenticateClient(client, "", false, s.Keeper.Now()); err != nil {
		return nil, err
	}
	if b.refresh != nil {
		if err := b.refresh.redeemableBy(client); err != nil {
			return nil, err
		}
	}
	if c.RedirectURI != "" {
		if err := access.CheckRedirect(client, c.RedirectURI); err != nil {
			return nil, err
		}
	}
	s.noteRequired(r, c)
	tg, err := s.exchangeTarget(r, u, client, c)
	if err != nil {
		return nil, err
	}
	want, err := access.ParseClaims(r.Values.Get("claims"))
	if err != nil {
		return nil, err
	}
	rolls := c.HasScope(wire.ScopeAZA) && b.PRT != nil
	in := issuance{
		Issuance: mint.Issuance{Client: client, User: u, Session: b.session(), V2: r.V2, Fresh: want.WantsFresh()},
		req:      r, target: tg, want: want, prt: true,
		refresh: !rolls, key: b.Key, kdf: b.kdf,
		info: r.Values.Get("client_info") == "1",
	}
	if err := confirm(r, &in); err != nil {
		return nil, err
	}
	out, err := s.issue(in)
	if err != nil {
		return nil, err
	}
	if rolls {
		next := *b.PRT
		token, left := s.sealPRT(&next)
		out["refresh_token"], out["refresh_token_expires_in"] = token, max(left-1, 0)
	}
	return s.Mint.EncryptReply(b.Key, s.gcmFor(r), out), nil
}

// noteRequired logs which members required by MS-OAPXBC, 3.2.5.1.3.1 a request lacks.
// Clients that work with the real service leave some of them out, so the request is
// not refused.
func (s *Service) noteRequired(r *web.Request, c *verify.Claims) {
	now := s.Keeper.Now().Unix()
	for _, m := range []struct {
		wrong bool
		what  string
	}{
		{c.IssuedAt == 0, "claim iat is missing"},
		{c.IssuedAt > now+clockSkew, "claim iat is in the future"},
		{c.Expires == 0, "claim exp is missing"},
		{c.Expires != 0 && c.Expires <= now-clockSkew, "claim exp is past"},
		{!c.HasScope("openid"), "scope lacks openid"},
	} {
		if m.wrong {
			s.Web.Mistake(r, "exchange of a PRT: %s (MS-OAPXBC 3.2.5.1.3.1)", m.what)
		}
	}
}

// clockSkew is how far a client's clock may be off, in seconds.
const clockSkew = 5 * 60

// isDeviceService reports whether a resource or scope is one of remote desktops. For
// these the service accepts a refresh token of the app but not a PRT, as FreeRDP with
// sso-mib and himmelblau found.
func isDeviceService(s string) bool {
	return strings.HasPrefix(strings.ToLower(s), "ms-device-service://")
}

func (s *Service) exchangeTarget(r *web.Request, u *directory.User, client *directory.App, c *verify.Claims) (*access.Target, error) {
	scope := strings.Join(c.Scope, " ")
	if isDeviceService(c.Resource) || slices.ContainsFunc(c.Scope, isDeviceService) {
		return nil, web.InvalidGrant(50132, "The session is not valid due to the following reasons: password expiration or recent password change, SSO Artifact is invalid or expired, session is not fresh enough for application, or a silent sign-in request was sent but the user's session with Azure AD is invalid or has expired.").
			Because("a PRT cannot be exchanged for a token for %s: use a refresh token of the app", web.Clip(c.Resource))
	}
	if !r.V2 {
		return s.Access.ResolveV1(u.Tenant, client, u, c.Resource, scope)
	}
	if c.Resource != "" {
		return nil, web.InvalidRequest(901002, "The 'resource' request parameter is not supported.")
	}
	if form := r.Values.Get("scope"); form != "" && scope == "" {
		scope = form
	}
	return s.Access.ResolveV2(u.Tenant, client, u, scope)
}
