package tpm

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// Device and transport keys without a PIN are kept as TSS2 PRIVATE KEY, the
// form of the TPM providers of OpenSSL and GnuTLS:
//
//	TPMKey ::= SEQUENCE {
//		type      OBJECT IDENTIFIER, -- 2.23.133.10.1.3
//		emptyAuth [0] EXPLICIT BOOLEAN OPTIONAL,
//		parent    INTEGER,
//		pubkey    OCTET STRING, -- TPM2B_PUBLIC
//		privkey   OCTET STRING  -- TPM2B_PRIVATE
//	}
//
// It has no place for the parent's name. We write that into a line before the
// PEM block, where RFC 7468 allows explanatory text that other programs skip.
const (
	tss2Type   = envelope.TSS2
	tss2Parent = "Parent-Name: "
)

var tss2OID = asn1.ObjectIdentifier{2, 23, 133, 10, 1, 3}

var (
	tss2Begin = []byte("-----BEGIN " + tss2Type + "-----\n")
	tss2End   = []byte("-----END " + tss2Type + "-----\n")
)

func (b *keyBlob) marshalTSS2(emptyAuth bool) []byte {
	var c cryptobyte.Builder
	c.AddASN1(cbasn1.SEQUENCE, func(c *cryptobyte.Builder) {
		c.AddASN1ObjectIdentifier(tss2OID)
		if emptyAuth {
			c.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(c *cryptobyte.Builder) {
				c.AddASN1Boolean(true)
			})
		}
		c.AddASN1Int64(int64(b.parent))
		c.AddASN1OctetString(append2B(nil, b.public))
		c.AddASN1OctetString(append2B(nil, b.private))
	})
	block := &pem.Block{Type: tss2Type, Bytes: c.BytesOrPanic()}
	var out []byte
	if len(b.parentName) > 0 {
		out = fmt.Appendf(out, "%s%x\n", tss2Parent, b.parentName)
	}
	return append(out, pem.EncodeToMemory(block)...)
}

func unmarshalTSS2(data []byte) (*keyBlob, error) {
	if len(data) > 4*maxResponse {
		return nil, fmt.Errorf("%w: size", ErrInvalidBlob)
	}
	b := &keyBlob{}
	if line, ok := bytes.CutPrefix(data, []byte(tss2Parent)); ok {
		name, rest, _ := bytes.Cut(line, []byte("\n"))
		var err error
		if b.parentName, err = hex.DecodeString(string(name)); err != nil || len(b.parentName) != nameSize {
			return nil, fmt.Errorf("%w: parent name", ErrInvalidBlob)
		}
		data = rest
	}
	// A missing last newline is the one truncation that pem.Decode accepts.
	if !bytes.HasPrefix(data, tss2Begin) || !bytes.HasSuffix(data, tss2End) {
		return nil, fmt.Errorf("%w: not exactly one complete %s block", ErrInvalidBlob, tss2Type)
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != tss2Type || len(rest) > 0 || len(block.Headers) > 0 {
		return nil, fmt.Errorf("%w: not exactly one complete %s block", ErrInvalidBlob, tss2Type)
	}
	if err := b.unmarshalASN1(block.Bytes); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalidBlob, tss2Type, err)
	}
	return b, b.check()
}

func (b *keyBlob) unmarshalASN1(der []byte) error {
	in := cryptobyte.String(der)
	var key, pub, priv cryptobyte.String
	var oid asn1.ObjectIdentifier
	var parent int64
	if !in.ReadASN1(&key, cbasn1.SEQUENCE) || !in.Empty() ||
		!key.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(tss2OID) {
		return fmt.Errorf("type")
	}
	// emptyAuth says whether to ask for a password, which we know anyway. It is
	// skipped raw because Debian's tpm2-openssl 1.1.1 writes TRUE as 0x01,
	// which strict DER forbids.
	if !key.SkipOptionalASN1(cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!key.ReadASN1Integer(&parent) || parent < 0 || parent > 0xffffffff ||
		!key.ReadASN1(&pub, cbasn1.OCTET_STRING) || !key.ReadASN1(&priv, cbasn1.OCTET_STRING) || !key.Empty() {
		return fmt.Errorf("fields")
	}
	b.parent = tpm2.TPMHandle(parent)
	var public, private cryptobyte.String
	if !pub.ReadUint16LengthPrefixed(&public) || !pub.Empty() ||
		!priv.ReadUint16LengthPrefixed(&private) || !priv.Empty() || len(private) == 0 {
		return fmt.Errorf("structures")
	}
	b.public, b.private = bytes.Clone(public), bytes.Clone(private)
	return nil
}
