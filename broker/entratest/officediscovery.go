package entratest

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

func (s *Server) officeRoutes() {
	s.web.Handle(web.OnOffice, "GET", "/odc/v2.1/federationProvider", web.EndpointRealm, s.federationProvider)
}

func (s *Server) federationProvider(w http.ResponseWriter, r *web.Request) {
	t := s.dir.Tenant(r.URL.Query().Get("domain"))
	if t == nil {
		s.web.Mistake(r, "no tenant has the domain %q", web.Clip(r.URL.Query().Get("domain")))
		http.NotFound(w, r.Request)
		return
	}
	web.WriteJSON(w, http.StatusOK, map[string]string{
		"tenantId": t.ID, "environment": "Global", "configProviderName": cloudName, "federationProvider": cloudName,
		"authority_host": "login.microsoftonline.com", "graph": wire.ResourceGraph,
	})
}
