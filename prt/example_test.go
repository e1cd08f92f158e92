package prt_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/prt"
)

// The keys of the examples are files; those of a device are in its TPM.
func exampleKey(name string) softSigner {
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(b)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	return softSigner{key.(*rsa.PrivateKey)}
}

func exampleDevice() prt.DeviceProof {
	der, err := os.ReadFile("testdata/device.cer")
	if err != nil {
		panic(err)
	}
	return prt.DeviceProof{Key: exampleKey("device.pem"), Certificate: der}
}

// exampleSession is the session of a PRT whose session key is all zeros.
func exampleSession() prt.Session { return prt.Session{Key: new(prt.SoftwareKey)} }

// exampleReply encrypts what a service answers.
func exampleReply(plain string) []byte {
	ctx, iv := make([]byte, 24), make([]byte, 12)
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"dir","enc":"A256GCM","ctx":"` + base64.StdEncoding.EncodeToString(ctx) + `"}`))
	key := kdf.Derive(make([]byte, 32), []byte(kdf.Label), ctx)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	out := gcm.Seal(nil, iv, []byte(plain), []byte(head))
	enc := base64.RawURLEncoding.EncodeToString
	return []byte(head + ".." + enc(iv) + "." + enc(out[:len(out)-16]) + "." + enc(out[len(out)-16:]))
}

// exampleIssuance is what a service answers to a request for a PRT.
func exampleIssuance() []byte {
	b, err := os.ReadFile("testdata/session_key_jwe.json")
	if err != nil {
		panic(err)
	}
	var v struct {
		JWE string `json:"session_key_jwe"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		panic(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	id := enc([]byte(`{"alg":"none"}`)) + "." + enc([]byte(`{"oid":"o","tid":"t","upn":"alice@contoso.example","amr":["rsa","mfa"]}`)) + "."
	return []byte(`{"token_type":"Bearer","refresh_token":"0.PRT","refresh_token_expires_in":1209599,"session_key_jwe":"` + v.JWE + `","id_token":"` + id + `"}`)
}

// show prints the payload of the JWT in a request.
func show(jwt string) {
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(jwt, ".")[1])
	if err != nil {
		panic(err)
	}
	fmt.Println(string(b))
}

// The request that exchanges a PRT for a token of an app.
func Example() {
	ctx, session := context.Background(), exampleSession()
	r := prt.ExchangeRequest{
		PRT:      prt.NewSecret("0.PRT"),
		Nonce:    "AwABnonce",
		ClientID: "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
		Scopes:   []string{"https://graph.microsoft.com/.default"},
	}
	form, err := r.Sign(ctx, session) // post form.Values to form.Path
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(form)
	// Output: POST /oauth2/v2.0/token [redacted]
}

func ExampleNonceRequest() {
	f := prt.NonceRequest()
	fmt.Println("POST https://login.microsoftonline.com/common" + f.Path)
	fmt.Println(f.Values.Encode())
	// Output:
	// POST https://login.microsoftonline.com/common/oauth2/token
	// grant_type=srv_challenge
}

func ExampleParseNonce() {
	nonce, err := prt.ParseNonce([]byte(`{"Nonce":"AwABAAEAAAACAOz_BAD0"}`))
	fmt.Println(nonce, err)
	// Output: AwABAAEAAAACAOz_BAD0 <nil>
}

// A PRT from the refresh token of the broker's interactive sign-in.
func ExamplePRTRequest_Sign() {
	r := prt.PRTRequest{
		Grant: prt.RefreshTokenGrant{Token: prt.NewSecret("0.broker")},
		Nonce: "AwABnonce",
	}
	form, err := r.Sign(context.Background(), exampleDevice())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(form)
	show(form.Values.Get("request"))
	// Output:
	// POST /oauth2/token [redacted]
	// {"client_id":"29d9ed98-a469-4536-ade2-f981bc1d605e","request_nonce":"AwABnonce","scope":"openid aza ugs","group_sids":[],"grant_type":"refresh_token","refresh_token":"0.broker"}
}

func ExamplePasswordGrant() {
	r := prt.PRTRequest{Grant: prt.PasswordGrant{Username: "alice@contoso.example", Password: prt.NewSecret("hunter2")}}
	fmt.Printf("%+v\n", r.Grant)
	// Output: {Username:alice@contoso.example Password:[redacted]}
}

// A Hello key signs an assertion inside the request that the device key signs.
func ExampleHelloGrant() {
	r := prt.PRTRequest{
		Grant: prt.HelloGrant{Key: exampleKey("transport.pem"), Username: "alice@contoso.example", Now: time.Unix(1741083072, 0)},
		Nonce: "AwABnonce",
	}
	form, err := r.Sign(context.Background(), exampleDevice())
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(form.Values.Get("request"), ".")[1])
	if err != nil {
		fmt.Println(err)
		return
	}
	var outer struct{ Assertion string }
	if err := json.Unmarshal(b, &outer); err != nil {
		fmt.Println(err)
		return
	}
	show(outer.Assertion)
	// Output: {"iss":"alice@contoso.example","aud":"common","iat":1741082772,"exp":1741083372,"scope":"openid aza ugs","request_nonce":"AwABnonce"}
}

func ExampleSAMLGrant() {
	r := prt.PRTRequest{Grant: prt.SAMLGrant{Assertion: prt.NewSecret("<saml:Assertion/>"), SAML2: true}, Nonce: "n"}
	form, err := r.Sign(context.Background(), exampleDevice())
	if err != nil {
		fmt.Println(err)
		return
	}
	show(form.Values.Get("request"))
	// Output: {"client_id":"38aa3b87-a06d-4817-b275-7a316988d93b","request_nonce":"n","scope":"openid aza ugs","group_sids":[],"grant_type":"urn:ietf:params:oauth:grant-type:saml2-bearer","assertion":"PHNhbWw6QXNzZXJ0aW9uLz4="}
}

func ExampleCertificateGrant() {
	r := prt.PRTRequest{
		Grant: prt.CertificateGrant{Key: exampleKey("transport.pem"), Certificate: []byte("DER"), Username: "alice@contoso.example", Now: time.Unix(1741083072, 0)},
		Nonce: "n",
	}
	form, err := r.Sign(context.Background(), exampleDevice())
	fmt.Println(form, err)
	// Output: POST /oauth2/token [redacted] <nil>
}

func ExampleParseIssuance() {
	now := time.Date(2025, 3, 4, 10, 0, 0, 0, time.UTC)
	req := prt.PRTRequest{Grant: prt.RefreshTokenGrant{Token: prt.NewSecret("0.broker")}, Nonce: "n"}
	i, err := prt.ParseIssuance(exampleIssuance(), req, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The key store unwraps the session key with the transport key.
	fmt.Println(len(i.WrappedSessionKey), "bytes to unwrap")
	t := i.Token
	fmt.Println(t.Username, t.Credential, t.Evidence)
	fmt.Println(t.State(now), "until", t.ExpiresAt.Format(time.RFC3339))
	// Output:
	// 256 bytes to unwrap
	// alice@contoso.example refresh_token MFA yes by rsa,mfa from refresh_token
	// fresh until 2025-03-18T09:59:59Z
}

func ExampleRenewRequest_Sign() {
	r := prt.RenewRequest{PRT: prt.NewSecret("0.PRT"), Nonce: "AwABnonce"}
	form, err := r.Sign(context.Background(), exampleSession())
	if err != nil {
		fmt.Println(err)
		return
	}
	show(form.Values.Get("request"))
	// Output: {"client_id":"38aa3b87-a06d-4817-b275-7a316988d93b","request_nonce":"AwABnonce","scope":"openid aza ugs","group_sids":[],"iss":"aad:brokerplugin","aud":"login.microsoftonline.com","grant_type":"refresh_token","refresh_token":"0.PRT"}
}

func ExampleExchangeRequest_Sign() {
	r := prt.ExchangeRequest{
		PRT:         prt.NewSecret("0.PRT"),
		Nonce:       "AwABnonce",
		ClientID:    "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
		RedirectURI: "https://login.microsoftonline.com/common/oauth2/nativeclient",
		Scopes:      []string{"https://graph.microsoft.com/.default"},
	}
	form, err := r.Sign(context.Background(), exampleSession())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(form.Path, form.Values.Get("prt_protocol_version"))
	show(form.Values.Get("request"))
	// Output:
	// /oauth2/v2.0/token 3.0
	// {"client_id":"04b07795-8ddb-461a-bbee-02f9e1bf7b46","request_nonce":"AwABnonce","scope":"openid profile offline_access https://graph.microsoft.com/.default","iss":"aad:brokerplugin","aud":"login.microsoftonline.com","grant_type":"refresh_token","refresh_token":"0.PRT","redirect_uri":"https://login.microsoftonline.com/common/oauth2/nativeclient"}
}

func ExampleExchangeRequest_Protocol() {
	fmt.Println(prt.ExchangeRequest{Resource: "https://graph.microsoft.com"}.Protocol() == prt.Protocol2)
	fmt.Println(prt.ExchangeRequest{Scopes: []string{"User.Read"}}.Protocol() == prt.Protocol3)
	// Output:
	// true
	// true
}

func ExampleDeviceTokenRequest_Sign() {
	r := prt.DeviceTokenRequest{Nonce: "n", ClientID: "29d9ed98-a469-4536-ade2-f981bc1d605e", Resource: "https://graph.microsoft.com"}
	form, err := r.Sign(context.Background(), exampleDevice())
	if err != nil {
		fmt.Println(err)
		return
	}
	show(form.Values.Get("request"))
	// Output: {"client_id":"29d9ed98-a469-4536-ade2-f981bc1d605e","request_nonce":"n","scope":"openid","iss":"aad:brokerplugin","grant_type":"device_token","resource":"https://graph.microsoft.com"}
}

func ExampleParseReply() {
	body := exampleReply(`{"token_type":"Bearer","scope":"User.Read","expires_in":"4200","access_token":"eyJ0"}`)
	r, err := prt.ParseReply(context.Background(), body, exampleSession())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Encrypted, r.Scopes, r.ExpiresIn, r.AccessToken)

	// Another session key, or a byte that was changed.
	body[len(body)-1] ^= 1
	_, err = prt.ParseReply(context.Background(), body, exampleSession())
	fmt.Println(errors.Is(err, prt.ErrDecrypt) || errors.Is(err, prt.ErrReply))
	// Output:
	// true [User.Read] 1h10m0s [redacted]
	// true
}

func ExampleParseTokens() {
	r, err := prt.ParseTokens([]byte(`{"token_type":"Bearer","expires_in":4200,"access_token":"eyJ0","foci":"1"}`))
	fmt.Println(r.TokenType, r.FamilyID, err)
	// Output: Bearer 1 <nil>
}

func ExampleReply_Expiry() {
	now := time.Date(2025, 3, 4, 10, 0, 0, 0, time.UTC)
	r, err := prt.ParseTokens([]byte(`{"access_token":"eyJ0","expires_in":"4200"}`))
	fmt.Println(r.Expiry(now).Format(time.TimeOnly), err)
	// Output: 11:10:00 <nil>
}

func ExampleParseError() {
	err := prt.ParseError(400, []byte(`{"error":"invalid_grant","suberror":"basic_action","error_codes":[50076],
		"error_description":"AADSTS50076: …","trace_id":"5f0c1f2e-1111-4222-8333-944455566677","claims":"{\"access_token\":{}}"}`))
	fmt.Println(err)
	fmt.Println(err.AADSTS(), err.Has(50079), err.Claims)
	// Output:
	// prt: the service answered invalid_grant (basic_action) AADSTS50076, HTTP 400, trace 5f0c1f2e-1111-4222-8333-944455566677
	// 50076 false {"access_token":{}}
}

func ExampleErrorReply() {
	_, err := prt.ParseReply(context.Background(), []byte(`{"error":"invalid_grant","error_codes":[50173]}`), exampleSession())
	var e *prt.ErrorReply
	if errors.As(err, &e) {
		fmt.Println(e.Code, e.AADSTS())
	}
	// Output: invalid_grant 50173
}

func ExampleToken_State() {
	now := time.Date(2025, 3, 4, 10, 0, 0, 0, time.UTC)
	t := prt.Token{PRT: prt.NewSecret("0.PRT"), RenewedAt: now, ExpiresAt: now.Add(prt.IdleLife)}
	for _, later := range []time.Duration{time.Hour, prt.RenewAfter, prt.IdleLife} {
		fmt.Println(later, t.State(now.Add(later)))
	}
	// Output:
	// 1h0m0s fresh
	// 4h0m0s needs renewal
	// 336h0m0s expired
}

func ExampleToken_Renewed() {
	now := time.Date(2025, 3, 4, 10, 0, 0, 0, time.UTC)
	t := &prt.Token{PRT: prt.NewSecret("0.PRT"), KDF: prt.KDFv2, IssuedAt: now, RenewedAt: now, ExpiresAt: now.Add(prt.IdleLife)}
	r, err := prt.ParseReply(context.Background(), exampleReply(`{"refresh_token":"0.next","refresh_token_expires_in":1209600}`), t.Session(new(prt.SoftwareKey)))
	if err != nil {
		fmt.Println(err)
		return
	}
	next, err := t.Renewed(r, now.Add(5*time.Hour))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(next.PRT.Reveal(), next.ExpiresAt.Format(time.DateTime), next.IssuedAt.Format(time.DateTime))
	// Output: 0.next 2025-03-18 15:00:00 2025-03-04 10:00:00
}

func ExampleToken_Session() {
	t := prt.Token{KDF: prt.KDFv1}
	fmt.Println(t.Session(new(prt.SoftwareKey)).KDF)
	// Output: 1
}

func ExampleToken_HomeAccountID() {
	t := prt.Token{UserID: "oid", TenantID: "tid"}
	fmt.Println(t.HomeAccountID())
	// Output: oid.tid
}

func ExampleToken_Marshal() {
	t := prt.Token{PRT: prt.NewSecret("0.PRT"), KDF: prt.KDFv2, Username: "alice@contoso.example"}
	b, err := t.Marshal()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(b)) // seal it before it goes to disk
	// Output: {"v":1,"prt":"0.PRT","kdf":2,"username":"alice@contoso.example","evidence":{"mfa":"unknown"},"issued_at":"0001-01-01T00:00:00Z","renewed_at":"0001-01-01T00:00:00Z","expires_at":"0001-01-01T00:00:00Z"}
}

func ExampleUnmarshalToken() {
	t, err := prt.UnmarshalToken([]byte(`{"v":1,"prt":"0.PRT","kdf":2,"from_a_newer_version":true}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := t.Marshal()
	fmt.Println(t.PRT, strings.Contains(string(b), "from_a_newer_version"), err)
	// Output: [redacted] true <nil>
}

func ExampleCookieRequest_Sign() {
	r := prt.CookieRequest{
		PRT: prt.NewSecret("0.PRT"),
		URL: "https://login.microsoftonline.com/common/oauth2/authorize?client_id=x&sso_nonce=AwABnonce",
	}
	c, err := r.Sign(context.Background(), exampleSession())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Name, c.Value)
	show(c.Value.Reveal())

	r.URL = "https://login.example.com/?sso_nonce=AwABnonce"
	_, err = r.Sign(context.Background(), exampleSession())
	fmt.Println(err)
	// Output:
	// x-ms-RefreshTokenCredential [redacted]
	// {"refresh_token":"0.PRT","is_primary":"true","request_nonce":"AwABnonce"}
	// prt: invalid request: the address is not that of a sign-in host
}

func ExampleDeviceCookieRequest_Sign() {
	r := prt.DeviceCookieRequest{URL: "https://login.microsoftonline.com/common/oauth2/authorize", Nonce: "AwABnonce"}
	c, err := r.Sign(context.Background(), exampleDevice())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Name)
	show(c.Value.Reveal())
	// Output:
	// x-ms-DeviceCredential
	// {"grant_type":"device_auth","iss":"aad:brokerplugin","request_nonce":"AwABnonce"}
}

// A cloud that the package does not know is added to those that it does.
func ExampleSignInHosts() {
	r := prt.CookieRequest{
		PRT:   prt.NewSecret("0.PRT"),
		URL:   "https://login.contoso.example/common/oauth2/authorize",
		Nonce: "AwABnonce",
		Hosts: append(prt.SignInHosts(), "login.contoso.example"),
	}
	c, err := r.Sign(context.Background(), exampleSession())
	fmt.Println(c.Name, err)
	// Output: x-ms-RefreshTokenCredential <nil>
}

func ExampleNewSecret() {
	s := prt.NewSecret("hunter2")
	fmt.Printf("%v %+v %q %x\n", s, s, s, s)
	fmt.Println(s.Reveal())
	s.Clear()
	fmt.Println(s.IsZero())
	// Output:
	// [redacted] [redacted] [redacted] [redacted]
	// hunter2
	// true
}

func ExampleSoftwareKey() {
	key := new(prt.SoftwareKey)
	derived, err := key.Derive(context.Background(), []byte("AzureAD-SecureConversation"), make([]byte, 24))
	fmt.Println(key, len(derived), err)
	// Output: [redacted] 32 <nil>
}

func ExampleForm() {
	f := prt.Form{Path: "/oauth2/token"}
	b, err := json.Marshal(f)
	fmt.Println(f, string(bytes.TrimSpace(b)), err)
	// Output: POST /oauth2/token [redacted] "POST /oauth2/token [redacted]" <nil>
}
