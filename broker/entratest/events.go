package entratest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// AddUser adds a user to the tenant of the user's domain.
func (s *Server) AddUser(u User) error { return s.dir.addUser(u.spec()) }

// AddGroup adds a group to the first tenant.
func (s *Server) AddGroup(g Group) error { return s.dir.addGroup(groupSpec(g)) }

// AddApp adds an application to the first tenant.
func (s *Server) AddApp(a App) error { return s.dir.addApp(appSpec(a)) }

// SetPolicies replaces the Conditional Access policies of the first tenant.
func (s *Server) SetPolicies(graphJSON json.RawMessage) error {
	return s.dir.setPolicies(s.dir.home(), graphJSON)
}

// ChangePassword is the user's own change of the password: it ends what was
// born of a password and leaves what was born of a Hello key or a passkey.
func (s *Server) ChangePassword(username, password string) error {
	return s.dir.changePassword(username, password, s.Now())
}

// ResetPassword is a reset by an administrator: it ends every session.
func (s *Server) ResetPassword(username, password string) error {
	return s.dir.resetPassword(username, password, s.Now())
}

// ExpirePassword makes the next password sign-in answer AADSTS50055, and the
// sign-in pages ask for a new password ([Person].NewPassword).
func (s *Server) ExpirePassword(username string) error { return s.dir.expirePassword(username) }

// DisableUser refuses the user everywhere (AADSTS50057); EnableUser ends that.
func (s *Server) DisableUser(username string) error { return s.dir.setUserEnabled(username, false) }

// EnableUser enables the user again.
func (s *Server) EnableUser(username string) error { return s.dir.setUserEnabled(username, true) }

// DeleteUser removes the user (AADSTS50034).
func (s *Server) DeleteUser(username string) error { return s.dir.deleteUser(username) }

// Revoke ends all sessions of the user, as Graph's revokeSignInSessions does.
func (s *Server) Revoke(username string) error { return s.dir.revoke(username, s.Now()) }

// SetRisk sets the user risk and the sign-in risk of the user's next sign-ins:
// none, low, medium, high.
func (s *Server) SetRisk(username, userRisk, signInRisk string) error {
	return s.dir.setRisk(username, userRisk, signInRisk)
}

// SetTOTP replaces the secret of the user's authenticator app; "" removes it.
func (s *Server) SetTOTP(username, secret string) error { return s.dir.setTOTP(username, secret) }

// RemoveHelloKey removes a Hello key of a user, by the service's id, as an
// administrator or the user would on a page of the directory.
func (s *Server) RemoveHelloKey(username, keyID string) error {
	n, err := s.dir.removeHelloKey(s.dir.qualify(username), func(k *helloKey) bool { return strings.EqualFold(k.id, keyID) })
	if err == nil && n == 0 {
		err = fmt.Errorf("entratest: %s has no Hello key %s", username, keyID)
	}
	return err
}

// DisableDevice refuses the device (AADSTS135011); EnableDevice ends that.
func (s *Server) DisableDevice(deviceID string) error { return s.dir.setDeviceEnabled(deviceID, false) }

// EnableDevice enables the device again.
func (s *Server) EnableDevice(deviceID string) error { return s.dir.setDeviceEnabled(deviceID, true) }

// DeleteDevice removes the device and its Hello keys (AADSTS50155).
func (s *Server) DeleteDevice(deviceID string) error { return s.dir.deleteDevice(deviceID) }

// SetCompliant sets whether the device management calls the device compliant.
func (s *Server) SetCompliant(deviceID string, compliant bool) error {
	return s.dir.setCompliant(deviceID, compliant)
}

// Devices returns the devices of all tenants in the order of their joining.
func (s *Server) Devices() []Device {
	list := s.dir.deviceList()
	out := make([]Device, 0, len(list))
	for _, dev := range list {
		out = append(out, deviceStatus(dev))
	}
	return out
}
