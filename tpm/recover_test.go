package tpm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// withFaults gives a test a warm store behind a faulty transport, once for
// each software TPM.
func withFaults(t *testing.T, run func(t *testing.T, f *tpmtest.Faulty, m *material)) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		m := newMaterial(t, open(t, f.Opener(), tpm.Config{}))
		run(t, f, m)
	})
}

// A TPM that is not ready says so with a warning and executes nothing.
func TestTryAgainNeverSurfaces(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		for _, rc := range []tpm2.TPMRC{tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCNVRate} {
			t.Run(rc.Error(), func(t *testing.T) {
				for _, op := range m.operations() {
					before := f.Injected()
					f.Inject(tpmtest.Fault{RC: rc, Times: 3}, tpmtest.Fault{RC: rc, Skip: 1, Times: 2})
					require.NoError(t, op.run(t, t.Context()), op.name)
					require.Greater(t, f.Injected(), before+2, op.name)
					f.Clear()
				}
			})
		}
	})
}

// What is sent again is the same, though the TPM spoiled the buffer it was
// given: the simulator decrypts parameters in it.
func TestTryAgainSendsTheSameBytes(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		spoil := &spoiler{inner: e.Opener()}
		record := tpmtest.NewRecording(spoil.opener())
		m := newMaterial(t, open(t, record.Opener(), tpm.Config{}))
		for _, op := range m.operations() {
			before := len(record.Messages())
			spoil.next = true
			require.NoError(t, op.run(t, t.Context()), op.name)
			require.False(t, spoil.next)
			wire := record.Messages()[before:]
			require.True(t, bytes.Equal(wire[0], wire[2]), op.name)
		}
	})
}

// spoiler overwrites a command and asks for it again.
type spoiler struct {
	inner tpm.Opener
	next  bool
}

type spoiling struct {
	transport.TPMCloser
	s *spoiler
}

func (s *spoiler) opener() tpm.Opener {
	o := s.inner
	o.Open = func(ctx context.Context) (transport.TPMCloser, error) {
		c, err := s.inner.Open(ctx)
		return spoiling{c, s}, err
	}
	return o
}

func (c spoiling) Send(cmd []byte) ([]byte, error) {
	if c.s.next {
		c.s.next = false
		clear(cmd)
		return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x22}, nil // TPM_RC_RETRY
	}
	return c.TPMCloser.Send(cmd)
}

// A TPM that never gets ready does not hold up a caller who gives up, and in
// the end everyone else.
func TestTryAgainEnds(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		inBubble(t, func(t *testing.T) {
			f := tpmtest.NewFaulty(e.Opener())
			m := newMaterial(t, open(t, f.Opener(), tpm.Config{Idle: -1}))
			f.Inject(tpmtest.Fault{On: hmacCommand, RC: tpm2.TPMRCRetry, Times: -1})
			ctx, cancel := context.WithTimeout(t.Context(), minute/2)
			defer cancel()
			require.ErrorIs(t, m.derive(t, ctx, m.session), context.DeadlineExceeded)
			require.ErrorIs(t, m.derive(t, t.Context(), m.session), tpm.ErrBusy)
			f.Clear()
			m.all(t)
		})
	})
}

// Handles and sessions are lost by a reset, a resume or hibernation; which of
// these codes says so depends on the command.
func TestLostHandles(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		for _, rc := range []tpm2.TPMRC{
			tpm2.TPMRCHandle, tpm2.TPMRCValue, tpm2.TPMRCReferenceH0, tpm2.TPMRCReferenceH1, tpm2.TPMRCReferenceS0, tpm2.TPMRCInitialize,
		} {
			t.Run(rc.Error(), func(t *testing.T) { once(t, f, m, tpmtest.Fault{RC: rc}) })
		}
	})
}

// The kernel's resource manager fails a write with EFAULT when it cannot load
// a context, and a driver fails with EIO; a socket ends.
func TestLostConnection(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		for _, err := range []error{syscall.EFAULT, syscall.EIO, syscall.ENODEV, io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE} {
			t.Run(err.Error(), func(t *testing.T) {
				once(t, f, m, tpmtest.Fault{Err: err})
				once(t, f, m, tpmtest.Fault{Err: err, Executed: true})
			})
		}
	})
}

// once injects a fault into the first command of each operation: the operation
// succeeds, and once more is too much.
func once(t *testing.T, f *tpmtest.Faulty, m *material, fault tpmtest.Fault) {
	for _, op := range m.operations() {
		fault := fault
		if op.name == "UnwrapSession" && fault.RC == tpm2.TPMRCValue {
			fault.On = load // RSA_Decrypt means something else by it
		}
		before := f.Injected()
		f.Inject(fault)
		require.NoError(t, op.run(t, t.Context()), op.name)
		require.Equal(t, before+1, f.Injected(), op.name)
	}
	m.all(t)
}

func TestRecoveryIsTriedOnce(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		tests := []struct {
			name  string
			fault tpmtest.Fault
			want  error
			times int
		}{
			{"handle", tpmtest.Fault{On: hmacCommand, RC: tpm2.TPMRCReferenceH0}, tpm.ErrNoTPM, 2},
			{"connection", tpmtest.Fault{On: hmacCommand, Err: syscall.EIO}, tpm.ErrNoTPM, 2},
			{"object slots", tpmtest.Fault{On: hmacCommand, RC: tpm2.TPMRCObjectMemory}, tpm.ErrBusy, 2},
			{"session slots", tpmtest.Fault{On: hmacCommand, RC: tpm2.TPMRCSessionMemory}, tpm.ErrBusy, 2},
			{"failure mode", tpmtest.Fault{On: hmacCommand, RC: tpm2.TPMRCFailure}, tpm.ErrNoTPM, 1},
			{"integrity", tpmtest.Fault{On: hmacCommand, RC: tpm2.TPMRCIntegrity}, tpm.ErrNoTPM, 1},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				before := f.Injected()
				tt.fault.Times = -1
				f.Inject(tt.fault)
				require.ErrorIs(t, m.derive(t, t.Context(), m.session), tt.want)
				require.Equal(t, before+tt.times, f.Injected())
				f.Clear()
				m.all(t)
			})
		}
	})
}

func TestFullSlotsAreFreedOnce(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		for _, rc := range []tpm2.TPMRC{tpm2.TPMRCObjectMemory, tpm2.TPMRCSessionMemory, tpm2.TPMRCSessionHandles, tpm2.TPMRCContextGap} {
			t.Run(rc.Error(), func(t *testing.T) { once(t, f, m, tpmtest.Fault{RC: rc}) })
		}
	})
}

// A TPM that does not list what it has loaded may have room for all that.
func TestFullSlotsThatAreNotListed(t *testing.T) {
	wrongList := func(rsp []byte) []byte {
		binary.BigEndian.PutUint32(rsp[11:], uint32(tpm2.TPMCapCommands))
		return rsp
	}
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		for name, list := range map[string]tpmtest.Fault{
			"refused":          {RC: tpm2.TPMRCFailure},
			"of another thing": {Tamper: wrongList},
		} {
			before := f.Injected()
			list.On, list.Times = tpm2.TPMCCGetCapability, 2
			f.Inject(tpmtest.Fault{On: hmacCommand, RC: tpm2.TPMRCObjectMemory}, list)
			require.NoError(t, m.derive(t, t.Context(), m.session), name)
			require.Equal(t, before+3, f.Injected(), name)
		}
	})
}

// What a process left behind that died fills the TPM until its reset, where no
// resource manager cleans up.
func TestLeftBehind(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		first, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		m := newMaterial(t, first)
		require.NoError(t, first.Close())
		raw(t, e.Opener(), func(c transport.TPM) {
			for range 3 {
				_, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm.SRKTemplate())}.Execute(c)
				require.NoError(t, err)
			}
			for range 3 {
				_, _, err := tpm2.HMACSession(c, tpm2.TPMAlgSHA256, 16)
				require.NoError(t, err)
			}
		})
		shared := e.Opener()
		shared.Exclusive = false
		_, err = tpm.Open(t.Context(), shared, tpm.Config{})
		require.ErrorIs(t, err, tpm.ErrBusy, "what may be another's is not flushed")

		m.reopened(t, open(t, e.Opener(), tpm.Config{})).all(t)
	})
}

// Reset: for swtpm this is kill -9 and a new process on the same state.
func TestReset(t *testing.T) {
	for _, persistent := range []bool{false, true} {
		t.Run(map[bool]string{false: "transient SRK", true: "persistent SRK"}[persistent], func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				if persistent {
					provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
				}
				m := ownMaterial(t, open(t, e.Opener(), tpm.Config{}))
				for _, op := range m.operations() {
					require.NoError(t, m.derive(t, t.Context(), m.session), "warm")
					require.NoError(t, e.Reset())
					require.NoError(t, op.run(t, t.Context()), op.name)
				}
				m.all(t)
			})
		})
	}
}

// The TPM behind the socket is replaced: not a signature, and no fall-back.
func TestReplaced(t *testing.T) {
	for _, persistent := range []bool{false, true} {
		t.Run(map[bool]string{false: "transient SRK", true: "persistent SRK"}[persistent], func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				if persistent {
					provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
				}
				s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
				require.NoError(t, err)
				m := ownMaterial(t, s)
				pin, err := s.SRKName(t.Context())
				require.NoError(t, err)
				require.NoError(t, e.Wipe())
				for _, op := range m.operations() {
					err := op.run(t, t.Context())
					require.ErrorIs(t, err, tpm.ErrKeyUnusable, op.name)
					if !persistent {
						require.ErrorIs(t, err, tpm.ErrTPMChanged, op.name)
					}
				}
				require.NoError(t, s.Close())
				if persistent {
					provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
				}
				_, err = tpm.Open(t.Context(), e.Opener(), tpm.Config{SRKName: pin})
				require.ErrorIs(t, err, tpm.ErrTPMChanged, "the pin")

				other := open(t, e.Opener(), tpm.Config{})
				_, err = other.OpenKey(t.Context(), m.device.Blob())
				require.ErrorIs(t, err, tpm.ErrTPMChanged)
				_, err = other.OpenSession(t.Context(), m.session.Blob())
				require.ErrorIs(t, err, tpm.ErrTPMChanged)
				_, err = other.Unseal(t.Context(), m.sealed, aad)
				require.ErrorIs(t, err, tpm.ErrTPMChanged)
			})
		})
	}
}

// The new TPM has an SRK at the same handle. The session is salted to the
// pinned key, so that it cannot take part.
func TestReplacedBySameHandle(t *testing.T) {
	templates := map[string]tpm2.TPMTPublic{"ECC": tpm.SRKTemplate(), "RSA": tpm2.RSASRKTemplate}
	for name, template := range templates {
		t.Run(name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				provision(t, e.Opener(), srkHandle, template, nil)
				// The store does not notice that its connection changes.
				swap := newSwappable(e.Opener())
				s := open(t, swap.opener(), tpm.Config{})
				m := ownMaterial(t, s)
				swap.closeAll()
				require.NoError(t, e.Wipe())
				provision(t, e.Opener(), srkHandle, template, nil)
				for _, op := range m.operations() {
					require.ErrorIs(t, op.run(t, t.Context()), tpm.ErrTPMChanged, op.name)
				}
			})
		})
	}
}

// swappable is a transport whose TPM can be replaced behind it, unseen.
type swappable struct {
	inner tpm.Opener
	conns []*swapConn
}

type swapConn struct {
	s    *swappable
	ctx  context.Context
	conn transport.TPMCloser
}

func newSwappable(o tpm.Opener) *swappable { return &swappable{inner: o} }

func (s *swappable) opener() tpm.Opener {
	o := s.inner
	o.Open = func(ctx context.Context) (transport.TPMCloser, error) {
		c := &swapConn{s: s, ctx: context.WithoutCancel(ctx)}
		s.conns = append(s.conns, c)
		return c, nil
	}
	return o
}

func (s *swappable) closeAll() {
	for _, c := range s.conns {
		_ = c.Close()
	}
}

func (c *swapConn) Send(cmd []byte) ([]byte, error) {
	if c.conn == nil {
		conn, err := c.s.inner.Open(c.ctx)
		if err != nil {
			return nil, err
		}
		c.conn = conn
	}
	return c.conn.Send(cmd)
}

func (c *swapConn) Close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn = nil
	return err
}

func TestNoTPM(t *testing.T) {
	tests := []struct {
		name string
		err  error
		says string
	}{
		{"no device", &fs.PathError{Op: "open", Path: "/dev/tpmrm0", Err: syscall.ENOENT}, "group tss"},
		{"no permission", &fs.PathError{Op: "open", Path: "/dev/tpmrm0", Err: syscall.EACCES}, "group tss"},
		{"in use", &fs.PathError{Op: "open", Path: "/dev/tpm0", Err: syscall.EBUSY}, "group tss"},
		{"refused", syscall.ECONNREFUSED, "TPM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tpm.Open(t.Context(), tpm.Opener{Open: func(context.Context) (transport.TPMCloser, error) {
				return nil, tt.err
			}}, tpm.Config{})
			require.ErrorIs(t, err, tpm.ErrNoTPM)
			require.ErrorIs(t, err, tt.err)
			require.ErrorContains(t, err, tt.says)
		})
	}
	_, err := tpm.Open(t.Context(), tpm.Opener{}, tpm.Config{})
	require.EqualError(t, err, "tpm: Opener.Open is nil")
	_, err = tpm.Open(t.Context(), tpm.Opener{Open: func(context.Context) (transport.TPMCloser, error) {
		return nil, fmt.Errorf("%w: switched off", tpm.ErrNoTPM)
	}}, tpm.Config{})
	require.EqualError(t, err, "tpm: opening: no TPM: switched off", "an opener that knows better")
}

// A TPM that cannot be opened again says so, and recovers when it can.
func TestGoneForAWhile(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		f.Inject(tpmtest.Fault{Err: io.EOF})
		f.FailOpen(syscall.ENOENT)
		require.ErrorIs(t, m.derive(t, t.Context(), m.session), tpm.ErrNoTPM)
		m.all(t)
	})
}

// A response that the TPM did not authenticate is not believed.
func TestTamperedResponse(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		f.Inject(tpmtest.Fault{On: hmacCommand, Times: 2, Tamper: func(rsp []byte) []byte {
			rsp = bytes.Clone(rsp)
			rsp[17] ^= 1 // within the MAC
			return rsp
		}})
		err := m.derive(t, t.Context(), m.session)
		require.ErrorIs(t, err, tpm.ErrTPMChanged)
		for n := range 90 {
			f.Inject(tpmtest.Fault{On: hmacCommand, Times: 2, Tamper: func(rsp []byte) []byte { return rsp[:min(n, len(rsp))] }})
			require.ErrorContains(t, m.derive(t, t.Context(), m.session), "tpm: deriving: ", "%d bytes", n)
			f.Clear()
		}
		f.Inject(tpmtest.Fault{On: hmacCommand, Times: 2, Tamper: func(rsp []byte) []byte {
			rsp = append(bytes.Clone(rsp), 0)
			binary.BigEndian.PutUint32(rsp[2:], uint32(len(rsp)))
			return rsp
		}})
		require.ErrorIs(t, m.derive(t, t.Context(), m.session), tpm.ErrNoTPM, "a byte after the authorisation")
		m.all(t)
	})
}

// Without a PIN nothing can be counted: the connection may be opened again, and
// a refusal is not a wrong PIN.
func TestSigningWithoutPIN(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		signing := func() error {
			_, err := m.device.SignContext(t.Context(), make([]byte, 32), sha256Hash)
			return err
		}
		f.Inject(tpmtest.Fault{On: sign, Err: io.EOF})
		require.NoError(t, signing())
		f.Inject(tpmtest.Fault{On: sign, RC: tpm2.TPMRCAuthFail})
		err := signing()
		require.ErrorIs(t, err, tpm.ErrAuth)
		require.NotErrorIs(t, err, tpm.ErrWrongPIN)
	})
}

// A restart does not count against the caller's context.
func TestErrorsKeepTheContext(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		ctx, cancel := context.WithCancel(t.Context())
		wait := make(chan struct{})
		f.Inject(tpmtest.Fault{Wait: wait, Err: syscall.EIO})
		result := make(chan error, 1)
		go func() { result <- m.derive(t, ctx, m.session) }()
		<-f.Hung()
		cancel()
		err := <-result
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, errors.Is(err, tpm.ErrNoTPM))
		close(wait)
		m.all(t)
	})
}

// A response that ends too early is a lost connection, from the first one on.
func TestShortResponse(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		for _, left := range []int{0, 9, 30} {
			f.Inject(tpmtest.Fault{Tamper: func(rsp []byte) []byte { return rsp[:min(left, len(rsp)-1)] }})
			s := open(t, f.Opener(), tpm.Config{})
			require.NoError(t, s.Close())
		}
		require.Equal(t, 3, f.Injected())
	})
}

// A connection that was lost for good does not cost the next operation its one
// attempt with a new one.
func TestRecoveryAfterALostConnection(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		lost := errors.New("lost")
		f.Inject(tpmtest.Fault{Err: lost, Times: 2})
		require.ErrorIs(t, m.derive(t, t.Context(), m.session), tpm.ErrNoTPM)
		f.Inject(tpmtest.Fault{Err: lost})
		require.NoError(t, m.derive(t, t.Context(), m.session))
		require.Equal(t, 3, f.Injected())
	})
}

// A full TPM that does not list what is loaded in it stays full.
func TestFullAndNotListed(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		f.Inject(
			tpmtest.Fault{On: hmacCommand, RC: tpm2.TPMRCObjectMemory, Times: -1},
			tpmtest.Fault{On: tpm2.TPMCCGetCapability, RC: tpm2.TPMRCFailure, Times: -1},
		)
		require.ErrorIs(t, m.derive(t, t.Context(), m.session), tpm.ErrBusy)
		f.Clear()
		m.all(t)
	})
}
