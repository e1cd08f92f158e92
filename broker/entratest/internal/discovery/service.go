// Package discovery serves what clients need to know before a sign-in: OpenID Connect
// metadata and keys, the aliases of the sign-in hosts, and the tenant and cloud that
// a user name or a domain belongs to.
package discovery

import (
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Service answers discovery requests.
type Service struct {
	Directory *directory.Directory
	Mint      *mint.Mint
	Web       *web.Router
	Quirks    *quirks.Set
}

// Routes adds the endpoints to the router.
func (s *Service) Routes() {
	on := func(pattern string, e web.Endpoint, h web.Handler) {
		s.Web.Handle(web.OnLogin, "GET", pattern, e, h)
	}
	for _, v := range []string{"", "/v2.0"} {
		on("/{tenant}"+v+"/.well-known/openid-configuration", web.EndpointDiscovery, s.metadata)
		on("/{tenant}/discovery"+v+"/keys", web.EndpointKeys, s.jwks)
	}
	on("/common/discovery/instance", web.EndpointDiscovery, s.instance)
	on("/common/UserRealm/{upn}", web.EndpointRealm, s.userRealm)
	on("/GetUserRealm.srf", web.EndpointRealm, s.userRealmSRF)
	s.Web.Handle(web.OnOffice, "GET", "/odc/v2.1/federationProvider", web.EndpointRealm, s.federationProvider)
}
