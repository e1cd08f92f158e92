package broker_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// A tpmFault is what happens to a command instead of its execution.
type tpmFault struct {
	name string
	do   func(c *faultyChip, send func([]byte) ([]byte, error), cmd []byte) ([]byte, error)
}

func responds(rc tpm2.TPMRC) func(*faultyChip, func([]byte) ([]byte, error), []byte) ([]byte, error) {
	return func(*faultyChip, func([]byte) ([]byte, error), []byte) ([]byte, error) {
		rsp := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTNoSessions))
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(rsp, 10), uint32(rc)), nil
	}
}

var tpmFaults = []tpmFault{
	{"TPM_RC_RETRY", responds(tpm2.TPMRCRetry)},
	{"TPM_RC_OBJECT_MEMORY", responds(tpm2.TPMRCObjectMemory)},
	{"TPM_RC_SESSION_MEMORY", responds(tpm2.TPMRCSessionMemory)},
	{"TPM_RC_LOCKOUT", responds(tpm2.TPMRCLockout)},
	{"TPM_RC_INITIALIZE", responds(tpm2.TPMRCInitialize)},
	{"TPM_RC_FAILURE", responds(tpm2.TPMRCFailure)},
	{"EIO", func(*faultyChip, func([]byte) ([]byte, error), []byte) ([]byte, error) { return nil, syscall.EIO }},
	{"EIO, though it was executed", func(_ *faultyChip, send func([]byte) ([]byte, error), cmd []byte) ([]byte, error) {
		if _, err := send(cmd); err != nil {
			return nil, err
		}
		return nil, syscall.EIO
	}},
	{"a truncated reply", func(_ *faultyChip, send func([]byte) ([]byte, error), cmd []byte) ([]byte, error) {
		rsp, err := send(cmd)
		return rsp[:len(rsp)/2], err
	}},
	{"a reset before it", func(c *faultyChip, send func([]byte) ([]byte, error), cmd []byte) ([]byte, error) {
		if err := c.e.Reset(); err != nil {
			return nil, err
		}
		return send(cmd)
	}},
	{"a reset after it", func(c *faultyChip, send func([]byte) ([]byte, error), cmd []byte) ([]byte, error) {
		rsp, err := send(cmd)
		if err := c.e.Reset(); err != nil {
			return nil, err
		}
		return rsp, err
	}},
}

// A faultyChip disturbs one command of those that pass while it is armed, or all
// from that one on.
type faultyChip struct {
	e       *tpmtest.Emulator
	makes   bool      // RSA keys itself
	fault   *tpmFault // nil: none
	at      int
	lasting bool

	mu       sync.Mutex // guards what follows
	armed    bool
	commands []tpm2.TPMCC
}

func (c *faultyChip) arm(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = on
}

func (c *faultyChip) opener() tpm.Opener {
	o := c.e.Opener()
	inner := o.Open
	o.Open = func(ctx context.Context) (transport.TPMCloser, error) {
		conn, err := inner(ctx)
		if err != nil {
			return nil, err
		}
		return &faultyChipConn{conn, c}, nil
	}
	return o
}

type faultyChipConn struct {
	transport.TPMCloser
	chip *faultyChip
}

func (c *faultyChipConn) Send(cmd []byte) ([]byte, error) {
	if f := c.chip.next(cmd); f != nil {
		return f.do(c.chip, func(b []byte) ([]byte, error) { return c.TPMCloser.Send(bytes.Clone(b)) }, cmd)
	}
	return c.TPMCloser.Send(cmd)
}

func (c *faultyChip) next(cmd []byte) *tpmFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.armed {
		return nil
	}
	n := len(c.commands)
	c.commands = append(c.commands, tpm2.TPMCC(binary.BigEndian.Uint32(cmd[6:])))
	if c.fault != nil && (n == c.at || c.lasting && n > c.at) {
		return c.fault
	}
	return nil
}

// open opens the TPM as a process does that just started.
func (c *faultyChip) open(t *testing.T) tpm.KeyStore {
	t.Helper()
	s, err := tpm.Open(t.Context(), c.opener(), tpm.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	if c.makes {
		return s
	}
	return c.e.Store(s) // an RSA key takes its time
}

// makes are operations that make RSA keys, which the TPM then does itself.
var makes = []string{"RegisterDevice", "Enroll", "OnPremisesCertificate", "ProvisionHello", "ResetPIN"}

// anyResets outlasts the resets of the other cells.
var anyResets = tpm.Limit{Time: 7 * 24 * time.Hour, Resets: -1, Restarts: -1}

// tpmMoments runs all courses on a TPM and returns the point before each operation.
func tpmMoments(t *testing.T) (all []moment) {
	t.Helper()
	for _, c := range lives {
		chip := &faultyChip{e: tpms.Swtpm(t)}
		keys := chip.open(t)
		l := c.begin(t, withMemory, withKeys(keys), quiet)
		l.cfg.Offline = anyResets
		l.onWire(nil)
		l.reopen()
		for _, o := range c.operations {
			if !o.between {
				entra, err := l.srv.State()
				require.NoError(t, err)
				m := moment{course: c, op: o, life: *l, entra: entra, state: copyStore(t, l.store.(*store.Memory)), now: l.clock.Now()}
				m.life.world = nil
				all = append(all, m)
			}
			if err := o.do(t.Context(), l); o.between {
				require.NoError(t, err)
			}
		}
		require.NoError(t, l.b.Close())
		require.NoError(t, keys.Close())
	}
	return all
}

// onChip is a tenant and its machine with a TPM in the state of the moment.
func (m moment) onChip(t *testing.T, chip *faultyChip, f *faultyWire) *life {
	t.Helper()
	l := m.course.begin(t, withKeys(chip.open(t)), quiet, func(w *world, o *entratest.Options) {
		w.clock = entratest.NewClock(m.now)
		o.Clock, o.State = w.clock, m.entra
		w.store = copyStore(t, m.state)
	})
	l.acct, l.imported, l.computer = m.life.acct, m.life.imported, m.life.computer
	l.cfg.Offline = anyResets
	l.onWire(f)
	l.reopen()
	return l
}

func (m moment) runOnChip(t *testing.T, chip *faultyChip) outcome {
	t.Helper()
	name, _, _ := strings.Cut(m.op.name, ",")
	chip.e, chip.makes = tpms.Swtpm(t), tally.Budget() > 0 && slices.Contains(makes, name) // one of a pool opens what another made
	defer func() { require.NoError(t, chip.e.Close()) }()
	f := &faultyWire{}
	l := m.onChip(t, chip, f)
	o := m.runOn(t.Context(), l, f, func(on bool) { f.arm(on); chip.arm(on) })
	require.NoError(t, l.b.Close())
	require.NoError(t, l.cfg.Keys.Close())
	return o
}

type tpmCell struct {
	*scene
	fault   *tpmFault
	command tpm2.TPMCC
	at      int
	lasting bool
}

func (c tpmCell) String() string {
	return fmt.Sprintf("%s/command %d, %s/%s, %s", c.m.op.name, c.at+1, commandNames([]tpm2.TPMCC{c.command}), c.fault.name, mode(c.lasting))
}

func tpmCells(t *testing.T) (all []tpmCell) {
	t.Helper()
	ms := tpmMoments(t)
	for i := range ms {
		m := &ms[i]
		chip := &faultyChip{}
		s := &scene{m: m, base: m.runOnChip(t, chip)}
		l := m.onChip(t, &faultyChip{e: tpms.Swtpm(t)}, nil)
		s.before, _ = l.look(t.Context())
		s.devices, s.keys = l.atService()
		require.NoError(t, l.b.Close())
		require.NoError(t, l.cfg.Keys.Close())
		for at, command := range chip.commands {
			for j := range tpmFaults {
				all = append(all, tpmCell{s, &tpmFaults[j], command, at, false})
				if j >= 1 && j <= 6 { // RETRY for ever is TestTryAgainEnds of package tpm, resets for ever are a chip that is gone
					all = append(all, tpmCell{s, &tpmFaults[j], command, at, true})
				}
			}
		}
	}
	return all
}

// Whatever happens to a TPM command of whatever operation, what TestHTTPFaults
// says holds, and the keys are not taken for those of another TPM.
func TestTPMFaults(t *testing.T) {
	t.Parallel()
	each(t, "a TPM command of an operation, and a fault", sample(tpmCells(t), 60, 200), func(t *testing.T, c tpmCell) {
		o := c.m.runOnChip(t, &faultyChip{fault: c.fault, at: c.at, lasting: c.lasting})
		for _, p := range c.wrong(o, func(o outcome) bool {
			return c.fault.name == "TPM_RC_LOCKOUT" && o.first == broker.ErrPINLocked.Error() ||
				c.fault.name == "TPM_RC_FAILURE" && strings.Contains(o.text, "cannot unwrap the session key") // which some versions of libtpms mean by it
		}) {
			t.Error(p)
		}
	})
}

// A TPM that fails while a reply is read is the TPM's failure, not the reply's.
func TestTPMFailsWhileAReplyIsRead(t *testing.T) {
	t.Parallel()
	for rc, want := range map[tpm2.TPMRC]error{tpm2.TPMRCLockout: broker.ErrPINLocked, tpm2.TPMRCObjectMemory: broker.ErrTransient, tpm2.TPMRCFailure: broker.ErrTransient} {
		t.Run(rc.Error(), func(t *testing.T) {
			e := tpms.Swtpm(t)
			f := tpmtest.NewFaulty(e.Opener())
			keys, err := tpm.Open(t.Context(), f.Opener(), tpm.Config{})
			require.NoError(t, err)
			t.Cleanup(func() { _ = keys.Close() })
			w := newWorld(t, withMemory, withKeys(e.Store(keys)))
			w.join()
			w.signIn()
			f.Inject(tpmtest.Fault{On: tpm2.TPMCCHMAC, Skip: 1, RC: rc, Times: -1})
			_, err = w.b.AcquireTokenSilent(t.Context(), open)
			require.ErrorIs(t, err, want)
			require.ErrorContains(t, err, "deriving")
			f.Clear()
			w.silent(open)
		})
	}
}
