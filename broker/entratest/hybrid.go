package entratest

import "crypto/rsa"

// Computer is a computer of an Active Directory domain that directory
// synchronisation brought here: its object id, its SID and the key of the
// self-signed certificate in its attribute userCertificate.
type Computer struct {
	ID        string // objectGUID; becomes the device id
	SID       string
	Name      string
	PublicKey *rsa.PublicKey
}

// SyncComputer does what directory synchronisation does: it makes a pending
// hybrid device, which the computer then completes by joining.
func (s *Server) SyncComputer(c Computer) error {
	return s.drs.SyncComputer(c.ID, c.SID, c.Name, c.PublicKey)
}
