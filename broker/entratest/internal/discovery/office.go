package discovery

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

func (s *Service) federationProvider(w http.ResponseWriter, r *web.Request) {
	t := s.Directory.Tenant(r.URL.Query().Get("domain"))
	if t == nil {
		s.Web.Mistake(r, "no tenant has the domain %q", web.Clip(r.URL.Query().Get("domain")))
		http.NotFound(w, r.Request)
		return
	}
	web.WriteJSON(w, http.StatusOK, map[string]string{
		"tenantId": t.ID, "environment": "Global", "configProviderName": web.CloudName, "federationProvider": web.CloudName,
		"authority_host": "login.microsoftonline.com", "graph": wire.ResourceGraph,
	})
}
