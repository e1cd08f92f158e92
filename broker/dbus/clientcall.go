package dbus

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/godbus/dbus/v5"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

// call calls a method of the broker and returns its result, or its error as one
// of package broker.
func (c *Client) call(ctx context.Context, op, method string, r wire.Request, correlation string) (*wire.Reply, error) {
	text, err := r.Marshal(method)
	if err != nil {
		return nil, fmt.Errorf("dbus: %s: %w", op, err)
	}
	conn, err := c.connection(ctx)
	if err != nil {
		return nil, err
	}
	if correlation == "" {
		correlation = newGUID()
	}
	o := conn.Object(wire.BusName, wire.Path)
	var reply string
	err = o.CallWithContext(ctx, wire.Interface+"."+method, 0, wire.Protocol, correlation, text).Store(&reply)
	if ctx.Err() != nil && method == wire.AcquireInteractive {
		giveUp(o)
	}
	if err != nil {
		return nil, callError(op, err)
	}
	out, err := wire.ParseReply(method, reply)
	if err != nil {
		return nil, broker.NewError(nil, "the reply of the broker on the bus is malformed", err, broker.Error{Op: op, CorrelationID: correlation})
	}
	if out.Error != nil {
		return nil, replyError(op, out.Error, correlation)
	}
	return out, nil
}

// giveUp tells the broker that the sign-in is no longer wanted. It does not wait
// for a reply, so that the call ends when its context does.
func giveUp(o dbus.BusObject) {
	r := wire.Request{}
	if text, err := r.Marshal(wire.CancelInteractive); err == nil {
		o.Go(wire.Interface+"."+wire.CancelInteractive, dbus.FlagNoReplyExpected, nil, wire.Protocol, newGUID(), text)
	}
}

// callError returns an error of the bus, as opposed to one of the broker.
func callError(op string, err error) error {
	var e dbus.Error
	if !errors.As(err, &e) {
		return broker.NewError(kindOfCall(err), "calling the broker on the bus failed", err, broker.Error{Op: op})
	}
	switch e.Name {
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
		"org.freedesktop.DBus.Error.Spawn.ServiceNotFound", "org.freedesktop.DBus.Error.Spawn.ExecFailed",
		"org.freedesktop.DBus.Error.Spawn.ChildExited":
		return fmt.Errorf("%w (%s)", ErrNoBroker, e.Name)
	case "org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Timeout", "org.freedesktop.DBus.Error.Disconnected":
		return broker.NewError(broker.ErrTransient, "the broker on the bus did not answer", err, broker.Error{Op: op})
	}
	return broker.NewError(nil, "the broker on the bus refused the call", err, broker.Error{Op: op})
}

func kindOfCall(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil // the wrapped cause says it
	}
	return broker.ErrTransient
}

var aadstsPattern = regexp.MustCompile(`AADSTS(\d{1,9})\b`)

// replyError turns the error in a broker's reply into an error of package broker.
// It takes the AADSTS code from the text, which every broker sends.
func replyError(op string, e *wire.Error, correlation string) error {
	out := broker.Error{Op: op, CorrelationID: correlation}
	if m := aadstsPattern.FindStringSubmatch(e.Context); m != nil {
		out.Code, _ = strconv.Atoi(m[1])
		out.Codes = []int{out.Code}
	}
	if d := e.Diagnostics; d != nil {
		out.OAuth, out.SubError, out.Claims = d.OAuth, d.SubError, d.Claims
		if d.CorrelationID != "" {
			out.CorrelationID = d.CorrelationID
		}
	}
	return broker.NewError(sentinelOf(e.Status, &out), "the broker on the bus refused", &remoteError{e}, out)
}

// A remoteError holds the error that a broker on the bus sent. A Handler over a
// Client passes it on unchanged.
type remoteError struct{ said *wire.Error }

func (e *remoteError) Error() string {
	return fmt.Sprintf("%s: %s", e.said.Status, printable(e.said.Context))
}

// maxContext bounds the text of a broker's error, in bytes.
const maxContext = 1024

// printable keeps the text of another program to one line.
func printable(s string) string {
	if len(s) > maxContext {
		s = s[:maxContext] + "…"
	}
	return strconv.QuoteToGraphic(s)
}
