package entratest

import (
	"encoding/base64"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

func (s *Server) nonce(w http.ResponseWriter, _ *web.Request) {
	web.NoStore(w)
	web.WriteJSON(w, http.StatusOK, map[string]string{"Nonce": s.keeper.NewNonce()})
}

// drsNonce is the registration service's own nonce. The misspelt member is
// that of the published sample.
func (s *Server) drsNonce(w http.ResponseWriter, r *web.Request) {
	if r.Tenant == nil {
		s.web.RefuseDRS(w, r, web.DRSFail(http.StatusBadRequest, "InvalidRequest", "The nonce endpoint needs a tenant."))
		return
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{
		"ReponseStatus": map[string]string{
			"message": "Nonce created", "traceId": s.rand.GUID(), "time": s.Now().UTC().Format("1/2/2006 3:04:05 PM")},
		"Value": base64.StdEncoding.EncodeToString([]byte(s.keeper.NewNonce())),
	})
}
