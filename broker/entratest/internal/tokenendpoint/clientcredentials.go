package tokenendpoint

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// clientCredentialsGrant gives an application an app-only token
// (Microsoft, "Microsoft identity platform and the OAuth 2.0 client credentials
// flow").
func (s *Service) clientCredentialsGrant(r *web.Request) (any, error) {
	s.begin(r, "client_credentials")
	if r.Values.Get("client_secret") == "" && r.Values.Get("client_assertion") == "" {
		if _, _, basic := r.BasicAuth(); !basic {
			return nil, web.Fail("invalid_client", 7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.")
		}
	}
	if r.Tenant == nil {
		return nil, web.InvalidRequest(50059, "No tenant-identifying information found in either the request or implied by any provided credentials.").
			Because("client_credentials needs the application's tenant, not /%s", web.Clip(r.Vars["tenant"]))
	}
	client, how, err := s.provenClient(r, r.Tenant)
	if err != nil {
		return nil, err
	}
	want, err := access.ParseClaims(r.Values.Get("claims"))
	if err != nil {
		return nil, err
	}
	resource, audience, err := s.appTarget(r)
	if err != nil {
		return nil, err
	}
	return s.AppToken(r, AppRequest{Client: client, Resource: resource, Audience: audience, Proof: string(how), CAE: want.CAE, V2: r.V2})
}

// AppRequest is an application's request for an app-only token.
type AppRequest struct {
	Client   *directory.App
	Resource *directory.App
	Audience string // as the client named the resource
	Proof    string // claim appidacr
	CAE      bool   // the client handles claims challenges
	V2       bool
	Managed  bool // a managed identity, which Conditional Access does not cover
}

// AppToken asks Conditional Access about a workload, and makes the reply.
func (s *Service) AppToken(r *web.Request, in AppRequest) (map[string]any, error) {
	if r.Entry != nil {
		r.Entry.Resource, r.Entry.ServicePrincipal = in.Resource.ID, in.Client.ServicePrincipalID
	}
	roles, assigned := s.Keeper.Directory.Granted(r.Tenant, in.Client, in.Resource)
	if in.Resource.AssignmentRequired && !assigned {
		return nil, web.InvalidGrant(501051, "Application '%s'(%s) is not assigned to a role for the application '%s'(%s).",
			in.Client.ID, in.Client.Name, in.Audience, in.Resource.Name)
	}
	if q := access.OfWorkload(in.Client, in.Resource, r.Tenant); !in.Managed {
		if err := s.Access.Refusal(s.Access.Evaluate(r, q), q, false); err != nil {
			return nil, err
		}
	}
	now, life := s.Keeper.Now(), s.Keeper.TTL.AccessToken
	if in.CAE {
		life = max(life, 24*time.Hour)
	}
	expires, unique := now.Add(life), s.Mint.UniqueID()
	if r.Entry != nil {
		r.Entry.Unique = unique
	}
	token := s.Mint.AppToken(mint.AppIssuance{Client: in.Client, Resource: in.Resource, Tenant: r.Tenant, Audience: in.Audience,
		Roles: roles, Proof: in.Proof, Managed: in.Client.ManagedIdentity, CAE: in.CAE, Now: now, Expires: expires, Unique: unique, Base: web.LocalBase(r.Request)})
	if in.V2 {
		return map[string]any{"token_type": "Bearer", "expires_in": int64(life / time.Second), "ext_expires_in": int64(life / time.Second), "access_token": token}, nil
	}
	return map[string]any{"token_type": "Bearer", "expires_in": s.seconds(false, life), "ext_expires_in": s.seconds(false, life),
		"expires_on": strconv.FormatInt(expires.Unix(), 10), "not_before": strconv.FormatInt(now.Unix(), 10),
		"resource": in.Audience, "access_token": token}, nil
}

// appTarget returns the resource that an application asks for. It always gets all its
// permissions there: the v2.0 endpoint accepts only the scope /.default.
func (s *Service) appTarget(r *web.Request) (*directory.App, string, error) {
	uri := r.Values.Get("resource")
	if r.V2 {
		if uri != "" {
			return nil, "", web.InvalidRequest(901002, "The 'resource' request parameter is not supported.")
		}
		// MSAL for Go also sends OpenID Connect scopes.
		scopes := slices.DeleteFunc(strings.Fields(r.Values.Get("scope")), access.OpenIDScope)
		if len(scopes) == 0 {
			return nil, "", web.InvalidRequest(900144, "The request body must contain the following parameter: 'scope'.")
		}
		name, ok := strings.CutSuffix(scopes[0], "/.default")
		if len(scopes) > 1 || !ok {
			return nil, "", web.Fail("invalid_scope", 1002012, "The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", web.Clip(r.Values.Get("scope")))
		}
		uri = name
	}
	if uri == "" {
		return nil, "", web.InvalidRequest(900144, "The request body must contain the following parameter: 'resource'.")
	}
	a, err := s.Access.FindResource(r.Tenant, uri)
	return a, uri, err
}
