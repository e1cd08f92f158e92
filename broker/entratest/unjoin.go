package entratest

import (
	"crypto/sha256"
	"net/http"
	"strings"
)

// unjoin removes a device that proves itself by mutual TLS with the device
// certificate.
func (s *Server) unjoin(w http.ResponseWriter, r *request) {
	dev, err := s.mutualTLS(r)
	if err != nil {
		s.refuseDRS(w, r, err)
		return
	}
	if derr := s.dir.deleteDevice(dev.id); derr != nil {
		s.refuseDRS(w, r, drsFail(http.StatusBadRequest, "DirectoryError", "The device object by the given id (%s) is not found.", dev.id))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"AttestationResult": map[string]string{"KeyId": dev.attestationID}})
}

// deviceStatus answers the call by which Windows checks DeviceAuthStatus.
func (s *Server) deviceStatus(w http.ResponseWriter, r *request) {
	dev, err := s.mutualTLS(r)
	if err != nil {
		s.refuseDRS(w, r, err)
		return
	}
	if !dev.enabled {
		s.refuseDRS(w, r, drsFail(http.StatusUnauthorized, "AuthenticationError", "The device is either disabled or deleted."))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"DeviceId": dev.id, "IsManaged": dev.managed, "IsCompliant": dev.compliant})
}

// mutualTLS finds the device in the path by the client certificate.
func (s *Server) mutualTLS(r *request) (*device, error) {
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
	dev := s.dir.device(id)
	if dev == nil || dev.certSHA256 != sha256.Sum256(cert.Raw) {
		return nil, drsFail(http.StatusBadRequest, "DirectoryError", "The device object by the given id (%s) is not found.", id)
	}
	return dev, nil
}
