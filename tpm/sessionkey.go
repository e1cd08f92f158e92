package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// sessionKey is a session key in the TPM. A store keeps two of them loaded, so
// that deriving from them again is one command.
type sessionKey struct {
	t      *TPM
	b      *keyBlob
	blob   []byte
	closed atomic.Bool
	seat   *space // where it is loaded, or is to be; guarded by t.mu; nil: nowhere
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
	sp := s.takeSeat()
	_, err := do(ctx, sp, func() (object, error) { return s.hold(sp) })
	return err
}

// hold returns the loaded session key. If too many are loaded, it takes the
// place of the one that was not used for the longest time.
func (s *sessionKey) hold(sp *space) (object, error) {
	if i := sp.heldIndex(s); i >= 0 && sp.session != nil {
		h := sp.held[i]
		sp.held = append(slices.Delete(sp.held, i, i+1), h)
		return h.object, nil
	}
	sp.dropKey(s)
	sp.dropHeld(sp.holds - 1)
	loaded, err := s.t.load(sp, s.b)
	if err != nil {
		s.unseat(sp)
		return object{}, err
	}
	sp.gone(loaded.handle)
	sp.held = append(sp.held, heldKey{owner: s, object: loaded})
	return loaded, nil
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
	sp := s.takeSeat()
	key, err := do(ctx, sp, func() ([32]byte, error) {
		o, err := s.hold(sp)
		if err != nil {
			return none, err
		}
		return s.t.hmac(sp, o, message)
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
	sp.dropHeld(1) // the sequence takes a slot
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

// Close flushes the session key if it is loaded.
func (s *sessionKey) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	// If the turn does not come, the next operation or the idle timer drops it.
	if sp := s.leaveSeat(); sp != nil {
		_, _ = do(ctx, sp, func() (none struct{}, _ error) { sp.dropKey(s); return none, nil })
	}
	return nil
}

func isNoCommand(err error) bool { return errors.Is(err, tpm2.TPMRCCommandCode) }
