package entratest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// registerKey registers a Hello key (MS-KPP 3.1.5.1.1). A user has one per
// device: a new one replaces the old.
func (s *Server) registerKey(w http.ResponseWriter, r *request) {
	out, err := s.doRegisterKey(r)
	if err != nil {
		s.refuseDRS(w, r, err)
		return
	}
	w.Header().Set("request-id", s.rand.GUID())
	writeJSON(w, http.StatusOK, out)
}

func (s *Server) doRegisterKey(r *request) (map[string]string, error) {
	bad := func(format string, args ...any) error {
		return drsFail(http.StatusBadRequest, "InvalidRequest", "The request is not valid.").because(format, args...)
	}
	if v := r.URL.Query().Get("api-version"); v != wire.DRSVersionKey {
		return nil, bad("api-version is %q instead of %s", clip(v), wire.DRSVersionKey)
	}
	if !strings.HasPrefix(r.Header.Get("Accept"), "application/json") {
		return nil, bad("Accept is %q instead of application/json", r.Header.Get("Accept"))
	}
	c, u, err := s.keyToken(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		KNGC string `json:"kngc"`
	}
	if err := json.Unmarshal(r.body, &in); err != nil || in.KNGC == "" {
		return nil, bad("body is not a JSON object with kngc")
	}
	blob, berr := base64.StdEncoding.DecodeString(in.KNGC)
	if berr != nil {
		return nil, bad("kngc is not standard base64")
	}
	pub, berr := verify.KeyBlob(blob)
	if berr != nil {
		return nil, bad("%v", berr)
	}
	key := &directory.HelloKey{ID: s.rand.GUID(), Kid: verify.KeyID(blob), Key: pub, Blob: blob, DeviceID: c.DeviceID, Created: s.Now()}
	if err := s.dir.SetHelloKey(u.UPN, key); err != nil {
		return nil, err
	}
	return map[string]string{"kid": key.ID, "upn": u.UPN}, nil
}

// keyToken checks the token of a key request: from a device, for a user who
// was asked for a second factor moments ago.
func (s *Server) keyToken(r *request) (*bearerClaims, *directory.User, error) {
	c, u, derr := s.bearer(r, wire.ResourceRegistration, wire.ResourceRegistrationApp)
	if derr != nil {
		return nil, nil, derr
	}
	unauthorized := drsFail(http.StatusUnauthorized, "AuthenticationError", "The access token lacks a claim.")
	if c.DeviceID == "" {
		return nil, nil, unauthorized.because("the access token has no claim deviceid: it was not minted on a device")
	}
	if dev := s.dir.Device(c.DeviceID); dev == nil || !dev.Enabled {
		return nil, nil, unauthorized.because("the device of the access token is deleted or disabled")
	}
	if !c.has("ngcmfa") {
		return nil, nil, unauthorized.because("amr %v lacks ngcmfa: provisioning a key needs a fresh second factor", c.AMR)
	}
	return c, u, nil
}

// deleteKey removes a Hello key of the token's user: the one that the path
// names, or that of the token's device.
func (s *Server) deleteKey(w http.ResponseWriter, r *request) {
	c, u, derr := s.bearer(r, wire.ResourceRegistration, wire.ResourceRegistrationApp)
	if derr != nil {
		s.refuseDRS(w, r, derr)
		return
	}
	if dev := s.dir.Device(c.DeviceID); dev == nil || !dev.Enabled {
		s.refuseDRS(w, r, drsFail(http.StatusUnauthorized, "AuthenticationError", "The access token lacks a claim.").
			because("the access token names no device, or one that is deleted or disabled"))
		return
	}
	id := strings.ToLower(r.path["rest"])
	n, err := s.dir.RemoveHelloKey(u.UPN, func(k *directory.HelloKey) bool {
		return id != "" && k.ID == id || id == "" && k.DeviceID == c.DeviceID
	})
	if err == nil && n == 0 {
		err = drsFail(http.StatusNotFound, "InvalidRequest", "The user has no such key.")
	}
	if err != nil {
		s.refuseDRS(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"upn": u.UPN})
}
