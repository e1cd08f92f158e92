package tpm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// An Attester proves to someone else that a key is in a TPM. [TPM] implements
// it; a store without a TPM does not.
//
// The other side first binds the attestation key (AK) to a TPM whose
// endorsement key (EK) it knows or whose EK certificate it trusts: it encrypts
// a secret with [MakeCredential] and gets it back from ActivateCredential.
// From then on Attest proves keys, and [VerifyAttestation] checks the proofs.
type Attester interface {
	// Identity returns the AK, the EK and the EK's certificate, if the
	// manufacturer put one into the TPM.
	Identity(ctx context.Context) (*Identity, error)
	// ActivateCredential returns the secret of c, which only the TPM with this
	// EK and this AK can decrypt.
	ActivateCredential(ctx context.Context, c *Credential) ([]byte, error)
	// Attest has the AK certify that k is in the TPM, over a nonce of 8 to 32
	// bytes chosen by the other side.
	Attest(ctx context.Context, k Key, nonce []byte) (*Attestation, error)
}

var _ Attester = (*TPM)(nil)

// An Identity identifies a TPM. All fields are public; the EK identifies the
// machine.
type Identity struct {
	AK     []byte `json:"ak"`                // TPMT_PUBLIC
	EK     []byte `json:"ek"`                // TPMT_PUBLIC
	EKCert []byte `json:"ek_cert,omitempty"` // X.509, DER; nil: the TPM has none
}

// A Credential is a secret encrypted to an Identity.
type Credential struct {
	IDObject []byte `json:"id_object"` // TPMS_ID_OBJECT
	Secret   []byte `json:"secret"`    // TPM2B_ENCRYPTED_SECRET's contents
}

// An Attestation is an AK's statement about a key.
type Attestation struct {
	Identity
	Key       []byte `json:"key"`       // TPMT_PUBLIC of the certified key
	Info      []byte `json:"info"`      // TPMS_ATTEST
	Signature []byte `json:"signature"` // TPMT_SIGNATURE over Info
}

// akTemplate is a restricted signing key: it signs only what the TPM itself
// made. As a primary it needs no blob.
var akTemplate = tpm2.TPMTPublic{
	Type:    tpm2.TPMAlgECC,
	NameAlg: tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
		UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true,
	},
	Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
		Scheme: tpm2.TPMTECCScheme{
			Scheme:  tpm2.TPMAlgECDSA,
			Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
		},
		CurveID: tpm2.TPMECCNistP256,
	}),
	Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: akUnique[:]}}),
}

// akUnique keeps our AK apart from those of other programs.
var akUnique = sha256.Sum256([]byte("prtbroker attestation key"))

// Where the TCG EK Credential Profile keeps the certificates and the RSA EK.
const (
	nvRSACert    tpm2.TPMHandle = 0x01c00002
	nvECCCert    tpm2.TPMHandle = 0x01c0000a
	persistentEK tpm2.TPMHandle = 0x81010001
)

// Identity reads what identifies the TPM. The EK is the one that has a
// certificate, or the P-256 one if none does. It is made from the default
// template: a template or nonce that the manufacturer left in NV is not read
// (TCG EK Credential Profile, 2.2.1), and such an EK does not match its
// certificate.
func (t *TPM) Identity(ctx context.Context) (*Identity, error) {
	id, err := do(ctx, t.keys, func() (*Identity, error) {
		sp := t.keys
		_, ak, err := createEndorsement(sp, akTemplate)
		if err != nil {
			return nil, err
		}
		ek, cert, err := findEK(sp)
		if err != nil {
			return nil, err
		}
		_, area, err := loadEK(sp, ek)
		if err != nil {
			return nil, err
		}
		return &Identity{AK: ak, EK: area, EKCert: cert}, nil
	})
	if err != nil {
		return nil, failed("reading the identity", err)
	}
	return id, nil
}

// findEK chooses the EK by its certificate.
func findEK(sp *space) (template tpm2.TPMTPublic, cert []byte, err error) {
	if cert, err = readCert(sp, nvRSACert); err != nil || cert != nil {
		return tpm2.RSAEKTemplate, cert, err
	}
	cert, err = readCert(sp, nvECCCert)
	return tpm2.ECCEKTemplate, cert, err
}

// loadEK makes the EK, or uses the persistent RSA one that Windows and others
// keep.
func loadEK(sp *space, template tpm2.TPMTPublic) (object, []byte, error) {
	if template.Type == tpm2.TPMAlgRSA {
		rsp, err := tpm2.ReadPublic{ObjectHandle: persistentEK}.Execute(sp)
		switch {
		case err == nil:
			area := rsp.OutPublic.Bytes()
			if p, err := parsePublic(area); err == nil && p.Type == tpm2.TPMAlgRSA && soundEK(p) {
				return object{persistentEK, nameOf(area)}, bytes.Clone(area), nil
			}
		case !isNoHandle(err):
			return object{}, nil, err
		}
	}
	return createEndorsement(sp, template)
}

// createEndorsement makes a primary of the endorsement hierarchy, to be
// flushed when the operation ends.
func createEndorsement(sp *space, template tpm2.TPMTPublic) (object, []byte, error) {
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHEndorsement,
		InPublic:      tpm2.New2B(template),
	}.Execute(sp)
	if err != nil {
		return object{}, nil, err
	}
	sp.loaded = append(sp.loaded, rsp.ObjectHandle)
	area := rsp.OutPublic.Bytes()
	return object{rsp.ObjectHandle, nameOf(area)}, bytes.Clone(area), nil
}

// readCert returns nil when there is no such certificate. A failure of the TPM is
// an error: without the certificate, Identity would return a different EK.
func readCert(sp *space, index tpm2.TPMHandle) ([]byte, error) {
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(sp)
	if isNoHandle(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	nv, err := public.NVPublic.Contents()
	if err != nil {
		return nil, err
	}
	var cert []byte
	size := int(nv.DataSize)
	const chunk = 512 // every TPM reads that much at once
	for at := 0; at < size; at += chunk {
		rsp, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: public.NVName, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Size:       uint16(min(chunk, size-at)),
			Offset:     uint16(at),
		}.Execute(sp)
		if isAny(err, unreadable) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		cert = append(cert, rsp.Data.Buffer...)
	}
	// The index may be larger than the certificate.
	var raw asn1.RawValue
	if _, err := asn1.Unmarshal(cert, &raw); err != nil {
		return nil, nil
	}
	return raw.FullBytes, nil
}

// unreadable are the codes for an index that was never written, or that is not
// for everyone to read (Part 3, 31.13).
var unreadable = []tpm2.TPMRC{
	tpm2.TPMRCNVUninitialized, tpm2.TPMRCNVLocked, tpm2.TPMRCNVAuthorization,
	tpm2.TPMRCAuthUnavailable, tpm2.TPMRCBadAuth, tpm2.TPMRCAuthFail,
}

// ActivateCredential uses a policy session for the EK and our salted session to
// keep the secret off the wire.
func (t *TPM) ActivateCredential(ctx context.Context, c *Credential) ([]byte, error) {
	params := append2B(append2B(nil, c.IDObject), c.Secret)
	secret, err := do(ctx, t.keys, func() ([]byte, error) {
		sp := t.keys
		if err := t.underParent(sp, t.defaultParent(), func(object) error { return nil }); err != nil {
			return nil, err
		}
		sp.dropPrimary() // EK and AK need the slots
		template, _, err := findEK(sp)
		if err != nil {
			return nil, err
		}
		ek, _, err := loadEK(sp, template)
		if err != nil {
			return nil, err
		}
		ak, _, err := createEndorsement(sp, akTemplate)
		if err != nil {
			return nil, err
		}
		policy, err := endorsementPolicy(sp)
		if err != nil {
			return nil, err
		}
		cmd := command{
			code:    tpm2.TPMCCActivateCredential,
			handles: []object{ak, ek},
			auths:   []auth{{}, {policy: policy}, {session: sp.session, dir: encryptOut}},
			params:  bytes.Clone(params),
		}
		rsp, err := cmd.run(sp)
		switch {
		case errors.Is(err, tpm2.TPMRCIntegrity), errors.Is(err, tpm2.TPMRCValue), errors.Is(err, tpm2.TPMRCSize),
			errors.Is(err, tpm2.TPMRCECCPoint), errors.Is(err, tpm2.TPMRCFailure) && healthy(sp):
			return nil, fmt.Errorf("%w: the credential is for another TPM or attestation key, or damaged", ErrAttestation)
		case err != nil:
			return nil, err
		}
		defer rsp.clear()
		return bytes.Clone(first(rsp.params)), nil
	})
	if err != nil {
		return nil, failed("activating a credential", err)
	}
	return secret, nil
}

// endorsementPolicy starts the policy session that an EK asks for: proof of
// the endorsement hierarchy's auth value, which is empty.
func endorsementPolicy(sp *space) (tpm2.TPMHandle, error) {
	rsp, err := tpm2.StartAuthSession{
		TPMKey:      tpm2.TPMRHNull,
		Bind:        tpm2.TPMRHNull,
		NonceCaller: tpm2.TPM2BNonce{Buffer: make([]byte, nonceSize)},
		SessionType: tpm2.TPMSEPolicy,
		Symmetric:   tpm2.TPMTSymDef{Algorithm: tpm2.TPMAlgNull},
		AuthHash:    tpm2.TPMAlgSHA256,
	}.Execute(sp)
	if err != nil {
		return 0, err
	}
	handle := tpm2.TPMHandle(rsp.SessionHandle.HandleValue())
	sp.loaded = append(sp.loaded, handle)
	_, err = tpm2.PolicySecret{
		AuthHandle:    tpm2.TPMRHEndorsement,
		PolicySession: handle,
		NonceTPM:      rsp.NonceTPM,
	}.Execute(sp)
	return handle, err
}

// Attest certifies a key of this store.
func (t *TPM) Attest(ctx context.Context, k Key, nonce []byte) (*Attestation, error) {
	if len(nonce) < minNonce || len(nonce) > maxNonce {
		return nil, fmt.Errorf("tpm: attesting: nonce of %d bytes; it must have %d to %d", len(nonce), minNonce, maxNonce)
	}
	own := ownKey(k)
	if own == nil || own.t != t {
		return nil, fmt.Errorf("tpm: attesting: %w: not a key of this store", ErrPurpose)
	}
	b, value, err := own.auth()
	if err != nil {
		return nil, failed("attesting", err)
	}
	id, err := t.Identity(ctx)
	if err != nil {
		return nil, err
	}
	nonce = bytes.Clone(nonce)
	a, err := do(ctx, t.keys, func() (*Attestation, error) {
		sp := t.keys
		loaded, err := t.load(sp, b)
		if err != nil {
			return nil, err
		}
		sp.dropPrimary() // the AK needs the slot
		ak, _, err := createEndorsement(sp, akTemplate)
		if err != nil {
			return nil, err
		}
		cmd := command{
			code:    tpm2.TPMCCCertify,
			handles: []object{loaded, ak},
			auths:   []auth{{session: sp.session, value: value}, {}},
			params:  append(append2B(nil, nonce), byte(tpm2.TPMAlgNull>>8), byte(tpm2.TPMAlgNull)), // the AK's own scheme
		}
		rsp, err := cmd.run(sp)
		if err != nil {
			return nil, t.authError(sp, b, err)
		}
		info, signature, err := parseCertified(rsp.params)
		if err != nil {
			return nil, err
		}
		return &Attestation{Identity: *id, Key: b.public, Info: info, Signature: signature}, nil
	})
	if err != nil {
		return nil, failed("attesting", err)
	}
	return a, nil
}

// parseCertified takes the response to TPM2_Certify apart. The signature stays as it
// is: the verifier parses it.
func parseCertified(params []byte) (info, signature []byte, err error) {
	r := &reader{b: params}
	info, signature = bytes.Clone(r.sized()), bytes.Clone(r.b)
	if r.failed {
		return nil, nil, errShort
	}
	return info, signature, nil
}

func ownKey(k Key) *key {
	switch k := k.(type) {
	case *key:
		return k
	case *signer:
		return k.key
	case *pinSigner:
		return k.key
	}
	return nil
}
