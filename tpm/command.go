package tpm

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// maxResponse is the longest response a TPM gives, in bytes.
const maxResponse = 4096

const (
	attrContinue = 1 << 0
	attrDecrypt  = 1 << 5
	attrEncrypt  = 1 << 6
)

// An object is a handle with the name that authorisations cover.
type object struct {
	handle tpm2.TPMHandle
	name   []byte
}

func permanent(h tpm2.TPMHandle) object {
	return object{h, binary.BigEndian.AppendUint32(nil, uint32(h))}
}

// An auth authorises one handle of a command, or only encrypts if it comes
// after the last handle. Without a session it is a satisfied policy session or,
// as the zero value, an empty password.
type auth struct {
	session *session
	value   []byte
	dir     direction
	policy  tpm2.TPMHandle
	last    bool // the session ends with the command
}

// A command is a TPM command; without auths it needs no authorisation. It is
// encoded here and not by go-tpm, whose reflection leaves copies of a secret
// parameter behind and costs more time than the simulator's HMAC.
type command struct {
	code       tpm2.TPMCC
	handles    []object
	auths      []auth
	params     []byte // encrypted in place when an auth says so; begins with a TPM2B then
	makesObj   bool   // the response carries a handle
	nonceFresh [3][nonceSize]byte
}

// A response aliases the bytes that came from the transport; clear wipes them.
type response struct {
	raw    []byte
	handle tpm2.TPMHandle
	params []byte // decrypted
}

func (r *response) clear() { clear(r.raw) }

var errShort = errors.New("tpm: truncated response")

// run sends the command. On a TPM error it returns the tpm2.TPMRC.
func (c *command) run(t transport.TPM) (*response, error) {
	msg, err := c.marshal()
	if err != nil {
		return nil, err
	}
	raw, err := t.Send(msg)
	if err != nil {
		return nil, err
	}
	return c.unmarshal(raw)
}

func (c *command) marshal() ([]byte, error) {
	for i := range c.auths {
		a := &c.auths[i]
		if _, err := rand.Read(c.nonceFresh[i][:]); err != nil {
			return nil, err
		}
		if a.dir&encryptIn != 0 {
			if err := a.session.crypt(a.value, first(c.params), c.nonceFresh[i][:], a.session.nonceTPM, false); err != nil {
				return nil, err
			}
		}
	}
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(c.code)))
	for _, o := range c.handles {
		h.Write(o.name)
	}
	h.Write(c.params)
	cpHash := h.Sum(nil)

	if len(c.auths) == 0 {
		return c.header(tpm2.TPMSTNoSessions, nil), nil
	}
	var areas []byte
	for i, a := range c.auths {
		areas = c.appendAuth(areas, i, a, cpHash)
	}
	return c.header(tpm2.TPMSTSessions, append(binary.BigEndian.AppendUint32(nil, uint32(len(areas))), areas...)), nil
}

// header puts header and handles before the authorisation area and the parameters.
func (c *command) header(tag tpm2.TPMST, area []byte) []byte {
	size := 10 + 4*len(c.handles) + len(area) + len(c.params)
	msg := make([]byte, 0, size)
	msg = binary.BigEndian.AppendUint16(msg, uint16(tag))
	msg = binary.BigEndian.AppendUint32(msg, uint32(size))
	msg = binary.BigEndian.AppendUint32(msg, uint32(c.code))
	for _, o := range c.handles {
		msg = binary.BigEndian.AppendUint32(msg, uint32(o.handle))
	}
	msg = append(msg, area...)
	return append(msg, c.params...)
}

func (c *command) appendAuth(b []byte, i int, a auth, cpHash []byte) []byte {
	switch {
	case a.policy != 0:
		// Neither salted nor bound nor asked for an auth value: no HMAC.
		b = binary.BigEndian.AppendUint32(b, uint32(a.policy))
		return append(b, 0, 0, attrContinue, 0, 0)
	case a.session == nil:
		b = binary.BigEndian.AppendUint32(b, uint32(tpm2.TPMRSPW))
		return append(b, 0, 0, 0, 0, 0)
	}
	// The first authorisation also covers the nonces of a session that only
	// encrypts (Part 1, 19.6.5).
	var extra []byte
	if i == 0 {
		for _, other := range c.auths[1:] {
			if other.dir != clearText {
				extra = append(extra, other.session.nonceTPM...)
			}
		}
	}
	attributes := a.attributes()
	mac := a.session.mac(a.value, cpHash, c.nonceFresh[i][:], a.session.nonceTPM, extra, attributes)
	b = binary.BigEndian.AppendUint32(b, uint32(a.session.handle))
	b = append2B(b, c.nonceFresh[i][:])
	b = append(b, attributes)
	return append2B(b, mac)
}

func (a auth) attributes() byte {
	b := byte(attrContinue)
	if a.last {
		b = 0
	}
	if a.dir&encryptIn != 0 {
		b |= attrDecrypt
	}
	if a.dir&encryptOut != 0 {
		b |= attrEncrypt
	}
	return b
}

func (c *command) unmarshal(raw []byte) (*response, error) {
	r := &reader{b: raw}
	tag, _, rc := tpm2.TPMST(r.uint16()), r.uint32(), tpm2.TPMRC(r.uint32())
	if rc != tpm2.TPMRCSuccess {
		return nil, rc
	}
	rsp := &response{raw: raw}
	if len(c.auths) == 0 {
		rsp.params = r.b
		return rsp, nil
	}
	if tag != tpm2.TPMSTSessions {
		return nil, errShort
	}
	if c.makesObj {
		rsp.handle = tpm2.TPMHandle(r.uint32())
	}
	rsp.params = r.bytes(int(r.uint32()))
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(rc)))
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(c.code)))
	h.Write(rsp.params)
	rpHash := h.Sum(nil)
	for i, a := range c.auths {
		nonce, attributes, mac := r.sized(), r.byte(), r.sized()
		if r.failed {
			return nil, errShort
		}
		if a.session == nil { // a password, or a policy session that asks for no HMAC
			continue
		}
		if (attributes^a.attributes())&attrContinue != 0 ||
			!hmac.Equal(mac, a.session.mac(a.value, rpHash, nonce, c.nonceFresh[i][:], nil, attributes)) {
			return nil, errForged
		}
		a.session.nonceTPM = append([]byte(nil), nonce...)
	}
	if len(r.b) != 0 {
		return nil, errShort
	}
	for i, a := range c.auths {
		if a.session != nil && a.dir&encryptOut != 0 {
			if err := a.session.crypt(a.value, first(rsp.params), a.session.nonceTPM, c.nonceFresh[i][:], true); err != nil {
				return nil, err
			}
		}
	}
	return rsp, nil
}

// first returns the contents of the TPM2B that params begins with.
func first(params []byte) []byte {
	r := &reader{b: params}
	return r.sized()
}

func append2B(b, contents []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(contents)))
	return append(b, contents...)
}

// A reader takes big-endian fields off b. Once a field is missing it has failed
// and returns zeros.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b, r.failed = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) sized() []byte { return r.bytes(int(r.uint16())) }
