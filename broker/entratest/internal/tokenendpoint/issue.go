package tokenendpoint

import (
	"strconv"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/policy"
)

// refreshRecord is the content of a refresh token.
type refreshRecord struct {
	Session session.Session `json:"s"`
	Client  string          `json:"c"`
	Family  bool            `json:"f,omitempty"`
	Issued  int64           `json:"i"`
	Expires int64           `json:"e"`
	SPA     bool            `json:"w,omitempty"` // fixed lifetime of 24 hours
	Key     []byte          `json:"k,omitempty"` // session key of the PRT it was minted from
	KDF     int             `json:"v,omitempty"`
	Scope   string          `json:"o,omitempty"` // of the v2.0 request it was issued for
}

// issuance is an authenticated token request.
type issuance struct {
	mint.Issuance
	req     *web.Request
	target  *access.Target
	want    access.ClaimsRequest
	prt     bool   // the session came with a PRT
	refresh bool   // a refresh token is wanted
	spaEnd  int64  // when the refresh token of a single-page app expires; zero: it is new
	info    bool   // client_info
	key     []byte // session key that the refresh token is bound to; nil: not bound
	kdf     int    // derivation version of key
}

// issue asks Conditional Access and makes the reply to a token request.
func (s *Service) issue(in issuance) (map[string]any, error) {
	in.Now, in.Base = s.Keeper.Now(), web.LocalBase(in.req.Request)
	in.Resource, in.Audience, in.Scopes = in.target.Resource, in.target.Audience, in.target.Scopes
	in.CAE, in.Contexts = in.want.CAE, in.want.Contexts
	in.Address, _ = s.Access.ClientAddress(in.req.Request)
	in.Unique = s.Mint.UniqueID()
	if e := in.req.Entry; e != nil {
		e.Resource, e.AMR = in.target.ID(), in.Session.AMR(false)
	}
	if err := access.Consent(in.Client, in.target); err != nil {
		return nil, err
	}
	if in.target.Guessed {
		s.Web.Mistake(in.req, "not known whether %s may use %s: granted", in.Client.Name, in.target.Resource.Name)
	}
	for _, a := range []*directory.App{in.Client, in.target.Resource} {
		if err := s.Access.Assigned(a, in.User); err != nil {
			return nil, err
		}
	}
	dev, err := s.Keeper.DeviceOf(in.Session)
	if err != nil {
		return nil, err
	}
	if err := s.checkAccess(&in, dev); err != nil {
		return nil, err
	}
	if e := in.req.Entry; e != nil {
		e.Unique = in.Unique
	}
	return s.reply(&in, dev)
}

// checkAccess asks Conditional Access about the resource, then about each
// authentication context of the claims request.
func (s *Service) checkAccess(in *issuance, dev *directory.Device) error {
	q := access.ToResource(in.Client, in.target)
	q.User, q.Session, q.Device, q.Bound = in.User, in.Session, dev, in.prt
	if err := s.Access.Refusal(s.Access.Evaluate(in.req, q), q, in.prt); err != nil {
		return err
	}
	for _, c := range in.want.Contexts {
		q := q
		q.Resource, q.Scopes, q.Context = nil, policy.AnyScopes, access.ContextNumber(c)
		entry := in.req.Entry
		in.req.Entry = nil // the log shows the policies of the resource
		a := s.Access.Evaluate(in.req, q)
		in.req.Entry = entry
		if err := s.Access.Refusal(a, q, in.prt); err != nil {
			return err
		}
	}
	if in.want.WantsMFA() && in.Session.MFA == 0 || in.want.WantsFresh() && !in.Session.FreshMFA(in.Now, s.Keeper.TTL.FreshMFA) {
		return web.Fail("interaction_required", 50076, "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access %s.", in.target.Quoted()).
			Sub("basic_action").Because("the claims request asks for amr %v", in.want.Methods)
	}
	if in.want.DeviceID && dev == nil {
		return web.Fail("interaction_required", 50097, "Device authentication is required.").Sub("additional_action")
	}
	return nil
}

// refreshInFrom is the minimum lifetime of a token for which the reply includes
// refresh_in, which is half the lifetime.
const refreshInFrom = 2 * time.Hour

// sshLife is how long an SSH certificate is valid (Microsoft, "Sign in to a Linux virtual
// machine in Azure by using Microsoft Entra ID and OpenSSH": an hour).
const sshLife = time.Hour

func (s *Service) reply(in *issuance, dev *directory.Device) (map[string]any, error) {
	out := map[string]any{"token_type": "Bearer"}
	life := s.Keeper.TTL.AccessToken
	if in.want.CAE {
		life = max(life, 24*time.Hour)
	}
	if in.SSH != nil {
		life = sshLife
	}
	life = in.Session.Capped(life, in.Now)
	expires := in.Now.Add(life)
	if life >= refreshInFrom {
		out["refresh_in"] = int64(life / 2 / time.Second)
	}
	switch {
	case in.SSH != nil:
		cert, err := s.Mint.SSHCertificate(&in.Issuance, expires)
		if err != nil {
			return nil, malformed("%v", err)
		}
		out["access_token"], out["token_type"], out["scope"] = cert, "ssh-cert", s.Access.ScopeString(in.target, in.V2)
	case in.target.Resource != nil:
		out["access_token"] = s.Mint.AccessToken(&in.Issuance, dev, expires)
		out["scope"] = s.Access.ScopeString(in.target, in.V2)
		if in.CNF != "" {
			out["token_type"] = "pop"
		}
	}
	out["expires_in"], out["ext_expires_in"] = s.seconds(in.V2, life), s.seconds(in.V2, life)
	if !in.V2 {
		out["expires_on"], out["not_before"] = strconv.FormatInt(expires.Unix(), 10), strconv.FormatInt(in.Now.Unix(), 10)
		if in.target.Resource != nil {
			out["resource"] = in.target.Audience
		}
	}
	if in.refresh {
		rt, left := s.refreshToken(in)
		out["refresh_token"] = rt
		if in.Client.SPA || !in.V2 {
			out["refresh_token_expires_in"] = left
		}
		if in.Client.FOCI {
			out["foci"] = "1"
		}
	}
	if in.target.OpenID() || !in.V2 {
		// The v1 token endpoint does not sign the id_tokens that it returns (issue 117 of
		// ADAL for Java, 2017, "By Design"; issue 350 of go-oidc, 2022).
		in.IDNone = in.IDNone || !in.V2 && s.Keeper.Quirks.On(quirks.UnsignedV1IDToken)
		out["id_token"] = s.Mint.IDToken(&in.Issuance, dev)
	}
	if in.info {
		out["client_info"] = mint.ClientInfo(in.User)
	}
	return out, nil
}

// seconds writes a duration in a reply: the v1 endpoint writes text.
func (s *Service) seconds(v2 bool, d time.Duration) any {
	if v2 || !s.Keeper.Quirks.On(quirks.NumbersAsText) {
		return int64(d / time.Second)
	}
	return web.Seconds(d)
}

func (s *Service) refreshToken(in *issuance) (token string, left int64) {
	life := s.Keeper.TTL.RefreshToken
	end := in.Now.Add(life).Unix()
	if in.Client.SPA {
		if end = in.Now.Add(24 * time.Hour).Unix(); in.spaEnd != 0 {
			end = in.spaEnd
		}
	}
	end = in.Now.Add(in.Session.Capped(time.Duration(end-in.Now.Unix())*time.Second, in.Now)).Unix()
	return s.Keeper.Box.Seal(session.KindRefresh, refreshRecord{
		Session: *in.Session, Client: in.Client.ID, Family: in.Client.FOCI,
		Issued: in.Now.Unix(), Expires: end, SPA: in.Client.SPA, Key: in.key, KDF: in.kdf, Scope: in.target.Asked,
	}), end - in.Now.Unix()
}
