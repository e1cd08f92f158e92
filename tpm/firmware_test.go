package tpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"
)

// A firmware authenticates what it answers to a command with one handle and one
// session, whatever that is.
type firmware struct {
	session session // as the TPM knows it
	handle  tpm2.TPMHandle
	params  []byte
}

func (f *firmware) Close() error { return nil }

func (f *firmware) Send(cmd []byte) ([]byte, error) {
	r := &reader{b: cmd}
	r.bytes(6)
	code := r.uint32()
	r.bytes(4 + 4 + 4) // the handle, the size of the authorisation area, the session
	caller, attributes := r.sized(), r.byte()
	nonce := bytes.Repeat([]byte{7}, nonceSize)
	params := bytes.Clone(f.params)
	if attributes&attrEncrypt != 0 {
		if err := f.session.crypt(nil, first(params), nonce, caller, false); err != nil {
			return nil, err
		}
	}
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(make([]byte, 4), code))
	h.Write(params)
	mac := f.session.mac(nil, h.Sum(nil), nonce, caller, nil, attributes)

	var b []byte
	if f.handle != 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(f.handle))
	}
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(params))), params...)
	b = append2B(append(append2B(b, nonce), attributes), mac)
	rsp := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTSessions))
	rsp = binary.BigEndian.AppendUint32(rsp, uint32(10+len(b)))
	return append(append(rsp, 0, 0, 0, 0), b...), nil
}

// answering is a space of a TPM that answers each command with params.
func answering(t *testing.T, handle tpm2.TPMHandle, params []byte) *space {
	s := session{handle: hmacSessionFirst, key: bytes.Repeat([]byte{1}, 32), nonceTPM: make([]byte, nonceSize)}
	return &space{ctx: t.Context(), conn: &firmware{s, handle, params}, session: &s}
}

var parentOfTests = object{0x80000000, make([]byte, nameSize)}

// The name is the hash of the public area: under another name it is another key.
func TestLoadedUnderAnotherName(t *testing.T) {
	const handle = tpm2.TPMHandle(0x80000001)
	name := bytes.Repeat([]byte{3}, nameSize)
	sp := answering(t, handle, append2B(nil, name))
	loaded, err := sp.load(parentOfTests, &keyBlob{name: name})
	require.NoError(t, err)
	require.Equal(t, object{handle, name}, loaded)

	for _, other := range [][]byte{nil, name[:nameSize-1], bytes.Repeat([]byte{4}, nameSize)} {
		sp := answering(t, handle, append2B(nil, other))
		_, err := sp.load(parentOfTests, &keyBlob{name: name})
		require.ErrorIs(t, err, ErrTPMChanged)
		require.Equal(t, []tpm2.TPMHandle{handle}, sp.loaded, "it is flushed")
	}
}

// A response that is the TPM's and too short is none, wherever it ends.
func TestAuthenticatedResponseCutShort(t *testing.T) {
	private, public, mac := []byte("private"), []byte("public"), bytes.Repeat([]byte{5}, 32)
	created := append2B(append2B(nil, private), public)
	certified := append2B(nil, []byte("info"))
	// TPMT_SIGNATURE: algorithm, hash, and one number or two.
	rsa := append2B([]byte{0, 0x14, 0, 0x0b}, []byte{1, 2})
	ecdsa := append2B(append2B([]byte{0, 0x18, 0, 0x0b}, []byte{1}), []byte{2})
	one, err := asn1.Marshal(struct{ R, S *big.Int }{big.NewInt(1), big.NewInt(2)})
	require.NoError(t, err)

	tests := []struct {
		name  string
		whole []byte
		want  []byte
		parse func(params []byte) ([]byte, error)
	}{
		{"Create", created, append(private, public...), func(params []byte) ([]byte, error) {
			b, err := answering(t, 0, params).create(parentOfTests, sensitiveCreate(nil, nil), srkTemplate)
			if err != nil {
				return nil, err
			}
			require.Equal(t, nameOf(b.public), b.name)
			return append(b.private, b.public...), nil
		}},
		{"HMAC", append2B(nil, mac), mac, func(params []byte) ([]byte, error) {
			key, err := new(TPM).hmac(answering(t, 0, params), parentOfTests, []byte("message"))
			return key[:], err
		}},
		{"Certify", certified, []byte("info"), func(params []byte) ([]byte, error) {
			info, _, err := parseCertified(params)
			return info, err
		}},
		{"Sign with RSA", rsa, []byte{1, 2}, parseSignature},
		{"Sign with ECDSA", ecdsa, one, parseSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.parse(tt.whole)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			for n := range tt.whole {
				_, err := tt.parse(tt.whole[:n])
				require.ErrorIs(t, err, errShort, "%d of %d bytes", n, len(tt.whole))
			}
		})
	}
	for _, size := range []int{0, 31, 33} {
		_, err := new(TPM).hmac(answering(t, 0, append2B(nil, make([]byte, size))), parentOfTests, []byte("message"))
		require.ErrorIs(t, err, errShort, "an HMAC of %d bytes", size)
	}
}
