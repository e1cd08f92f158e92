package entratest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/claims"
)

// passwordGrant is the resource owner password grant.
func (s *Server) passwordGrant(r *request) (any, error) {
	e := s.begin(r, "password")
	name, password := r.form.Get("username"), r.form.Get("password")
	for _, p := range []string{"username", "password"} {
		if r.form.Get(p) == "" {
			return nil, invalidRequest(900144, "The request body must contain the following parameter: '%s'.", p)
		}
	}
	if r.v2 && r.tenant == nil && !strings.EqualFold(r.path["tenant"], "organizations") {
		return nil, invalidRequest(9001023, "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.")
	}
	u, err := s.checkPassword(r.tenant, name, password)
	if err != nil {
		e.Username = name
		return nil, err
	}
	client, err := s.plainClient(r, u.Tenant)
	if err != nil {
		return nil, err
	}
	ss := s.newSession(u, claims.Password)
	ss.Password = true
	return s.issueForm(r, client, u, &ss, issuance{})
}

// Smart lockout: so many wrong passwords lock the account for a while.
const (
	lockoutThreshold = 10
	lockoutTime      = time.Minute
)

// checkPassword checks a password and counts wrong ones. A nil tenant takes
// that of the user name.
func (s *Server) checkPassword(t *directory.Tenant, name, password string) (*directory.User, error) {
	u, err := s.knowsPassword(t, name, password)
	if err != nil {
		return nil, err
	}
	if u.PasswordExpired {
		return nil, errPasswordExpired
	}
	return u, nil
}

var errPasswordExpired = invalidGrant(50055, "The password is expired.").sub("user_password_expired")

// knowsPassword is checkPassword for a password that may be expired.
func (s *Server) knowsPassword(t *directory.Tenant, name, password string) (*directory.User, error) {
	home := s.dir.TenantOf(name)
	if home == nil || t != nil && home != t {
		return nil, s.unknownUser(t, name)
	}
	if home.IsFederated(name) {
		return nil, invalidGrant(50126, "Error validating credentials due to invalid username or password.").
			because("%s is federated: it signs in at its federation server", name)
	}
	u := s.dir.User(name)
	if u == nil {
		return nil, s.unknownUser(home, name)
	}
	if s.Now().Before(u.LockedUntil) {
		return nil, invalidGrant(50053, "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.")
	}
	if u.Password == "" || u.Password != password {
		now := s.Now()
		_ = s.dir.ChangeUser(u.UPN, func(u *directory.User) error { // the user may be deleted meanwhile
			if u.Failures++; u.Failures >= lockoutThreshold {
				u.Failures, u.LockedUntil = 0, now.Add(lockoutTime)
			}
			return nil
		})
		return nil, invalidGrant(50126, "Error validating credentials due to invalid username or password.")
	}
	if u.Disabled {
		return nil, invalidGrant(50057, "The user account is disabled.")
	}
	if u.Failures > 0 {
		_ = s.dir.ChangeUser(u.UPN, func(u *directory.User) error { u.Failures = 0; return nil })
	}
	return u, nil
}

func (s *Server) unknownUser(t *directory.Tenant, name string) error {
	where := "any directory here"
	if t != nil {
		where = "the " + t.Name + " directory"
	}
	return invalidGrant(50034, "The user account %s does not exist in %s. To sign into this application, the account must be added to the directory.", clip(name), where)
}

// refreshGrant redeems a refresh token. A PRT is not one: without a signature
// by its session key it is refused.
func (s *Server) refreshGrant(r *request) (any, error) {
	s.begin(r, "refresh_token")
	token := r.form.Get("refresh_token")
	if token == "" {
		return nil, invalidRequest(900144, "The request body must contain the following parameter: 'refresh_token'.")
	}
	var p prtRecord
	if s.box.Open(kindPRT, token, &p) == nil {
		return nil, invalidGrant(7000016, "The primary refresh token was presented without a valid session key signature.").
			because("a PRT in a plain refresh_token grant")
	}
	rec, u, err := s.openRefresh(token)
	if err != nil {
		return nil, err
	}
	noteUser(r.entry, u, &rec.Session)
	if err := sameTenant(r, u); err != nil {
		return nil, err
	}
	client, err := s.plainClient(r, u.Tenant)
	if err != nil {
		return nil, err
	}
	if err := rec.redeemableBy(client); err != nil {
		return nil, err
	}
	if err := r.crossOrigin(rec.SPA); err != nil {
		return nil, err
	}
	in := issuance{}
	if rec.SPA {
		in.spaEnd = rec.Expires
	}
	if r.v2 && r.form.Get("scope") == "" && rec.Scope != "" { // the same again (RFC 6749, 6)
		if in.target, err = s.resolveV2(u.Tenant, client, u, rec.Scope); err != nil {
			return nil, err
		}
	}
	return s.issueForm(r, client, u, &rec.Session, in)
}

// openRefresh opens a refresh token and checks that its session lives.
func (s *Server) openRefresh(token string) (*refreshRecord, *directory.User, error) {
	var bulk bulkRecord
	if s.box.Open(kindBulk, token, &bulk) == nil {
		return s.openBulk(&bulk)
	}
	var rec refreshRecord
	if err := s.box.Open(kindRefresh, token, &rec); err != nil {
		return nil, nil, invalidGrant(70000, "Provided grant is invalid or malformed.").sub("bad_token").because("no refresh token of this server")
	}
	now := s.Now()
	if now.Unix() >= rec.Expires {
		code, text := 700082, "The refresh token has expired due to inactivity."
		if rec.SPA {
			code, text = 700084, "The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime, which can not be extended."
		}
		return nil, nil, invalidGrant(code, "%s The token was issued on %s.", text, time.Unix(rec.Issued, 0).UTC().Format(time.RFC3339)).sub("bad_token")
	}
	u, err := s.userOf(&rec.Session)
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
	return invalidGrant(70000, "Provided grant is invalid or malformed.").sub("client_mismatch").
		because("a refresh token of client %s presented by %s", rec.Client, client.ID)
}

// codeRecord is what an authorization code holds.
type codeRecord struct {
	ID        string  `json:"k"` // for the check of single use
	Session   session `json:"s"`
	Client    string  `json:"c"`
	Redirect  string  `json:"r"`
	Challenge string  `json:"h,omitempty"`
	Method    string  `json:"m,omitempty"`
	Resource  string  `json:"v,omitempty"` // of a v1 request
	Scope     string  `json:"o,omitempty"`
	Nonce     string  `json:"n,omitempty"`
	Fresh     bool    `json:"f,omitempty"` // ngcmfa was asked for
	Key       []byte  `json:"q,omitempty"` // session key, when the sign-in was by PRT cookie
	Claims    string  `json:"a,omitempty"`
	Aged      bool    `json:"g,omitempty"` // max_age was asked for
	Expires   int64   `json:"e"`
}

// codeGrant redeems an authorization code, once.
func (s *Server) codeGrant(r *request) (any, error) {
	s.begin(r, "authorization_code")
	code := r.form.Get("code")
	if code == "" {
		return nil, invalidRequest(900144, "The request body must contain the following parameter: 'code'.")
	}
	var rec codeRecord
	if err := s.box.Open(kindCode, code, &rec); err != nil {
		return nil, invalidGrant(70000, "The provided value for the 'code' parameter is not valid.")
	}
	u, err := s.userOf(&rec.Session)
	if err != nil {
		return nil, err
	}
	noteUser(r.entry, u, &rec.Session)
	if r.tenant != nil && r.tenant != u.Tenant {
		return nil, invalidGrant(700005, "The provided Authorization Code is intended to use against other tenant, thus rejected.")
	}
	client, err := s.plainClient(r, u.Tenant)
	if err != nil {
		return nil, err
	}
	if rec.Client != client.ID {
		return nil, invalidGrant(70000, "The provided value for the 'code' parameter was issued to another client.").because("the code is of client %s", rec.Client)
	}
	if err := r.crossOrigin(client.SPA); err != nil {
		return nil, err
	}
	if r.form.Get("redirect_uri") != rec.Redirect {
		return nil, invalidGrant(50011, "The redirect URI '%s' does not match the one of the authorization request.", clip(r.form.Get("redirect_uri")))
	}
	if err := rec.checkVerifier(r.form.Get("code_verifier")); err != nil {
		return nil, err
	}
	now := s.Now()
	if now.Unix() >= rec.Expires {
		return nil, invalidGrant(70008, "The provided authorization code or refresh token has expired due to inactivity.").sub("bad_token")
	}
	if !s.flow.redeem(rec.ID, rec.Expires, now) {
		return nil, invalidGrant(54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.")
	}
	in := issuance{nonce: rec.Nonce, aged: rec.Aged, fresh: rec.Fresh && rec.Session.fresh(now, s.opts.TTL.FreshMFA)}
	if err := s.codeTarget(r, &rec, client, u, &in); err != nil {
		return nil, err
	}
	out, err := s.issueForm(r, client, u, &rec.Session, in)
	if err != nil {
		return nil, err
	}
	return s.codeReply(r, &rec, client, u, out.(map[string]any))
}

// codeTarget takes resource and scope of the redemption, or else those of the
// authorization request.
func (s *Server) codeTarget(r *request, rec *codeRecord, client *directory.App, u *directory.User, in *issuance) (err error) {
	if r.v2 && r.form.Get("scope") == "" {
		in.target, err = s.resolveV2(u.Tenant, client, u, rec.Scope)
	}
	if !r.v2 && r.form.Get("resource") == "" {
		in.target, err = s.resolveV1(u.Tenant, client, u, rec.Resource, rec.Scope)
	}
	return err
}

// codeReply encrypts the reply when the code came of a PRT and the client
// speaks the broker protocol, and adds a session key when it asked for one.
func (s *Server) codeReply(r *request, rec *codeRecord, client *directory.App, u *directory.User, out map[string]any) (any, error) {
	if jwkText := r.form.Get("stk_jwk"); jwkText != "" {
		return s.devicelessPRT(r, rec, client, u, jwkText, out)
	}
	if rec.Key != nil && strings.HasPrefix(r.form.Get("windows_api_version"), "2.") {
		return s.encryptReply(rec.Key, nil, out), nil
	}
	return out, nil
}

func (rec *codeRecord) checkVerifier(verifier string) error {
	if rec.Challenge == "" {
		return nil
	}
	if verifier == "" {
		return invalidGrant(501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.").because("code_verifier is missing")
	}
	if !verify.Challenge(verifier) {
		return invalidRequest(501491, "Invalid size of Code_Verifier parameter.")
	}
	if !verify.Verifier(verifier, rec.Challenge, rec.Method) {
		return invalidGrant(501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.")
	}
	return nil
}

// popKey reads req_cnf: base64url of {"kid": thumbprint}.
func popKey(reqCnf string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(reqCnf, "="))
	var c struct {
		Kid string `json:"kid"`
	}
	if err != nil || json.Unmarshal(raw, &c) != nil || c.Kid == "" {
		return "", invalidRequest(9002313, "Invalid request. Request is malformed or invalid.").because("req_cnf is not the base64url of an object with kid")
	}
	return c.Kid, nil
}
