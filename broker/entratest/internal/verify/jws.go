package verify

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/prtbroker/prtbroker/internal/kdf"
)

// MaxJWS limits a signed request, in bytes. A request that carries a refresh
// token, a certificate and a group list stays below 32 KiB.
const MaxJWS = 64 << 10

// Errors that decide which refusal a client gets.
var (
	ErrMalformed = errors.New("malformed JWS")
	ErrSignature = errors.New("signature does not verify")
	ErrDowngrade = errors.New("key derivation version is older than the one the PRT was issued with")
)

// JWS is a parsed compact JWS whose signature is not verified yet.
type JWS struct {
	Header  Header
	Payload []byte // exactly as serialised by the client
	signed  []byte // ASCII of the first two parts
	sig     []byte
}

// Header is the header of a signed request.
type Header struct {
	Alg    string
	Typ    string
	Kid    string
	Use    string
	KDFVer int      // 0: not present
	Ctx    []byte   // decoded; nil: not present
	X5T    []byte   // SHA-1 of a certificate; nil: not present
	X5T256 []byte   // its SHA-256; nil: not present
	X5C    [][]byte // DER, leaf first; nil: not present
	// X5CString reports whether x5c was a bare string, as Windows sends it,
	// instead of the array of RFC 7515.
	X5CString bool
}

// ParseJWS splits and decodes a compact JWS.
func ParseJWS(text string) (*JWS, error) {
	if len(text) > MaxJWS {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxJWS)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: %d parts instead of 3", ErrMalformed, len(parts))
	}
	var raw [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(p)
		if err != nil || strings.ContainsAny(p, "\r\n") {
			return nil, fmt.Errorf("%w: part %d is not base64url without padding", ErrMalformed, i+1)
		}
		raw[i] = b
	}
	h, err := parseHeader(raw[0])
	if err != nil {
		return nil, err
	}
	if err := uniqueKeys(raw[1]); err != nil {
		return nil, fmt.Errorf("%w: claims: %v", ErrMalformed, err)
	}
	return &JWS{Header: h, Payload: raw[1], signed: []byte(parts[0] + "." + parts[1]), sig: raw[2]}, nil
}

func parseHeader(data []byte) (Header, error) {
	if err := uniqueKeys(data); err != nil {
		return Header{}, fmt.Errorf("%w: header: %v", ErrMalformed, err)
	}
	var in struct {
		Alg    string          `json:"alg"`
		Typ    string          `json:"typ"`
		Kid    string          `json:"kid"`
		Use    string          `json:"use"`
		Ctx    *string         `json:"ctx"`
		KDFVer json.RawMessage `json:"kdf_ver"`
		X5C    json.RawMessage `json:"x5c"`
		X5T    string          `json:"x5t"`
		X5T256 string          `json:"x5t#S256"`
		Crit   json.RawMessage `json:"crit"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return Header{}, fmt.Errorf("%w: header: %v", ErrMalformed, err)
	}
	h := Header{Alg: in.Alg, Typ: in.Typ, Kid: in.Kid, Use: in.Use}
	if in.Crit != nil {
		return Header{}, fmt.Errorf("%w: header crit is not supported", ErrMalformed)
	}
	if in.Ctx != nil {
		ctx, err := looseBase64(*in.Ctx)
		if err != nil || len(ctx) == 0 {
			return Header{}, fmt.Errorf("%w: header ctx is not base64", ErrMalformed)
		}
		h.Ctx = ctx
	}
	switch v := string(in.KDFVer); v {
	case "", "null":
	case "1", "2":
		h.KDFVer = int(v[0] - '0')
	default:
		return Header{}, fmt.Errorf("%w: header kdf_ver is %.20s instead of the number 1 or 2", ErrMalformed, v)
	}
	var err error
	if h.X5T, err = thumbprint(in.X5T); err == nil {
		h.X5T256, err = thumbprint(in.X5T256)
	}
	if err != nil {
		return Header{}, err
	}
	h.X5C, h.X5CString, err = parseX5C(in.X5C)
	return h, err
}

// parseX5C accepts an array of certificates and the bare string of Windows.
func parseX5C(data json.RawMessage) (ders [][]byte, bare bool, err error) {
	if len(data) == 0 || string(data) == "null" {
		return nil, false, nil
	}
	var list []string
	if data[0] == '"' {
		bare = true
		list = make([]string, 1)
		err = json.Unmarshal(data, &list[0])
	} else {
		err = json.Unmarshal(data, &list)
	}
	if err != nil || len(list) == 0 {
		return nil, bare, fmt.Errorf("%w: header x5c is neither a string nor an array of strings", ErrMalformed)
	}
	for _, text := range list {
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil, bare, fmt.Errorf("%w: header x5c is not standard base64 with padding", ErrMalformed)
		}
		ders = append(ders, der)
	}
	return ders, bare, nil
}

// thumbprint decodes the member x5t or x5t#S256; nil if it is absent.
func thumbprint(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	sum, err := looseBase64(text)
	if err != nil {
		return nil, fmt.Errorf("%w: the thumbprint in the header is not base64", ErrMalformed)
	}
	return sum, nil
}

// looseBase64 accepts both alphabets, with and without padding.
func looseBase64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	s = strings.NewReplacer("-", "+", "_", "/").Replace(s)
	return base64.RawStdEncoding.DecodeString(s)
}

// uniqueKeys checks that data is one JSON object without repeated members:
// two parsers must not read a signed text differently.
func uniqueKeys(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	t, err := dec.Token()
	if err != nil || t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if seen[name] {
			return fmt.Errorf("member %.40q is repeated", name)
		}
		seen[name] = true
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("text after the JSON object")
	}
	return nil
}

// Certificate parses the leaf of x5c.
func (j *JWS) Certificate() (*x509.Certificate, error) {
	if len(j.Header.X5C) == 0 {
		return nil, fmt.Errorf("%w: header x5c is missing", ErrMalformed)
	}
	cert, err := x509.ParseCertificate(j.Header.X5C[0])
	if err != nil {
		return nil, fmt.Errorf("%w: header x5c: %v", ErrMalformed, err)
	}
	return cert, nil
}

// VerifyRSA checks an RS256 signature (RSASSA-PKCS1-v1_5 with SHA-256).
func (j *JWS) VerifyRSA(pub *rsa.PublicKey) error {
	if j.Header.Alg != "RS256" {
		return fmt.Errorf("%w: header alg is %.20q instead of RS256", ErrMalformed, j.Header.Alg)
	}
	sum := sha256.Sum256(j.signed)
	if rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], j.sig) != nil {
		return ErrSignature
	}
	return nil
}

// VerifySession checks an HS256 signature under a key derived from the session
// key. A PRT issued with version 2 of the derivation refuses version 1; one
// issued with version 1 accepts both.
func (j *JWS) VerifySession(sessionKey []byte, issued int) error {
	if j.Header.Alg != "HS256" {
		return fmt.Errorf("%w: header alg is %.20q instead of HS256", ErrMalformed, j.Header.Alg)
	}
	if j.Header.Ctx == nil {
		return fmt.Errorf("%w: header ctx is missing", ErrMalformed)
	}
	version := max(j.Header.KDFVer, kdf.V1)
	if version < issued {
		return ErrDowngrade
	}
	context := j.Header.Ctx
	if version == kdf.V2 {
		sum := kdf.ContextV2(j.Header.Ctx, j.Payload)
		context = sum[:]
	}
	key := kdf.Derive(sessionKey, []byte(kdf.Label), context)
	mac := hmac.New(sha256.New, key[:])
	mac.Write(j.signed)
	if !hmac.Equal(mac.Sum(nil), j.sig) {
		return ErrSignature
	}
	return nil
}
