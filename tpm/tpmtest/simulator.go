//go:build tpmsimulator

package tpmtest

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-tpm-tools/simulator"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/prtbroker/prtbroker/tpm"
)

// Simulator runs the Microsoft reference TPM within the test, which needs cgo
// and the build tag tpmsimulator; without them the test is skipped, or fails
// when PRTBROKER_REQUIRE_TPM=1. A process has one simulator: tests that use it
// must not run in parallel, and another test waits until this one ends.
func Simulator(t testing.TB) *Emulator {
	t.Helper()
	sim, err := simulator.Get()
	if err != nil {
		missing(t, "tpmtest: the TPM simulator: "+err.Error())
	}
	s := &simulated{sim: sim}
	t.Cleanup(func() { _ = s.end() })
	return &Emulator{
		opener: tpm.Opener{Open: s.open, Spaces: 1, Exclusive: true},
		reset:  func() error { return s.locked(sim.Reset) },
		wipe:   func() error { return s.locked(sim.ManufactureReset) },
		close:  s.end,
	}
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
