package broker

import (
	"context"
	"regexp"

	"github.com/prtbroker/prtbroker/broker/internal/device"
)

// OnPremises says which computer of the on-premises directory this machine is.
type OnPremises struct {
	// ObjectID is the objectGUID of the computer, which becomes the device id.
	ObjectID string
	// SID is the security identifier of the computer.
	SID string
	// DomainController is where the computer object was changed last. It may
	// be empty.
	DomainController string
}

var guidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// OnPremisesCertificate returns the certificate, DER, that the caller writes
// into the userCertificate attribute of the computer, from where it is synced
// to Entra before RegisterDevice with prt.JoinHybrid can succeed. Its key stays in the
// key store. A second call returns a certificate for the same key.
func (b *Broker) OnPremisesCertificate(ctx context.Context, of OnPremises) (_ []byte, err error) {
	const op = "on-premises certificate"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	der, err := b.devices.ComputerCertificate(ctx, device.Computer(of))
	return der, opError(op, err)
}
