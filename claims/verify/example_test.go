package verify_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/prtbroker/prtbroker/claims/verify"
)

// Example verifies a token against the keys of a tenant, which the caller
// fetched from the jwks_uri of its discovery document.
func Example() {
	now := time.Date(2025, 3, 4, 10, 0, 0, 0, time.UTC)
	key := keyA()
	enc := base64.RawURLEncoding.EncodeToString
	jwks := `{"keys":[{"kty":"RSA","use":"sig","kid":"k1","e":"` + enc(big.NewInt(int64(key.E)).Bytes()) + `","n":"` + enc(key.N.Bytes()) + `"}]}`
	input := enc([]byte(`{"alg":"RS256","kid":"k1"}`)) + "." + enc([]byte(`{"aud":"api://mine","tid":"11223344-5566-7788-99aa-bbccddeeff00",
		"iss":"https://login.microsoftonline.com/11223344-5566-7788-99aa-bbccddeeff00/v2.0","oid":"o","exp":1741086000}`))
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		fmt.Println(err)
		return
	}
	raw := input + "." + enc(signature)

	keys, err := verify.ParseKeys([]byte(jwks))
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := keys.Token(raw, verify.Options{Audience: []string{"api://mine"}, Required: []string{"oid"}, Now: now})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.ObjectID)

	_, err = keys.Token(raw, verify.Options{Audience: []string{"api://mine"}, Now: now.Add(24 * time.Hour)})
	fmt.Println(errors.Is(err, verify.ErrExpired), err)
	// Output:
	// o
	// true verify: expired
}

func ExampleParseKeys() {
	_, err := verify.ParseKeys([]byte(`{"keys":[{"kty":"RSA","kty":"EC"}]}`))
	fmt.Println(err)
	// Output: verify: malformed key set: JSON repeats a member
}

// The id_token of a PRT reply is not signed; TLS vouches for it.
func ExampleKeys_Token() {
	enc := base64.RawURLEncoding.EncodeToString
	raw := enc([]byte(`{"alg":"none"}`)) + "." + enc([]byte(`{"aud":"38aa3b87-a06d-4817-b275-7a316988d93b","tid":"11223344-5566-7788-99aa-bbccddeeff00",
		"iss":"https://sts.windows.net/11223344-5566-7788-99aa-bbccddeeff00/","oid":"o","exp":1741086000}`)) + "."
	o := verify.Options{Audience: []string{"38aa3b87-a06d-4817-b275-7a316988d93b"}, Now: time.Date(2025, 3, 4, 10, 0, 0, 0, time.UTC)}
	var keys *verify.Keys
	_, err := keys.Token(raw, o)
	fmt.Println(err)
	o.InsecurePRTReply = true
	t, err := keys.Token(raw, o)
	fmt.Println(t.ObjectID, err)
	// Output:
	// verify: not signed
	// o <nil>
}
