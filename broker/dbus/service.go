package dbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
	"github.com/prtbroker/prtbroker/internal/sessionbus"
)

// maxCalls is how many calls a Service handles at once. Further calls are told to
// try again later.
const maxCalls = 512

// ErrNameTaken is returned when another broker is on the bus.
var ErrNameTaken = errors.New("dbus: another broker owns the name " + wire.BusName)

// A Service puts a Handler on a bus, under the name com.microsoft.identity.broker1.
type Service struct {
	// Handler answers the calls. It is required.
	Handler *Handler

	// Address is the address of the bus. Empty: the session bus, which
	// DBUS_SESSION_BUS_ADDRESS names.
	Address string

	// Idle is the time without a call after which Run ends, for a service that the
	// bus starts on demand. No call is lost, since the bus starts the service
	// again. Run also ends if the connection to the bus is lost and the bus is not
	// back within that time: without a bus there are no calls, and once it is back
	// it starts a new service. Zero: never.
	Idle time.Duration

	// Ready, if not nil, is called each time the service acquires the bus name.
	Ready func()

	// Logger receives what happens on the bus. Nil discards it.
	Logger *slog.Logger

	releasing func()        // called before the name is given back, for tests
	sending   func(int)     // called before a reply is written, for tests, with the calls under way
	limit     time.Duration // instead of drainLimit, for tests
}

// Waits between tries to reach a bus that was lost.
const (
	firstWait = 100 * time.Millisecond
	maxWait   = 15 * time.Second
)

// Run serves until ctx ends, and returns its error, or until the service is idle,
// and returns nil. If it loses a bus that it was connected to, it waits for it to
// come back, since a desktop may restart it. It returns ErrNameTaken if another
// broker owns the name, and an error if it cannot connect to the bus at the start.
//
// Before it returns, Run releases the name, ends the calls in progress and replies
// to them.
func (s *Service) Run(ctx context.Context) error {
	if s.Handler == nil {
		return errors.New("dbus: Service.Handler is nil")
	}
	wait, waited := firstWait, time.Duration(0)
	for served := false; ; {
		err := s.serve(ctx, func() { served, wait, waited = true, firstWait, 0 })
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil || !served || errors.Is(err, ErrNameTaken):
			return err
		case s.Idle > 0 && waited >= s.Idle:
			return nil
		}
		s.logger().WarnContext(ctx, "the bus was lost", "error", err, "wait", wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		waited += wait
		wait = min(2*wait, maxWait)
	}
}

func (s *Service) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// A session is one connection to the bus.
type session struct {
	service *Service
	handler *Handler
	callers callers
	ctx     context.Context // of the calls
	calls   *backlog
	lost    chan struct{} // the name was lost
}

// serve serves on one connection.
func (s *Service) serve(ctx context.Context, ready func()) error {
	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &session{service: s, handler: s.Handler, ctx: callCtx, calls: newBacklog(s.sending), lost: make(chan struct{}, 1)}
	conn, err := sessionbus.Connect(ctx, s.Address, dbus.WithHandler(c), dbus.WithSignalHandler(c),
		dbus.WithIncomingInterceptor(c.calls.enter), dbus.WithOutgoingInterceptor(c.calls.reply), dbus.WithSerialGenerator(c.calls))
	if err != nil {
		return fmt.Errorf("dbus: connecting to the bus: %w", err)
	}
	defer conn.Close()
	c.callers.bus = conn.BusObject()
	if err := c.own(ctx, conn); err != nil {
		return err
	}
	ready()
	if s.Ready != nil {
		s.Ready()
	}
	err = c.wait(ctx, conn)
	if !conn.Connected() {
		return err
	}
	if s.releasing != nil {
		s.releasing()
	}
	if !c.release() {
		return err
	}
	// Calls that the bus delivered before it took the name back are in progress
	// now. Those that arrived while an idle service gave up the name may take their
	// time, since the user may have to answer; in all other cases the calls are
	// ended.
	if err == nil {
		c.calls.drain(either(ctx, conn.Context()))
	}
	cancel()
	limit, stop := context.WithTimeout(context.Background(), cmp.Or(s.limit, drainLimit))
	defer stop()
	c.calls.drain(limit)
	c.flush()
	return err
}

// own takes the name.
func (c *session) own(ctx context.Context, conn *dbus.Conn) error {
	err := conn.AddMatchSignalContext(ctx,
		dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
		dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(2, ""))
	if err != nil {
		return fmt.Errorf("dbus: watching the bus: %w", err)
	}
	var got uint32
	err = conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.RequestName", 0, wire.BusName, uint32(dbus.NameFlagDoNotQueue)).Store(&got)
	if err != nil {
		return fmt.Errorf("dbus: taking the name %s: %w", wire.BusName, err)
	}
	if dbus.RequestNameReply(got) != dbus.RequestNameReplyPrimaryOwner {
		return ErrNameTaken
	}
	return nil
}

var (
	errBusLost  = errors.New("dbus: the connection to the bus ended")
	errNameLost = errors.New("dbus: another program took over the bus name")
)

// wait returns when the session is over, with nil if it is idle.
func (c *session) wait(ctx context.Context, conn *dbus.Conn) error {
	var idle <-chan time.Time
	seen := -1
	for {
		if c.service.Idle > 0 && idle == nil {
			seen, idle = c.calls.soFar(), time.After(c.service.Idle)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-conn.Context().Done():
			return errBusLost
		case <-c.lost:
			return errNameLost
		case <-idle:
			if c.calls.underWay() == 0 && c.calls.soFar() == seen {
				return nil
			}
			idle = nil
		}
	}
}

// drainLimit is how long the calls under way may take to end when they are told
// to.
const drainLimit = 5 * time.Second

// either returns a context that ends with a or b.
func either(a, b context.Context) context.Context {
	ctx, cancel := context.WithCancel(a)
	context.AfterFunc(b, cancel)
	return ctx
}

// answerLimit is how long a bus has to answer at the end.
const answerLimit = 5 * time.Second

// release gives the name back, and reports whether the bus has heard it.
func (c *session) release() bool {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	return c.callers.bus.CallWithContext(ctx, "org.freedesktop.DBus.ReleaseName", 0, wire.BusName).Err == nil
}

// flush waits until the last reply has been delivered: once the bus has answered
// this call, it has read the reply.
func (c *session) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	_ = c.callers.bus.CallWithContext(ctx, "org.freedesktop.DBus.GetId", 0).Err
}

// DeliverSignal implements [dbus.SignalHandler]: connections that leave, and
// the loss of the name.
func (c *session) DeliverSignal(iface, name string, signal *dbus.Signal) {
	if iface != "org.freedesktop.DBus" || signal.Sender != "org.freedesktop.DBus" || len(signal.Body) == 0 {
		return
	}
	who, _ := signal.Body[0].(string)
	switch {
	case name == "NameLost" && who == wire.BusName:
		select {
		case c.lost <- struct{}{}:
		default:
		}
	case name == "NameOwnerChanged" && len(signal.Body) == 3 && signal.Body[2] == "" && who != "":
		c.callers.forget(who)
		c.handler.Gone(who)
	}
}

func (c *session) panicked(method string, v any) {
	c.service.logger().Error("a call panicked", "method", clip(method), "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
}
