package prt

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// A Signer signs with an RSA key, a device key or a Hello key, and returns
// within its context. The keys of package tpm are Signers.
type Signer interface {
	Public() crypto.PublicKey
	SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// A SessionKey derives keys from the session key of a PRT by SP 800-108 in
// counter mode with HMAC-SHA-256 (MS-OAPXBC 3.1.5.1.3.3). The session keys of
// package tpm are SessionKeys, and [SoftwareKey] is one for tests.
type SessionKey interface {
	Derive(ctx context.Context, label, context []byte) ([32]byte, error)
}

// A DeviceProof proves which device a request comes from.
type DeviceProof struct {
	Key         Signer // the device key, RSA
	Certificate []byte // the device certificate, DER, as the registration returned it
}

// Versions of the key derivation (MS-OAPXBC 3.1.5.1.3.3). A PRT stays with the
// version of its issuance; the service refuses to go back to 1.
const (
	KDFv1 = kdf.V1 // the key depends on the ctx header alone
	KDFv2 = kdf.V2 // the key also depends on the payload it signs (CVE-2021-33781)
)

// A Session holds the session key of a PRT, which signs the PRT's requests and
// decrypts the replies.
type Session struct {
	Key  SessionKey
	KDF  int       // KDFv1 for a PRT that was issued so; 0: KDFv2
	Rand io.Reader // nil: crypto/rand
}

func (s Session) random(n int) ([]byte, error) {
	r := s.Rand
	if r == nil {
		r = rand.Reader
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("prt: reading randomness: %w", err)
	}
	return b, nil
}

func (s Session) version() (int, error) {
	switch s.KDF {
	case 0, KDFv2:
		return KDFv2, nil
	case KDFv1:
		return KDFv1, nil
	}
	return 0, badRequest(fmt.Sprintf("unknown KDF version %d", s.KDF))
}

// A Protocol is a version of the PRT protocol.
type Protocol uint8

const (
	// Protocol2 is what Windows speaks: v1 endpoint, windows_api_version 2.2.
	// It is the zero value.
	Protocol2 Protocol = iota
	// Protocol3 is what mobile systems and macOS speak: v2.0 endpoint,
	// prt_protocol_version 3.0. Its PRTs derive by KDFv1.
	Protocol3
)

// Values of the form fields that name the protocol.
const (
	apiVersion2      = "2.2"
	protocolVersion3 = "3.0"
)

func (p Protocol) valid() error {
	if p > Protocol3 {
		return badRequest(fmt.Sprintf("unknown protocol version %d", p))
	}
	return nil
}

// form returns the fields and the path that every signed request shares.
func (p Protocol) form(request string) Form {
	f := Form{Path: wire.PathToken, Values: url.Values{
		"grant_type":  {wire.GrantJWTBearer},
		"request":     {request},
		"client_info": {"1"},
	}}
	if p == Protocol3 {
		f.Path = wire.PathTokenV2
		f.Values.Set("prt_protocol_version", protocolVersion3)
	} else {
		f.Values.Set("windows_api_version", apiVersion2)
	}
	return f
}

// A Form is a request ready to be posted, as
// application/x-www-form-urlencoded, to Path below a tenant of the login host:
// https://login.microsoftonline.com/{tenant}{Path}. Values hold secrets; a
// Form prints its path only.
type Form struct {
	Path   string
	Values url.Values
}

// Format prints the path only.
func (f Form) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.String()) }

// String returns the path only.
func (f Form) String() string { return "POST " + f.Path + " [redacted]" }

// LogValue logs the path only.
func (f Form) LogValue() slog.Value { return slog.StringValue(f.String()) }

// MarshalText marshals the path only.
func (f Form) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// Errors that the package's errors wrap.
var (
	// ErrRequest says that a request lacks something or contradicts itself.
	ErrRequest = errors.New("invalid request")
	// ErrReply says that a reply is malformed.
	ErrReply = errors.New("malformed reply")
	// ErrDecrypt says that an encrypted reply does not decrypt, for whatever
	// reason: another session key, another ctx, a changed byte. All causes
	// share one error on purpose.
	ErrDecrypt = errors.New("prt: the reply does not decrypt")
)

func badRequest(what string) error { return fmt.Errorf("prt: %w: %s", ErrRequest, what) }

func badReply(what string) error { return fmt.Errorf("prt: %w: %s", ErrReply, what) }

func badReplyErr(where string, err error) error {
	return fmt.Errorf("prt: %w: %s: %w", ErrReply, where, err)
}
