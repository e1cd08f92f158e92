package dbus

import (
	"context"
	"errors"
	"sync"

	"github.com/godbus/dbus/v5"
)

// maxCallers bounds how many connections are remembered.
const maxCallers = 4096

// callers caches the caller behind each connection, so that only the first
// call of a connection asks the bus. The bus never reuses the name of a
// connection (":1.42").
type callers struct {
	mu    sync.Mutex // guards known
	known map[string]Caller
	bus   dbus.BusObject
}

var errCaller = errors.New("no user id")

func (c *callers) get(ctx context.Context, name string) (Caller, error) {
	c.mu.Lock()
	from, ok := c.known[name]
	c.mu.Unlock()
	if ok {
		return from, nil
	}
	from, err := c.ask(ctx, name)
	if err != nil {
		return Caller{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxCallers {
		c.known = map[string]Caller{}
	}
	c.known[name] = from
	return from, nil
}

func (c *callers) ask(ctx context.Context, name string) (Caller, error) {
	var cred map[string]dbus.Variant
	err := c.bus.CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionCredentials", 0, name).Store(&cred)
	if err != nil {
		return Caller{}, err
	}
	uid, ok := cred["UnixUserID"].Value().(uint32)
	if !ok {
		return Caller{}, errCaller
	}
	pid, _ := cred["ProcessID"].Value().(uint32)
	return Caller{UID: uid, PID: pid, Name: name}, nil
}

func (c *callers) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, name)
}
