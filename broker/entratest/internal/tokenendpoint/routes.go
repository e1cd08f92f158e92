package tokenendpoint

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

func (s *Service) nonce(w http.ResponseWriter, _ *web.Request) {
	web.NoStore(w)
	web.WriteJSON(w, http.StatusOK, map[string]string{"Nonce": s.Keeper.NewNonce()})
}

// Routes adds the endpoints to the router.
func (s *Service) Routes() {
	on := func(methods, pattern string, e web.Endpoint, h web.Handler) {
		s.Web.Handle(web.OnLogin, methods, pattern, e, h)
	}
	for _, v := range []string{"", "/v2.0"} {
		on("POST", "/{tenant}/oauth2"+v+"/token", web.EndpointToken, s.token)
		on("POST", "/{tenant}/oauth2"+v+"/devicecode", web.EndpointDeviceCode, s.deviceCodeStart)
	}
	on("POST", "/webapp/bulkaadjtoken/begin", web.EndpointBulk, s.bulkBegin)
	on("GET", "/webapp/bulkaadjtoken/poll", web.EndpointBulk, s.bulkPoll)
	s.desktopSSORoutes()
}
