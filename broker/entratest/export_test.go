package entratest

import (
	"net/http"
	"strconv"
	"strings"
)

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
