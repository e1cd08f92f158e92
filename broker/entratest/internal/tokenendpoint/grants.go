package tokenendpoint

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// passwordGrant is the resource owner password grant.
func (s *Service) passwordGrant(r *web.Request) (any, error) {
	e := s.begin(r, "password")
	name, password := r.Values.Get("username"), r.Values.Get("password")
	for _, p := range []string{"username", "password"} {
		if r.Values.Get(p) == "" {
			return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: '%s'.", p)
		}
	}
	if r.V2 && r.Tenant == nil && !strings.EqualFold(r.Vars["tenant"], "organizations") {
		return nil, web.InvalidRequest(9001023, "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.")
	}
	u, err := s.Keeper.CheckPassword(r.Tenant, name, password)
	if err != nil {
		e.Username = name
		return nil, err
	}
	client, err := s.plainClient(r, u.Tenant)
	if err != nil {
		return nil, err
	}
	ss := s.Keeper.NewSession(u, claims.Password)
	ss.Password = true
	out, err := s.issueForm(r, client, u, &ss, issuance{})
	if err != nil && r.V2 {
		err = refusedPassword(err)
	}
	return out, err
}

// refusedPassword converts a refusal of Conditional Access to what the v2.0 endpoint
// answers to the password grant: invalid_grant, in which only a block may carry the
// claims challenge (replies captured in public issues).
func refusedPassword(err error) error {
	e := *web.AsSTSError(err)
	switch e.Code {
	case 50076, 50079:
		e.OAuth, e.Claims = "invalid_grant", ""
	case 53003:
		e.OAuth = "invalid_grant"
	default:
		return err
	}
	return &e
}

// refreshGrant redeems a refresh token. It refuses a PRT, which must be used in a
// request signed with its session key.
func (s *Service) refreshGrant(r *web.Request) (any, error) {
	s.begin(r, "refresh_token")
	token := r.Values.Get("refresh_token")
	if token == "" {
		return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'refresh_token'.")
	}
	var p prtRecord
	if s.Keeper.Box.Open(session.KindPRT, token, &p) == nil {
		return nil, web.InvalidGrant(7000016, "The primary refresh token was presented without a valid session key signature.").
			Because("a PRT in a plain refresh_token grant")
	}
	rec, u, err := s.openRefresh(token)
	if err != nil {
		return nil, err
	}
	session.LogUser(r.Entry, u, &rec.Session)
	if err := access.SameTenant(r, u); err != nil {
		return nil, err
	}
	client, err := s.plainClient(r, u.Tenant)
	if err != nil {
		return nil, err
	}
	if err := rec.redeemableBy(client); err != nil {
		return nil, err
	}
	if err := crossOrigin(r, rec.SPA); err != nil {
		return nil, err
	}
	if !s.Keeper.Quirks.On(quirks.RefreshTokenReuse) && !s.Keeper.Pending.Redeem(tokenID(token), rec.Expires, s.Keeper.Now()) {
		return nil, web.InvalidGrant(70000, "Provided grant is invalid or malformed.").Sub("bad_token").Because("the refresh token was redeemed before")
	}
	in := issuance{}
	if rec.SPA {
		in.spaEnd = rec.Expires
	}
	if r.V2 && r.Values.Get("scope") == "" && rec.Scope != "" { // same scope as before (RFC 6749, 6)
		if in.target, err = s.Access.ResolveV2(u.Tenant, client, u, rec.Scope); err != nil {
			return nil, err
		}
	}
	return s.issueForm(r, client, u, &rec.Session, in)
}

// tokenID identifies a refresh token in the list of what was redeemed.
func tokenID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// openRefresh opens a refresh token and checks that its session is still valid.
func (s *Service) openRefresh(token string) (*refreshRecord, *directory.User, error) {
	var bulk bulkRecord
	if s.Keeper.Box.Open(session.KindBulk, token, &bulk) == nil {
		return s.openBulk(&bulk)
	}
	var rec refreshRecord
	if err := s.Keeper.Box.Open(session.KindRefresh, token, &rec); err != nil {
		return nil, nil, web.InvalidGrant(70000, "Provided grant is invalid or malformed.").Sub("bad_token").Because("not a refresh token of this server")
	}
	now := s.Keeper.Now()
	if _, err := s.Keeper.UserOf(&rec.Session); err != nil && rec.Session.Ends != 0 {
		return nil, nil, err // the access pass has ended, and so has the token
	}
	if now.Unix() >= rec.Expires {
		code, text := 700082, "The refresh token has expired due to inactivity."
		if rec.SPA {
			code, text = 700084, "The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime, which can not be extended."
		}
		return nil, nil, web.InvalidGrant(code, "%s The token was issued on %s.", text, time.Unix(rec.Issued, 0).UTC().Format(time.RFC3339)).Sub("bad_token")
	}
	u, err := s.Keeper.UserOf(&rec.Session)
	if err != nil {
		return nil, nil, err
	}
	return &rec, u, nil
}

// redeemableBy checks that the client may redeem the token: the one it was
// issued to, or a member of the same family.
func (rec *refreshRecord) redeemableBy(client *directory.App) error {
	if rec.Client == client.ID || rec.Family && client.FOCI {
		return nil
	}
	return web.InvalidGrant(700007, "The grant was issued for a different client id.").Sub("client_mismatch").
		Because("a refresh token of client %s presented by %s", rec.Client, client.ID)
}

// codeGrant redeems an authorization code, once.
func (s *Service) codeGrant(r *web.Request) (any, error) {
	s.begin(r, "authorization_code")
	code := r.Values.Get("code")
	if code == "" {
		return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'code'.")
	}
	var rec session.CodeRecord
	if err := s.Keeper.Box.Open(session.KindCode, code, &rec); err != nil {
		return nil, web.InvalidGrant(70000, "The provided value for the 'code' parameter is not valid.")
	}
	u, err := s.Keeper.UserOf(&rec.Session)
	if err != nil {
		return nil, err
	}
	session.LogUser(r.Entry, u, &rec.Session)
	if r.Tenant != nil && r.Tenant != u.Tenant {
		return nil, web.InvalidGrant(700005, "The provided Authorization Code is intended to use against other tenant, thus rejected.")
	}
	client, err := s.plainClient(r, u.Tenant)
	if err != nil {
		return nil, err
	}
	if rec.Client != client.ID {
		return nil, web.InvalidGrant(70000, "The provided value for the 'code' parameter was issued to another client.").Because("the code was issued to client %s", rec.Client)
	}
	if err := crossOrigin(r, client.SPA); err != nil {
		return nil, err
	}
	if r.Values.Get("redirect_uri") != rec.Redirect {
		return nil, web.InvalidGrant(50011, "The redirect URI '%s' does not match the one of the authorization request.", web.Clip(r.Values.Get("redirect_uri")))
	}
	if err := checkVerifier(&rec, r.Values.Get("code_verifier")); err != nil {
		return nil, err
	}
	now := s.Keeper.Now()
	if now.Unix() >= rec.Expires {
		return nil, web.InvalidGrant(70008, "The provided authorization code or refresh token has expired due to inactivity.").Sub("bad_token")
	}
	if !s.Keeper.Pending.Redeem(rec.ID, rec.Expires, now) {
		return nil, web.InvalidGrant(54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.")
	}
	in := issuance{Issuance: mint.Issuance{Nonce: rec.Nonce, Aged: rec.Aged, Fresh: rec.Fresh && rec.Session.FreshMFA(now, s.Keeper.TTL.FreshMFA)}}
	if err := s.codeTarget(r, &rec, client, u, &in); err != nil {
		return nil, err
	}
	out, err := s.issueForm(r, client, u, &rec.Session, in)
	if err != nil {
		return nil, err
	}
	return s.codeReply(r, &rec, client, u, out.(map[string]any))
}

// codeTarget resolves resource and scope from the redemption, or else from the
// authorization request.
func (s *Service) codeTarget(r *web.Request, rec *session.CodeRecord, client *directory.App, u *directory.User, in *issuance) (err error) {
	if r.V2 && r.Values.Get("scope") == "" {
		in.target, err = s.Access.ResolveV2(u.Tenant, client, u, rec.Scope)
	}
	if !r.V2 && r.Values.Get("resource") == "" {
		in.target, err = s.Access.ResolveV1(u.Tenant, client, u, rec.Resource, rec.Scope)
	}
	return err
}

// codeReply encrypts the reply if the code came from a PRT and the client
// speaks the broker protocol, and adds a session key if the client asked for one.
func (s *Service) codeReply(r *web.Request, rec *session.CodeRecord, client *directory.App, u *directory.User, out map[string]any) (any, error) {
	if jwkText := r.Values.Get("stk_jwk"); jwkText != "" {
		return s.devicelessPRT(r, rec, client, u, jwkText, out)
	}
	if rec.Key != nil && strings.HasPrefix(r.Values.Get("windows_api_version"), "2.") {
		return s.Mint.EncryptReply(rec.Key, nil, out), nil
	}
	return out, nil
}

func checkVerifier(rec *session.CodeRecord, verifier string) error {
	if rec.Challenge == "" {
		return nil
	}
	if verifier == "" {
		return web.InvalidGrant(501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.").Because("code_verifier is missing")
	}
	if !verify.Challenge(verifier) {
		return web.InvalidRequest(501491, "Invalid size of Code_Verifier parameter.")
	}
	if !verify.Verifier(verifier, rec.Challenge, rec.Method) {
		return web.InvalidGrant(501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.")
	}
	return nil
}
