package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// ErrAttestation is wrapped by every refusal of an attestation.
var ErrAttestation = errors.New("tpm: attestation refused")

const (
	minNonce, maxNonce = 8, 32
	maxCredential      = 32      // the digest size of the names
	maxCert            = 8 << 10 // an EK certificate, in bytes
)

// Verification says what a verifier knows.
type Verification struct {
	// Nonce is what the verifier asked to be signed, once: 8 to 32 bytes.
	Nonce []byte
	// AKName is the name of the AK that [TPM.ActivateCredential] proved; see
	// [Identity.AKName]. Without such a proof an AK proves nothing.
	AKName []byte
	// Roots, if not nil, are the CAs of TPM makers: the EK certificate must be
	// present, chain to one of them, and carry the EK. Nil trusts the EK that
	// the credential was made for.
	Roots, Intermediates *x509.CertPool
	// Now is the time the certificate must be valid at. Zero: the current
	// time.
	Now time.Time
}

// AKName returns the name of the attestation key, 34 bytes.
func (id *Identity) AKName() []byte { return nameOf(id.AK) }

// MakeCredential encrypts a secret of 16 to 32 bytes so that only the TPM that
// has both the EK and the AK of id can decrypt it (Part 1, 24). It needs no
// TPM. Draw a new secret for every challenge.
func MakeCredential(id *Identity, secret []byte) (*Credential, error) {
	if len(secret) < 16 || len(secret) > maxCredential {
		return nil, fmt.Errorf("tpm: credential of %d bytes; it must have 16 to %d", len(secret), maxCredential)
	}
	ek, err := parsePublic(id.EK)
	if err != nil || !soundEK(ek) {
		return nil, refuse("the EK is not an endorsement key")
	}
	if _, err := attestationKey(id.AK); err != nil {
		return nil, err
	}
	pub, err := tpm2.ImportEncapsulationKey(ek)
	if err != nil {
		return nil, refuse("EK: %v", err)
	}
	object, enc, err := tpm2.CreateCredential(rand.Reader, pub, nameOf(id.AK), secret)
	if err != nil {
		return nil, fmt.Errorf("tpm: making a credential: %w", err)
	}
	return &Credential{IDObject: object, Secret: enc}, nil
}

// VerifyAttestation returns the attested public key: an *rsa.PublicKey or an
// *ecdsa.PublicKey that was made in the TPM, cannot leave it, and signs or
// decrypts what its owner gives it. It needs no TPM and makes no requests. All
// its errors are [ErrAttestation].
func VerifyAttestation(a *Attestation, v Verification) (crypto.PublicKey, error) {
	if len(v.Nonce) < minNonce || len(v.Nonce) > maxNonce {
		return nil, refuse("the verifier's nonce has %d bytes, not %d to %d", len(v.Nonce), minNonce, maxNonce)
	}
	if subtle.ConstantTimeCompare(v.AKName, a.AKName()) != 1 {
		return nil, refuse("the AK is not the one that was verified")
	}
	ak, err := attestationKey(a.AK)
	if err != nil {
		return nil, err
	}
	if v.Roots != nil {
		if err := a.verifyEK(v); err != nil {
			return nil, err
		}
	}
	if err := a.verifySignature(ak); err != nil {
		return nil, err
	}
	name, err := a.certified(v.Nonce)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(name, nameOf(a.Key)) {
		return nil, refuse("the name belongs to another key")
	}
	public, err := parsePublic(a.Key)
	if err != nil {
		return nil, refuse("key: %v", err)
	}
	at := public.ObjectAttributes
	if !at.FixedTPM || !at.FixedParent || !at.SensitiveDataOrigin {
		return nil, refuse("the key was not made in the TPM or may leave it")
	}
	if at.Restricted || at.SignEncrypt == at.Decrypt {
		return nil, refuse("the key is restricted or has more than one purpose")
	}
	key, err := publicKey(public)
	if err != nil {
		return nil, refuse("key: %v", err)
	}
	return key, nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrAttestation, fmt.Sprintf(format, args...))
}

// attestationKey returns the key of an AK that is our template with any point.
func attestationKey(area []byte) (*ecdsa.PublicKey, error) {
	p, err := parsePublic(area)
	if err != nil {
		return nil, refuse("AK: %v", err)
	}
	want := akTemplate
	want.Unique = p.Unique
	point, err := p.Unique.ECC()
	if err != nil || !bytes.Equal(tpm2.Marshal(want), area) {
		return nil, refuse("the AK is not a restricted signing key of the template")
	}
	key, err := p256(point.X.Buffer, point.Y.Buffer)
	if err != nil {
		return nil, refuse("AK: %v", err)
	}
	return key, nil
}

// soundEK accepts the two low-range templates of the TCG EK Credential
// Profile with any public key.
func soundEK(p *tpm2.TPMTPublic) bool {
	for _, want := range []tpm2.TPMTPublic{tpm2.RSAEKTemplate, tpm2.ECCEKTemplate} {
		if p.Type == want.Type {
			want.Unique = p.Unique
			return bytes.Equal(tpm2.Marshal(want), tpm2.Marshal(p))
		}
	}
	return false
}

var (
	oidEKCertificate = asn1.ObjectIdentifier{2, 23, 133, 8, 1}
	oidSAN           = asn1.ObjectIdentifier{2, 5, 29, 17}
)

func (a *Attestation) verifyEK(v Verification) error {
	if len(a.EKCert) == 0 || len(a.EKCert) > maxCert {
		return refuse("no EK certificate")
	}
	cert, err := x509.ParseCertificate(a.EKCert)
	if err != nil {
		return refuse("EK certificate: %v", err)
	}
	// The alternative name says who made the TPM, as a directory name, which
	// crypto/x509 does not read; in EK certificates it is critical.
	cert.UnhandledCriticalExtensions = slices.DeleteFunc(cert.UnhandledCriticalExtensions, oidSAN.Equal)
	if len(cert.UnknownExtKeyUsage)+len(cert.ExtKeyUsage) > 0 && !slices.ContainsFunc(cert.UnknownExtKeyUsage, oidEKCertificate.Equal) {
		return refuse("the certificate is not for an EK")
	}
	_, err = cert.Verify(x509.VerifyOptions{
		Roots: v.Roots, Intermediates: v.Intermediates, CurrentTime: v.Now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return refuse("EK certificate: %v", err)
	}
	ek, err := parsePublic(a.EK)
	if err != nil || !soundEK(ek) {
		return refuse("the EK is not an endorsement key")
	}
	public, err := publicKey(ek)
	if err != nil {
		return refuse("EK: %v", err)
	}
	var same bool
	switch public := public.(type) {
	case *rsa.PublicKey:
		same = public.Equal(cert.PublicKey)
	case *ecdsa.PublicKey:
		same = public.Equal(cert.PublicKey)
	}
	if !same {
		return refuse("the EK certificate belongs to another EK")
	}
	return nil
}

func (a *Attestation) verifySignature(ak *ecdsa.PublicKey) error {
	r := &reader{b: a.Signature}
	scheme, hash := tpm2.TPMAlgID(r.uint16()), tpm2.TPMAlgID(r.uint16())
	x, y := r.sized(), r.sized()
	if r.failed || len(r.b) > 0 || scheme != tpm2.TPMAlgECDSA || hash != tpm2.TPMAlgSHA256 {
		return refuse("malformed signature")
	}
	digest := sha256.Sum256(a.Info)
	if !ecdsa.Verify(ak, digest[:], new(big.Int).SetBytes(x), new(big.Int).SetBytes(y)) {
		return refuse("wrong signature")
	}
	return nil
}

const generatedValue = 0xff544347 // TPM_GENERATED_VALUE: the TPM made the structure

// certified parses the TPMS_ATTEST and returns the name of the certified key.
func (a *Attestation) certified(nonce []byte) ([]byte, error) {
	r := &reader{b: a.Info}
	magic, kind := r.uint32(), tpm2.TPMST(r.uint16())
	r.sized() // qualified signer
	extra := r.sized()
	r.bytes(17 + 8) // clock and firmware version
	name := r.sized()
	r.sized() // qualified name
	switch {
	case magic != generatedValue:
		return nil, refuse("the TPM did not make what was signed")
	case kind != tpm2.TPMSTAttestCertify:
		return nil, refuse("the structure has the wrong type")
	case r.failed || len(r.b) > 0:
		return nil, refuse("malformed structure")
	case subtle.ConstantTimeCompare(extra, nonce) != 1:
		return nil, refuse("the nonce is wrong")
	}
	return name, nil
}
