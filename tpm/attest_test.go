package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

var nonce = []byte("a nonce of the verifier")

// proved goes through the protocol of the verifier: bind the AK to the EK.
func proved(t testing.TB, s *tpm.TPM) (*tpm.Identity, tpm.Verification) {
	t.Helper()
	id, err := s.Identity(t.Context())
	require.NoError(t, err)
	secret := make([]byte, 32)
	_, err = rand.Read(secret)
	require.NoError(t, err)
	c, err := tpm.MakeCredential(id, secret)
	require.NoError(t, err)
	got, err := s.ActivateCredential(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, secret, got)
	return id, tpm.Verification{Nonce: nonce, AKName: id.AKName()}
}

func TestAttestation(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{KeyAuth: []byte("of the app")})
		id, v := proved(t, s)
		for name, spec := range map[string]tpm.KeySpec{
			"device key":    {Purpose: tpm.Sign},
			"EC device key": {Purpose: tpm.Sign, Algorithm: tpm.P256},
			"transport key": {Purpose: tpm.Unwrap},
			"Hello key":     {Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: []byte("1234")},
		} {
			k, err := s.GenerateKey(t.Context(), spec)
			require.NoError(t, err)
			a, err := s.Attest(t.Context(), k, nonce)
			require.NoError(t, err, name)
			require.Equal(t, *id, a.Identity)

			sent, err := json.Marshal(a)
			require.NoError(t, err)
			var received tpm.Attestation
			require.NoError(t, json.Unmarshal(sent, &received))
			public, err := tpm.VerifyAttestation(&received, v)
			require.NoError(t, err, name)
			require.Equal(t, k.Public(), public)
		}
		ownMaterial(t, s).all(t)
	})
}

// The AK is the same after a reset, so that it needs to be proved once.
func TestAttestationKeyStays(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		id, err := s.Identity(t.Context())
		require.NoError(t, err)
		require.NoError(t, e.Reset())
		again, err := s.Identity(t.Context())
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}

func TestAttestationRefused(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		_, v := proved(t, s)
		m := newMaterial(t, s)
		good, err := s.Attest(t.Context(), m.device, nonce)
		require.NoError(t, err)
		other, err := s.Attest(t.Context(), m.transport, nonce)
		require.NoError(t, err)
		_, err = tpm.VerifyAttestation(good, v)
		require.NoError(t, err)

		forger, forgerAK := softwareAK(t)
		tests := []struct {
			name   string
			change func(a *tpm.Attestation, v *tpm.Verification)
		}{
			{"replayed: the verifier has another nonce", func(_ *tpm.Attestation, v *tpm.Verification) {
				v.Nonce = []byte("the next nonce of the verifier")
			}},
			{"nonce with a prefix of the right one", func(_ *tpm.Attestation, v *tpm.Verification) {
				v.Nonce = nonce[:len(nonce)-1]
			}},
			{"no nonce", func(_ *tpm.Attestation, v *tpm.Verification) { v.Nonce = nil }},
			{"no proved AK", func(_ *tpm.Attestation, v *tpm.Verification) { v.AKName = nil }},
			{"another key's public area", func(a *tpm.Attestation, _ *tpm.Verification) { a.Key = other.Key }},
			{"another key's structure", func(a *tpm.Attestation, _ *tpm.Verification) { a.Info = other.Info }},
			{"another key's signature", func(a *tpm.Attestation, _ *tpm.Verification) { a.Signature = other.Signature }},
			{"signed by an AK that was not proved", func(a *tpm.Attestation, _ *tpm.Verification) {
				a.AK, a.Signature = forgerAK, forger(a.Info)
			}},
			{"signed in software under the proved AK's name", func(a *tpm.Attestation, _ *tpm.Verification) {
				a.Signature = forger(a.Info)
			}},
			{"a software key in the structure", func(a *tpm.Attestation, _ *tpm.Verification) {
				a.Key = softwareKey(t)
				a.Info = bytes.Replace(a.Info, name(good.Key), name(a.Key), 1)
				a.Signature = forger(a.Info)
			}},
			{"empty", func(a *tpm.Attestation, _ *tpm.Verification) { *a = tpm.Attestation{} }},
			{"EK certificate asked for and not there", func(_ *tpm.Attestation, v *tpm.Verification) { v.Roots = x509.NewCertPool() }},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				a, v := *good, v
				tt.change(&a, &v)
				_, err := tpm.VerifyAttestation(&a, v)
				require.ErrorIs(t, err, tpm.ErrAttestation)
			})
		}
		// Bytes that are not a signature are reported as malformed, not as a wrong one.
		for name, signature := range map[string][]byte{
			"nothing": nil, "cut off": good.Signature[:len(good.Signature)-1], "with more behind it": append(bytes.Clone(good.Signature), 0),
			"of another algorithm": append([]byte{0, 0x14}, good.Signature[2:]...),
			"of another hash":      append([]byte{0, 0x18, 0, 0x0c}, good.Signature[4:]...),
		} {
			a := *good
			a.Signature = signature
			_, err := tpm.VerifyAttestation(&a, v)
			require.ErrorIs(t, err, tpm.ErrAttestation, name)
			require.ErrorContains(t, err, "malformed signature", name)
		}
		// Every byte counts, of what is signed and of what is sent beside it.
		for name, field := range map[string]func(*tpm.Attestation) *[]byte{
			"key":       func(a *tpm.Attestation) *[]byte { return &a.Key },
			"structure": func(a *tpm.Attestation) *[]byte { return &a.Info },
			"signature": func(a *tpm.Attestation) *[]byte { return &a.Signature },
			"AK":        func(a *tpm.Attestation) *[]byte { return &a.AK },
		} {
			for i := range *field(good) {
				a := *good
				changed := bytes.Clone(*field(&a))
				changed[i] ^= 0x01
				*field(&a) = changed
				_, err := tpm.VerifyAttestation(&a, v)
				require.ErrorIs(t, err, tpm.ErrAttestation, "%s, byte %d", name, i)
				*field(&a) = changed[:i]
				_, err = tpm.VerifyAttestation(&a, v)
				require.ErrorIs(t, err, tpm.ErrAttestation, "%s, %d bytes", name, i)
			}
		}
	})
}

// With an AK of the verifier's own making every check can be reached, one by
// one, past a signature that is right.
func TestAttestationChecks(t *testing.T) {
	sign, ak := softwareAK(t)
	key := softwareKey(t)
	tests := []struct {
		name   string
		ok     bool
		magic  uint32
		kind   tpm2.TPMST
		nonce  []byte
		area   []byte
		suffix []byte
	}{
		{name: "right", ok: true},
		{name: "structure that the TPM did not make", magic: 0x00544347},
		{name: "quote", kind: tpm2.TPMSTAttestQuote},
		{name: "creation", kind: tpm2.TPMSTAttestCreation},
		{name: "the nonce is wrong", nonce: []byte("another nonce, as long..")},
		{name: "bytes after the structure", suffix: []byte{0}},
		{name: "key that may leave the TPM", area: withAttributes(t, key, func(a *tpm2.TPMAObject) { a.FixedTPM = false })},
		{name: "key that may change its parent", area: withAttributes(t, key, func(a *tpm2.TPMAObject) { a.FixedParent = false })},
		{name: "key made outside", area: withAttributes(t, key, func(a *tpm2.TPMAObject) { a.SensitiveDataOrigin = false })},
		{name: "restricted key", area: withAttributes(t, key, func(a *tpm2.TPMAObject) { a.Restricted = true })},
		{name: "key with two purposes", area: withAttributes(t, key, func(a *tpm2.TPMAObject) { a.Decrypt = true })},
		{name: "session key", area: tpm2.Marshal(tpm.SessionKeyTemplate())},
		{name: "RSA", ok: true, area: rsaArea(2048, 65537, 0x80)},
		{name: "RSA with the exponent of the specification", ok: true, area: rsaArea(2048, 0, 0x80)},
		{name: "RSA with another exponent", area: rsaArea(2048, 3, 0x80)},
		{name: "RSA of another size", area: rsaArea(1024, 65537, 0x80)},
		{name: "RSA with a modulus that is too small", area: rsaArea(2048, 65537, 0x7f)},
		{name: "another curve", area: withCurve(t, key, tpm2.TPMECCNistP384)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			magic, kind, n, area := uint32(0xff544347), tpm2.TPMSTAttestCertify, nonce, key
			if tt.magic != 0 {
				magic = tt.magic
			}
			if tt.kind != 0 {
				kind = tt.kind
			}
			if tt.nonce != nil {
				n = tt.nonce
			}
			if tt.area != nil {
				area = tt.area
			}
			info := append(structure(magic, kind, n, area), tt.suffix...)
			a := &tpm.Attestation{Identity: tpm.Identity{AK: ak}, Key: area, Info: info, Signature: sign(info)}
			_, err := tpm.VerifyAttestation(a, tpm.Verification{Nonce: nonce, AKName: name(ak)})
			if tt.ok {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tpm.ErrAttestation)
			}
		})
	}
	for attr, change := range map[string]func(*tpm2.TPMAObject){
		"not restricted": func(a *tpm2.TPMAObject) { a.Restricted = false },
		"not fixed":      func(a *tpm2.TPMAObject) { a.FixedTPM = false },
		"imported":       func(a *tpm2.TPMAObject) { a.SensitiveDataOrigin = false },
		"decrypts":       func(a *tpm2.TPMAObject) { a.Decrypt = true },
	} {
		bad := withAttributes(t, ak, change)
		_, err := tpm.VerifyAttestation(&tpm.Attestation{Identity: tpm.Identity{AK: bad}, Key: key},
			tpm.Verification{Nonce: nonce, AKName: name(bad)})
		require.ErrorIs(t, err, tpm.ErrAttestation)
		require.ErrorContains(t, err, "AK", attr)
	}
}

// structure is a TPMS_ATTEST about a key.
func structure(magic uint32, kind tpm2.TPMST, nonce, area []byte) []byte {
	info := binary.BigEndian.AppendUint32(nil, magic)
	info = binary.BigEndian.AppendUint16(info, uint16(kind))
	info = sized(info, make([]byte, 34))
	info = sized(info, nonce)
	info = append(info, make([]byte, 25)...)
	info = sized(info, name(area))
	return sized(info, make([]byte, 34))
}

// A verifier's nonce has the sizes that Attest takes: a shorter one could be guessed.
func TestVerifierNonce(t *testing.T) {
	sign, ak := softwareAK(t)
	key := softwareKey(t)
	for n, ok := range map[int]bool{0: false, 7: false, 8: true, 32: true, 33: false} {
		nonce := make([]byte, n)
		info := structure(0xff544347, tpm2.TPMSTAttestCertify, nonce, key)
		a := &tpm.Attestation{Identity: tpm.Identity{AK: ak}, Key: key, Info: info, Signature: sign(info)}
		_, err := tpm.VerifyAttestation(a, tpm.Verification{Nonce: nonce, AKName: name(ak)})
		if ok {
			require.NoError(t, err, n)
			continue
		}
		require.ErrorIs(t, err, tpm.ErrAttestation)
		require.ErrorContains(t, err, fmt.Sprintf("nonce has %d bytes", n))
	}
}

// rsaArea is a signing key whose modulus begins with a byte.
func rsaArea(bits tpm2.TPMKeyBits, exponent uint32, first byte) []byte {
	modulus := bytes.Repeat([]byte{0xff}, 256)
	modulus[0] = first
	return tpm2.Marshal(tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgRSA,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, SignEncrypt: true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: bits, Exponent: exponent}),
		Unique:     tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: modulus}),
	})
}

func withCurve(t testing.TB, area []byte, curve tpm2.TPMECCCurve) []byte {
	p, err := tpm2.Unmarshal[tpm2.TPMTPublic](area)
	require.NoError(t, err)
	p.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: curve})
	return tpm2.Marshal(p)
}

func sized(b, contents []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(contents))), contents...)
}

func name(area []byte) []byte {
	sum := sha256.Sum256(area)
	return append([]byte{0, 0x0b}, sum[:]...)
}

// softwareAK is a key that looks like an AK and signs anything.
func softwareAK(t testing.TB) (sign func([]byte) []byte, area []byte) {
	key := fixedKey(t, 1)
	template := tpm.AKTemplate()
	template.Unique = point(t, key)
	return func(info []byte) []byte {
		d := sha256.Sum256(info)
		der, err := key.Sign(nil, d[:], crypto.SHA256)
		require.NoError(t, err)
		var rs struct{ R, S *big.Int }
		_, err = asn1.Unmarshal(der, &rs)
		require.NoError(t, err)
		sig := []byte{0x00, 0x18, 0x00, 0x0b} // ECDSA, SHA-256
		return sized(sized(sig, rs.R.Bytes()), rs.S.Bytes())
	}, tpm2.Marshal(template)
}

// fixedKey is the same in every process: a fuzzer has several.
func fixedKey(t testing.TB, n byte) *ecdsa.PrivateKey {
	raw := make([]byte, 32)
	raw[31] = n
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	require.NoError(t, err)
	return key
}

func point(t testing.TB, key *ecdsa.PrivateKey) tpm2.TPMUPublicID {
	b, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	return tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: b[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: b[33:]},
	})
}

// softwareKey is the public area of a key that claims to be in a TPM.
func softwareKey(t testing.TB) []byte {
	key := fixedKey(t, 2)
	template := tpm.AKTemplate()
	template.ObjectAttributes.Restricted = false
	template.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256})
	template.Unique = point(t, key)
	return tpm2.Marshal(template)
}

func withAttributes(t testing.TB, area []byte, change func(*tpm2.TPMAObject)) []byte {
	p, err := tpm2.Unmarshal[tpm2.TPMTPublic](area)
	require.NoError(t, err)
	change(&p.ObjectAttributes)
	return tpm2.Marshal(p)
}

// A store without a TPM is no Attester, and a TPM attests its own keys only.
func TestAttestSoftwareKey(t *testing.T) {
	soft, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	_, ok := any(soft).(tpm.Attester)
	require.False(t, ok)
	k, err := soft.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
	require.NoError(t, err)
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		_, err := s.Attest(t.Context(), k, nonce)
		require.ErrorIs(t, err, tpm.ErrPurpose)
		_, err = s.Attest(t.Context(), nil, nonce)
		require.ErrorIs(t, err, tpm.ErrPurpose)
		own, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
		require.NoError(t, err)
		for _, n := range []int{0, 7, 33} {
			_, err = s.Attest(t.Context(), own, make([]byte, n))
			require.ErrorContains(t, err, "it must have 8 to 32")
		}
		for _, n := range []int{8, 32} {
			a, err := s.Attest(t.Context(), own, make([]byte, n))
			require.NoError(t, err)
			_, err = tpm.VerifyAttestation(a, tpm.Verification{Nonce: make([]byte, n), AKName: a.AKName()})
			require.NoError(t, err, "a nonce of %d bytes", n)
		}
	})
}

// A credential opens only in the TPM with that EK, and only for that AK.
func TestCredentialForAnother(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		id, err := s.Identity(t.Context())
		require.NoError(t, err)
		secret := bytes.Repeat([]byte{1}, 32)

		_, foreignAK := softwareAK(t)
		c, err := tpm.MakeCredential(&tpm.Identity{AK: foreignAK, EK: id.EK}, secret)
		require.NoError(t, err)
		_, err = s.ActivateCredential(t.Context(), c)
		require.ErrorIs(t, err, tpm.ErrAttestation, "another AK")

		c, err = tpm.MakeCredential(id, secret)
		require.NoError(t, err)
		for _, change := range []func(*tpm.Credential){
			func(c *tpm.Credential) { c.IDObject[10] ^= 1 },
			func(c *tpm.Credential) { c.Secret[len(c.Secret)-1] ^= 1 },
		} {
			bad := &tpm.Credential{IDObject: bytes.Clone(c.IDObject), Secret: bytes.Clone(c.Secret)}
			change(bad)
			_, err = s.ActivateCredential(t.Context(), bad)
			require.ErrorIs(t, err, tpm.ErrAttestation)
		}
		_, err = s.ActivateCredential(t.Context(), c)
		require.NoError(t, err)

		for _, n := range []int{0, 15, 33} {
			_, err = tpm.MakeCredential(id, make([]byte, n))
			require.ErrorContains(t, err, "it must have 16 to 32")
		}
		for _, n := range []int{16, 32} {
			_, err = tpm.MakeCredential(id, make([]byte, n))
			require.NoError(t, err)
		}
		_, err = tpm.MakeCredential(&tpm.Identity{AK: id.AK, EK: id.AK}, secret)
		require.ErrorIs(t, err, tpm.ErrAttestation, "an AK for an EK")
		_, err = tpm.MakeCredential(&tpm.Identity{AK: softwareKey(t), EK: id.EK}, secret)
		require.ErrorIs(t, err, tpm.ErrAttestation, "a key that is no AK")
	})
}

// The answer to a challenge does not pass the wire in the clear either.
func TestWireShowsNoCredential(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		record := tpmtest.NewRecording(e.Opener())
		s := open(t, record.Opener(), tpm.Config{})
		id, err := s.Identity(t.Context())
		require.NoError(t, err)
		secret := make([]byte, 32)
		_, err = rand.Read(secret)
		require.NoError(t, err)
		c, err := tpm.MakeCredential(id, secret)
		require.NoError(t, err)
		got, err := s.ActivateCredential(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, secret, got)
		require.False(t, record.Contains(secret))
	})
}
