package entratest

import (
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// token is the token endpoint of both versions.
func (s *Server) token(w http.ResponseWriter, r *request) {
	if r.form == nil {
		s.refuse(w, r, invalidRequest(900144, "The request body must contain the following parameter: 'grant_type'.").
			because("Content-Type is %q instead of application/x-www-form-urlencoded", r.Header.Get("Content-Type")))
		return
	}
	grant := r.form.Get("grant_type")
	if grant == wire.GrantNonce {
		s.nonce(w, r)
		return
	}
	reply, err := s.grant(r, grant)
	s.record(r, err)
	if origin := r.Header.Get("Origin"); origin != "" {
		w.Header().Set("Access-Control-Allow-Origin", origin) // pages read refusals too
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	noStore(w)
	w.Header().Set("x-ms-request-id", s.rand.GUID())
	if text, ok := reply.(string); ok { // a bare JWE, whatever the content type says
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(text))
		return
	}
	writeJSON(w, http.StatusOK, reply)
}

// grant runs one grant; the reply is a JSON object or the text of a JWE.
func (s *Server) grant(r *request, grant string) (any, error) {
	switch grant {
	case "":
		return nil, invalidRequest(900144, "The request body must contain the following parameter: 'grant_type'.")
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
		return s.signedGrant(r)
	}
	return nil, fail("unsupported_grant_type", 70003, "The app requested an unsupported grant type '%s'.", clip(grant))
}

// begin opens an entry of the sign-in log.
func (s *Server) begin(r *request, grant string) *directory.LogEntry {
	r.entry = &directory.LogEntry{
		Time: s.Now(), CorrelationID: correlationID(r.Request), Endpoint: string(EndpointToken), Grant: grant,
		ClientID: strings.ToLower(r.form.Get("client_id")), Platform: platformNames[platformOf(r.UserAgent())],
	}
	return r.entry
}

// record closes the entry of a request, if it has one.
func (s *Server) record(r *request, err error) {
	e := r.entry
	if e == nil {
		return
	}
	r.entry = nil
	if err != nil {
		f := asSTSError(err)
		e.ErrorCode, e.Error, e.Suberror = f.code, f.oauth, f.suberror
	}
	s.log.Add(*e)
}

// noteUser notes who signs in.
func noteUser(e *directory.LogEntry, u *directory.User, ss *session) {
	e.Username, e.UserID = u.UPN, u.ID
	if ss != nil {
		e.DeviceID, e.DeviceCode, e.AMR = ss.Device, ss.DeviceCode, ss.amr(false)
	}
}

// plainClient checks the client of a grant in the form.
func (s *Server) plainClient(r *request, t *directory.Tenant) (*directory.App, error) {
	id, secret := r.form.Get("client_id"), r.form.Get("client_secret")
	if user, pass, ok := r.BasicAuth(); ok && id == "" {
		id, secret = user, pass
	}
	a, err := s.clientApp(t, id)
	if err != nil {
		return nil, err
	}
	return a, authenticateClient(a, secret, r.form.Get("client_assertion") != "")
}

// target resolves what a grant in the form asks for.
func (s *Server) formTarget(r *request, t *directory.Tenant, client *directory.App, u *directory.User) (*target, error) {
	if r.v2 {
		if r.form.Get("resource") != "" {
			return nil, invalidRequest(901002, "The 'resource' request parameter is not supported.")
		}
		return s.resolveV2(t, client, u, r.form.Get("scope"))
	}
	return s.resolveV1(t, client, u, r.form.Get("resource"), r.form.Get("scope"))
}

// crossOrigin checks that what was issued to a single-page app is redeemed by a
// page, and nothing else is. A browser names the page's origin; programs do not.
func (r *request) crossOrigin(spa bool) error {
	origin := r.Header.Get("Origin")
	switch {
	case spa && origin == "":
		return invalidRequest(9002327, "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.")
	case !spa && origin != "":
		return invalidRequest(9002326, "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type. Request origin: '%s'.", clip(origin))
	}
	return nil
}

// sameTenant refuses a token used under the path of another tenant.
func sameTenant(r *request, u *directory.User) error {
	if r.tenant != nil && r.tenant != u.Tenant {
		return notInTenant(u, r.tenant)
	}
	return nil
}

func notInTenant(u *directory.User, t *directory.Tenant) error {
	return invalidGrant(50020, "User account '%s' from identity provider '%s' does not exist in tenant '%s'.", u.UPN, issuerV1(u.Tenant.ID), t.Name)
}

// issueForm finishes a grant in the form.
func (s *Server) issueForm(r *request, client *directory.App, u *directory.User, ss *session, in issuance) (any, error) {
	tg := in.target
	if tg == nil {
		var err error
		if tg, err = s.formTarget(r, u.Tenant, client, u); err != nil {
			return nil, err
		}
	}
	want, err := parseClaims(r.form.Get("claims"))
	if err != nil {
		return nil, err
	}
	in.cnf = ""
	if strings.EqualFold(r.form.Get("token_type"), "pop") {
		if in.cnf, err = popKey(r.form.Get("req_cnf")); err != nil {
			return nil, err
		}
	}
	in.req, in.client, in.user, in.session, in.target, in.want, in.v2 = r, client, u, ss, tg, want, r.v2
	in.refresh = !r.v2 || tg.offline()
	in.info = r.form.Get("client_info") == "1"
	in.fresh = in.fresh || want.wantsFresh()
	noteUser(r.entry, u, ss)
	return s.issue(in)
}
