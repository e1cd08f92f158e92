package dbus

import (
	"context"
	"sync"

	"github.com/godbus/dbus/v5"

	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

// A backlog follows each call from its arrival until its reply has been written to
// the bus. The end of the method that answers it is too early: the library writes
// the reply only afterwards, so that a service that ends could close the connection
// in between, and the caller would have no reply. The library has no event for a
// reply that was written, but it retires the reply's serial number then.
type backlog struct {
	left    chan struct{} // has room for one note that a call was answered
	sending func(int)     // called before a reply is written, for tests, with the calls under way

	mu         sync.Mutex // guards what follows
	arrived    int        // calls so far
	busy       int        // calls that are not answered yet
	unanswered map[callID]int
	replies    map[uint32]callID // on their way to the bus, by their own serial numbers
	serial     uint32            // of the last message that was sent
}

// A callID names a call by its sender and the sender's serial number. The bus does
// not prevent a sender from using a number twice.
type callID struct {
	sender string
	serial uint32
}

func newBacklog(sending func(int)) *backlog {
	return &backlog{left: make(chan struct{}, 1), sending: sending, unanswered: map[callID]int{}, replies: map[uint32]callID{}}
}

// enter counts a call when it arrives, before anything else handles it. The library
// calls it for each message in order.
func (b *backlog) enter(m *dbus.Message) {
	if m.Type != dbus.TypeMethodCall {
		return
	}
	path, _ := m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	name, _ := m.Headers[dbus.FieldInterface].Value().(string)
	if path != wire.Path || name != "" && name != wire.Interface {
		return
	}
	sender, _ := m.Headers[dbus.FieldSender].Value().(string)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrived++
	b.busy++
	if !silent(m) {
		b.unanswered[callID{sender, m.Serial()}]++
	}
}

// silent reports whether a call wants no reply.
func silent(m *dbus.Message) bool { return m.Flags&dbus.FlagNoReplyExpected != 0 }

// leave ends a call that wants no reply.
func (b *backlog) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered()
}

// answered ends a call. b.mu is held.
func (b *backlog) answered() {
	b.busy--
	select {
	case b.left <- struct{}{}:
	default:
	}
}

// reply sees each message that is about to be written.
func (b *backlog) reply(m *dbus.Message) {
	if m.Type != dbus.TypeMethodReply && m.Type != dbus.TypeError {
		return
	}
	var to callID
	to.sender, _ = m.Headers[dbus.FieldDestination].Value().(string)
	to.serial, _ = m.Headers[dbus.FieldReplySerial].Value().(uint32)
	b.mu.Lock()
	known, busy := b.unanswered[to] > 0, b.busy
	if known {
		b.replies[m.Serial()] = to
	}
	b.mu.Unlock()
	if known && b.sending != nil {
		b.sending(busy)
	}
}

// GetSerial implements [dbus.SerialGenerator]. A number comes again after four
// billion messages.
func (b *backlog) GetSerial() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serial++
	if b.serial == 0 { // which is not valid
		b.serial++
	}
	return b.serial
}

// RetireSerial implements [dbus.SerialGenerator]. The library calls it when a reply
// has been written, or cannot be, and when a call of ours was answered.
func (b *backlog) RetireSerial(serial uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	to, ok := b.replies[serial]
	if !ok {
		return
	}
	delete(b.replies, serial)
	switch b.unanswered[to] {
	case 0: // an error has been written in place of a reply that could not be
		return
	case 1:
		delete(b.unanswered, to)
	default:
		b.unanswered[to]--
	}
	b.answered()
}

// underWay returns how many calls are not answered yet.
func (b *backlog) underWay() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.busy
}

// soFar returns how many calls have arrived.
func (b *backlog) soFar() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.arrived
}

// drain waits for the replies to the calls under way, until ctx ends.
func (b *backlog) drain(ctx context.Context) {
	for b.underWay() > 0 {
		select {
		case <-b.left:
		case <-ctx.Done():
			return
		}
	}
}
