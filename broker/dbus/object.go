package dbus

import (
	"context"

	"github.com/godbus/dbus/v5"

	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

// object is the broker as the D-Bus library sees it. It answers every method of
// the interface, even unknown ones, so that a client always gets JSON that it
// understands.
type object struct {
	path string
	s    *session
}

// LookupObject implements [dbus.Handler].
func (s *session) LookupObject(path dbus.ObjectPath) (dbus.ServerObject, bool) {
	return &object{string(path), s}, true
}

// LookupInterface implements [dbus.ServerObject]. A call may leave the
// interface out.
func (o *object) LookupInterface(name string) (dbus.Interface, bool) {
	switch {
	case name == introspectable:
		return introspecting{o.path}, true
	case name == wire.Interface && o.path == wire.Path, name == "" && o.path == wire.Path:
		return methods{o.s}, true
	}
	return nil, false
}

type introspecting struct{ path string }

// LookupMethod implements [dbus.Interface].
func (i introspecting) LookupMethod(name string) (dbus.Method, bool) {
	return introspect{path: i.path}, name == "Introspect"
}

type introspect struct {
	noArguments
	path string
}

// Call implements [dbus.Method].
func (i introspect) Call(...any) ([]any, error) { return []any{introspection(i.path)}, nil }

type methods struct{ s *session }

// LookupMethod implements [dbus.Interface].
func (m methods) LookupMethod(name string) (dbus.Method, bool) {
	return &method{s: m.s, name: name}, true
}

// method is one call of one method.
type method struct {
	noArguments
	s      *session
	name   string
	silent bool // the caller wants no reply
}

// arguments holds the arguments of a call and its sender.
type arguments struct {
	sender                         string
	protocol, correlation, request string
	ok                             bool // they were three strings
}

// DecodeArguments implements [dbus.ArgumentDecoder].
func (m *method) DecodeArguments(_ *dbus.Conn, sender string, msg *dbus.Message, body []any) ([]any, error) {
	m.silent = silent(msg)
	a := arguments{sender: sender}
	if len(body) == 3 {
		var ok [3]bool
		a.protocol, ok[0] = body[0].(string)
		a.correlation, ok[1] = body[1].(string)
		a.request, ok[2] = body[2].(string)
		a.ok = ok == [3]bool{true, true, true}
	}
	return []any{a}, nil
}

// Call implements [dbus.Method].
func (m *method) Call(args ...any) ([]any, error) {
	a, _ := args[0].(arguments)
	if m.silent {
		defer m.s.calls.leave()
	}
	return []any{m.s.call(m.s.ctx, m.name, a)}, nil
}

// noArguments implements the methods that the library needs only to decode
// arguments itself, which it does not do here.
type noArguments struct{}

// NumArguments implements [dbus.Method].
func (noArguments) NumArguments() int { return 0 }

// NumReturns implements [dbus.Method].
func (noArguments) NumReturns() int { return 1 }

// ArgumentValue implements [dbus.Method].
func (noArguments) ArgumentValue(int) any { return "" }

// ReturnValue implements [dbus.Method].
func (noArguments) ReturnValue(int) any { return "" }

// call answers a call.
func (s *session) call(ctx context.Context, name string, a arguments) (reply string) {
	defer func() {
		if r := recover(); r != nil {
			s.panicked(name, r)
			reply = wire.Fail(name, wire.NewError(wire.Unexpected, "the broker made a mistake; its log says more"))
		}
	}()
	if s.calls.underWay() > maxCalls {
		return wire.Fail(name, wire.NewError(wire.ServerTemporarilyUnavailable, "too many calls are under way"))
	}
	if !a.ok {
		return wire.Fail(name, wire.NewError(wire.APIContractViolation, "the method takes three strings: protocol version, correlation id and request"))
	}
	from, err := s.callers.get(ctx, a.sender)
	if err != nil {
		return wire.Fail(name, wire.NewError(wire.TransientError, "the bus does not say who is calling: "+err.Error()))
	}
	return s.handler.Handle(ctx, from, name, a.protocol, a.correlation, a.request)
}
