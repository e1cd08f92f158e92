package entratest

import (
	"crypto/sha256"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// unjoin removes a device that proves itself by mutual TLS with the device
// certificate.
func (s *Server) unjoin(w http.ResponseWriter, r *request) {
	dev, err := s.mutualTLS(r)
	if err != nil {
		s.refuseDRS(w, r, err)
		return
	}
	if derr := s.dir.DeleteDevice(dev.ID); derr != nil {
		s.refuseDRS(w, r, drsFail(http.StatusBadRequest, "DirectoryError", "The device object by the given id (%s) is not found.", dev.ID))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"AttestationResult": map[string]string{"KeyId": dev.AttestationID}})
}

// deviceStatus answers the call by which Windows checks DeviceAuthStatus.
func (s *Server) deviceStatus(w http.ResponseWriter, r *request) {
	dev, err := s.mutualTLS(r)
	if err != nil {
		s.refuseDRS(w, r, err)
		return
	}
	if !dev.Enabled {
		s.refuseDRS(w, r, drsFail(http.StatusUnauthorized, "AuthenticationError", "The device is either disabled or deleted."))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"DeviceId": dev.ID, "IsManaged": dev.Managed, "IsCompliant": dev.Compliant})
}

// mutualTLS finds the device in the path by the client certificate.
func (s *Server) mutualTLS(r *request) (*directory.Device, error) {
	e := drsFail(http.StatusUnauthorized, "AuthenticationError", "A device certificate is required.")
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, e.because("the client showed no certificate in the TLS handshake")
	}
	cert := r.TLS.PeerCertificates[0]
	if err := s.keys.device.verify(cert, s.Now()); err != nil {
		return nil, e.because("%s", err.why)
	}
	id := strings.ToLower(r.path["device"])
	if cert.Subject.CommonName != id {
		return nil, e.because("the certificate is of device %s, the path names %s", cert.Subject.CommonName, clip(id))
	}
	dev := s.dir.Device(id)
	if dev == nil || dev.CertSHA256 != sha256.Sum256(cert.Raw) {
		return nil, drsFail(http.StatusBadRequest, "DirectoryError", "The device object by the given id (%s) is not found.", id)
	}
	return dev, nil
}
