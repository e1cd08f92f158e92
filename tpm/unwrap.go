package tpm

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// oaepSHA1 is the padding of session_key_jwe (MS-OAPXBC 3.2.5.1.2.2, "RSA-OAEP"
// of RFC 7518 4.3): SHA-1, MGF1 with SHA-1, empty label.
var oaepSHA1 = tpm2.TPMTRSAScheme{
	Scheme:  tpm2.TPMAlgOAEP,
	Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgOAEP, &tpm2.TPMSEncSchemeOAEP{HashAlg: tpm2.TPMAlgSHA1}),
}

// supportsOAEP asks whether the TPM can fix the padding in the key, which makes
// the key useless for anything else. A TPM without SHA-1 refuses; its transport
// key then has no scheme and the padding is checked here. A TPM that fails has not
// refused: the key is for years.
func supportsOAEP(sp *space) (bool, error) {
	_, err := tpm2.TestParms{Parameters: tpm2.TPMTPublicParms{
		Type:       tpm2.TPMAlgRSA,
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{Scheme: oaepSHA1, KeyBits: 2048}),
	}}.Execute(sp)
	if isNoCommand(err) || refusesParameter(err) {
		return false, nil
	}
	return err == nil, err
}

// sessionKeyTemplate is an HMAC key that the TPM holds but did not make:
// sensitiveDataOrigin must be clear.
var sessionKeyTemplate = tpm2.TPMTPublic{
	Type:    tpm2.TPMAlgKeyedHash,
	NameAlg: tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, UserWithAuth: true, NoDA: true, SignEncrypt: true,
	},
	Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{
		Scheme: tpm2.TPMTKeyedHashScheme{
			Scheme:  tpm2.TPMAlgHMAC,
			Details: tpm2.NewTPMUSchemeKeyedHash(tpm2.TPMAlgHMAC, &tpm2.TPMSSchemeHMAC{HashAlg: tpm2.TPMAlgSHA256}),
		},
	}),
	Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{}),
}

// UnwrapSession decrypts wrapped with the transport key and makes the session
// key an object of the TPM: Load, RSA_Decrypt, Flush, Create. The TPM cannot
// import it in one step, because TPM2_Import requires another OAEP label; so
// the 32 bytes exist here between two commands, in one buffer that is encrypted
// in place by the second. The session key is loaded at its first use, in place
// of the one that is loaded then.
func (t *TPM) UnwrapSession(ctx context.Context, transport Key, wrapped []byte) (SessionKey, error) {
	k, ok := transport.(*key)
	if !ok || k.t != t {
		return nil, fmt.Errorf("tpm: unwrapping: %w: not a transport key of this store", ErrPurpose)
	}
	b, value, err := k.auth()
	if err != nil {
		return nil, failed("unwrapping", err)
	}
	wrapped = bytes.Clone(wrapped)
	s, err := do(ctx, t.keys, func() (*sessionKey, error) { return t.unwrap(t.keys, k, b, value, wrapped) })
	if err != nil {
		return nil, failed("unwrapping", err)
	}
	return s, nil
}

// unwrap does all of it under a parent that is loaded once.
func (t *TPM) unwrap(sp *space, k *key, b *keyBlob, value, wrapped []byte) (*sessionKey, error) {
	storage, err := t.storageOf(sp, b)
	if err != nil {
		return nil, err
	}
	s := &sessionKey{t: t}
	err = t.underParent(sp, storage, func(parent object) error {
		rsp, err := b.decrypt(sp, parent, value, wrapped)
		if err != nil {
			return err
		}
		sensitive, err := t.sessionSensitive(b, rsp.params)
		rsp.clear()
		if err != nil {
			return err
		}
		defer clear(sensitive)
		if s.b, err = sp.create(parent, sensitive, sessionKeyTemplate); err != nil {
			return err
		}
		s.b.under(storage)
		s.blob = s.b.marshal(envelope.Session)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// decrypt returns the response to TPM2_RSA_Decrypt, to be cleared. The key is
// flushed before the result is used: slots are scarce.
func (b *keyBlob) decrypt(sp *space, parent object, value, wrapped []byte) (*response, error) {
	loaded, err := sp.load(parent, b)
	if err != nil {
		return nil, err
	}
	defer sp.flush(loaded.handle)
	params := append2B(nil, wrapped)
	params = binary.BigEndian.AppendUint16(params, uint16(tpm2.TPMAlgNull)) // the key's own scheme
	params = append2B(params, nil)                                          // label
	cmd := command{
		code:    tpm2.TPMCCRSADecrypt,
		handles: []object{loaded},
		auths:   []auth{{session: sp.session, value: value, dir: encryptAll}},
		params:  params,
	}
	rsp, err := cmd.run(sp)
	switch {
	case err == nil:
		return rsp, nil
	case errors.Is(err, tpm2.TPMRCValue), errors.Is(err, tpm2.TPMRCSize):
		return nil, fmt.Errorf("%w: the TPM refuses the ciphertext", ErrDecrypt)
	case errors.Is(err, tpm2.TPMRCFailure) && healthy(sp):
		// libtpms before 0.9.3 says TPM_RC_FAILURE for wrong padding.
		return nil, fmt.Errorf("%w: wrong padding", ErrDecrypt)
	}
	return nil, err
}

// sessionSensitive builds the parameter of TPM2_Create around the session key
// that message, a TPM2B, carries.
func (t *TPM) sessionSensitive(b *keyBlob, message []byte) ([]byte, error) {
	plain := first(message)
	if b.rawScheme() {
		var err error
		if plain, err = unpadOAEP(plain, 256); err != nil {
			return nil, err
		}
		defer clear(plain)
	}
	if len(plain) != kdf.KeySize {
		return nil, fmt.Errorf("%w: %d bytes instead of %d", ErrDecrypt, len(plain), kdf.KeySize)
	}
	return sensitiveCreate(t.keyAuth(), plain), nil
}

// rawScheme reports whether the TPM decrypts without looking at the padding.
func (b *keyBlob) rawScheme() bool {
	public, err := parsePublic(b.public)
	if err != nil {
		return false
	}
	d, err := public.Parameters.RSADetail()
	return err == nil && d.Scheme.Scheme == tpm2.TPMAlgNull
}

// unpadOAEP removes OAEP padding with SHA-1 and an empty label (RFC 8017
// 7.1.2) from an encoded message of size bytes, in constant time up to the verdict.
func unpadOAEP(em []byte, size int) ([]byte, error) {
	const h = sha1.Size
	if len(em) > size {
		return nil, fmt.Errorf("%w: size", ErrDecrypt)
	}
	padded := make([]byte, size)
	defer clear(padded)
	copy(padded[size-len(em):], em) // a TPM may leave out leading zero bytes
	seed, db := padded[1:1+h], padded[1+h:]
	mgf1XOR(seed, db)
	mgf1XOR(db, seed)
	label := sha1.Sum(nil)
	good := subtle.ConstantTimeByteEq(padded[0], 0) & subtle.ConstantTimeCompare(db[:h], label[:])
	looking, index := 1, 0
	for i, c := range db[h:] {
		one := subtle.ConstantTimeByteEq(c, 1)
		index = subtle.ConstantTimeSelect(looking&one, i, index)
		looking = subtle.ConstantTimeSelect(one, 0, looking)
		good = subtle.ConstantTimeSelect(looking&^subtle.ConstantTimeByteEq(c, 0), 0, good)
	}
	if good&^looking != 1 {
		return nil, fmt.Errorf("%w: wrong padding", ErrDecrypt)
	}
	return bytes.Clone(db[h+index+1:]), nil
}

func mgf1XOR(out, seed []byte) {
	var counter [4]byte
	for i := 0; i < len(out); {
		h := sha1.New()
		h.Write(seed)
		h.Write(counter[:])
		for _, b := range h.Sum(nil) {
			if i == len(out) {
				break
			}
			out[i] ^= b
			i++
		}
		binary.BigEndian.PutUint32(counter[:], binary.BigEndian.Uint32(counter[:])+1)
	}
}
