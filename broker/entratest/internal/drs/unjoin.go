package drs

import (
	"crypto/sha256"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// unjoin removes a device that proves itself by mutual TLS with the device
// certificate.
func (s *Service) unjoin(w http.ResponseWriter, r *web.Request) {
	dev, err := s.mutualTLS(r)
	if err != nil {
		s.Web.RefuseDRS(w, r, err)
		return
	}
	if derr := s.Keeper.Directory.DeleteDevice(dev.ID); derr != nil {
		s.Web.RefuseDRS(w, r, web.DRSFail(http.StatusBadRequest, "DirectoryError", "The device object by the given id (%s) is not found.", dev.ID))
		return
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"AttestationResult": map[string]string{"KeyId": dev.AttestationID}})
}

// deviceStatus answers the request with which Windows checks DeviceAuthStatus.
func (s *Service) deviceStatus(w http.ResponseWriter, r *web.Request) {
	dev, err := s.mutualTLS(r)
	if err != nil {
		s.Web.RefuseDRS(w, r, err)
		return
	}
	if !dev.Works(s.Keeper.Now()) {
		s.Web.RefuseDRS(w, r, web.DRSFail(http.StatusUnauthorized, "AuthenticationError", "The device is either disabled or deleted."))
		return
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"DeviceId": dev.ID, "IsManaged": dev.Managed, "IsCompliant": dev.Compliant})
}

// mutualTLS finds the device in the path by the client certificate.
func (s *Service) mutualTLS(r *web.Request) (*directory.Device, error) {
	e := web.DRSFail(http.StatusUnauthorized, "AuthenticationError", "A device certificate is required.")
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, e.Because("the client showed no certificate in the TLS handshake")
	}
	cert := r.TLS.PeerCertificates[0]
	if err := s.Mint.Keys.Device.Verify(cert, s.Keeper.Now()); err != nil {
		return nil, e.Because("%v", err)
	}
	id := strings.ToLower(r.Vars["device"])
	if cert.Subject.CommonName != id {
		return nil, e.Because("the certificate belongs to device %s, but the path names %s", cert.Subject.CommonName, web.Clip(id))
	}
	dev := s.Keeper.Directory.Device(id)
	if dev == nil || dev.CertSHA256 != sha256.Sum256(cert.Raw) {
		return nil, web.DRSFail(http.StatusBadRequest, "DirectoryError", "The device object by the given id (%s) is not found.", id)
	}
	return dev, nil
}
