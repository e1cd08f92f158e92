package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// sessionKey is a session key in the TPM. A store keeps one of them loaded, so
// that deriving from it again is one command.
type sessionKey struct {
	t      *TPM
	b      *keyBlob
	blob   []byte
	closed atomic.Bool
}

// maxMessage is the longest input that TPM2_HMAC takes on every TPM, in bytes.
const maxMessage = 1024

// OpenSession loads a session key: four commands where nothing is loaded and
// the storage root key is transient, one if the session is loaded.
func (t *TPM) OpenSession(ctx context.Context, blob []byte) (SessionKey, error) {
	b, err := unmarshalBlob(blob, envelope.Session)
	if err != nil {
		return nil, failed("opening a session key", err)
	}
	s := &sessionKey{t: t, b: b, blob: bytes.Clone(blob)}
	if err := s.load(ctx); err != nil {
		return nil, failed("opening a session key", err)
	}
	return s, nil
}

func (s *sessionKey) Blob() []byte { return bytes.Clone(s.blob) }

func (s *sessionKey) load(ctx context.Context) error {
	_, err := do(ctx, s.t.sessions, s.hold)
	return err
}

// hold returns the loaded session key, in place of the one held before.
func (s *sessionKey) hold() (object, error) {
	sp := s.t.sessions
	if sp.held.owner == s && sp.session != nil {
		return sp.held.object, nil
	}
	sp.dropHeld()
	loaded, err := s.t.load(sp, s.b)
	if err != nil {
		return object{}, err
	}
	sp.keep(loaded, s)
	return loaded, nil
}

// keep keeps a loaded object beyond the end of the operation.
func (sp *space) keep(o object, owner *sessionKey) {
	for i, h := range sp.loaded {
		if h == o.handle {
			sp.loaded = append(sp.loaded[:i], sp.loaded[i+1:]...)
			break
		}
	}
	sp.held = heldKey{owner: owner, object: o}
}

// Derive is one TPM command while the key is loaded.
func (s *sessionKey) Derive(ctx context.Context, label, context []byte) ([32]byte, error) {
	var none [32]byte
	if s.closed.Load() {
		return none, ErrClosed
	}
	message := kdf.Message(label, context)
	if len(message) > maxMessage {
		return none, fmt.Errorf("tpm: deriving: label and context are %d bytes too long", len(message)-maxMessage)
	}
	key, err := do(ctx, s.t.sessions, func() ([32]byte, error) {
		o, err := s.hold()
		if err != nil {
			return none, err
		}
		return s.t.hmac(s.t.sessions, o, message)
	})
	if err != nil {
		return none, failed("deriving", err)
	}
	return key, nil
}

// hmac computes HMAC-SHA-256 over message with a loaded key.
func (t *TPM) hmac(sp *space, o object, message []byte) (mac [32]byte, err error) {
	if t.noHMAC.Load() {
		return t.hmacSequence(sp, o, message)
	}
	params := append2B(nil, message)
	params = append(params, byte(tpm2.TPMAlgNull>>8), byte(tpm2.TPMAlgNull)) // the key's own hash
	cmd := command{
		code:    tpm2.TPMCCHMAC,
		handles: []object{o},
		auths:   []auth{{session: sp.session, value: t.keyAuth(), dir: encryptAll}},
		params:  params,
	}
	rsp, err := cmd.run(sp)
	if isNoCommand(err) {
		t.noHMAC.Store(true)
		return t.hmacSequence(sp, o, message)
	}
	if err != nil {
		return mac, err
	}
	defer rsp.clear()
	return mac, takeMAC(&mac, rsp)
}

// hmacSequence is for a TPM without TPM2_HMAC, which is optional: a sequence
// of two commands.
func (t *TPM) hmacSequence(sp *space, o object, message []byte) (mac [32]byte, err error) {
	start := command{
		code:     tpm2.TPMCCHMACStart,
		handles:  []object{o},
		auths:    []auth{{session: sp.session, value: t.keyAuth(), dir: encryptIn}},
		params:   append(append2B(nil, nil), byte(tpm2.TPMAlgNull>>8), byte(tpm2.TPMAlgNull)),
		makesObj: true,
	}
	rsp, err := start.run(sp)
	if err != nil {
		return mac, err
	}
	sequence := object{handle: rsp.handle} // a sequence has an empty name
	sp.loaded = append(sp.loaded, sequence.handle)
	complete := command{
		code:    tpm2.TPMCCSequenceComplete,
		handles: []object{sequence},
		auths:   []auth{{session: sp.session, dir: encryptAll}},
		params:  append(append2B(nil, message), 0x40, 0x00, 0x00, 0x07), // TPM_RH_NULL: no ticket
	}
	if rsp, err = complete.run(sp); err != nil {
		return mac, err
	}
	sp.gone(sequence.handle)
	defer rsp.clear()
	return mac, takeMAC(&mac, rsp)
}

func takeMAC(mac *[32]byte, rsp *response) error {
	out := first(rsp.params)
	if len(out) != len(mac) {
		return errShort
	}
	copy(mac[:], out)
	return nil
}

// closeWait bounds how long closing a session key waits for its turn.
const closeWait = 2 * time.Second

// Close flushes the session key if it is the one loaded.
func (s *sessionKey) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	// If the turn does not come, the next operation or the idle timer drops it.
	_, _ = do(ctx, s.t.sessions, func() (struct{}, error) {
		if s.t.sessions.held.owner == s {
			s.t.sessions.dropHeld()
		}
		return struct{}{}, nil
	})
	return nil
}

func isNoCommand(err error) bool { return errors.Is(err, tpm2.TPMRCCommandCode) }
