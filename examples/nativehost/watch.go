package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/prtbroker/prtbroker/internal/sessionbus"
)

const busName = "com.microsoft.identity.broker1"

// watch tells the extension whether there is a broker: at the beginning, since
// it does nothing before it has heard "online", and whenever that changes. A
// broker that the bus starts on demand counts as present even while it is not
// running.
func (h *host) watch(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		h.follow(ctx, &said)
		if ctx.Err() != nil {
			return // nobody listens
		}
		h.say(&said, false)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second): // until there is a bus again
		}
	}
}

// follow reports the broker's coming and going until the bus is lost.
func (h *host) follow(ctx context.Context, said *string) {
	conn, err := sessionbus.Connect(ctx, h.address)
	if err != nil {
		return
	}
	defer conn.Close()
	changes := make(chan *godbus.Signal, 16)
	conn.Signal(changes)
	err = conn.AddMatchSignalContext(ctx, godbus.WithMatchSender("org.freedesktop.DBus"), godbus.WithMatchInterface("org.freedesktop.DBus"),
		godbus.WithMatchMember("NameOwnerChanged"), godbus.WithMatchArg(0, busName))
	if err != nil {
		return
	}
	for {
		h.say(said, isThere(ctx, conn))
		select {
		case <-ctx.Done():
			return
		case _, ok := <-changes:
			if !ok {
				return
			}
		}
	}
}

func isThere(ctx context.Context, conn *godbus.Conn) bool {
	var owned bool
	err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, busName).Store(&owned)
	if err == nil && owned {
		return true
	}
	var names []string
	err = conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.ListActivatableNames", 0).Store(&names)
	return err == nil && slices.Contains(names, busName)
}

func (h *host) say(said *string, online bool) {
	state := `"offline"`
	if online {
		state = `"online"`
	}
	if *said == state {
		return
	}
	*said = state
	h.put(reply{stateChanged, json.RawMessage(state)})
}
