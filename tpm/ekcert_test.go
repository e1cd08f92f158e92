package tpm_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// EK certificates of both kinds, read from where makers put them.
func TestEKCertificate(t *testing.T) {
	for _, kind := range []struct {
		name     string
		index    tpm2.TPMHandle
		template tpm2.TPMTPublic
	}{
		{"RSA", 0x01c00002, tpm2.RSAEKTemplate},
		{"P-256", 0x01c0000a, tpm2.ECCEKTemplate},
	} {
		t.Run(kind.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				ca, issue := newCA(t)
				var ek crypto.PublicKey
				raw(t, e.Opener(), func(c transport.TPM) {
					rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(kind.template)}.Execute(c)
					require.NoError(t, err)
					public, err := rsp.OutPublic.Contents()
					require.NoError(t, err)
					ek, err = tpm2.Pub(*public)
					require.NoError(t, err)
					_, err = tpm2.FlushContext{FlushHandle: rsp.ObjectHandle}.Execute(c)
					require.NoError(t, err)
					// The index may be larger than the certificate.
					writeNV(t, c, kind.index, append(issue(ek, nil), make([]byte, 100)...))
				})
				s := open(t, e.Opener(), tpm.Config{})
				id, v := proved(t, s)
				require.NotEmpty(t, id.EKCert)
				v.Roots = ca
				k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
				require.NoError(t, err)
				a, err := s.Attest(t.Context(), k, nonce)
				require.NoError(t, err)
				_, err = tpm.VerifyAttestation(a, v)
				require.NoError(t, err)

				// A maker may leave out what an EK is for, and write much else.
				for name, cert := range map[string][]byte{
					"no usage":    issue(ek, func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }),
					"two usages":  issue(ek, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
					"the largest": issueOfSize(8<<10, func(change func(*x509.Certificate)) []byte { return issue(ek, change) }),
				} {
					a := *a
					a.EKCert = cert
					_, err = tpm.VerifyAttestation(&a, v)
					require.NoError(t, err, name)
				}

				otherCA, otherIssue := newCA(t)
				stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				require.NoError(t, err)
				tests := map[string]struct {
					says   string
					change func(a *tpm.Attestation, v *tpm.Verification)
				}{
					"another CA":               {"EK certificate: x509", func(_ *tpm.Attestation, v *tpm.Verification) { v.Roots = otherCA }},
					"certificate of its":       {"EK certificate: x509", func(a *tpm.Attestation, _ *tpm.Verification) { a.EKCert = otherIssue(ek, nil) }},
					"certificate of another":   {"belongs to another EK", func(a *tpm.Attestation, _ *tpm.Verification) { a.EKCert = issue(stranger.Public(), nil) }},
					"certificate for a server": {"not for an EK", func(a *tpm.Attestation, _ *tpm.Verification) { a.EKCert = issue(ek, serverUsage) }},
					"no certificate":           {"no EK certificate", func(a *tpm.Attestation, _ *tpm.Verification) { a.EKCert = nil }},
					"too large":                {"no EK certificate", func(a *tpm.Attestation, _ *tpm.Verification) { a.EKCert = make([]byte, 8<<10+1) }},
					"expired": {"EK certificate: x509", func(_ *tpm.Attestation, v *tpm.Verification) {
						v.Now = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
					}},
					"another EK": {"not an endorsement key", func(a *tpm.Attestation, _ *tpm.Verification) { a.EK = a.AK }},
					"no EK":      {"not an endorsement key", func(a *tpm.Attestation, _ *tpm.Verification) { a.EK = nil }},
					"a key of the EK that decrypts anything": {"not an endorsement key", func(a *tpm.Attestation, _ *tpm.Verification) {
						a.EK = withAttributes(t, a.EK, func(at *tpm2.TPMAObject) { at.Restricted = false })
					}},
					"garbage": {"EK certificate: x509", func(a *tpm.Attestation, _ *tpm.Verification) { a.EKCert = []byte{0x30, 0} }},
				}
				for name, tt := range tests {
					a, v := *a, v
					tt.change(&a, &v)
					_, err := tpm.VerifyAttestation(&a, v)
					require.ErrorIs(t, err, tpm.ErrAttestation, name)
					require.ErrorContains(t, err, tt.says, name)
				}
			})
		})
	}
}

// issueOfSize makes certificates until one has the size; signatures vary by a byte or two.
func issueOfSize(size int, issue func(change func(*x509.Certificate)) []byte) []byte {
	for n := size; ; {
		cert := issue(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, n)})
		})
		if len(cert) == size {
			return cert
		}
		n += size - len(cert)
	}
}

func serverUsage(c *x509.Certificate) {
	c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}

// newCA is a maker of TPMs.
func newCA(t testing.TB) (*x509.CertPool, func(ek crypto.PublicKey, change func(*x509.Certificate)) []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TPM CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	ca, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	// SEQUENCE { [4] { SEQUENCE {} } }: a directory name, which is critical in
	// a certificate without subject.
	san := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: []byte{0x30, 0x04, 0xa4, 0x02, 0x30, 0x00}}
	return pool, func(ek crypto.PublicKey, change func(*x509.Certificate)) []byte {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(2), NotBefore: template.NotBefore, NotAfter: template.NotAfter,
			KeyUsage: x509.KeyUsageKeyEncipherment, ExtraExtensions: []pkix.Extension{san},
			UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}},
		}
		if change != nil {
			change(c)
		}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, ek, key)
		require.NoError(t, err)
		return der
	}
}

func nvPublic(index tpm2.TPMHandle, size int) tpm2.TPMSNVPublic {
	return tpm2.TPMSNVPublic{
		NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: uint16(size),
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthRead: true, NoDA: true, NT: tpm2.TPMNTOrdinary},
	}
}

func defineNV(t testing.TB, c transport.TPM, public tpm2.TPMSNVPublic, auth []byte) {
	t.Helper()
	_, err := tpm2.NVDefineSpace{
		AuthHandle: tpm2.TPMRHOwner, Auth: tpm2.TPM2BAuth{Buffer: auth}, PublicInfo: tpm2.New2B(public),
	}.Execute(c)
	require.NoError(t, err)
}

func fillNV(t testing.TB, c transport.TPM, index tpm2.TPMHandle, data []byte) {
	t.Helper()
	for at := 0; at < len(data); at += 512 {
		read, err := tpm2.NVReadPublic{NVIndex: index}.Execute(c)
		require.NoError(t, err)
		_, err = tpm2.NVWrite{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: read.NVName},
			Data:       tpm2.TPM2BMaxNVBuffer{Buffer: data[at:min(at+512, len(data))]},
			Offset:     uint16(at),
		}.Execute(c)
		require.NoError(t, err)
	}
}

func writeNV(t testing.TB, c transport.TPM, index tpm2.TPMHandle, data []byte) {
	t.Helper()
	defineNV(t, c, nvPublic(index, len(data)), nil)
	fillNV(t, c, index, data)
}
