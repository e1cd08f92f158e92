package entratest

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/claims"
)

// LastPRTMethods are the methods in the session of the newest PRT.
func (s *Server) LastPRTMethods() claims.Methods {
	list := s.prts.all()
	return list[len(list)-1].Session.Methods
}

// RouteOf names the endpoint that a request reaches.
func (s *Server) RouteOf(method, url string) string {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		return ""
	}
	rt, _ := s.lookup(&request{Request: r})
	return rt.name()
}

// Routes names every endpoint.
func (s *Server) Routes() []string {
	var names []string
	for i := range s.routes {
		for _, m := range strings.Fields(s.routes[i].methods) {
			rt := s.routes[i]
			rt.methods = m
			names = append(names, rt.name())
		}
	}
	return names
}

func (rt *route) name() string {
	if rt == nil {
		return ""
	}
	return strconv.Itoa(int(rt.host)) + " /" + strings.Join(rt.pattern, "/")
}
