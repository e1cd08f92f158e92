package entratest

import (
	"net/http"

	"github.com/prtbroker/prtbroker/claims"
)

// LastPRTMethods are the methods in the session of the newest PRT.
func (s *Server) LastPRTMethods() claims.Methods {
	list := s.world().prts.All()
	return list[len(list)-1].Session.Methods
}

// RouteOf names the endpoint that a request reaches.
func (s *Server) RouteOf(method, url string) string {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		return ""
	}
	return s.world().web.Reaches(r)
}

// Routes names every endpoint.
func (s *Server) Routes() []string { return s.world().web.List() }
