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

// Connect chooses for a program that can do both: own, when it has a registered
// device; else the broker on the bus; else own, in which the first sign-in
// registers the device. It says which. The caller closes own, and the Client
// when the result is one.
//
// A state of the program's own that cannot be read is an error, and no reason to
// go elsewhere.
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
