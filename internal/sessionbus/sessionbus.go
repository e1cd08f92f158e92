// Package sessionbus connects to a message bus, the session bus by default.
package sessionbus

import (
	"errors"

	"github.com/godbus/dbus/v5"
)

// Connect returns a connection of the caller's own to the bus at address; empty:
// the session bus, which DBUS_SESSION_BUS_ADDRESS or the user's runtime directory
// names. Where there is none it fails and starts none: dbus.ConnectSessionBus
// would run dbus-launch, whose daemon outlives the program and which no other
// program finds.
func Connect(address string, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	if address != "" {
		return dbus.Connect(address, opts...)
	}
	c, err := dbus.SessionBusPrivateNoAutoStartup(opts...)
	if err != nil {
		return nil, err
	}
	if err := c.Auth(nil); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.Hello(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}
