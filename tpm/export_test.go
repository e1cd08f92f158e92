package tpm

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// SRKTemplate is the template of the transient primary.
func SRKTemplate() tpm2.TPMTPublic { return srkTemplate }

// Parent returns the handle of the default parent.
func (t *TPM) Parent() tpm2.TPMHandle { return t.defaultParent().handle }

var (
	AuthValue   = authValue
	UnpadOAEP   = unpadOAEP
	ParsePublic = parsePublic

	AttestedClock = attestedClock

	SoundStorageKey = soundStorageKey
	InfoOf          = infoOf
)

// SendAfterLoss sends two commands in an operation whose connection fails at the
// first, and returns the error of the second.
func SendAfterLoss(conn transport.TPMCloser) error {
	sp := &space{ctx: context.Background(), conn: conn}
	_, _ = sp.Send(make([]byte, 10))
	_, err := sp.Send(make([]byte, 10))
	return err
}

// PINAuth returns the auth value that a PIN makes for a key of t.
func PINAuth(t *TPM, k Key, pin []byte) []byte { return t.pinAuth(pin, ownKey(k).b.salt) }

// KeepsPIN reports whether k has its PIN in memory.
func KeepsPIN(k Key) bool { return !ownKey(k).pin.IsZero() }

// HMACWithAuth has a session of ours authorise an HMAC key on a bare TPM.
func HMACWithAuth(c transport.TPM, handle tpm2.TPMHandle, name, value, message []byte) ([]byte, error) {
	s, err := startSession(c, tpm2.TPMSEHMAC, 0, nil)
	if err != nil {
		return nil, err
	}
	defer tpm2.FlushContext{FlushHandle: s.handle}.Execute(c)
	cmd := command{
		code:    tpm2.TPMCCHMAC,
		handles: []object{{handle, name}},
		auths:   []auth{{session: s, value: value}},
		params:  append(append2B(nil, message), byte(tpm2.TPMAlgNull>>8), byte(tpm2.TPMAlgNull)),
	}
	rsp, err := cmd.run(c)
	if err != nil {
		return nil, err
	}
	return first(rsp.params), nil
}

// SessionKeyTemplate is the template of a session key.
func SessionKeyTemplate() tpm2.TPMTPublic { return sessionKeyTemplate }

// AKTemplate is the template of the attestation key.
func AKTemplate() tpm2.TPMTPublic { return akTemplate }

// PublicArea returns the public area of a key.
func PublicArea(k Key) *tpm2.TPMTPublic {
	public, err := parsePublic(ownKey(k).b.public)
	if err != nil {
		panic(err)
	}
	return public
}

// Blob parsing, for fuzzing. The results are opaque.
func ParseEnvelope(data []byte, kind byte) (remarshal []byte, err error) {
	b, err := unmarshalBlob(data, envelope.Kind(kind))
	if err != nil {
		return nil, err
	}
	return b.marshal(envelope.Kind(kind)), nil
}

// P256Point returns the public key of a point.
var P256Point = p256

// ParseTSS2 returns the public area, the private area and the parent's name.
func ParseTSS2(data []byte) (remarshal, public, private, parentName []byte, err error) {
	b, err := unmarshalTSS2(data)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	return b.marshalTSS2(true), b.public, b.private, b.parentName, nil
}

// ForgedResponse has a command that a session protects take a response.
func ForgedResponse(raw []byte) error {
	s := &session{handle: 0x02000000, key: make([]byte, 32), nonceTPM: make([]byte, nonceSize)}
	c := command{
		code:    tpm2.TPMCCHMAC,
		handles: []object{{0x80000000, make([]byte, nameSize)}},
		auths:   []auth{{session: s, dir: encryptAll}},
		params:  append2B(nil, []byte("message")),
	}
	if _, err := c.marshal(); err != nil {
		return nil
	}
	_, err := c.unmarshal(raw)
	return err
}

// ReadPublicEncrypted sends a command that has a parameter to encrypt in its
// response and none in itself, as TPM2_Unseal.
func ReadPublicEncrypted(c transport.TPM, handle tpm2.TPMHandle, name []byte, in, out bool) error {
	s, err := startSession(c, tpm2.TPMSEHMAC, 0, nil)
	if err != nil {
		return err
	}
	defer tpm2.FlushContext{FlushHandle: s.handle}.Execute(c)
	a := auth{session: s}
	if in {
		a.dir |= encryptIn
	}
	if out {
		a.dir |= encryptOut
	}
	cmd := command{code: tpm2.TPMCCReadPublic, handles: []object{{handle, name}}, auths: []auth{a}}
	_, err = cmd.run(c)
	return err
}

// ParentIn returns where a blob of Seal has the handle and the name of its
// parent.
func ParentIn(blob []byte) (from, to int) {
	s, err := unmarshalSealed(blob)
	if err != nil {
		panic(err)
	}
	from = bytes.Index(blob, binary.BigEndian.AppendUint32(nil, uint32(s.parent)))
	return from, bytes.Index(blob, s.parentName) + len(s.parentName)
}

// SealAuth returns the auth value of what Seal made.
func SealAuth(t *TPM, blob, aad []byte) []byte {
	s, err := unmarshalSealed(blob)
	if err != nil {
		panic(err)
	}
	return t.sealAuth(aad, s.ak)
}

// PINSealAuth returns the auth value that a PIN makes for sealed data.
func PINSealAuth(t *TPM, sealed, aad, pin []byte) []byte {
	s, err := unmarshalPINSealed(sealed)
	if err != nil {
		panic(err)
	}
	return t.pinSealAuth(pin, s.salt, aad)
}

// PINSealedArea returns the public area of what a PIN opens.
func PINSealedArea(sealed []byte) *tpm2.TPMTPublic {
	s, err := unmarshalPINSealed(sealed)
	if err != nil {
		panic(err)
	}
	public, err := parsePublic(s.public)
	if err != nil {
		panic(err)
	}
	return public
}

// BoundsOf returns the clock, resetCount and restartCount that bound a blob.
func BoundsOf(sealed []byte) (clock uint64, resets, restarts uint32) {
	s, err := unmarshalPINSealed(sealed)
	if err != nil {
		panic(err)
	}
	return s.bounds.clock, s.bounds.resets, s.bounds.restarts
}

// ParsePINSealed parses a blob and checks it against an aad. It returns what
// the blob would be written as, and what the check covers.
func ParsePINSealed(data, aad []byte) (remarshal, covered []byte, err error) {
	s, err := openPINSealed(data, aad)
	if err != nil {
		return nil, nil, err
	}
	whole := s.marshal()
	s.public, s.private = nil, nil
	return whole, s.marshal(), nil
}

// Prolonged returns a blob without limits whose fields and policy agree: what
// someone would write who knows this code.
func Prolonged(sealed, aad []byte) []byte {
	s, err := unmarshalPINSealed(sealed)
	if err != nil {
		panic(err)
	}
	public, err := parsePublic(s.public)
	if err != nil {
		panic(err)
	}
	s.bounds = Limit{Resets: -1, Restarts: -1}.from(tpm2.TPMSClockInfo{})
	prolonged := s.template(aad)
	prolonged.Unique = public.Unique
	s.public = tpm2.Marshal(prolonged)
	return s.marshal()
}

// UnsealWithout unseals past the clock's word and with the first n demands
// only; n < 0 is with an HMAC session in place of the policy.
func (t *TPM) UnsealWithout(ctx context.Context, sealed, aad, pin []byte, n int) error {
	s, err := openPINSealed(sealed, aad)
	if err != nil {
		return err
	}
	value := t.pinSealAuth(pin, s.salt, aad)
	_, err = do(ctx, t.keys, func() ([]byte, error) {
		sp := t.keys
		o, err := t.load(sp, &s.keyBlob)
		if err != nil {
			return nil, err
		}
		if n < 0 {
			cmd := command{
				code:    tpm2.TPMCCUnseal,
				handles: []object{o},
				auths:   []auth{{session: sp.session, value: value, dir: encryptOut}},
			}
			_, err := cmd.run(sp)
			return nil, err
		}
		p, err := startSession(sp, tpm2.TPMSEPolicy, 0, nil)
		if err != nil {
			return nil, err
		}
		sp.loaded = append(sp.loaded, p.handle)
		demands := s.demands(aad)
		return t.unsealPIN(sp, s, o, p, demands[:min(n, len(demands))], value)
	})
	return err
}

// TryPrepared does what no code here does and who has the machine can: it
// satisfies the policy of what was sealed, without the PIN, and keeps the
// session while wait passes. Then it tries PINs with it, and returns what the
// TPM says to each.
func TryPrepared(ctx context.Context, o Opener, sealed, aad []byte, wait func(), pins ...[]byte) ([]error, error) {
	s, err := openPINSealed(sealed, aad)
	if err != nil {
		return nil, err
	}
	var p *session
	kept, err := inStore(ctx, o, func(t *TPM, sp *space) (*tpm2.ContextSaveResponse, error) {
		if p, err = startSession(sp, tpm2.TPMSEPolicy, 0, nil); err != nil {
			return nil, err
		}
		if _, err := t.load(sp, &s.keyBlob); err != nil { // starts the space's session
			return nil, err
		}
		if err := sp.satisfy(p, s.demands(aad)); err != nil {
			return nil, err
		}
		return tpm2.ContextSave{SaveHandle: p.handle}.Execute(sp)
	})
	if err != nil {
		return nil, err
	}
	wait()
	return inStore(ctx, o, func(t *TPM, sp *space) (said []error, err error) {
		loaded, err := t.load(sp, &s.keyBlob)
		if err != nil {
			return nil, err
		}
		if _, err := (tpm2.ContextLoad{Context: kept.Context}).Execute(sp); err != nil {
			return nil, err
		}
		sp.loaded = append(sp.loaded, p.handle)
		for _, pin := range pins {
			cmd := command{
				code:    tpm2.TPMCCUnseal,
				handles: []object{loaded},
				auths:   []auth{{session: p, value: t.pinSealAuth(pin, s.salt, aad), dir: encryptOut}},
			}
			_, err := cmd.run(sp)
			said = append(said, err)
		}
		return said, nil
	})
}

func inStore[T any](ctx context.Context, o Opener, op func(t *TPM, sp *space) (T, error)) (T, error) {
	t, err := Open(ctx, o, Config{})
	if err != nil {
		var none T
		return none, err
	}
	defer t.Close()
	return do(ctx, t.keys, func() (T, error) { return op(t, t.keys) })
}

// Rest lets go of all that is held, as after [Config.Idle].
func Rest(ctx context.Context, t *TPM) error {
	for _, sp := range []*space{t.sessions, t.keys} {
		if err := sp.turn(ctx); err != nil {
			return err
		}
		sp.queue <- struct{}{}
		sp.release()
	}
	return nil
}

// MakingKey pretends that a key is being made, until done is called.
func MakingKey(t *TPM) (done func()) { return t.keysBusy() }

// HoldKeys occupies the space of everything but session keys.
func HoldKeys(tb testing.TB, t *TPM) (release func()) {
	tb.Helper()
	if err := t.keys.turn(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return func() { t.keys.queue <- struct{}{} }
}
