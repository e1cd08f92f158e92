package session

import "github.com/prtbroker/prtbroker/broker/entratest/internal/directory"

// LogUser records the user who signs in.
func LogUser(e *directory.LogEntry, u *directory.User, ss *Session) {
	e.Username, e.UserID = u.UPN, u.ID
	if ss != nil {
		e.DeviceID, e.DeviceCode, e.AMR = ss.Device, ss.DeviceCode, ss.AMR(false)
	}
}
