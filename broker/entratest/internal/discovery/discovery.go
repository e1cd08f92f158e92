package discovery

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

func (s *Service) metadata(w http.ResponseWriter, r *web.Request) {
	path, id := strings.ToLower(r.Vars["tenant"]), "{tenantid}"
	region := any(nil)
	if r.Tenant != nil {
		path, id, region = r.Tenant.ID, r.Tenant.ID, r.Tenant.Region
	} else if !s.Quirks.On(quirks.TenantIDInIssuer) {
		id = s.Directory.Home().ID
	}
	local, at := web.LocalBase(r.Request), web.Base(r.Request)
	base, issuer, keys, v := at+path+"/oauth2/", directory.IssuerV1(local, id), at+"common/discovery/keys", ""
	if r.V2 {
		v, issuer, keys = "v2.0/", directory.IssuerV2(local, id), at+path+"/discovery/v2.0/keys"
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	web.WriteJSON(w, http.StatusOK, map[string]any{
		"issuer":                                issuer,
		"authorization_endpoint":                base + v + "authorize",
		"token_endpoint":                        base + v + "token",
		"device_authorization_endpoint":         base + v + "devicecode",
		"end_session_endpoint":                  base + v + "logout",
		"userinfo_endpoint":                     "https://graph.microsoft.com/oidc/userinfo",
		"jwks_uri":                              keys,
		"kerberos_endpoint":                     at + path + "/kerberos",
		"tenant_region_scope":                   region,
		"cloud_instance_name":                   "microsoftonline.com",
		"cloud_graph_host_name":                 "graph.windows.net",
		"msgraph_host":                          wire.GraphHost,
		"rbac_url":                              "https://pas.windows.net",
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"claims_supported": []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "nonce",
			"preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"},
		"request_uri_parameter_supported": false,
		"http_logout_supported":           true,
		"frontchannel_logout_supported":   true,
		"capabilities":                    []string{"kdf_ver2"},
	})
}

func (s *Service) jwks(w http.ResponseWriter, r *web.Request) {
	id := "{tenantid}"
	if r.Tenant != nil {
		id = r.Tenant.ID
	}
	issuer := directory.IssuerV2(web.LocalBase(r.Request), id)
	w.Header().Set("Access-Control-Allow-Origin", "*")
	web.WriteJSON(w, http.StatusOK, s.Mint.Keys.JWKS(issuer, !s.Quirks.On(quirks.KeysWithoutAlg)))
}

// instance answers instance discovery, from which clients learn the aliases of a
// sign-in host.
func (s *Service) instance(w http.ResponseWriter, r *web.Request) {
	q := r.URL.Query()
	endpoint, err := url.Parse(q.Get("authorization_endpoint"))
	version := q.Get("api-version")
	if err != nil || endpoint.Scheme != "https" || endpoint.Host == "" || version != "1.0" && version != "1.1" {
		s.Web.Refuse(w, r, web.InvalidRequest(50050, "The request is malformed."))
		return
	}
	segments := web.Split(endpoint.Path)
	if len(segments) == 0 || segments[0] == "" {
		s.Web.Refuse(w, r, web.InvalidRequest(50050, "The request is malformed."))
		return
	}
	if !web.IsLoginHost(strings.ToLower(endpoint.Host)) {
		s.Web.Refuse(w, r, web.Fail("invalid_instance", 50049, "Unknown or invalid instance."))
		return
	}
	v := ""
	if strings.Contains(endpoint.Path, "/v2.0/") {
		v = "v2.0/"
	}
	out := map[string]any{
		"tenant_discovery_endpoint": web.Base(r.Request) + url.PathEscape(segments[0]) + "/" + v + ".well-known/openid-configuration",
	}
	if version == "1.1" {
		out["api-version"] = "1.1"
		out["metadata"] = []map[string]any{{
			"preferred_network": wire.LoginHost, "preferred_cache": "login.windows.net", "aliases": web.LoginHosts,
		}}
	}
	web.WriteJSON(w, http.StatusOK, out)
}
