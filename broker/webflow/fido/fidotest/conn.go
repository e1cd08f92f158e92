package fidotest

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/webflow/fido"
)

// CTAPHID (CTAP 2.1, 11.2).
const (
	reportSize = 64

	cmdInit      = 0x86
	cmdCBOR      = 0x90
	cmdCancel    = 0x91
	cmdKeepAlive = 0xbb
	cmdError     = 0xbf

	errorCommand  = 0x01
	errorSequence = 0x04
	errorBusy     = 0x06

	processing, upNeeded = 1, 2

	capCBOR, capNoMSG = 0x04, 0x08

	keepAliveEvery = 100 * time.Millisecond
)

// A conn is one program's handle of the key.
type conn struct {
	key     *Key // nil: another implementation answers
	caps    byte
	answer  func(ctx context.Context, message []byte, waiting func() (end func())) []byte
	in, out chan [reportSize]byte
	closed  chan struct{}
	once    sync.Once
	gone    <-chan struct{} // unplugged
	sending sync.Mutex      // guards the order of reports

	// Used by serve only.
	busy <-chan struct{} // until it is closed
	stop func()          // ends what the key does
}

func (k *Key) connect() (io.ReadWriteCloser, error) {
	if k.unplugged() {
		return nil, io.EOF
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c := newConn(k.plugged)
	c.key, c.answer = k, k.answer
	if k.o.U2F {
		c.caps = 0
	}
	go c.serve()
	return c, nil
}

func newConn(gone <-chan struct{}) *conn {
	return &conn{caps: capCBOR | capNoMSG, in: make(chan [reportSize]byte), out: make(chan [reportSize]byte), closed: make(chan struct{}), gone: gone}
}

// Relay returns a device that passes its CTAP2 messages to answer, for example to
// another implementation. If answer returns an error, the device is unplugged.
func Relay(name string, answer func(ctx context.Context, message []byte) ([]byte, error)) fido.Device {
	return fido.Device{Name: name, Open: func(context.Context) (io.ReadWriteCloser, error) {
		gone := make(chan struct{})
		c := newConn(gone)
		c.answer = func(ctx context.Context, message []byte, _ func() (end func())) []byte {
			out, err := answer(ctx, message)
			if err != nil {
				close(gone)
			}
			return out
		}
		go c.serve()
		return c, nil
	}}
}

// Read returns one report.
func (c *conn) Read(b []byte) (int, error) {
	select {
	case r := <-c.out:
		return copy(b, r[:]), nil
	case <-c.closed:
		return 0, io.ErrClosedPipe
	case <-c.gone:
		return 0, io.EOF
	}
}

// Write takes one report.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) != reportSize {
		return 0, io.ErrShortWrite
	}
	select {
	case c.in <- [reportSize]byte(b):
		return len(b), nil
	case <-c.closed:
		return 0, io.ErrClosedPipe
	case <-c.gone:
		return 0, io.EOF
	}
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// send sends a message in reports.
func (c *conn) send(channel uint32, command byte, data []byte) {
	c.sending.Lock()
	defer c.sending.Unlock()
	for n := -1; n < 0 || len(data) > 0; n++ {
		var r [reportSize]byte
		binary.BigEndian.PutUint32(r[:], channel)
		if n < 0 {
			r[4] = command
			binary.BigEndian.PutUint16(r[5:], uint16(len(data)))
			data = data[copy(r[7:], data):]
		} else {
			r[4] = byte(n)
			data = data[copy(r[5:], data):]
		}
		select {
		case c.out <- r:
		case <-c.closed:
			return
		case <-c.gone:
			return
		}
	}
}

// serve reads reports and answers messages.
func (c *conn) serve() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var m incoming
	for {
		var r [reportSize]byte
		select {
		case r = <-c.in:
		case <-c.closed:
			return
		case <-c.gone:
			return
		}
		channel := binary.BigEndian.Uint32(r[:])
		if r[4] == cmdCancel {
			c.cancel()
			continue
		}
		if !m.add(r) {
			c.send(channel, cmdError, []byte{errorSequence})
			continue
		}
		if len(m.data) >= m.want {
			c.take(ctx, channel, m.command, m.data[:m.want])
		}
	}
}

// An incoming message grows by reports.
type incoming struct {
	command, next byte
	want          int
	data          []byte
}

// add takes a report; false: it is out of order.
func (m *incoming) add(r [reportSize]byte) bool {
	if r[4]&0x80 != 0 {
		*m = incoming{command: r[4], want: int(binary.BigEndian.Uint16(r[5:])), data: append([]byte{}, r[7:]...)}
		return true
	}
	if r[4] != m.next {
		return false
	}
	m.next++
	m.data = append(m.data, r[5:]...)
	return true
}

func (c *conn) cancel() {
	if c.key != nil {
		c.key.mu.Lock()
		c.key.cancelled++
		c.key.mu.Unlock()
	}
	if c.stop != nil {
		c.stop()
	}
}

// take answers a message, concurrently with further reports.
func (c *conn) take(ctx context.Context, channel uint32, command byte, message []byte) {
	if c.busy != nil {
		select {
		case <-c.busy:
		default:
			c.send(channel, cmdError, []byte{errorBusy})
			return
		}
	}
	switch command {
	case cmdInit:
		c.send(channel, cmdInit, c.hello(message))
	case cmdCBOR:
		ctx, c.stop = context.WithCancel(ctx)
		done := make(chan struct{})
		c.busy = done
		go func() {
			answer := c.answer(ctx, message, func() (end func()) { return c.keepAlive(channel) })
			close(done)
			c.send(channel, cmdCBOR, answer)
		}()
	default:
		c.send(channel, cmdError, []byte{errorCommand})
	}
}

// hello hands out a channel.
func (c *conn) hello(nonce []byte) []byte {
	out := binary.BigEndian.AppendUint32(append([]byte{}, nonce...), 0x01020304)
	return append(out, 2, 5, 7, 1, c.caps)
}

// keepAlive tells the program that the key waits for its user, until end is
// called.
func (c *conn) keepAlive(channel uint32) (end func()) {
	ended, stopped := make(chan struct{}), make(chan struct{})
	c.send(channel, cmdKeepAlive, []byte{processing})
	c.send(channel, cmdKeepAlive, []byte{upNeeded})
	go func() {
		defer close(stopped)
		t := time.NewTicker(keepAliveEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				c.send(channel, cmdKeepAlive, []byte{upNeeded})
			case <-ended:
				return
			case <-c.closed:
				return
			case <-c.gone:
				return
			}
		}
	}()
	return func() { close(ended); <-stopped }
}
