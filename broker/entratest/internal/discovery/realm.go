package discovery

import (
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

func (s *Service) userRealm(w http.ResponseWriter, r *web.Request) {
	upn := r.Vars["upn"]
	if r.URL.Query().Get("api-version") == "2.0" {
		s.userRealmV2(w, r, upn)
		return
	}
	_, domain, _ := strings.Cut(upn, "@")
	t := s.Directory.TenantOf(upn)
	out := map[string]string{
		"ver": "1.0", "account_type": "Unknown", "cloud_instance_name": web.CloudName, "cloud_audience_urn": adfs.CloudAudience,
	}
	switch {
	case t == nil:
	case t.IsFederated(upn):
		base := "https://" + directory.FederationHost(strings.ToLower(domain)) + "/adfs/services/trust/"
		out["account_type"], out["domain_name"] = "Federated", domain
		out["federation_protocol"] = "WSTrust"
		out["federation_metadata_url"] = base + "mex"
		out["federation_active_auth_url"] = base + "2005/usernamemixed"
	default:
		out["account_type"], out["domain_name"] = "Managed", domain
	}
	web.WriteJSON(w, http.StatusOK, out)
}

func (s *Service) userRealmV2(w http.ResponseWriter, _ *web.Request, upn string) {
	_, domain, _ := strings.Cut(upn, "@")
	t := s.Directory.TenantOf(upn)
	out := map[string]any{"NameSpaceType": "Unknown", "Login": upn, "DomainName": domain, "cloud_instance_name": web.CloudName}
	if t != nil {
		out["NameSpaceType"], out["FederationBrandName"], out["TenantBrandingInfo"] = "Managed", t.Name, nil
		if t.IsFederated(upn) {
			out["NameSpaceType"], out["federation_protocol"] = "Federated", "WSTrust"
			out["AuthURL"] = "https://" + directory.FederationHost(strings.ToLower(domain)) + "/adfs/ls/"
		}
	}
	web.WriteJSON(w, http.StatusOK, out)
}

// userRealmSRF is the older endpoint for the same query.
func (s *Service) userRealmSRF(w http.ResponseWriter, r *web.Request) {
	s.userRealmV2(w, r, r.URL.Query().Get("login"))
}
