package tpmtest

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/prtbroker/prtbroker/tpm"
)

// beside sends commands alongside the connections that stores have open: swtpm
// serves one client at a time, and a test needs to act behind a store's back.
type beside struct {
	inner tpm.Opener

	mu    sync.Mutex // guards conns; never held over a command
	conns []*besideConn
}

type besideConn struct {
	transport.TPMCloser
	b  *beside
	mu sync.Mutex // held over commands: a TPM executes one at a time
}

func (b *beside) opener() tpm.Opener {
	o := b.inner
	o.Open = func(ctx context.Context) (transport.TPMCloser, error) {
		conn, err := b.inner.Open(ctx)
		if err != nil {
			return nil, err
		}
		c := &besideConn{TPMCloser: conn, b: b}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.conns = append(b.conns, c)
		return c, nil
	}
	return o
}

func (c *besideConn) Send(cmd []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.TPMCloser.Send(cmd)
}

func (c *besideConn) Close() error {
	c.b.mu.Lock()
	c.b.conns = slices.DeleteFunc(c.b.conns, func(x *besideConn) bool { return x == c })
	c.b.mu.Unlock()
	return c.TPMCloser.Close()
}

// Unwrap returns the connection itself.
func (c *besideConn) Unwrap() transport.TPMCloser { return c.TPMCloser }

// send uses the first connection, which is the one that swtpm serves, or opens
// one if there is none.
func (b *beside) send(cmd []byte) ([]byte, error) {
	b.mu.Lock()
	var c *besideConn
	if len(b.conns) > 0 {
		c = b.conns[0]
	}
	b.mu.Unlock()
	if c != nil {
		return c.Send(cmd)
	}
	conn, err := b.inner.Open(context.Background())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Send(cmd)
}

// gone forgets connections that a reset cut off, even if their users have not
// noticed yet.
func (b *beside) gone() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = nil
}

// Send sends a command behind the back of the stores that have the emulator
// open, between two commands of theirs. It implements [transport.TPM].
func (e *Emulator) Send(cmd []byte) ([]byte, error) { return e.beside.send(cmd) }

// AdvanceClock sets the TPM's clock forward, as time with power does. A TPM's
// clock cannot be set back.
func (e *Emulator) AdvanceClock(d time.Duration) error {
	now, err := tpm2.ReadClock{}.Execute(e)
	if err != nil {
		return fmt.Errorf("tpmtest: reading the clock: %w", err)
	}
	// TPM2_ClockSet (Part 3, 29.2)
	clock := binary.BigEndian.AppendUint64(nil, now.CurrentTime.ClockInfo.Clock+uint64(d.Milliseconds()))
	if err := e.administer(0x128, tpm2.TPMRHOwner, clock); err != nil {
		return fmt.Errorf("tpmtest: setting the clock: %w", err)
	}
	return nil
}

// ResetLockout forgets the wrong PINs that the TPM has counted, as its
// administrator can (TPM2_DictionaryAttackLockReset). A power loss counts as
// one too.
func (e *Emulator) ResetLockout() error {
	// Part 3, 25.2
	if err := e.administer(0x139, tpm2.TPMRHLockout, nil); err != nil {
		return fmt.Errorf("tpmtest: resetting the lockout: %w", err)
	}
	return nil
}

// administer sends a command that go-tpm lacks, on one handle that has an empty
// password.
func (e *Emulator) administer(command uint32, handle tpm2.TPMHandle, parameters []byte) error {
	cmd := []byte{0x80, 0x02}
	cmd = binary.BigEndian.AppendUint32(cmd, uint32(27+len(parameters)))
	cmd = binary.BigEndian.AppendUint32(cmd, command)
	cmd = binary.BigEndian.AppendUint32(cmd, uint32(handle))
	cmd = append(cmd, 0, 0, 0, 9, 0x40, 0, 0, 0x09, 0, 0, 0, 0, 0) // an empty password
	rsp, err := e.Send(append(cmd, parameters...))
	if err != nil {
		return err
	}
	if rc := code(rsp); rc != 0 {
		return tpm2.TPMRC(rc)
	}
	return nil
}

// Clear clears the TPM as a firmware setup does (TPM2_Clear): the storage seed
// is new, the owner's persistent objects are gone, and the clock and its counts
// are zero; the endorsement seed stays.
func (e *Emulator) Clear() error {
	e.keys = nil
	if _, err := (tpm2.Clear{AuthHandle: tpm2.TPMRHLockout}).Execute(e); err != nil {
		return fmt.Errorf("tpmtest: clearing: %w", err)
	}
	return nil
}
