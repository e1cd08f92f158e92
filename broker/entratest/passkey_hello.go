package entratest

import (
	"encoding/base64"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// A browser on Windows signs in by a Windows Hello for Business key as by a
// passkey: the credential id is the key id in base64url, and the signature is
// RS256 (roadtools, roadlib, webauthn.py).

// helloKeyOf is the key id, in standard base64, that a credential id stands for
// if it is that of a Hello key.
func helloKeyOf(credentialID string) string {
	raw, err := base64.RawURLEncoding.DecodeString(credentialID)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// shownPasskey is a key that a browser can sign in by.
type shownPasskey struct {
	directory.Passkey
	hello bool // a Windows Hello key
}

// passkeysOf are the passkeys of a user, and the Hello keys whose device is in
// order.
func (s *Server) passkeysOf(u *directory.User) []shownPasskey {
	var out []shownPasskey
	for _, k := range u.Passkeys {
		out = append(out, shownPasskey{Passkey: k})
	}
	for _, k := range u.Hello {
		raw, err := base64.StdEncoding.DecodeString(k.Kid)
		dev := s.dir.Device(k.DeviceID)
		if err != nil || dev == nil || !dev.Enabled {
			continue
		}
		out = append(out, shownPasskey{directory.Passkey{ID: base64.RawURLEncoding.EncodeToString(raw), Key: k.Key}, true})
	}
	return out
}
