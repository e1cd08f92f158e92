package entratest

import "net/http"

// Handler serves every host of the emulator, told apart by the Host header.
func (s *Server) Handler() http.Handler { return s.web }
