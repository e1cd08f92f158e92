package tokenendpoint

import (
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// token is the token endpoint of both versions.
func (s *Service) token(w http.ResponseWriter, r *web.Request) {
	if r.Values == nil {
		s.Web.Refuse(w, r, web.InvalidRequest(900144, "The request body must contain the following parameter: 'grant_type'.").
			Because("Content-Type is %q instead of application/x-www-form-urlencoded", r.Header.Get("Content-Type")))
		return
	}
	grant := r.Values.Get("grant_type")
	if grant == wire.GrantNonce {
		s.nonce(w, r)
		return
	}
	reply, err := s.grant(r, grant)
	s.Web.Record(r, err)
	if origin := r.Header.Get("Origin"); origin != "" {
		w.Header().Set("Access-Control-Allow-Origin", origin) // pages must be able to read refusals too
	}
	if err != nil {
		s.Web.Refuse(w, r, err)
		return
	}
	web.NoStore(w)
	w.Header().Set("x-ms-request-id", s.Keeper.Rand.GUID())
	if text, ok := reply.(string); ok { // a bare JWE, whatever the content type says
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(text))
		return
	}
	web.WriteJSON(w, http.StatusOK, reply)
}

// grant runs one grant; the reply is a JSON object or the text of a JWE.
func (s *Service) grant(r *web.Request, grant string) (any, error) {
	switch grant {
	case "":
		return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'grant_type'.")
	case wire.GrantPassword:
		return s.passwordGrant(r)
	case wire.GrantRefreshToken:
		return s.refreshGrant(r)
	case wire.GrantAuthCode:
		return s.codeGrant(r)
	case wire.GrantDeviceCode, "device_code":
		return s.deviceCodeGrant(r)
	case wire.GrantSAML11, wire.GrantSAML20:
		return s.samlGrant(r, grant)
	case wire.GrantJWTBearer:
		if r.Values.Get("request") == "" && r.Values.Get("requested_token_use") != "" {
			return s.onBehalfOfGrant(r)
		}
		return s.signedGrant(r)
	case "client_credentials":
		return s.clientCredentialsGrant(r)
	}
	return nil, web.Fail("unsupported_grant_type", 70003, "The app requested an unsupported grant type '%s'.", web.Clip(grant))
}

// begin opens an entry of the sign-in log.
func (s *Service) begin(r *web.Request, grant string) *directory.LogEntry {
	r.Entry = &directory.LogEntry{
		Time: s.Keeper.Now(), CorrelationID: web.CorrelationID(r.Request), Endpoint: string(web.EndpointToken), Grant: grant,
		ClientID: strings.ToLower(r.Values.Get("client_id")), Platform: access.PlatformNames[access.PlatformOf(r.UserAgent())],
	}
	s.Access.LogAddress(r.Request, r.Entry)
	return r.Entry
}

// formTarget resolves the target of a form-encoded grant.
func (s *Service) formTarget(r *web.Request, t *directory.Tenant, client *directory.App, u *directory.User) (*access.Target, error) {
	if r.V2 {
		if r.Values.Get("resource") != "" {
			return nil, web.InvalidRequest(901002, "The 'resource' request parameter is not supported.")
		}
		return s.Access.ResolveV2(t, client, u, r.Values.Get("scope"))
	}
	return s.Access.ResolveV1(t, client, u, r.Values.Get("resource"), r.Values.Get("scope"))
}

// crossOrigin checks that only pages redeem what was issued to a single-page app, and
// that pages redeem nothing else. Browsers send the origin of the page; programs do not.
func crossOrigin(r *web.Request, spa bool) error {
	origin := r.Header.Get("Origin")
	switch {
	case spa && origin == "":
		return web.InvalidRequest(9002327, "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.")
	case !spa && origin != "":
		return web.InvalidRequest(9002326, "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type. Request origin: '%s'.", web.Clip(origin))
	}
	return nil
}

// issueForm finishes a form-encoded grant.
func (s *Service) issueForm(r *web.Request, client *directory.App, u *directory.User, ss *session.Session, in issuance) (any, error) {
	tg := in.target
	if tg == nil {
		var err error
		if tg, err = s.formTarget(r, u.Tenant, client, u); err != nil {
			return nil, err
		}
	}
	want, err := access.ParseClaims(r.Values.Get("claims"))
	if err != nil {
		return nil, err
	}
	in.req, in.Client, in.User, in.Session, in.target, in.want, in.V2 = r, client, u, ss, tg, want, r.V2
	in.refresh = !r.V2 || tg.Offline()
	in.Email = tg.Email()
	in.info = r.Values.Get("client_info") == "1"
	in.Fresh = in.Fresh || want.WantsFresh()
	session.LogUser(r.Entry, u, ss)
	if err := confirm(r, &in); err != nil {
		return nil, err
	}
	return s.issue(in)
}
