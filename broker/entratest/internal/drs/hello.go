package drs

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// registerKey registers a Hello key (MS-KPP 3.1.5.1.1). A user has one per
// device: a new one replaces the old.
func (s *Service) registerKey(w http.ResponseWriter, r *web.Request) {
	out, err := s.addKey(r)
	if err != nil {
		s.Web.RefuseDRS(w, r, err)
		return
	}
	w.Header().Set("request-id", s.Keeper.Rand.GUID())
	web.WriteJSON(w, http.StatusOK, out)
}

func (s *Service) addKey(r *web.Request) (map[string]string, error) {
	bad := func(format string, args ...any) error {
		return web.DRSFail(http.StatusBadRequest, "InvalidRequest", "The request is not valid.").Because(format, args...)
	}
	if v := r.URL.Query().Get("api-version"); v != wire.DRSVersionKey {
		return nil, bad("api-version is %q instead of %s", web.Clip(v), wire.DRSVersionKey)
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
	if err := json.Unmarshal(r.Data, &in); err != nil || in.KNGC == "" {
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
	key := &directory.HelloKey{ID: s.Keeper.Rand.GUID(), Kid: verify.KeyID(blob), Key: pub, Blob: blob, DeviceID: c.DeviceID, Created: s.Keeper.Now()}
	if err := s.Keeper.Directory.SetHelloKey(u.UPN, key); err != nil {
		return nil, err
	}
	return map[string]string{"kid": key.ID, "upn": u.UPN}, nil
}

// keyToken checks the token of a key request: it must come from a device, for a user
// who gave a second factor moments ago.
func (s *Service) keyToken(r *web.Request) (*mint.BearerClaims, *directory.User, error) {
	c, u, derr := s.bearer(r)
	if derr != nil {
		return nil, nil, derr
	}
	unauthorized := web.DRSFail(http.StatusUnauthorized, "AuthenticationError", "The access token lacks a claim.")
	if c.DeviceID == "" {
		return nil, nil, unauthorized.Because("the access token has no claim deviceid: it was not minted on a device")
	}
	if dev := s.Keeper.Directory.Device(c.DeviceID); dev == nil || !dev.Works(s.Keeper.Now()) {
		return nil, nil, unauthorized.Because("the device of the access token is deleted or disabled")
	}
	if !c.Has("ngcmfa") {
		return nil, nil, unauthorized.Because("amr %v lacks ngcmfa: provisioning a key needs a fresh second factor", c.AMR)
	}
	return c, u, nil
}

// deleteKey removes a Hello key of the token's user: the one that the path
// names, or else the one on the token's device.
func (s *Service) deleteKey(w http.ResponseWriter, r *web.Request) {
	c, u, derr := s.bearer(r)
	if derr != nil {
		s.Web.RefuseDRS(w, r, derr)
		return
	}
	if dev := s.Keeper.Directory.Device(c.DeviceID); dev == nil || !dev.Works(s.Keeper.Now()) {
		s.Web.RefuseDRS(w, r, web.DRSFail(http.StatusUnauthorized, "AuthenticationError", "The access token lacks a claim.").
			Because("the access token names no device, or one that is deleted or disabled"))
		return
	}
	id := strings.ToLower(r.Vars["rest"])
	n, err := s.Keeper.Directory.RemoveHelloKey(u.UPN, func(k *directory.HelloKey) bool {
		return id != "" && k.ID == id || id == "" && k.DeviceID == c.DeviceID
	})
	if err == nil && n == 0 {
		err = web.DRSFail(http.StatusNotFound, "InvalidRequest", "The user has no such key.")
	}
	if err != nil {
		s.Web.RefuseDRS(w, r, err)
		return
	}
	web.WriteJSON(w, http.StatusOK, map[string]string{"upn": u.UPN})
}
