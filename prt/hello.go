package prt

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"

	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// helloKeyID returns the kid of a Hello key's assertions: standard base64 of
// the SHA-256 of its BCRYPT_RSAKEY_BLOB (see [MarshalPublicKey]). It is not
// the kid that the registration of the key returns.
func helloKeyID(pub crypto.PublicKey) (string, error) {
	blob, err := MarshalPublicKey(pub)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(blob)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// HelloRegistration returns the JSON body that registers a Hello key (MS-KPP
// 3.1.5.1.1): POST to /EnrollmentServer/key/ with a token whose amr has
// ngcmfa. The reply is for [ParseHelloRegistration].
func HelloRegistration(pub crypto.PublicKey) ([]byte, error) {
	blob, err := MarshalPublicKey(pub)
	if err != nil {
		return nil, err
	}
	return marshal(struct {
		Key []byte `json:"kngc"`
	}{blob})
}

// A HelloKey is what the service says about a registered Hello key.
type HelloKey struct {
	ID       string // kid, a GUID assigned by the service
	Username string // upn
}

// ParseHelloRegistration reads the reply to [HelloRegistration]. Error replies
// are for [ParseError].
func ParseHelloRegistration(body []byte) (HelloKey, error) {
	o, err := strictjson.Parse(body, maxHeaderSize)
	if err != nil {
		return HelloKey{}, badReplyErr("Hello key", err)
	}
	k := HelloKey{ID: o.String("kid"), Username: o.String("upn")}
	if err := o.Err(); err != nil {
		return HelloKey{}, badReplyErr("Hello key", err)
	}
	if k.ID == "" {
		return HelloKey{}, badReply("no kid of the Hello key")
	}
	return k, nil
}
