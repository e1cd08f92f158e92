package entratest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// AddUser adds a user to the tenant of the user's domain.
func (s *Server) AddUser(u User) error { return s.dir.AddUser(u.spec()) }

// AddApp adds an application to the first tenant, or replaces the one of its client
// id.
func (s *Server) AddApp(a App) error { return s.dir.AddApp(a.spec()) }

// AddGroup adds a group to the first tenant.
func (s *Server) AddGroup(g Group) error { return s.dir.AddGroup(directory.GroupSpec(g)) }

// SetPolicies replaces the Conditional Access policies of the first tenant.
func (s *Server) SetPolicies(graphJSON json.RawMessage) error {
	return s.dir.SetPolicies(s.dir.Home(), graphJSON)
}

// ChangePassword is the user's own change of the password: it ends what was
// born of a password and leaves what was born of a Hello key or a passkey.
func (s *Server) ChangePassword(username, password string) error {
	return s.dir.ChangePassword(username, password, s.Now())
}

// ResetPassword is a reset by an administrator: it ends every session.
func (s *Server) ResetPassword(username, password string) error {
	return s.dir.ResetPassword(username, password, s.Now())
}

// ExpirePassword makes the next password sign-in answer AADSTS50055, and the
// sign-in pages ask for a new password ([Person].NewPassword).
func (s *Server) ExpirePassword(username string) error { return s.dir.ExpirePassword(username) }

// DisableUser refuses the user everywhere (AADSTS50057); EnableUser ends that.
func (s *Server) DisableUser(username string) error {
	return s.dir.SetUserEnabled(username, false, s.Now())
}

// EnableUser enables the user again.
func (s *Server) EnableUser(username string) error {
	return s.dir.SetUserEnabled(username, true, s.Now())
}

// RenameUser gives the user another user name, of the same tenant, and display
// name; an empty one stays. The object id, the credentials and the sessions stay,
// and sign-ins by the old name are refused from then on (AADSTS50034).
func (s *Server) RenameUser(username, newUsername, newName string) error {
	return s.dir.RenameUser(username, newUsername, newName)
}

// DeleteUser removes the user (AADSTS50034).
func (s *Server) DeleteUser(username string) error { return s.dir.DeleteUser(username) }

// Revoke ends all sessions of the user, as Graph's revokeSignInSessions does.
func (s *Server) Revoke(username string) error { return s.dir.Revoke(username, s.Now()) }

// SetRisk sets the user risk and the sign-in risk of the user's next sign-ins:
// none, low, medium, high.
func (s *Server) SetRisk(username, userRisk, signInRisk string) error {
	return s.dir.SetRisk(username, userRisk, signInRisk, s.Now())
}

// RequireMFA enables multifactor authentication for one user ("per-user MFA"), who
// is then asked for it whatever Conditional Access says, or disables it.
func (s *Server) RequireMFA(username string, on bool) error {
	return s.dir.RequireMFA(username, on, s.Now())
}

// SetTOTP replaces the secret of the user's authenticator app; "" removes it.
func (s *Server) SetTOTP(username, secret string) error { return s.dir.SetTOTP(username, secret) }

// RemoveHelloKey removes a Hello key of a user, by the service's id, as an
// administrator or the user would on a page of the directory.
func (s *Server) RemoveHelloKey(username, keyID string) error {
	n, err := s.dir.RemoveHelloKey(s.dir.Qualify(username), func(k *directory.HelloKey) bool { return strings.EqualFold(k.ID, keyID) })
	if err == nil && n == 0 {
		err = fmt.Errorf("entratest: %s has no Hello key %s", username, keyID)
	}
	return err
}

// DisableDevice refuses the device (AADSTS135011); EnableDevice ends that.
func (s *Server) DisableDevice(deviceID string) error {
	return s.dir.SetDeviceEnabled(deviceID, false, s.Now().Add(s.opts.TTL.Disable))
}

// EnableDevice enables the device again.
func (s *Server) EnableDevice(deviceID string) error {
	return s.dir.SetDeviceEnabled(deviceID, true, s.Now())
}

// DeleteDevice removes the device and its Hello keys (AADSTS50155).
func (s *Server) DeleteDevice(deviceID string) error { return s.dir.DeleteDevice(deviceID) }

// RestoreDevice brings back a device that was deleted, with its Hello keys; the
// device is not compliant until SetCompliant says so. Entra keeps a deleted
// device for 30 days (Microsoft, "Soft delete devices", 2026-04); here the last
// 1,024 are kept.
func (s *Server) RestoreDevice(deviceID string) error { return s.dir.RestoreDevice(deviceID) }

// SetCompliant sets whether the device management calls the device compliant.
func (s *Server) SetCompliant(deviceID string, compliant bool) error {
	return s.dir.SetCompliant(deviceID, compliant)
}

// Devices returns the devices of all tenants in the order of their joining.
func (s *Server) Devices() []DeviceStatus {
	list := s.dir.Devices()
	out := make([]DeviceStatus, 0, len(list))
	for _, dev := range list {
		out = append(out, deviceStatus(dev))
	}
	return out
}
