package prt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

func TestJoinRequest(t *testing.T) {
	r := prt.JoinRequest{
		DeviceKey: signer(t, "device.pem"), TransportKey: signer(t, "transport.pem").Public(),
		Domain: "contoso.example", DisplayName: "box & co", OSVersion: "Ubuntu 24.04", Reuse: true,
	}
	b, err := r.Marshal(bg)
	require.NoError(t, err)
	var got struct {
		CertificateRequest struct{ Type, Data string }
		TransportKey       string
		TargetDomain       string
		DeviceType         string
		OSVersion          string
		DeviceDisplayName  string
		JoinType           int
		Attributes         map[string]string
	}
	require.NoError(t, json.Unmarshal(b, &got))
	require.Equal(t, "pkcs10", got.CertificateRequest.Type)
	require.Equal(t, "contoso.example", got.TargetDomain)
	require.Equal(t, "Linux", got.DeviceType)
	require.Equal(t, "Ubuntu 24.04", got.OSVersion)
	require.Equal(t, "box & co", got.DeviceDisplayName)
	require.Equal(t, 0, got.JoinType)
	require.Equal(t, map[string]string{"ReuseDevice": "true", "ReturnClientSid": "true"}, got.Attributes)
	require.Contains(t, string(b), `"JoinType":0`)
	require.NotContains(t, string(b), "AttestationData")

	registered := r
	registered.Type, registered.Reuse, registered.Attestation, registered.AIKCertificate = prt.JoinPersonal, false, []byte{1}, []byte{2}
	b2, err := registered.Marshal(bg)
	require.NoError(t, err)
	require.NotContains(t, string(b2), "Attributes", "only a join returns SIDs")
	require.Contains(t, string(b2), `"JoinType":4,"AttestationData":"AQ==","AikCertificate":"Ag=="`)

	blob, err := base64.StdEncoding.DecodeString(got.TransportKey)
	require.NoError(t, err)
	require.Len(t, blob, 283)
	key, err := prt.ParsePublicKey(blob)
	require.NoError(t, err)
	require.True(t, key.Equal(signer(t, "transport.pem").Public()))

	der, err := base64.StdEncoding.DecodeString(got.CertificateRequest.Data)
	require.NoError(t, err)
	csr, err := x509.ParseCertificateRequest(der)
	require.NoError(t, err)
	require.NoError(t, csr.CheckSignature())
	require.Equal(t, "CN=7E980AD9-B86D-4306-9425-9AC066FB014A", csr.Subject.String())
	require.Equal(t, x509.SHA256WithRSA, csr.SignatureAlgorithm)
	require.Empty(t, csr.Extensions)
	require.True(t, signer(t, "device.pem").key.PublicKey.Equal(csr.PublicKey))
}

// missing skips a test that needs another program, or fails it where all of
// them are required (make test).
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("PRTBROKER_REQUIRE_TOOLS") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// OpenSSL reads the request too.
func TestCSRByOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		missing(t, "no openssl")
	}
	der, err := prt.CSR(bg, signer(t, "device.pem"))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "csr")
	require.NoError(t, os.WriteFile(file, der, 0o600))
	out, err := exec.Command("openssl", "req", "-inform", "DER", "-in", file, "-verify", "-noout", "-subject").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Regexp(t, `CN ?= ?7E980AD9-B86D-4306-9425-9AC066FB014A`, string(out))
	require.Contains(t, string(out), "verify OK")
}

func TestInvalidJoinRequests(t *testing.T) {
	ok := prt.JoinRequest{DeviceKey: signer(t, "device.pem"), TransportKey: signer(t, "transport.pem").Public(), Domain: "d", DisplayName: "n", OSVersion: "o"}
	for name, change := range map[string]func(*prt.JoinRequest){
		"no device key":    func(r *prt.JoinRequest) { r.DeviceKey = nil },
		"no transport key": func(r *prt.JoinRequest) { r.TransportKey = nil },
		"no domain":        func(r *prt.JoinRequest) { r.Domain = "" },
		"no name":          func(r *prt.JoinRequest) { r.DisplayName = "" },
		"no OS version":    func(r *prt.JoinRequest) { r.OSVersion = "" },
		"unknown type":     func(r *prt.JoinRequest) { r.Type = 3 },
	} {
		r := ok
		change(&r)
		_, err := r.Marshal(bg)
		require.ErrorIs(t, err, prt.ErrRequest, name)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	_, err := ok.Marshal(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestParseJoin(t *testing.T) {
	cert := base64.StdEncoding.EncodeToString(testdata(t, "device.cer"))
	j, err := prt.ParseJoin([]byte(`{"Certificate":{"Thumbprint":"IGNORED","RawBody":"` + cert + `"},"User":{"Upn":"alice@contoso.example"},
		"MembershipChanges":[{"LocalSID":"S-1-5-32-544","AddSIDs":["S-1-12-1-1-2-3-4","S-1-12-1-5-6-7-8"]},{"LocalSID":"S-1-5-32-555","AddSIDs":["no"]},5]}`))
	require.NoError(t, err)
	require.Equal(t, "alice@contoso.example", j.Username)
	require.Equal(t, []string{"S-1-12-1-1-2-3-4", "S-1-12-1-5-6-7-8"}, j.AdminSIDs)
	c := j.Certificate
	require.Equal(t, deviceID, c.DeviceID)
	require.Equal(t, userID, c.UserID)
	require.Equal(t, tenantID, c.TenantID)
	require.Equal(t, "EU", c.Region)
	require.True(t, c.Joined)
	require.Equal(t, "5ACC31F4E9210F147E94F1F06E006C9FD86D02E4", c.Thumbprint, "as openssl x509 -fingerprint prints it")
	require.True(t, c.Matches(signer(t, "device.pem").Public()))
	require.False(t, c.Matches(signer(t, "transport.pem").Public()))
	require.True(t, c.NotAfter.After(c.NotBefore))

	for _, bad := range []string{``, `{}`, `{"Certificate":null}`, `{"Certificate":{}}`, `{"Certificate":{"RawBody":"%%"}}`, `{"Certificate":{"RawBody":"AAAA"}}`, `{"Certificate":[]}`} {
		_, err := prt.ParseJoin([]byte(bad))
		require.ErrorIs(t, err, prt.ErrReply, bad)
	}
	for _, bad := range []string{`{"Certificate":{}}`, `{"Certificate":5,"User":{}}`, `{"Certificate":{"RawBody":5}}`} {
		_, err := prt.ParseJoin([]byte(bad))
		require.ErrorContains(t, err, "no certificate", bad)
	}
	j, err = prt.ParseJoin([]byte(`{"Certificate":{"RawBody":"` + cert + `"}}`))
	require.NoError(t, err, "a registration returns no user and no SIDs")
	require.Empty(t, j.AdminSIDs)
}

func TestExtensionVectors(t *testing.T) {
	body := unhex(t, "c99439d0f824ba41a1561805998d6dc7")
	for name, value := range map[string][]byte{
		"long form":  append([]byte{0x04, 0x81, 0x10}, body...),
		"short form": append([]byte{0x04, 0x10}, body...),
		"bare":       body,
	} {
		got, err := prt.ExtensionValue(value, 16)
		require.NoError(t, err, name)
		require.Equal(t, body, got, name)
	}
	for _, tt := range []struct {
		value string
		size  int
		want  string
	}{{"0481024555", 2, "EU"}, {"04810131", 1, "1"}, {"04024555", 2, "EU"}, {"31", 1, "1"}} {
		got, err := prt.ExtensionValue(unhex(t, tt.value), tt.size)
		require.NoError(t, err)
		require.Equal(t, tt.want, string(got))
	}
	sixteen := hex.EncodeToString(body)
	for _, bad := range []string{
		"", "04", "0481", "048110", "0482001000",
		"058110" + sixteen, "048210" + sixteen, "04810f" + sixteen, // another tag, form, length
		"0510" + sixteen, "040f" + sixteen,
		sixteen[2:], sixteen + "00",
	} {
		_, err := prt.ExtensionValue(unhex(t, bad), 16)
		require.ErrorIs(t, err, prt.ErrReply, bad)
	}
}

func TestCertificateRegion(t *testing.T) {
	const region = "1.2.840.113556.1.5.284.8"
	for _, good := range []string{"EU", "AZ", "ZA"} {
		c, err := prt.ReadExtension(region, []byte(good), prt.GUID{})
		require.NoError(t, err, good)
		require.Equal(t, good, c.Region)
	}
	for _, bad := range []string{"eU", "Eu", "@A", "A@", "[A", "A[", "1A"} {
		_, err := prt.ReadExtension(region, []byte(bad), prt.GUID{})
		require.ErrorContains(t, err, "not two letters", bad)
	}
}

// The join type is an ASCII digit; one parser in the wild reads it as a number.
func TestCertificateJoinType(t *testing.T) {
	for value, joined := range map[byte]bool{'1': true, 1: true, '0': false, 0: false, '2': false} {
		c, err := prt.ReadExtension("1.2.840.113556.1.5.284.7", []byte{value}, prt.GUID{})
		require.NoError(t, err)
		require.Equal(t, joined, c.Joined, "join type %q", value)
	}
}

func TestDeviceCertificateRefusals(t *testing.T) {
	der := testdata(t, "device.cer")
	_, err := prt.ParseDeviceCertificate(make([]byte, prt.MaxCertificateSize+1))
	require.ErrorContains(t, err, "too large")
	_, err = prt.ParseDeviceCertificate(make([]byte, prt.MaxCertificateSize))
	require.ErrorContains(t, err, "not X.509", "of the largest size")
	for n := range der {
		_, err := prt.ParseDeviceCertificate(der[:n])
		require.ErrorIs(t, err, prt.ErrReply, "truncated to %d", n)
	}
	// A certificate whose extension names another device than its subject.
	id := unhex(t, "c99439d0f824ba41a1561805998d6dc7")
	other := append([]byte(nil), der...)
	for i := range other[:len(other)-16] {
		if string(other[i:i+16]) == string(id) {
			other[i] ^= 1
		}
	}
	_, err = prt.ParseDeviceCertificate(other)
	require.ErrorContains(t, err, "two devices")
}

// modulus is an odd number of so many bits.
func modulus(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.Add(n, big.NewInt(1))
}

func TestPublicKeySizes(t *testing.T) {
	const largest = 1<<31 - 1
	for name, key := range map[string]*rsa.PublicKey{
		"RSA-2048":         {N: modulus(2048), E: 65537},
		"RSA-4096":         {N: modulus(4096), E: 65537},
		"exponent 3":       {N: modulus(2048), E: 3},
		"largest exponent": {N: modulus(2048), E: largest},
	} {
		blob, err := prt.MarshalPublicKey(key)
		require.NoError(t, err, name)
		back, err := prt.ParsePublicKey(blob)
		require.NoError(t, err, name)
		require.True(t, key.Equal(back), name)
	}
}

func TestPublicKeyRefusals(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	huge := int64(1<<31 + 1) // negative where an int has 32 bits
	for name, pub := range map[string]any{
		"nil": nil, "EC": &ec.PublicKey, "typed nil": (*rsa.PublicKey)(nil), "empty": &rsa.PublicKey{},
		"short":         &rsa.PublicKey{N: modulus(2047), E: 65537},
		"long":          &rsa.PublicKey{N: modulus(4097), E: 65537},
		"huge exponent": &rsa.PublicKey{N: modulus(2048), E: int(huge)},
		"even exponent": &rsa.PublicKey{N: signer(t, "device.pem").key.N, E: 65536},
		"exponent 1":    &rsa.PublicKey{N: signer(t, "device.pem").key.N, E: 1},
	} {
		_, err := prt.MarshalPublicKey(pub)
		require.ErrorIs(t, err, prt.ErrRequest, name)
		_, err = prt.HelloKeyID(pub)
		require.ErrorIs(t, err, prt.ErrRequest, name)
		_, err = prt.HelloRegistration(pub)
		require.ErrorIs(t, err, prt.ErrRequest, name)
		_, err = prt.KeyThumbprint(pub)
		if name == "nil" || name == "EC" || name == "typed nil" || name == "empty" {
			require.ErrorIs(t, err, prt.ErrRequest, name)
		}
	}
	blob, err := prt.MarshalPublicKey(signer(t, "device.pem").Public())
	require.NoError(t, err)
	for n := range blob {
		_, err := prt.ParsePublicKey(blob[:n])
		require.ErrorIs(t, err, prt.ErrReply)
	}
	for i := range 24 {
		bad := append([]byte(nil), blob...)
		bad[i] ^= 0x80
		_, err := prt.ParsePublicKey(bad)
		require.ErrorIs(t, err, prt.ErrReply, "byte %d of the header", i)
	}
	_, err = prt.ParsePublicKey(append(blob, 0))
	require.ErrorIs(t, err, prt.ErrReply)
}

func TestHelloRegistration(t *testing.T) {
	b, err := prt.HelloRegistration(signer(t, "device.pem").Public())
	require.NoError(t, err)
	var body map[string][]byte
	require.NoError(t, json.Unmarshal(b, &body))
	require.Len(t, body, 1)
	require.Len(t, body["kngc"], 283)

	k, err := prt.ParseHelloRegistration([]byte(`{"kid":"7a5d…","upn":"alice@contoso.example","krctx":"x"}`))
	require.NoError(t, err)
	require.Equal(t, prt.HelloKey{ID: "7a5d…", Username: "alice@contoso.example"}, k)
	for _, bad := range []string{``, `{}`, `{"kid":5}`, `{"upn":"x"}`} {
		_, err := prt.ParseHelloRegistration([]byte(bad))
		require.ErrorIs(t, err, prt.ErrReply, bad)
	}
}
