package tpmtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/prtbroker/prtbroker/tpm"
)

// wrap puts send between every connection of an opener and its user.
func wrap(o tpm.Opener, opened func(transport.TPMCloser), send func(c transport.TPMCloser, cmd []byte) ([]byte, error)) tpm.Opener {
	inner := o.Open
	o.Open = func(ctx context.Context) (transport.TPMCloser, error) {
		c, err := inner(ctx)
		if err != nil {
			return nil, err
		}
		if opened != nil {
			opened(c)
		}
		return &wrapped{c, send}, nil
	}
	return o
}

type wrapped struct {
	transport.TPMCloser
	send func(c transport.TPMCloser, cmd []byte) ([]byte, error)
}

func (w *wrapped) Send(cmd []byte) ([]byte, error) { return w.send(w.TPMCloser, cmd) }

// code returns the command code of a command, or the response code of a
// response.
func code(msg []byte) uint32 {
	if len(msg) < 10 {
		return 0
	}
	return binary.BigEndian.Uint32(msg[6:])
}

// Counting counts the commands that reach a TPM.
type Counting struct {
	inner tpm.Opener

	mu       sync.Mutex // guards what follows
	commands []tpm2.TPMCC
	opened   int
}

// NewCounting counts what goes through the connections of o.
func NewCounting(o tpm.Opener) *Counting { return &Counting{inner: o} }

// Opener opens counted connections.
func (c *Counting) Opener() tpm.Opener {
	opened := func(transport.TPMCloser) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.opened++
	}
	return wrap(c.inner, opened, func(t transport.TPMCloser, cmd []byte) ([]byte, error) {
		c.mu.Lock()
		c.commands = append(c.commands, tpm2.TPMCC(code(cmd)))
		c.mu.Unlock()
		return t.Send(cmd)
	})
}

// Take returns the commands since the last Take.
func (c *Counting) Take() []tpm2.TPMCC {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.commands
	c.commands = nil
	return taken
}

// Opened returns how many connections were opened.
func (c *Counting) Opened() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

// Recording keeps every byte that passes between a TPM and its user, as an
// attacker who taps the bus sees it.
type Recording struct {
	inner tpm.Opener

	mu   sync.Mutex // guards what follows
	wire [][]byte
}

// NewRecording records what goes through the connections of o.
func NewRecording(o tpm.Opener) *Recording { return &Recording{inner: o} }

// Opener opens recorded connections.
func (r *Recording) Opener() tpm.Opener {
	return wrap(r.inner, nil, func(t transport.TPMCloser, cmd []byte) ([]byte, error) {
		r.add(cmd)
		rsp, err := t.Send(cmd)
		r.add(rsp)
		return rsp, err
	})
}

func (r *Recording) add(msg []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A copy: the simulator decrypts in the buffer of the command.
	r.wire = append(r.wire, bytes.Clone(msg))
}

// Contains reports whether secret passed in the clear.
func (r *Recording) Contains(secret []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, msg := range r.wire {
		if bytes.Contains(msg, secret) {
			return true
		}
	}
	return false
}

// Messages returns commands and responses in order.
func (r *Recording) Messages() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([][]byte(nil), r.wire...)
}

// A Fault is what happens to a command instead of its normal execution.
type Fault struct {
	// On is the command it happens to. Zero: any.
	On tpm2.TPMCC
	// Skip is how many such commands pass first.
	Skip int
	// Times is how often it happens. Zero: once; negative: always.
	Times int

	// RC, if not zero, is answered.
	RC tpm2.TPMRC
	// Err, if not nil, is what the transport fails with.
	Err error
	// Hang blocks until the connection is closed.
	Hang bool
	// Wait, if not nil, delays the command until the channel is closed.
	Wait <-chan struct{}
	// Executed lets the TPM execute the command before RC, Err or Hang.
	Executed bool
	// Tamper, if not nil, changes the response.
	Tamper func(rsp []byte) []byte
}

// Faulty injects faults between a TPM and its user.
type Faulty struct {
	inner tpm.Opener

	mu       sync.Mutex // guards what follows
	faults   []*Fault
	injected int
	openErr  []error
	hung     chan struct{}
}

// NewFaulty injects faults into the connections of o.
func NewFaulty(o tpm.Opener) *Faulty { return &Faulty{inner: o, hung: make(chan struct{}, 64)} }

// Inject adds faults; each waits for its command.
func (f *Faulty) Inject(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range faults {
		if x.Times == 0 {
			x.Times = 1
		}
		f.faults = append(f.faults, &x)
	}
}

// FailOpen makes the next opens fail with these errors.
func (f *Faulty) FailOpen(errs ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.openErr = append(f.openErr, errs...)
}

// Clear removes the faults that have not happened.
func (f *Faulty) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Injected returns how many faults happened.
func (f *Faulty) Injected() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.injected
}

// Hung receives a value for each command that begins to hang or wait.
func (f *Faulty) Hung() <-chan struct{} { return f.hung }

// Opener opens connections with faults.
func (f *Faulty) Opener() tpm.Opener {
	o := f.inner
	o.Open = func(ctx context.Context) (transport.TPMCloser, error) {
		if err := f.nextOpenErr(); err != nil {
			return nil, err
		}
		c, err := f.inner.Open(ctx)
		if err != nil {
			return nil, err
		}
		return &faultyConn{f: f, TPMCloser: c, closed: make(chan struct{})}, nil
	}
	return o
}

func (f *Faulty) nextOpenErr() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.openErr) == 0 {
		return nil
	}
	err := f.openErr[0]
	f.openErr = f.openErr[1:]
	return err
}

// match takes the fault that applies to a command.
func (f *Faulty) match(cmd []byte) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, x := range f.faults {
		if x.On != 0 && uint32(x.On) != code(cmd) {
			continue
		}
		if x.Skip > 0 {
			x.Skip--
			continue
		}
		if x.Times > 0 {
			if x.Times--; x.Times == 0 {
				f.faults = append(f.faults[:i:i], f.faults[i+1:]...)
			}
		}
		f.injected++
		return x
	}
	return nil
}

type faultyConn struct {
	f *Faulty
	transport.TPMCloser
	once   sync.Once
	closed chan struct{}
}

var errClosed = errors.New("tpmtest: connection closed")

func (c *faultyConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.TPMCloser.Close()
}

func (c *faultyConn) Send(cmd []byte) ([]byte, error) {
	x := c.f.match(cmd)
	if x == nil {
		return c.TPMCloser.Send(cmd)
	}
	if x.Wait != nil {
		c.f.hung <- struct{}{}
		<-x.Wait
	}
	if x.Executed {
		if _, err := c.TPMCloser.Send(bytes.Clone(cmd)); err != nil {
			return nil, err
		}
	}
	switch {
	case x.Hang:
		c.f.hung <- struct{}{}
		<-c.closed
		return nil, errClosed
	case x.Err != nil:
		return nil, x.Err
	case x.RC != 0:
		rsp := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTNoSessions))
		rsp = binary.BigEndian.AppendUint32(rsp, 10)
		return binary.BigEndian.AppendUint32(rsp, uint32(x.RC)), nil
	}
	rsp, err := c.TPMCloser.Send(cmd)
	if err == nil && x.Tamper != nil {
		rsp = x.Tamper(rsp)
	}
	return rsp, err
}
