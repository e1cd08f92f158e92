package entratest

import "crypto/rsa"

// Computer is a computer of an on-premises Active Directory domain, as directory
// synchronisation would upload it: its object id, its SID and the key of the
// self-signed certificate in its userCertificate attribute.
type Computer struct {
	ID        string // objectGUID; becomes the device id
	SID       string
	Name      string
	PublicKey *rsa.PublicKey
}

// SyncComputer simulates directory synchronisation: it creates a pending hybrid
// device, which the computer then completes by joining.
func (s *Server) SyncComputer(c Computer) error {
	return s.world().drs.SyncComputer(c.ID, c.SID, c.Name, c.PublicKey)
}
