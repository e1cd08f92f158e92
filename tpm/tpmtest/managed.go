package tpmtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"syscall"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/prtbroker/prtbroker/tpm"
)

// Managed puts a resource manager in front of a TPM. It does what Linux does
// behind /dev/tpmrm0 (drivers/char/tpm/tpm2-space.c): each connection is a
// space with three slots for objects and three for sessions, which are loaded
// before and saved after every command. A space whose objects were lost by a
// reset fails with EFAULT until it is closed.
//
// It knows the commands that package tpm sends. With a [Counting] on either
// side it shows what a command costs on the hardware.
type Managed struct {
	inner tpm.Opener

	mu   sync.Mutex // guards what follows; held over commands, as in the kernel
	conn transport.TPMCloser
}

// NewManaged manages the TPM that o opens.
func NewManaged(o tpm.Opener) *Managed { return &Managed{inner: o} }

// Opener opens spaces.
func (m *Managed) Opener() tpm.Opener {
	return tpm.Opener{Spaces: 2, Open: func(ctx context.Context) (transport.TPMCloser, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if err := m.connect(ctx); err != nil {
			return nil, err
		}
		return &managedSpace{m: m}, nil
	}}
}

// Close closes the connection to the TPM.
func (m *Managed) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn == nil {
		return nil
	}
	err := m.conn.Close()
	m.conn = nil
	return err
}

func (m *Managed) connect(ctx context.Context) (err error) {
	if m.conn == nil {
		m.conn, err = m.inner.Open(ctx)
	}
	return err
}

// Send passes a command on. Like a driver, it reconnects to a TPM that was
// reset.
func (m *Managed) Send(cmd []byte) ([]byte, error) {
	if err := m.connect(context.Background()); err != nil {
		return nil, err
	}
	rsp, err := m.conn.Send(bytes.Clone(cmd))
	if err != nil {
		_ = m.conn.Close()
		m.conn = nil
	}
	return rsp, err
}

const managedSlots = 3

// A managedSpace is one open file of /dev/tpmrm0.
type managedSpace struct {
	m        *Managed
	objects  []managedObject
	sessions []managedSession
	closed   bool
}

type managedObject struct {
	virtual, real tpm2.TPMHandle
	context       tpm2.TPMSContext
}

type managedSession struct {
	handle  tpm2.TPMHandle
	context tpm2.TPMSContext
}

// handleCount is the number of handles before the authorisation of a command.
var handleCount = map[tpm2.TPMCC]int{
	tpm2.TPMCCLoad: 1, tpm2.TPMCCReadPublic: 1, tpm2.TPMCCCreate: 1, tpm2.TPMCCCreatePrimary: 1,
	tpm2.TPMCCSign: 1, tpm2.TPMCCRSADecrypt: 1, tpm2.TPMCCUnseal: 1,
	tpm2.TPMCCHMAC: 1, tpm2.TPMCCHMACStart: 1, tpm2.TPMCCSequenceComplete: 1,
	tpm2.TPMCCStartAuthSession: 2, tpm2.TPMCCPolicySecret: 2,
	tpm2.TPMCCCertify: 2, tpm2.TPMCCActivateCredential: 2,
	tpm2.TPMCCNVRead: 2, tpm2.TPMCCNVReadPublic: 1,
	tpm2.TPMCCObjectChangeAuth: 2, tpm2.TPMCCGetTime: 2,
	tpm2.TPMCCPolicyCounterTimer: 1, tpm2.TPMCCPolicyAuthValue: 1,
	tpm2.TPMCCFlushContext: 1, // a parameter, and mapped all the same
}

// makesObject are the commands that load an object.
var makesObject = []tpm2.TPMCC{tpm2.TPMCCLoad, tpm2.TPMCCCreatePrimary, tpm2.TPMCCHMACStart}

func (s *managedSpace) Send(cmd []byte) ([]byte, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	cmd = bytes.Clone(cmd)
	s.mapCommand(cmd)
	rsp, err := s.m.Send(cmd)
	if err != nil {
		return nil, err
	}
	rsp = s.mapResponse(cmd, rsp)
	if err := s.save(); err != nil {
		return nil, err
	}
	return rsp, nil
}

func (s *managedSpace) load() error {
	for i := range s.objects {
		o := &s.objects[i]
		rsp, err := tpm2.ContextLoad{Context: o.context}.Execute(s.m)
		if err != nil {
			return efault(err)
		}
		o.real = rsp.LoadedHandle
	}
	s.sessions = slices.DeleteFunc(s.sessions, func(x managedSession) bool {
		_, err := tpm2.ContextLoad{Context: x.context}.Execute(s.m)
		return err != nil // a lost session is dropped without a word
	})
	return nil
}

func efault(err error) error {
	var rc tpm2.TPMRC
	if errors.As(err, &rc) {
		return syscall.EFAULT
	}
	return err
}

func (s *managedSpace) save() error {
	for i := range s.objects {
		o := &s.objects[i]
		rsp, err := tpm2.ContextSave{SaveHandle: o.real}.Execute(s.m)
		if err != nil {
			return efault(err)
		}
		o.context = rsp.Context
		if _, err := (tpm2.FlushContext{FlushHandle: o.real}).Execute(s.m); err != nil {
			return efault(err)
		}
	}
	var kept []managedSession
	for _, x := range s.sessions {
		rsp, err := tpm2.ContextSave{SaveHandle: x.handle}.Execute(s.m)
		switch {
		case errors.Is(err, tpm2.TPMRCReferenceH0): // it ended with the command
			continue
		case err != nil:
			return efault(err)
		}
		kept = append(kept, managedSession{x.handle, rsp.Context})
	}
	s.sessions = kept
	return nil
}

func (s *managedSpace) mapCommand(cmd []byte) {
	for i := range handleCount[tpm2.TPMCC(code(cmd))] {
		at := 10 + 4*i
		if len(cmd) < at+4 {
			return
		}
		h := tpm2.TPMHandle(binary.BigEndian.Uint32(cmd[at:]))
		if h>>24 != 0x80 {
			continue
		}
		// A handle of another space does not exist in this one.
		real := tpm2.TPMHandle(0x80fffffe)
		for _, o := range s.objects {
			if o.virtual == h {
				real = o.real
			}
		}
		binary.BigEndian.PutUint32(cmd[at:], uint32(real))
	}
}

// mapResponse tracks what the command loaded and flushed.
func (s *managedSpace) mapResponse(cmd, rsp []byte) []byte {
	cc := tpm2.TPMCC(code(cmd))
	if code(rsp) != 0 {
		return rsp
	}
	switch {
	case slices.Contains(makesObject, cc) && len(rsp) >= 14:
		real := tpm2.TPMHandle(binary.BigEndian.Uint32(rsp[10:]))
		virtual, ok := s.free()
		if !ok {
			_, _ = tpm2.FlushContext{FlushHandle: real}.Execute(s.m)
			return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x02} // TPM_RC_OBJECT_MEMORY
		}
		s.objects = append(s.objects, managedObject{virtual: virtual, real: real})
		binary.BigEndian.PutUint32(rsp[10:], uint32(virtual))
	case cc == tpm2.TPMCCStartAuthSession && len(rsp) >= 14:
		handle := tpm2.TPMHandle(binary.BigEndian.Uint32(rsp[10:]))
		if len(s.sessions) == managedSlots {
			_, _ = tpm2.FlushContext{FlushHandle: handle}.Execute(s.m)
			return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x03} // TPM_RC_SESSION_MEMORY
		}
		s.sessions = append(s.sessions, managedSession{handle: handle})
	case cc == tpm2.TPMCCFlushContext || cc == tpm2.TPMCCSequenceComplete:
		gone := tpm2.TPMHandle(binary.BigEndian.Uint32(cmd[10:]))
		s.objects = slices.DeleteFunc(s.objects, func(o managedObject) bool { return o.real == gone })
		s.sessions = slices.DeleteFunc(s.sessions, func(x managedSession) bool { return x.handle == gone })
	}
	return rsp
}

func (s *managedSpace) free() (tpm2.TPMHandle, bool) {
	for i := range managedSlots {
		virtual := tpm2.TPMHandle(0x80ffffff) - tpm2.TPMHandle(i)
		if !slices.ContainsFunc(s.objects, func(o managedObject) bool { return o.virtual == virtual }) {
			return virtual, true
		}
	}
	return 0, false
}

// Close ends the space; what it holds is flushed.
func (s *managedSpace) Close() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, x := range s.sessions {
		_, _ = tpm2.FlushContext{FlushHandle: x.handle}.Execute(s.m)
	}
	return nil
}
