package entratest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// AddUser adds a user to the tenant of the user's domain.
func (s *Server) AddUser(u User) error { return s.world().dir.AddUser(u.spec()) }

// AddApp adds an application to the first tenant, or replaces the one with the same
// client id.
func (s *Server) AddApp(a App) error { return s.world().dir.AddApp(a.spec()) }

// AddGroup adds a group to the first tenant.
func (s *Server) AddGroup(g Group) error { return s.world().dir.AddGroup(directory.GroupSpec(g)) }

// SetPolicies replaces the Conditional Access policies of the first tenant.
func (s *Server) SetPolicies(graphJSON json.RawMessage) error {
	dir := s.world().dir
	return dir.SetPolicies(dir.Home(), graphJSON)
}

// ChangePassword changes the password as the user would. It ends sessions that
// began with a password and keeps those that began with a Hello key or a passkey.
func (s *Server) ChangePassword(username, password string) error {
	return s.world().dir.ChangePassword(username, password, s.Now())
}

// ResetPassword resets the password as an administrator would. It ends every
// session of the user.
func (s *Server) ResetPassword(username, password string) error {
	return s.world().dir.ResetPassword(username, password, s.Now())
}

// ExpirePassword makes the next sign-in with the password fail with AADSTS50055,
// and the sign-in pages ask for a new password ([Person].NewPassword).
func (s *Server) ExpirePassword(username string) error { return s.world().dir.ExpirePassword(username) }

// DisableUser makes the server refuse the user everywhere (AADSTS50057);
// EnableUser reverts that.
func (s *Server) DisableUser(username string) error {
	return s.world().dir.SetUserEnabled(username, false, s.Now())
}

// EnableUser enables the user again.
func (s *Server) EnableUser(username string) error {
	return s.world().dir.SetUserEnabled(username, true, s.Now())
}

// RenameUser gives the user another user name, in the same tenant, and another
// display name; an empty argument leaves that name unchanged. The object id, the
// credentials and the sessions stay, and sign-ins with the old name are refused
// from then on (AADSTS50034).
func (s *Server) RenameUser(username, newUsername, newName string) error {
	return s.world().dir.RenameUser(username, newUsername, newName)
}

// DeleteUser deletes the user, whose sign-ins then fail with AADSTS50034.
func (s *Server) DeleteUser(username string) error { return s.world().dir.DeleteUser(username) }

// Revoke ends all sessions of the user, as Graph's revokeSignInSessions does.
func (s *Server) Revoke(username string) error { return s.world().dir.Revoke(username, s.Now()) }

// SetRisk sets the user risk and the sign-in risk of the user's next sign-ins:
// none, low, medium, high.
func (s *Server) SetRisk(username, userRisk, signInRisk string) error {
	return s.world().dir.SetRisk(username, userRisk, signInRisk, s.Now())
}

// RequireMFA enables or disables per-user MFA. When it is enabled, the user is asked
// for MFA whatever Conditional Access says.
func (s *Server) RequireMFA(username string, on bool) error {
	return s.world().dir.RequireMFA(username, on, s.Now())
}

// SetTOTP replaces the secret of the user's authenticator app; "" removes it.
func (s *Server) SetTOTP(username, secret string) error {
	return s.world().dir.SetTOTP(username, secret)
}

// RemoveHelloKey removes a Hello key of a user, by the service's id, as an
// administrator or the user would on a page of the directory.
func (s *Server) RemoveHelloKey(username, keyID string) error {
	dir := s.world().dir
	n, err := dir.RemoveHelloKey(dir.Qualify(username), func(k *directory.HelloKey) bool { return strings.EqualFold(k.ID, keyID) })
	if err == nil && n == 0 {
		err = fmt.Errorf("entratest: %s has no Hello key %s", username, keyID)
	}
	return err
}

// DisableDevice makes the server refuse the device (AADSTS135011); EnableDevice
// reverts that.
func (s *Server) DisableDevice(deviceID string) error {
	return s.world().dir.SetDeviceEnabled(deviceID, false, s.Now().Add(s.opts.TTL.Disable))
}

// EnableDevice enables the device again.
func (s *Server) EnableDevice(deviceID string) error {
	return s.world().dir.SetDeviceEnabled(deviceID, true, s.Now())
}

// DeleteDevice deletes the device and its Hello keys. The device then gets
// AADSTS50155.
func (s *Server) DeleteDevice(deviceID string) error { return s.world().dir.DeleteDevice(deviceID) }

// RestoreDevice restores a deleted device with its Hello keys. The device is not
// compliant until SetCompliant says so. Entra keeps a deleted device for 30 days
// (Microsoft, "Soft delete devices", 2026-04); here the last 1,024 are kept.
func (s *Server) RestoreDevice(deviceID string) error { return s.world().dir.RestoreDevice(deviceID) }

// SetCompliant sets whether device management reports the device as compliant.
func (s *Server) SetCompliant(deviceID string, compliant bool) error {
	return s.world().dir.SetCompliant(deviceID, compliant)
}

// Devices returns the devices of all tenants in the order in which they joined.
func (s *Server) Devices() []DeviceStatus {
	list := s.world().dir.Devices()
	out := make([]DeviceStatus, 0, len(list))
	for _, dev := range list {
		out = append(out, deviceStatus(dev))
	}
	return out
}
