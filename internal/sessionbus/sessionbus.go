// Package sessionbus connects to a message bus, the session bus by default.
package sessionbus

import (
	"context"
	"errors"

	"github.com/godbus/dbus/v5"
)

// Connect returns a private connection to the bus at address; empty: the
// session bus, which DBUS_SESSION_BUS_ADDRESS or the user's runtime directory
// names. If there is no bus it fails and does not start one:
// dbus.ConnectSessionBus would run dbus-launch, whose daemon outlives the
// program and cannot be found by other programs. Connect gives up on a bus that
// does not answer when ctx ends; the connection outlives ctx.
func Connect(ctx context.Context, address string, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	c, err := open(address, opts)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	if err = c.Auth(nil); err == nil {
		err = c.Hello()
	}
	if !stop() {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func open(address string, opts []dbus.ConnOption) (*dbus.Conn, error) {
	if address == "" {
		return dbus.SessionBusPrivateNoAutoStartup(opts...)
	}
	return dbus.Dial(address, opts...)
}
