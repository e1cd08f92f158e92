package dbus

import (
	"context"
	"errors"

	"github.com/prtbroker/prtbroker/broker"
)

// Via says which broker answers.
type Via string

// Values of Via.
const (
	ViaOwn Via = "own state"       // the program's own registration
	ViaBus Via = "broker on D-Bus" // a broker of the desktop
)

// Connect chooses a broker for a program that can use either its own or the one
// on the bus. It returns own if own has a registered device, otherwise the
// broker on the bus if there is one, and otherwise own, whose first sign-in
// registers the device. The returned Via says which was chosen. The caller
// closes own, and also the result if it is a Client.
//
// If the program's own state cannot be read, Connect returns the error and does
// not fall back to the bus.
func Connect(ctx context.Context, own *broker.Broker, o Options) (Broker, Via, error) {
	st, err := own.Status(ctx)
	if err != nil {
		return nil, "", err
	}
	if st.Registered {
		return own, ViaOwn, nil
	}
	c, err := Dial(ctx, o)
	switch {
	case err == nil:
		return c, ViaBus, nil
	case errors.Is(err, ErrNoBroker):
		return own, ViaOwn, nil
	}
	return nil, "", err
}
