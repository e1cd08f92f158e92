package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/internal/sessionbus"
)

// A notifier prompts the user with a desktop notification (Desktop
// Notifications Specification), which every desktop shows and which needs no
// toolkit. It cannot show pages.
type notifier struct {
	address string // of the bus; empty: the session bus
}

// Authorize implements [broker.Prompter].
func (*notifier) Authorize(context.Context, string, string) (string, error) {
	return "", errors.ErrUnsupported // the broker goes on with a device code
}

// PIN implements [broker.Prompter].
func (*notifier) PIN(context.Context, broker.Account) (broker.PIN, error) {
	return nil, errors.ErrUnsupported
}

// DeviceCode implements [broker.Prompter].
func (n *notifier) DeviceCode(ctx context.Context, dc broker.DeviceCode) error {
	conn, err := sessionbus.Connect(ctx, n.address)
	if err != nil {
		return fmt.Errorf("no desktop to ask the user on: %w", err)
	}
	defer conn.Close()
	const urgent = byte(2) // stays until it is closed
	err = conn.Object("org.freedesktop.Notifications", "/org/freedesktop/Notifications").CallWithContext(ctx,
		"org.freedesktop.Notifications.Notify", 0,
		"Sign-in", uint32(0), "dialog-password", "A program wants you to sign in",
		fmt.Sprintf("Open %s and enter the code %s", html.EscapeString(dc.VerificationURL), html.EscapeString(dc.UserCode)),
		[]string{}, map[string]dbus.Variant{"urgency": dbus.MakeVariant(urgent), "category": dbus.MakeVariant("im.received")},
		milliseconds(time.Until(dc.ExpiresOn))).Err
	if err != nil {
		return fmt.Errorf("the desktop shows no notification: %w", err)
	}
	return nil
}

// milliseconds is how long the notification may stay; 0 means for ever.
func milliseconds(d time.Duration) int32 {
	const longest = 15 * time.Minute
	return int32(min(max(d, time.Minute), longest).Milliseconds())
}
