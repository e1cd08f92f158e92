package entratest

import (
	"encoding/base64"
	"net/http"
	"time"
)

// nonceRecord is what a nonce holds. It is bound to nobody and may be used
// until it expires, as with the real service.
type nonceRecord struct {
	Expires int64  `json:"e"`
	Salt    []byte `json:"s"`
}

func (s *Server) newNonce() string {
	return s.box.Seal(kindNonce, nonceRecord{Expires: s.Now().Add(s.opts.TTL.Nonce).Unix(), Salt: s.rand.Bytes(16)})
}

func (s *Server) nonce(w http.ResponseWriter, _ *request) {
	noStore(w)
	writeJSON(w, http.StatusOK, map[string]string{"Nonce": s.newNonce()})
}

// checkNonce refuses a nonce that this server did not issue or that expired.
func (s *Server) checkNonce(nonce string) *stsError {
	e := invalidGrant(140000, "Request nonce is not provided or has expired.")
	if nonce == "" {
		return e.because("claim request_nonce is missing")
	}
	var n nonceRecord
	if err := s.box.Open(kindNonce, nonce, &n); err != nil {
		return e.because("claim request_nonce is no nonce of this server")
	}
	if s.Now().Unix() > n.Expires {
		return e.because("the nonce expired %s ago", s.Now().Sub(time.Unix(n.Expires, 0)))
	}
	return nil
}

// drsNonce is the registration service's own nonce. The misspelt member is
// that of the published sample.
func (s *Server) drsNonce(w http.ResponseWriter, r *request) {
	if r.tenant == nil {
		s.refuseDRS(w, r, drsFail(http.StatusBadRequest, "InvalidRequest", "The nonce endpoint needs a tenant."))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"ReponseStatus": map[string]string{
			"message": "Nonce created", "traceId": s.rand.GUID(), "time": s.Now().UTC().Format("1/2/2006 3:04:05 PM")},
		"Value": base64.StdEncoding.EncodeToString([]byte(s.newNonce())),
	})
}
