package verify

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPrincipalName(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	der, err := PrincipalName("a@b.c")
	require.NoError(t, err)
	// SEQUENCE { [0] { OID 1.3.6.1.4.1.311.20.2.3, [0] { UTF8String } } }
	require.Equal(t, "3017a015060a2b060104018237140203a0070c056140622e63", hex.EncodeToString(der))
	tests := []struct {
		name, der, want string
		wrong           bool
	}{
		{"its own", hex.EncodeToString(der), "a@b.c", false},
		{"after a mail name", "301e8105612e622e63" + hex.EncodeToString(der[2:]), "a@b.c", false},
		{"a mail name alone", "30078105612e622e63", "", false},
		{"another other name", "3010a00e06082b06010505070804a0020c00", "", false},
		{"after a chat name", "302aa011" + "06082b06010505070805" + "a0050c03784079" + hex.EncodeToString(der[2:]), "a@b.c", false},
		{"no names", "3000", "", false},
		{"text after it", hex.EncodeToString(der) + "00", "", true},
		{"cut short", hex.EncodeToString(der[:20]), "", true},
		{"not a sequence", "0400", "", true},
		{"a number for a name", "3015a013060a2b060104018237140203a0050203010203", "", true},
		{"nothing", "", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := principalName(unhex(tt.der))
			require.Equal(t, tt.wrong, err != nil, "%v", err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestParseUserCertificate(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	make := func(change func(*x509.Certificate), parent *x509.Certificate) *x509.Certificate {
		san, err := PrincipalName("a@b.c")
		require.NoError(t, err)
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			ExtraExtensions: []pkix.Extension{{Id: oidSubjectAltName, Value: san}}}
		change(c)
		if parent == nil {
			parent = c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), key)
		require.NoError(t, err)
		out, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return out
	}
	ca := make(func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage, c.ExtraExtensions = "CA", true, true, x509.KeyUsageCertSign, nil, nil
	}, nil)
	good := make(func(c *x509.Certificate) {
		oid, err := x509.ParseOID("2.999.2")
		require.NoError(t, err)
		c.Policies = []x509.OID{oid}
	}, ca)
	got, err := ParseUserCertificate(good, ca)
	require.NoError(t, err)
	require.Equal(t, &UserCertificate{PrincipalName: "a@b.c", Policies: []string{"2.999.2"}, Issuer: hex.EncodeToString(ca.SubjectKeyId)}, got)
	_, err = ParseUserCertificate(make(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, ca), ca)
	require.ErrorIs(t, err, ErrUserCertificate)
	_, err = ParseUserCertificate(good, good)
	require.ErrorIs(t, err, ErrUserCertificate, "issued by no authority")
	_, err = ParseUserCertificate(make(func(c *x509.Certificate) { c.ExtraExtensions[0].Value = []byte{0x30, 4, 0xa0, 2, 4, 0} }, ca), ca)
	require.ErrorIs(t, err, ErrUserCertificate)
}
