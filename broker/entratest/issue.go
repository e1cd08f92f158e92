package entratest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
)

// refreshRecord is what a refresh token holds.
type refreshRecord struct {
	Session session.Session `json:"s"`
	Client  string          `json:"c"`
	Family  bool            `json:"f,omitempty"`
	Issued  int64           `json:"i"`
	Expires int64           `json:"e"`
	SPA     bool            `json:"w,omitempty"` // fixed life of 24 hours
	Key     []byte          `json:"k,omitempty"` // session key of the PRT it was minted from
	KDF     int             `json:"v,omitempty"`
	Scope   string          `json:"o,omitempty"` // of the v2.0 request it was issued for
}

// issuance is a request for tokens that passed authentication.
type issuance struct {
	req     *web.Request
	client  *directory.App
	user    *directory.User
	session *session.Session
	target  *access.Target
	want    access.ClaimsRequest
	v2      bool
	nonce   string    // for the id_token
	code    string    // whose hash the id_token beside it carries; "": none
	aged    bool      // max_age was asked for: the id_token says when the user signed in
	cnf     string    // kid of the key of a PoP token; "" for a bearer token
	prt     bool      // the session came with a PRT
	refresh bool      // a refresh token is wanted
	fresh   bool      // the value ngcmfa was asked for
	spaEnd  int64     // end of the refresh token of a single-page app; zero: a new one
	idNone  bool      // the id_token is unsigned
	sid     bool      // the id_token names the user's SID (scope ugs)
	info    bool      // client_info
	key     []byte    // session key that the refresh token is bound to; nil: none
	kdf     int       // derivation version of key
	now     time.Time // set by issue
}

// issue asks Conditional Access and makes the reply of a token request.
func (s *Server) issue(in issuance) (map[string]any, error) {
	in.now = s.Now()
	if e := in.req.Entry; e != nil {
		e.Resource, e.AMR = in.target.ID(), in.session.AMR(false)
	}
	if err := access.Consent(in.client, in.target); err != nil {
		return nil, err
	}
	if in.target.Guessed {
		s.web.Mistake(in.req, "not known whether %s may use %s: granted", in.client.Name, in.target.Resource.Name)
	}
	for _, a := range []*directory.App{in.client, in.target.Resource} {
		if err := s.access.Assigned(a, in.user); err != nil {
			return nil, err
		}
	}
	dev, err := s.keeper.DeviceOf(in.session)
	if err != nil {
		return nil, err
	}
	if err := s.checkAccess(&in, dev); err != nil {
		return nil, err
	}
	return s.reply(&in, dev), nil
}

// checkAccess asks Conditional Access about the resource, then about each
// authentication context of the claims request.
func (s *Server) checkAccess(in *issuance, dev *directory.Device) error {
	q := access.ToResource(in.client, in.target)
	q.User, q.Session, q.Device, q.Bound = in.user, in.session, dev, in.prt
	if err := s.access.Refusal(s.access.Evaluate(in.req, q), q, in.prt); err != nil {
		return err
	}
	for _, c := range in.want.Contexts {
		q := q
		q.Resource, q.Scopes, q.Context = nil, policy.AnyScopes, access.ContextNumber(c)
		entry := in.req.Entry
		in.req.Entry = nil // the log shows the policies of the resource
		a := s.access.Evaluate(in.req, q)
		in.req.Entry = entry
		if err := s.access.Refusal(a, q, in.prt); err != nil {
			return err
		}
	}
	if in.want.WantsMFA() && in.session.MFA == 0 || in.want.WantsFresh() && !in.session.FreshMFA(in.now, s.opts.TTL.FreshMFA) {
		return web.Fail("interaction_required", 50076, "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access %s.", in.target.Quoted()).
			Sub("basic_action").Because("the claims request asks for amr %v", in.want.Methods)
	}
	if in.want.DeviceID && dev == nil {
		return web.Fail("interaction_required", 50097, "Device authentication is required.").Sub("additional_action")
	}
	return nil
}

// refreshInFrom is the life from which on a reply says when the token is to be
// refreshed: after half of it.
const refreshInFrom = 2 * time.Hour

func (s *Server) reply(in *issuance, dev *directory.Device) map[string]any {
	out := map[string]any{"token_type": "Bearer"}
	life := s.opts.TTL.AccessToken
	if in.want.CAE {
		life = max(life, 24*time.Hour)
	}
	expires := in.now.Add(life)
	if life >= refreshInFrom {
		out["refresh_in"] = int64(life / 2 / time.Second)
	}
	if in.target.Resource != nil {
		out["access_token"] = s.accessToken(in, dev, expires)
		out["scope"] = in.target.ScopeString(in.v2)
		if in.cnf != "" {
			out["token_type"] = "pop"
		}
	}
	if in.v2 {
		out["expires_in"], out["ext_expires_in"] = int64(life/time.Second), int64(life/time.Second)
	} else {
		out["expires_in"], out["ext_expires_in"] = web.Seconds(life), web.Seconds(life)
		out["expires_on"], out["not_before"] = strconv.FormatInt(expires.Unix(), 10), strconv.FormatInt(in.now.Unix(), 10)
		if in.target.Resource != nil {
			out["resource"] = in.target.Audience
		}
	}
	if in.refresh {
		rt, left := s.refreshToken(in)
		out["refresh_token"] = rt
		if in.client.SPA || !in.v2 {
			out["refresh_token_expires_in"] = left
		}
		if in.client.FOCI {
			out["foci"] = "1"
		}
	}
	if in.target.OpenID() || !in.v2 {
		out["id_token"] = s.idToken(in, dev)
	}
	if in.info {
		out["client_info"] = clientInfo(in.user)
	}
	return out
}

func clientInfo(u *directory.User) string {
	data, _ := json.Marshal(map[string]string{"uid": u.ID, "utid": u.Tenant.ID})
	return base64.RawURLEncoding.EncodeToString(data)
}

func (s *Server) refreshToken(in *issuance) (token string, left int64) {
	life := s.opts.TTL.RefreshToken
	end := in.now.Add(life).Unix()
	if in.client.SPA {
		if end = in.now.Add(24 * time.Hour).Unix(); in.spaEnd != 0 {
			end = in.spaEnd
		}
	}
	return s.keeper.Box.Seal(session.KindRefresh, refreshRecord{
		Session: *in.session, Client: in.client.ID, Family: in.client.FOCI,
		Issued: in.now.Unix(), Expires: end, SPA: in.client.SPA, Key: in.key, KDF: in.kdf, Scope: in.target.Asked,
	}), end - in.now.Unix()
}

// amrOf decides whether a token shows how the user signed in: v1 tokens do, v2
// tokens only when the app asked for it as an optional claim.
func (in *issuance) amrOf(version int, a *directory.App) []string {
	if version == 2 && !slices.Contains(a.OptionalClaims, "amr") {
		return nil
	}
	return in.session.AMR(in.fresh)
}

func (s *Server) accessToken(in *issuance, dev *directory.Device, expires time.Time) string {
	u, res := in.user, in.target.Resource
	c := map[string]any{
		"iat": in.now.Unix(), "nbf": in.now.Unix(), "exp": expires.Unix(),
		"oid": u.ID, "tid": u.Tenant.ID, "sub": pairwise(u.ID, res.ID), "name": u.Name,
		"scp": strings.Join(in.target.Scopes, " "), "sid": in.session.SID,
		"uti": base64.RawURLEncoding.EncodeToString(s.rand.Bytes(16)),
		"rh":  "1." + base64.RawURLEncoding.EncodeToString(s.rand.Bytes(12)) + ".",
		"aio": base64.StdEncoding.EncodeToString(s.rand.Bytes(24)),
	}
	if res.TokenVersion == 2 {
		c["aud"], c["iss"], c["ver"] = res.ID, directory.IssuerV2(u.Tenant.ID), "2.0"
		c["azp"], c["azpacr"] = in.client.ID, appidacr(in.client)
		c["preferred_username"] = u.UPN
	} else {
		s.v1Claims(c, in, dev)
		c["aud"], c["appid"], c["appidacr"] = in.target.Audience, in.client.ID, appidacr(in.client)
		c["acr"] = "1"
	}
	if amr := in.amrOf(res.TokenVersion, res); amr != nil {
		c["amr"] = amr
	}
	s.optionalClaims(c, in, res)
	c["xms_st"] = map[string]int{"rev": in.session.Epoch}
	if len(u.Roles) > 0 {
		c["wids"] = u.Roles
	}
	if in.want.CAE {
		c["xms_cc"] = []string{"CP1"}
	}
	if len(in.want.Contexts) > 0 {
		c["acrs"] = in.want.Contexts
	}
	if in.cnf != "" {
		c["cnf"] = map[string]string{"kid": in.cnf}
	}
	return s.keys.sign(c)
}

func appidacr(a *directory.App) string {
	if a.Public {
		return "0"
	}
	return "1"
}

// v1Claims adds what tokens of version 1.0 say of the user and the device.
func (s *Server) v1Claims(c map[string]any, in *issuance, dev *directory.Device) {
	u := in.user
	given, familyName, _ := strings.Cut(u.Name, " ")
	c["iss"], c["ver"] = directory.IssuerV1(u.Tenant.ID), "1.0"
	c["upn"], c["unique_name"], c["given_name"], c["family_name"] = u.UPN, u.UPN, given, familyName
	c["puid"] = puid(u.ID)
	c["tenant_region_scope"] = u.Tenant.Region
	if ip, _ := s.access.ClientAddress(in.req.Request); ip.IsValid() {
		c["ipaddr"] = ip.String()
	}
	if u.SID != "" {
		c["onprem_sid"] = u.SID
	}
	if dev == nil {
		return
	}
	c["deviceid"] = dev.ID
	var state []string
	if dev.Managed {
		state = append(state, "dvc_mngd")
	}
	if dev.Compliant {
		state = append(state, "dvc_cmp")
	}
	if dev.JoinType == wire.JoinTypeHybrid {
		state = append(state, "dvc_dmjd")
	}
	if state != nil {
		c["signin_state"] = state
	}
}

func puid(oid string) string {
	sum := sha256.Sum256([]byte("puid" + oid))
	return "10032" + strings.ToUpper(ids.Hex(sum[:6])[:11])
}

func (s *Server) optionalClaims(c map[string]any, in *issuance, a *directory.App) {
	for _, name := range a.OptionalClaims {
		switch name {
		case "auth_time":
			c["auth_time"] = in.session.Auth
		case "acct":
			c["acct"] = boolInt(in.user.Guest)
		case "ipaddr":
			if ip, _ := s.access.ClientAddress(in.req.Request); ip.IsValid() {
				c["ipaddr"] = ip.String()
			}
		case "deviceid":
			if in.session.Device != "" {
				c["deviceid"] = in.session.Device
			}
		case "upn":
			c["upn"] = in.user.UPN
		case "groups":
			c["groups"] = s.dir.GroupsOf(in.user)
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// idTokenLife is how long an id_token is valid.
const idTokenLife = 65 * time.Minute

func (s *Server) idToken(in *issuance, dev *directory.Device) string {
	u := in.user
	c := map[string]any{
		"aud": in.client.ID, "iat": in.now.Unix(), "nbf": in.now.Unix(), "exp": in.now.Add(idTokenLife).Unix(),
		"oid": u.ID, "tid": u.Tenant.ID, "sub": pairwise(u.ID, in.client.ID), "name": u.Name, "sid": in.session.SID,
		"rh": "1." + base64.RawURLEncoding.EncodeToString(s.rand.Bytes(12)) + ".",
	}
	version := 1
	if in.v2 {
		version = 2
		c["iss"], c["ver"], c["preferred_username"] = directory.IssuerV2(u.Tenant.ID), "2.0", u.UPN
		c["uti"] = base64.RawURLEncoding.EncodeToString(s.rand.Bytes(16))
	} else {
		s.v1Claims(c, in, dev)
		c["pwd_url"] = "https://portal.microsoftonline.com/ChangePassword.aspx"
		c["tenant_display_name"] = u.Tenant.Name
	}
	if amr := in.amrOf(version, in.client); amr != nil {
		c["amr"] = amr
	}
	s.optionalClaims(c, in, in.client)
	if in.nonce != "" {
		c["nonce"] = in.nonce
	}
	if in.code != "" {
		c["c_hash"] = halfHash(in.code)
	}
	if in.aged {
		c["auth_time"] = in.session.Auth
	}
	if in.sid {
		c["primary_sid"] = ids.SID(u.ID)
	}
	if in.idNone {
		return unsigned(c)
	}
	return s.keys.sign(c)
}

// halfHash is the left half of a hash, as an id_token signed with RS256 names
// what it was issued with (OpenID Connect Core, 3.3.2.11).
func halfHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
