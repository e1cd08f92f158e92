package tpm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
	"github.com/prtbroker/prtbroker/tpm/internal/signing"
)

// key is an asymmetric key of the TPM. It is loaded for each use and flushed
// afterwards: a device key signs once in several hours.
type key struct {
	t      *TPM
	public crypto.PublicKey
	attrs  tpm2.TPMAObject

	mu     sync.Mutex // guards what follows; never held over a command
	b      *keyBlob   // itself never changed
	blob   []byte
	pin    secret.Value
	closed bool
}

// signer is a key made to sign; see [Signer].
type signer struct{ *key }

func (k *key) Public() crypto.PublicKey { return k.public }

func (k *key) Blob() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.blob)
}

// Close forgets the PIN. Nothing of the key is held in the TPM between uses.
func (k *key) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pin.Clear()
	k.closed = true
	return nil
}

// auth returns what to load and the auth value that goes with it.
func (k *key) auth() (*keyBlob, []byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return nil, nil, ErrClosed
	case len(k.b.salt) == 0:
		return k.b, k.t.keyAuth(), nil
	case k.pin.IsZero():
		return nil, nil, fmt.Errorf("%w: the key needs WithPIN", ErrWrongPIN)
	}
	return k.b, k.t.pinAuth(k.pin.Bytes(), k.b.salt), nil
}

// GenerateKey makes a key in the TPM: fixedTPM, fixedParent, its private part
// generated there. It costs one command, or three where the storage root key
// is a transient primary.
func (t *TPM) GenerateKey(ctx context.Context, spec KeySpec) (Key, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	value, salt, err := t.newAuth(spec.PIN)
	if err != nil {
		return nil, failed("generating a key", err)
	}
	b, err := do(ctx, t.keys, func() (*keyBlob, error) {
		defer t.keysBusy()()
		template, err := t.template(spec.Purpose, spec.Algorithm, len(salt) > 0)
		if err != nil {
			return nil, err
		}
		return t.create(t.keys, sensitiveCreate(value, nil), template)
	}, value)
	if err != nil {
		return nil, failed("generating a key", err)
	}
	if len(salt) == 0 {
		return t.newKey(b, b.marshalTSS2(t.appAuth.IsZero()), nil)
	}
	b.salt = salt
	return t.newKey(b, b.marshal(envelope.Key), bytes.Clone(spec.PIN))
}

// template returns the public area to ask for. Only a key with a PIN is
// subject to dictionary-attack protection: a power loss after using such a key
// counts as a wrong try.
func (t *TPM) template(purpose Purpose, alg Algorithm, pin bool) (tpm2.TPMTPublic, error) {
	public := tpm2.TPMTPublic{
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
			UserWithAuth: true, NoDA: !pin,
			SignEncrypt: purpose == Sign, Decrypt: purpose == Unwrap,
		},
	}
	if alg == P256 {
		public.Type = tpm2.TPMAlgECC
		public.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256})
		public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
		return public, nil
	}
	parms := &tpm2.TPMSRSAParms{KeyBits: 2048}
	if purpose == Unwrap {
		ok, err := supportsOAEP(t.keys)
		if err != nil {
			return public, err
		}
		if ok {
			parms.Scheme = oaepSHA1
		}
	}
	public.Type = tpm2.TPMAlgRSA
	public.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, parms)
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
	return public, nil
}

// OpenKey opens a key made by [TPM.GenerateKey], or any TSS2 PRIVATE KEY
// without a policy whose parent is a persistent storage key or the transient
// primary. It sends nothing to the TPM unless the parent is new to it: a key
// that the TPM refuses, or a wrong PIN, is reported at first use.
func (t *TPM) OpenKey(ctx context.Context, blob []byte, opts ...OpenOption) (Key, error) {
	b, err := t.parseKey(blob)
	if err != nil {
		return nil, failed("opening a key", err)
	}
	_, err = do(ctx, t.keys, func() (*storageKey, error) { return t.storageOf(t.keys, b) })
	if err != nil {
		return nil, failed("opening a key", err)
	}
	var pin []byte
	for _, o := range opts {
		if o.PIN != nil {
			pin = bytes.Clone(o.PIN)
		}
	}
	return t.newKey(b, bytes.Clone(blob), pin)
}

func (t *TPM) parseKey(blob []byte) (*keyBlob, error) {
	if envelope.IsTSS2(blob) {
		return unmarshalTSS2(blob)
	}
	return unmarshalBlob(blob, envelope.Key)
}

// newKey takes ownership of pin.
func (t *TPM) newKey(b *keyBlob, blob, pin []byte) (Key, error) {
	public, err := parsePublic(b.public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidBlob, err)
	}
	k := &key{t: t, b: b, blob: blob, attrs: public.ObjectAttributes, pin: secret.New(pin)}
	if k.public, err = publicKey(public); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidBlob, err)
	}
	switch {
	case k.attrs.Restricted:
		return nil, fmt.Errorf("%w: a restricted key", ErrInvalidBlob)
	case k.attrs.SignEncrypt && len(b.salt) > 0:
		return &pinSigner{&signer{k}}, nil
	case k.attrs.SignEncrypt:
		return &signer{k}, nil
	case k.attrs.Decrypt:
		return k, nil
	}
	return nil, fmt.Errorf("%w: a key that neither signs nor decrypts", ErrInvalidBlob)
}

// publicKey returns an *rsa.PublicKey of 2048 bits or an *ecdsa.PublicKey on
// P-256.
func publicKey(p *tpm2.TPMTPublic) (crypto.PublicKey, error) {
	switch p.Type {
	case tpm2.TPMAlgRSA:
		d, err := p.Parameters.RSADetail()
		if err != nil {
			return nil, err
		}
		if d.KeyBits != 2048 || d.Exponent != 0 && d.Exponent != 65537 {
			return nil, errors.New("not RSA-2048 with exponent 65537")
		}
		n, err := p.Unique.RSA()
		if err != nil {
			return nil, err
		}
		key := &rsa.PublicKey{N: new(big.Int).SetBytes(n.Buffer), E: 65537}
		if key.N.BitLen() != 2048 {
			return nil, errors.New("modulus size")
		}
		return key, nil
	case tpm2.TPMAlgECC:
		d, err := p.Parameters.ECCDetail()
		if err != nil {
			return nil, err
		}
		if d.CurveID != tpm2.TPMECCNistP256 {
			return nil, errors.New("not on P-256")
		}
		pt, err := p.Unique.ECC()
		if err != nil {
			return nil, err
		}
		return p256(pt.X.Buffer, pt.Y.Buffer)
	}
	return nil, errors.New("neither RSA nor ECC")
}

// Sign implements [crypto.Signer]. rand is not used: the TPM has its own.
func (k *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), digest, opts)
}

// SignContext signs in the TPM: RSA with PKCS #1 v1.5, or PSS with a salt as
// long as the hash, or ECDSA in ASN.1 form. Load, Sign and Flush are three
// commands. A PIN is tried once: if the connection is lost during the try, the
// error is [ErrNoTPM], and a wrong PIN may have counted.
func (k *signer) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	scheme, err := signScheme(k.public, digest, opts)
	if err != nil {
		return nil, err
	}
	b, value, err := k.auth()
	if err != nil {
		return nil, failed("signing", err)
	}
	digest = bytes.Clone(digest)
	sig, err := do(ctx, k.t.keys, func() ([]byte, error) {
		loaded, err := k.t.load(k.t.keys, b)
		if err != nil {
			return nil, err
		}
		params := append2B(nil, digest)
		params = append(params, scheme...)
		params = append(params, nullTicket...)
		cmd := command{
			code:    tpm2.TPMCCSign,
			handles: []object{loaded},
			auths:   []auth{{session: k.t.keys.session, value: value, dir: encryptIn}},
			params:  params,
		}
		rsp, err := cmd.run(k.t.keys)
		if err != nil {
			return nil, k.t.authError(k.t.keys, b, err)
		}
		return parseSignature(rsp.params)
	}, value)
	if err != nil {
		return nil, failed("signing", err)
	}
	return sig, nil
}

// nullTicket says that the digest does not come from the TPM.
var nullTicket = []byte{0x80, 0x24, 0x40, 0x00, 0x00, 0x07, 0, 0}

var hashAlgs = map[crypto.Hash]tpm2.TPMAlgID{
	crypto.SHA256: tpm2.TPMAlgSHA256, crypto.SHA384: tpm2.TPMAlgSHA384, crypto.SHA512: tpm2.TPMAlgSHA512,
}

// signScheme encodes the TPMT_SIG_SCHEME.
func signScheme(public crypto.PublicKey, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := signing.Check(digest, opts); err != nil {
		return nil, err
	}
	scheme := tpm2.TPMAlgECDSA
	if _, ok := public.(*rsa.PublicKey); ok {
		scheme = tpm2.TPMAlgRSASSA
		if _, ok := opts.(*rsa.PSSOptions); ok {
			scheme = tpm2.TPMAlgRSAPSS
		}
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(scheme))
	return binary.BigEndian.AppendUint16(b, uint16(hashAlgs[opts.HashFunc()])), nil
}

// parseSignature turns a TPMT_SIGNATURE into what crypto/rsa and crypto/ecdsa
// verify.
func parseSignature(params []byte) ([]byte, error) {
	r := &reader{b: params}
	scheme := tpm2.TPMAlgID(r.uint16())
	r.uint16()
	one := r.sized()
	if scheme != tpm2.TPMAlgECDSA {
		if r.failed {
			return nil, errShort
		}
		return bytes.Clone(one), nil
	}
	two := r.sized()
	if r.failed {
		return nil, errShort
	}
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(one), new(big.Int).SetBytes(two)})
}

// authError explains a refusal to use the object of b; the session has been
// proved by loading it. A failed connection is final if a PIN was being proved:
// the TPM may have tried and counted it, and the caller asked for one try only.
func (t *TPM) authError(sp *space, b *keyBlob, err error) error {
	var conn *connError
	switch {
	case errors.As(err, &conn) && len(b.salt) > 0:
		return fmt.Errorf("%w: the connection failed while a PIN was being tried: %w", ErrNoTPM, conn.err)
	case errors.Is(err, tpm2.TPMRCAuthFail) && len(b.salt) > 0:
		e := &WrongPINError{TriesLeft: -1}
		if p, perr := tpmProperties(sp, tpm2.TPMPTLockoutCounter, 3); perr == nil {
			e.TriesLeft = max(0, int(p[tpm2.TPMPTMaxAuthFail])-int(p[tpm2.TPMPTLockoutCounter]))
		}
		return e
	case errors.Is(err, tpm2.TPMRCLockout):
		e := &LockedOutError{}
		if p, perr := tpmProperties(sp, tpm2.TPMPTLockoutCounter, 3); perr == nil {
			e.RetryAfter = time.Duration(p[tpm2.TPMPTLockoutInterval]) * time.Second
		}
		return e
	}
	return err
}

// tpmProperties returns n properties from first on.
func tpmProperties(sp *space, first tpm2.TPMPT, n uint32) (map[tpm2.TPMPT]uint32, error) {
	rsp, err := tpm2.GetCapability{
		Capability:    tpm2.TPMCapTPMProperties,
		Property:      uint32(first),
		PropertyCount: n,
	}.Execute(sp)
	if err != nil {
		return nil, err
	}
	list, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil {
		return nil, err
	}
	m := make(map[tpm2.TPMPT]uint32, n)
	for _, p := range list.TPMProperty {
		m[p.Property] = p.Value
	}
	return m, nil
}
