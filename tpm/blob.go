package tpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// A keyBlob is what is kept of an object that the TPM made: the public area,
// and the private area encrypted to the parent.
type keyBlob struct {
	parent     tpm2.TPMHandle // persistent, or TPM_RH_OWNER: the transient primary
	parentName []byte         // empty in a blob that another program made
	public     []byte         // TPMT_PUBLIC
	private    []byte         // contents of the TPM2B_PRIVATE
	salt       []byte         // of the PIN; empty: the object has none
	name       []byte         // computed from public
}

const envelopeFields = 5

func (b *keyBlob) marshal(kind envelope.Kind) []byte {
	return envelope.Marshal(envelope.TPM, kind, b.fields()...)
}

func (b *keyBlob) fields() [][]byte {
	parent := binary.BigEndian.AppendUint32(nil, uint32(b.parent))
	return [][]byte{parent, b.parentName, b.public, b.private, b.salt}
}

func unmarshalBlob(data []byte, kind envelope.Kind) (*keyBlob, error) {
	f, err := unmarshalFields(data, kind, envelopeFields)
	if err != nil {
		return nil, err
	}
	return blobOf(f)
}

func unmarshalFields(data []byte, kind envelope.Kind, n int) ([][]byte, error) {
	if envelope.IsTSS2(data) {
		return nil, fmt.Errorf("%w: an asymmetric key", ErrInvalidBlob)
	}
	f, err := envelope.Unmarshal(data, envelope.TPM, kind, n)
	if err != nil {
		return nil, blobError(err)
	}
	return f, nil
}

// blobOf takes the fields that every blob has.
func blobOf(f [][]byte) (*keyBlob, error) {
	b := &keyBlob{parentName: bytes.Clone(f[1]), public: bytes.Clone(f[2]), private: bytes.Clone(f[3]), salt: bytes.Clone(f[4])}
	if len(f[0]) != 4 || len(b.parentName) != nameSize || len(b.private) == 0 {
		return nil, fmt.Errorf("%w: field sizes", ErrInvalidBlob)
	}
	if len(b.salt) != 0 && len(b.salt) != saltSize {
		return nil, fmt.Errorf("%w: salt size", ErrInvalidBlob)
	}
	b.parent = tpm2.TPMHandle(binary.BigEndian.Uint32(f[0]))
	return b, b.check()
}

// check validates what both forms of a blob have in common.
func (b *keyBlob) check() error {
	if b.parent != tpm2.TPMRHOwner && b.parent>>24 != 0x81 {
		return fmt.Errorf("%w: parent %#x is neither persistent nor the primary", ErrInvalidBlob, b.parent)
	}
	if _, err := parsePublic(b.public); err != nil {
		return fmt.Errorf("%w: public area: %w", ErrInvalidBlob, err)
	}
	b.name = nameOf(b.public)
	return nil
}

func blobError(err error) error {
	if errors.Is(err, envelope.ErrStore) {
		return fmt.Errorf("%w: %w", ErrWrongStore, err)
	}
	return fmt.Errorf("%w: %w", ErrInvalidBlob, err)
}

const nameSize = 2 + sha256.Size

// nameOf returns the name of an object whose name algorithm is SHA-256: the
// algorithm and the hash of the public area (Part 1, 16).
func nameOf(public []byte) []byte {
	sum := sha256.Sum256(public)
	return append(binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMAlgSHA256)), sum[:]...)
}

// parsePublic decodes a public area and refuses one that go-tpm would encode
// in another way: the name is computed over the bytes.
func parsePublic(area []byte) (*tpm2.TPMTPublic, error) {
	// go-tpm panics on a type it does not know.
	r := &reader{b: area}
	switch tpm2.TPMAlgID(r.uint16()) {
	case tpm2.TPMAlgRSA, tpm2.TPMAlgECC, tpm2.TPMAlgKeyedHash:
	default:
		return nil, errors.New("type")
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](area)
	if err != nil {
		return nil, err
	}
	if public.NameAlg != tpm2.TPMAlgSHA256 {
		return nil, errors.New("name algorithm")
	}
	if !bytes.Equal(tpm2.Marshal(public), area) {
		return nil, errors.New("encoding")
	}
	return public, nil
}
