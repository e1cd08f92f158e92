package tpm_test

import (
	"bytes"
	"encoding/asn1"
	"io"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// Where the TCG EK Credential Profile keeps EKs and their certificates.
const (
	rsaCertIndex  = tpm2.TPMHandle(0x01c00002)
	p256CertIndex = tpm2.TPMHandle(0x01c0000a)
	ekHandle      = tpm2.TPMHandle(0x81010001)
)

// aCertificate is DER, which is all that a TPM's side looks at.
var aCertificate = append([]byte{0x30, 0x82, 0x03, 0x00}, make([]byte, 0x300)...)

// ekWithNonce is the RSA template with a nonce, which makes another key than the
// template alone.
func ekWithNonce() tpm2.TPMTPublic {
	template := tpm2.RSAEKTemplate
	template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: bytes.Repeat([]byte{7}, 256)})
	return template
}

// The persistent key is the EK only if it is an RSA EK and an RSA EK is wanted.
func TestPersistentEK(t *testing.T) {
	sha384 := tpm2.ECCEKTemplate
	sha384.NameAlg, sha384.AuthPolicy = tpm2.TPMAlgSHA384, tpm2.TPM2BDigest{Buffer: make([]byte, 48)}
	tests := []struct {
		name     string
		cert     tpm2.TPMHandle
		template tpm2.TPMTPublic
		used     bool
	}{
		{"RSA EK", rsaCertIndex, ekWithNonce(), true},
		{"RSA EK, certificate of the P-256 one", p256CertIndex, ekWithNonce(), false},
		{"P-256 EK", rsaCertIndex, tpm2.ECCEKTemplate, false},
		{"RSA key that is not an EK", rsaCertIndex, tpm2.RSASRKTemplate, false},
		{"key with another name algorithm", rsaCertIndex, sha384, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				var persistent []byte
				raw(t, e.Opener(), func(c transport.TPM) {
					persistent = persist(t, c, tpm2.TPMRHEndorsement, ekHandle, tt.template, nil)
					writeNV(t, c, tt.cert, aCertificate)
				})
				s := open(t, e.Opener(), tpm.Config{})
				id, err := s.Identity(t.Context())
				require.NoError(t, err)
				require.Equal(t, aCertificate, id.EKCert)
				require.Equal(t, tt.used, bytes.Equal(persistent, id.EK))
				ek, err := tpm2.Unmarshal[tpm2.TPMTPublic](id.EK)
				require.NoError(t, err)
				require.Equal(t, tt.cert == rsaCertIndex, ek.Type == tpm2.TPMAlgRSA)
				if tt.used {
					proved(t, s)
				}
			})
		})
	}
}

// An index that has no certificate for us is like one that does not exist.
func TestNoEKCertificate(t *testing.T) {
	noReading := func(a *tpm2.TPMANV) { a.AuthRead = false }
	mayBeLocked := func(a *tpm2.TPMANV) { a.ReadSTClear = true }
	tests := []struct {
		name    string
		data    []byte // nil: never written
		auth    []byte
		change  func(*tpm2.TPMANV)
		locking bool
	}{
		{name: "never written"},
		{name: "never filled in", data: bytes.Repeat([]byte{0xff}, 600)},
		{name: "cut off", data: aCertificate[:600]},
		{name: "for the owner", data: aCertificate, change: noReading},
		{name: "with an auth value", data: aCertificate, auth: []byte("the maker's")},
		{name: "locked", data: aCertificate, change: mayBeLocked, locking: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				raw(t, e.Opener(), func(c transport.TPM) {
					public := nvPublic(rsaCertIndex, max(1, len(tt.data)))
					if tt.change != nil {
						tt.change(&public.Attributes)
					}
					defineNV(t, c, public, tt.auth)
					if tt.data != nil {
						fillNV(t, c, rsaCertIndex, tt.data)
					}
					if tt.locking {
						read, err := tpm2.NVReadPublic{NVIndex: rsaCertIndex}.Execute(c)
						require.NoError(t, err)
						_, err = tpm2.NVReadLock{
							AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
							NVIndex:    tpm2.NamedHandle{Handle: rsaCertIndex, Name: read.NVName},
						}.Execute(c)
						require.NoError(t, err)
					}
				})
				s := open(t, e.Opener(), tpm.Config{})
				id, _ := proved(t, s)
				require.Empty(t, id.EKCert)
				ek, err := tpm2.Unmarshal[tpm2.TPMTPublic](id.EK)
				require.NoError(t, err)
				require.Equal(t, tpm2.TPMAlgECC, ek.Type)
				require.Zero(t, tries(t, e))
			})
		})
	}
}

// A certificate is read in pieces of 512 bytes, and no further than the index goes:
// a TPM refuses to read at its end.
func TestEKCertificateInPieces(t *testing.T) {
	for size, reads := range map[int]int{100: 1, 511: 1, 512: 1, 513: 2, 1024: 2, 1025: 3} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				cert, err := asn1.Marshal(make([]byte, size-10))
				require.NoError(t, err)
				raw(t, e.Opener(), func(c transport.TPM) {
					writeNV(t, c, rsaCertIndex, append(cert, make([]byte, size-len(cert))...))
				})
				count := tpmtest.NewCounting(e.Opener())
				id, err := open(t, count.Opener(), tpm.Config{}).Identity(t.Context())
				require.NoError(t, err)
				require.Equal(t, cert, id.EKCert)
				sent := count.Take()
				require.Len(t, slices.DeleteFunc(sent, func(c tpm2.TPMCC) bool { return c != tpm2.TPMCCNVRead }), reads)
			})
		})
	}
}

// A failing TPM returns the same identity or an error: a different EK, or one without
// its certificate, would look like another machine to a verifier.
func TestTroubleKeepsTheIdentity(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		raw(t, e.Opener(), func(c transport.TPM) {
			persist(t, c, tpm2.TPMRHEndorsement, ekHandle, ekWithNonce(), nil)
			writeNV(t, c, rsaCertIndex, aCertificate)
		})
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		want, err := s.Identity(t.Context())
		require.NoError(t, err)
		check := func(fault tpmtest.Fault) {
			f.Inject(fault)
			id, err := s.Identity(t.Context())
			f.Clear()
			if err == nil {
				require.Equal(t, want, id, "%v at %#x", fault.RC, uint32(fault.On))
			} else {
				require.ErrorContains(t, err, "tpm: reading the identity: ")
			}
		}
		meansNothingThere := map[tpm2.TPMRC]bool{
			tpm2.TPMRCHandle: true, tpm2.TPMRCValue: true, // no such index or object
			tpm2.TPMRCAuthUnavailable: true, tpm2.TPMRCBadAuth: true, tpm2.TPMRCAuthFail: true, // not for us to read
		}
		for _, on := range []tpm2.TPMCC{tpm2.TPMCCNVReadPublic, tpm2.TPMCCNVRead, readPublic} {
			check(tpmtest.Fault{On: on, Err: io.EOF})
			check(tpmtest.Fault{On: on, Tamper: func(rsp []byte) []byte { return rsp[:len(rsp)-1] }})
			for i, rc := range troubles {
				if !meansNothingThere[rc] {
					check(tpmtest.Fault{On: on, RC: rc, Times: 1 - 2*(i%2)}) // once or always
				}
			}
		}
		// The size of the policy goes beyond the public area of the index.
		check(tpmtest.Fault{On: tpm2.TPMCCNVReadPublic, Times: -1, Tamper: func(rsp []byte) []byte { rsp[22] = 0xff; return rsp }})
		id, err := s.Identity(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, id)
	})
}
