package tpm_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// An envelope has one encoding: what is accepted is what we would write.
func FuzzParseEnvelope(f *testing.F) {
	key, session, sealed := tpmtest.Samples()
	for _, kind := range []byte{1, 2, 3} {
		for _, seed := range [][]byte{key, session, sealed} {
			f.Add(seed, kind)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, kind byte) {
		again, err := tpm.ParseEnvelope(data, kind)
		if err == nil && !bytes.Equal(data, again) {
			t.Fatalf("%x was taken for %x", data, again)
		}
	})
}

// PEM and BER have several encodings. What we write of what we read means the
// same, and writing it again changes nothing.
func FuzzParseTSS2(f *testing.F) {
	key, session, _ := tpmtest.Samples()
	f.Add(key)
	f.Add(session)
	f.Add(key[bytes.Index(key, []byte("-----BEGIN")):])
	f.Add(bytes.Replace(key, []byte("0wEB/w"), []byte("0wEBAQ"), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		again, public, private, name, err := tpm.ParseTSS2(data)
		if err != nil {
			return
		}
		twice, public2, private2, name2, err := tpm.ParseTSS2(again)
		if err != nil || !bytes.Equal(again, twice) || !bytes.Equal(public, public2) ||
			!bytes.Equal(private, private2) || !bytes.Equal(name, name2) {
			t.Fatalf("%q was written as %q (%v)", data, again, err)
		}
	})
}

// Nothing is taken for a response that does not carry the session's HMAC,
// whose key the fuzzer does not have: the nonce of each command is new.
func FuzzForgedResponse(f *testing.F) {
	rsp := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTSessions))
	rsp = binary.BigEndian.AppendUint32(rsp, 0)
	rsp = binary.BigEndian.AppendUint32(rsp, 0)
	rsp = binary.BigEndian.AppendUint32(rsp, 34)
	rsp = sized(rsp, make([]byte, 32))
	rsp = sized(rsp, make([]byte, 16))
	rsp = append(rsp, 0x61)
	rsp = sized(rsp, make([]byte, 32))
	binary.BigEndian.PutUint32(rsp[2:], uint32(len(rsp)))
	f.Add(rsp)
	f.Add(rsp[:10])
	f.Fuzz(func(t *testing.T, raw []byte) {
		if tpm.ForgedResponse(raw) == nil {
			t.Fatalf("%x was believed", raw)
		}
	})
}

// An attestation that differs in any byte from the one that was signed is
// refused.
func FuzzVerifyAttestation(f *testing.F) {
	sign, ak := softwareAK(f)
	key := softwareKey(f)
	info := binary.BigEndian.AppendUint32(nil, 0xff544347)
	info = binary.BigEndian.AppendUint16(info, uint16(tpm2.TPMSTAttestCertify))
	info = sized(info, make([]byte, 34))
	info = sized(info, nonce)
	info = append(info, make([]byte, 25)...)
	info = sized(info, name(key))
	info = sized(info, make([]byte, 34))
	sig := sign(info)
	v := tpm.Verification{Nonce: nonce, AKName: name(ak)}
	a := &tpm.Attestation{Identity: tpm.Identity{AK: ak}, Key: key, Info: info, Signature: sig}
	if _, err := tpm.VerifyAttestation(a, v); err != nil {
		f.Fatal(err)
	}
	f.Add(ak, key, info, sig)
	f.Fuzz(func(t *testing.T, fak, fkey, finfo, fsig []byte) {
		a := &tpm.Attestation{Identity: tpm.Identity{AK: fak}, Key: fkey, Info: finfo, Signature: fsig}
		if _, err := tpm.VerifyAttestation(a, v); err != nil {
			return
		}
		if !bytes.Equal(ak, fak) || !bytes.Equal(key, fkey) || !bytes.Equal(info, finfo) {
			t.Fatalf("accepted: %x %x %x %x", fak, fkey, finfo, fsig)
		}
	})
}

// samplePINSealed was sealed by a TPM that no longer exists, under the aad of
// these tests.
const samplePINSealed = "cHJ0YnJva2VyAAEBBQcABEAAAAEAIgALvAq1zC+Th4s5i1dTVuBqqx2on8IFUqJhD9EXgdauS6UATgAIAAsAAAASACCh1QW5EGBAbFXpma8a3j0g" +
	"jls7DR1hLn/bTV9pdpAuSQAQACDxuvOfOnxpPLBRrZTyaieG3CxZdtDOiopdmZtMDSCxgQCeACBIQwoZcWodUCHOOc1tksDXF1VZ5yIlVvNGT7dT" +
	"lxBztAAQi2aiX57RNNAUuqXWsYQfsCJETmGIKd9p0jfBhDhrC17i8aLArC6p5TRYn/HxAUarjOLvekyKf2WPermOMcVTzPEGkaE9EvM4KYGAeQdj" +
	"XSAUlPjBIOHMQHZb7lhPe3P4sGpEm1uBeYkJrAKL8G1uPNpGJ58JhsPE6GgAEGWgCO0u+jUNNcwCFTAJVzUAEAAAAAAPcxQFAAAAAwAAAAAAIgAL" +
	"hKwmucroafSkVTx0av615U+uajGnw1qojx00ssx6UBs="

// What is accepted is written as we would write it, and says of limits, salt
// and parent what the sample says: another policy would need another hash.
func FuzzParsePINSealed(f *testing.F) {
	sample, err := base64.StdEncoding.DecodeString(samplePINSealed)
	if err != nil {
		f.Fatal(err)
	}
	_, want, err := tpm.ParsePINSealed(sample, aad)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample, aad)
	f.Add(tpm.Prolonged(sample, []byte("another")), aad)
	f.Fuzz(func(t *testing.T, data, withAAD []byte) {
		again, covered, err := tpm.ParsePINSealed(data, withAAD)
		if err != nil {
			return
		}
		if !bytes.Equal(data, again) {
			t.Fatalf("%x was taken for %x", data, again)
		}
		if !bytes.Equal(want, covered) || !bytes.Equal(aad, withAAD) {
			t.Fatalf("%x was accepted under the aad %q", data, withAAD)
		}
	})
}
