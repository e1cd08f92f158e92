//go:build tpmsimulator

package tpmtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-tpm-tools/simulator"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/prtbroker/prtbroker/tpm"
)

// Simulator runs the Microsoft reference TPM within the test, which needs cgo
// and the build tag tpmsimulator; without them the test is skipped, or fails
// when PRTBROKER_REQUIRE_TPM=1. A process has one simulator: another test
// that starts it waits until this one ends.
func Simulator(t testing.TB) *Emulator {
	t.Helper()
	e, err := StartSimulator()
	if err != nil {
		missing(t, err.Error())
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// StartSimulator runs the Microsoft reference TPM within the process, with a
// new identity each time. While one runs, a second start waits for its Close.
func StartSimulator() (*Emulator, error) {
	sim, err := simulator.Get()
	if err != nil {
		return nil, fmt.Errorf("tpmtest: the TPM simulator: %w", err)
	}
	s := &simulated{sim: sim}
	return &Emulator{
		beside: &beside{inner: tpm.Opener{Open: s.open, Spaces: 1, Exclusive: true}},
		reset:  func() error { return s.locked(sim.Reset) },
		wipe:   func() error { return s.locked(sim.ManufactureReset) },
		close:  s.end,
	}, nil
}

// simulated is the one simulator of the process. Connections to it come and
// go as with a TPM.
type simulated struct {
	mu  sync.Mutex // the simulator is not safe for concurrent use
	sim *simulator.Simulator
}

func (s *simulated) locked(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

func (s *simulated) end() error {
	return s.locked(func() error {
		if s.sim.IsClosed() {
			return nil
		}
		return s.sim.Close()
	})
}

func (s *simulated) open(context.Context) (transport.TPMCloser, error) {
	return &simConn{s: s}, nil
}

type simConn struct {
	s      *simulated
	closed bool
}

func (c *simConn) Close() error {
	c.closed = true
	return nil
}

func (c *simConn) Send(cmd []byte) (rsp []byte, err error) {
	err = c.s.locked(func() error {
		if c.closed {
			return errors.New("tpmtest: connection closed")
		}
		if _, err := c.s.sim.Write(cmd); err != nil {
			return err
		}
		buf := make([]byte, 4096)
		n, err := c.s.sim.Read(buf)
		if err != nil {
			return err
		}
		if rsp = buf[:n]; n < 10 || binary.BigEndian.Uint32(rsp[2:]) != uint32(n) {
			return errors.New("tpmtest: short response of the simulator")
		}
		return nil
	})
	return rsp, err
}
