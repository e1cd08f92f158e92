package entratest

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

func (s *Server) nonce(w http.ResponseWriter, _ *web.Request) {
	web.NoStore(w)
	web.WriteJSON(w, http.StatusOK, map[string]string{"Nonce": s.keeper.NewNonce()})
}
