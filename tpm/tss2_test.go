package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

const sha256Hash = crypto.SHA256

func withoutParentName(t testing.TB, blob []byte) []byte {
	t.Helper()
	begin := bytes.Index(blob, []byte("-----BEGIN"))
	require.Positive(t, begin)
	return blob[begin:]
}

func TestTSS2Form(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		m := newMaterial(t, s)
		for _, blob := range [][]byte{m.device.Blob(), m.transport.Blob()} {
			require.True(t, bytes.HasPrefix(blob, fmt.Appendf(nil, "Parent-Name: %x\n", srkName(t, s))))
			block, rest := pem.Decode(blob)
			require.NotNil(t, block)
			require.Empty(t, rest)
			require.Equal(t, "TSS2 PRIVATE KEY", block.Type)
			// SEQUENCE, OID 2.23.133.10.1.3, [0] TRUE, INTEGER 0x40000001
			require.True(t, bytes.Contains(block.Bytes,
				[]byte{0x06, 0x06, 0x67, 0x81, 0x05, 0x0a, 0x01, 0x03, 0xa0, 0x03, 0x01, 0x01, 0xff, 0x02, 0x04, 0x40, 0, 0, 1}))
		}
		// Debian's tpm2-openssl 1.1.1 writes TRUE as 1.
		k, err := s.OpenKey(t.Context(), reencode(t, m.device.Blob(), []byte{0x01, 0x01, 0xff}, []byte{0x01, 0x01, 0x01}))
		require.NoError(t, err)
		require.Equal(t, m.device.Public(), k.Public())

		_, err = s.OpenSession(t.Context(), m.device.Blob())
		require.ErrorIs(t, err, tpm.ErrInvalidBlob)
		require.ErrorContains(t, err, "an asymmetric key")

		for name, change := range map[string][2][]byte{
			"another type":             {{0x0a, 0x01, 0x03}, {0x0a, 0x01, 0x05}},
			"a parent that is no key":  {{0x02, 0x04, 0x40, 0, 0, 1}, {0x02, 0x04, 0x40, 0, 0, 7}},
			"a parent that is an NV":   {{0x02, 0x04, 0x40, 0, 0, 1}, {0x02, 0x04, 0x01, 0, 0, 1}},
			"a negative parent":        {{0x02, 0x04, 0x40, 0, 0, 1}, {0x02, 0x04, 0xc0, 0, 0, 1}},
			"another name algorithm":   {{0x00, 0x23, 0x00, 0x0b}, {0x00, 0x23, 0x00, 0x0c}},
			"another kind of key":      {{0x00, 0x23, 0x00, 0x0b}, {0x00, 0x25, 0x00, 0x0b}},
			"a restricted key":         {{0x00, 0x23, 0x00, 0x0b, 0x00, 0x04}, {0x00, 0x23, 0x00, 0x0b, 0x00, 0x05}},
			"a size that is too large": {{0x00, 0x56, 0x00, 0x23}, {0x00, 0x57, 0x00, 0x23}},
		} {
			_, err := s.OpenKey(t.Context(), reencode(t, m.device.Blob(), change[0], change[1]))
			require.ErrorIs(t, err, tpm.ErrInvalidBlob, name)
		}
	})
}

// The line with the parent's name is whole or not there, and no file is too
// large to look at.
func TestTSS2Refused(t *testing.T) {
	key, _, _ := tpmtest.Samples()
	block := withoutParentName(t, key)
	for _, tt := range []struct {
		name string
		data []byte
		says string // "": good
	}{
		{"without a name", block, ""},
		{"with a name", key, ""},
		{"an empty name", fmt.Appendf(nil, "Parent-Name: \n%s", block), "parent name"},
		{"a name that is cut", fmt.Appendf(nil, "Parent-Name: 000b0102\n%s", block), "parent name"},
		{"a name that is too long", fmt.Appendf(nil, "Parent-Name: %070x\n%s", 1, block), "parent name"},
		{"a name that is not hexadecimal", fmt.Appendf(nil, "Parent-Name: %s\n%s", strings.Repeat("0", 68)+"g", block), "parent name"},
		{"too large", bytes.Repeat(block, 16<<10/len(block)+1), "size"},
		{"a byte too large", bytes.Repeat([]byte("x"), 16<<10+1), "size"},
		{"just not too large", bytes.Repeat([]byte("x"), 16<<10), "not exactly one complete"},
		{"cut at the beginning", block[1:], "not exactly one complete"},
		{"cut at the end", block[:len(block)-1], "not exactly one complete"},
		{"not Base64", bytes.Replace(block, []byte("\n"), []byte("\n!"), 1), "not exactly one complete"},
		{"twice", append(bytes.Clone(block), block...), "not exactly one complete"},
		{"with a header", bytes.Replace(block, []byte("KEY-----\n"), []byte("KEY-----\nProc-Type: 4,ENCRYPTED\n\n"), 1), "not exactly one complete"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, _, _, err := tpm.ParseTSS2(tt.data)
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tpm.ErrInvalidBlob)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

// Each field of a TPMKey is there once, whole, and nothing comes after it.
func TestTSS2Fields(t *testing.T) {
	key, _, _ := tpmtest.Samples()
	_, public, private, _, err := tpm.ParseTSS2(withoutParentName(t, key))
	require.NoError(t, err)
	// What stands in a field is len bytes long by its own word.
	sized := func(n int, contents []byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(n)), contents...)
	}
	type fields struct {
		oid            asn1.ObjectIdentifier
		parent         *big.Int
		pub, priv      []byte
		inside, behind []byte // extra DER in the SEQUENCE, and after it
	}
	extra, err := asn1.Marshal(1)
	require.NoError(t, err)
	tests := []struct {
		name   string
		change func(f *fields)
		says   string // "": good
	}{
		{"as it should be", func(*fields) {}, ""},
		{"the first persistent parent", func(f *fields) { f.parent.SetUint64(0x81000000) }, ""},
		{"the last persistent parent", func(f *fields) { f.parent.SetUint64(0x81ffffff) }, ""},
		{"another type", func(f *fields) { f.oid = asn1.ObjectIdentifier{2, 23, 133, 10, 1, 4} }, ": type"},
		{"something behind it", func(f *fields) { f.behind = extra }, ": type"},
		{"one more field", func(f *fields) { f.inside = extra }, ": fields"},
		{"a negative parent", func(f *fields) { f.parent.SetInt64(-1) }, ": fields"},
		{"no parent", func(f *fields) { f.parent.SetInt64(0) }, "parent 0x0 is neither"},
		{"the last handle", func(f *fields) { f.parent.SetUint64(0xffffffff) }, "parent 0xffffffff is neither"},
		{"a parent that is no handle", func(f *fields) { f.parent.SetUint64(0x140000001) }, ": fields"},
		{"a parent larger than an int64", func(f *fields) { f.parent.Lsh(big.NewInt(0x40000001), 64) }, ": fields"},
		{"no public area", func(f *fields) { f.pub = nil }, ": structures"},
		{"a public area that is cut", func(f *fields) { f.pub = sized(len(public), public[:len(public)-1]) }, ": structures"},
		{"a public area with more behind it", func(f *fields) { f.pub = append(f.pub, 0) }, ": structures"},
		{"an empty public area", func(f *fields) { f.pub = sized(0, nil) }, "public area: "},
		{"no private area", func(f *fields) { f.priv = nil }, ": structures"},
		{"a private area that is cut", func(f *fields) { f.priv = sized(len(private), private[1:]) }, ": structures"},
		{"a private area with more behind it", func(f *fields) { f.priv = append(f.priv, 0) }, ": structures"},
		{"an empty private area", func(f *fields) { f.priv = sized(0, nil) }, ": structures"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fields{
				oid: asn1.ObjectIdentifier{2, 23, 133, 10, 1, 3}, parent: big.NewInt(0x40000001),
				pub: sized(len(public), public), priv: sized(len(private), private),
			}
			tt.change(&f)
			var in []byte
			for _, field := range []any{f.oid, f.parent, f.pub, f.priv} {
				der, err := asn1.Marshal(field)
				require.NoError(t, err)
				in = append(in, der...)
			}
			der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append(in, f.inside...)})
			require.NoError(t, err)
			block := &pem.Block{Type: "TSS2 PRIVATE KEY", Bytes: append(der, f.behind...)}
			_, _, _, _, err = tpm.ParseTSS2(pem.EncodeToMemory(block))
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tpm.ErrInvalidBlob)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

// reencode replaces bytes within the DER of a blob.
func reencode(t testing.TB, blob, old, new []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(blob)
	require.Equal(t, 1, bytes.Count(block.Bytes, old), "%x", old)
	block.Bytes = bytes.Replace(block.Bytes, old, new, 1)
	return append(bytes.Clone(blob[:bytes.Index(blob, []byte("-----BEGIN"))]), pem.EncodeToMemory(block)...)
}

// openssl runs openssl with the tpm2 provider on a TPM.
type openssl struct {
	t    *testing.T
	tcti string
	dir  string
}

func newOpenSSL(t *testing.T, e *tpmtest.Emulator) *openssl {
	t.Helper()
	// The TSS speaks to swtpm over TCP only, so this test stands between: see
	// TestMain.
	o := &openssl{t: t, dir: t.TempDir(), tcti: "cmd:" + bridgeEnv + "=" + socketOf(t, e) + " " + os.Args[0]}
	if out, err := o.command("rand", "8").CombinedOutput(); err != nil {
		what := "openssl with the tpm2 provider is not installed (apt-get install openssl tpm2-openssl)"
		if os.Getenv("PRTBROKER_REQUIRE_TPM") == "1" {
			t.Fatalf("%s: %s", what, out)
		}
		t.Skip(what)
	}
	return o
}

func (o *openssl) command(args ...string) *exec.Cmd {
	args = slices.Insert(slices.Clone(args), 1, "-provider", "tpm2", "-provider", "default", "-propquery", "?provider=tpm2")
	cmd := exec.Command("openssl", args...)
	cmd.Dir = o.dir
	cmd.Env = append(os.Environ(), "TPM2OPENSSL_TCTI="+o.tcti)
	return cmd
}

func (o *openssl) run(args ...string) string {
	o.t.Helper()
	out, err := o.command(args...).CombinedOutput()
	require.NoError(o.t, err, "openssl %s: %s", strings.Join(args, " "), out)
	return string(out)
}

func (o *openssl) file(name string, content []byte) string {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	require.NoError(o.t, os.WriteFile(path, content, 0o600))
	return path
}

func (o *openssl) read(name string) []byte {
	o.t.Helper()
	b, err := os.ReadFile(filepath.Join(o.dir, name))
	require.NoError(o.t, err)
	return b
}

// OpenSSL signs with keys of ours, and we with keys of OpenSSL's.
func TestOpenSSL(t *testing.T) {
	for _, persistent := range []bool{false, true} {
		t.Run(map[bool]string{false: "transient SRK", true: "persistent SRK"}[persistent], func(t *testing.T) {
			e := tpms.Swtpm(t)
			o := newOpenSSL(t, e)
			if persistent {
				provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
			}
			s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
			require.NoError(t, err)
			keys := map[string]tpm.Key{}
			for name, spec := range map[string]tpm.KeySpec{
				"rsa":       {Purpose: tpm.Sign},
				"ec":        {Purpose: tpm.Sign, Algorithm: tpm.P256},
				"transport": {Purpose: tpm.Unwrap},
			} {
				keys[name], err = s.GenerateKey(t.Context(), spec)
				require.NoError(t, err)
			}
			require.NoError(t, s.Close())

			data := o.file("data", []byte("to be signed"))
			digest := sha256.Sum256([]byte("to be signed"))
			for _, name := range []string{"rsa", "ec"} {
				key := o.file(name+".pem", keys[name].Blob())
				o.run("pkeyutl", "-sign", "-inkey", key, "-rawin", "-digest", "sha256", "-in", data, "-out", name+".sig")
				verifyDigest(t, keys[name].Public(), digest[:], o.read(name+".sig"))
				o.run("req", "-new", "-key", key, "-subj", "/CN=7E980AD9-B86D-4306-9425-9AC066FB014A", "-out", name+".csr")
				block, _ := pem.Decode(o.read(name + ".csr"))
				csr, err := x509.ParseCertificateRequest(block.Bytes)
				require.NoError(t, err)
				require.NoError(t, csr.CheckSignature())
				require.Equal(t, keys[name].Public(), csr.PublicKey)
			}

			// The provider cannot ask for OAEP, so it reads this one only.
			o.run("pkey", "-in", o.file("transport.pem", keys["transport"].Blob()), "-pubout", "-out", "transport.pub")
			block, _ := pem.Decode(o.read("transport.pub"))
			public, err := x509.ParsePKIXPublicKey(block.Bytes)
			require.NoError(t, err)
			require.Equal(t, keys["transport"].Public(), public)

			o.run("genpkey", "-algorithm", "RSA", "-pkeyopt", "bits:2048", "-out", "theirs-rsa.pem")
			o.run("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", "theirs-ec.pem")
			s = open(t, e.Opener(), tpm.Config{})
			for _, name := range []string{"theirs-rsa.pem", "theirs-ec.pem"} {
				k, err := s.OpenKey(t.Context(), o.read(name))
				require.NoError(t, err, name)
				sig, err := k.(tpm.Signer).SignContext(t.Context(), digest[:], crypto.SHA256)
				require.NoError(t, err, name)
				verifyDigest(t, k.Public(), digest[:], sig)
			}
		})
	}
}

func verifyDigest(t *testing.T, public crypto.PublicKey, digest, sig []byte) {
	t.Helper()
	switch public := public.(type) {
	case *rsa.PublicKey:
		require.NoError(t, rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, sig))
	case *ecdsa.PublicKey:
		require.True(t, ecdsa.VerifyASN1(public, digest, sig))
	}
}
