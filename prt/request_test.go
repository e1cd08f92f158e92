package prt_test

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	jwxjws "github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/prt"
)

const canary = "canary-p4ssw0rd<&>"

func TestNonceRequest(t *testing.T) {
	f := prt.NonceRequest()
	require.Equal(t, "/oauth2/token", f.Path)
	require.Equal(t, "grant_type=srv_challenge", f.Values.Encode())
}

// verifyDevice checks the signature of a request with what its header says.
func verifyDevice(t *testing.T, j jws) {
	t.Helper()
	require.Equal(t, "RS256", j.header["alg"])
	require.Equal(t, "JWT", j.header["typ"])
	require.Equal(t, []any{base64.StdEncoding.EncodeToString(testdata(t, "device.cer"))}, j.header["x5c"], "an array of standard base64 (RFC 7515 4.1.6)")
	digest := sha256.Sum256(j.input)
	require.NoError(t, rsa.VerifyPKCS1v15(&signer(t, "device.pem").key.PublicKey, crypto.SHA256, digest[:], j.signature))
}

// verifySession checks the signature of a request as the service does.
func verifySession(t *testing.T, j jws, key *prt.SoftwareKey, version int) {
	t.Helper()
	require.Equal(t, "HS256", j.header["alg"])
	ctx, err := base64.StdEncoding.DecodeString(j.header["ctx"].(string))
	require.NoError(t, err)
	require.Len(t, ctx, 24)
	context := ctx
	if version == prt.KDFv2 {
		require.EqualValues(t, 2, j.header["kdf_ver"])
		sum := kdf.ContextV2(ctx, j.body)
		context = sum[:]
	} else {
		require.NotContains(t, j.header, "kdf_ver")
	}
	k := kdf.Derive(key[:], []byte(kdf.Label), context)
	mac := hmac.New(sha256.New, k[:])
	mac.Write(j.input)
	require.Equal(t, mac.Sum(nil), j.signature)
}

func TestPRTRequest(t *testing.T) {
	common := `"request_nonce":"` + theNonce + `","scope":"openid aza ugs","group_sids":[]`
	tests := []struct {
		name    string
		request prt.PRTRequest
		payload string // the assertion replaced by "ASSERTION"
		kdf     any
	}{
		{
			name:    "password",
			request: prt.PRTRequest{Grant: prt.PasswordGrant{Username: "alice@contoso.example", Password: prt.NewSecret(canary)}, OSVersion: "10.0.19045"},
			payload: `{"client_id":"38aa3b87-a06d-4817-b275-7a316988d93b",` + common + `,"win_ver":"10.0.19045","grant_type":"password","username":"alice@contoso.example","password":"` + canary + `"}`,
			kdf:     2.0,
		},
		{
			name:    "refresh token, KDF version 1",
			request: prt.PRTRequest{Grant: prt.RefreshTokenGrant{Token: prt.NewSecret("0.refresh")}, KDF: prt.KDFv1},
			payload: `{"client_id":"29d9ed98-a469-4536-ade2-f981bc1d605e",` + common + `,"grant_type":"refresh_token","refresh_token":"0.refresh"}`,
		},
		{
			name:    "SAML 1.1",
			request: prt.PRTRequest{Grant: prt.SAMLGrant{Assertion: prt.NewSecret("<saml:Assertion>é</saml:Assertion>")}},
			payload: `{"client_id":"38aa3b87-a06d-4817-b275-7a316988d93b",` + common + `,"grant_type":"urn:ietf:params:oauth:grant-type:saml1_1-bearer","assertion":"PHNhbWw6QXNzZXJ0aW9uPsOpPC9zYW1sOkFzc2VydGlvbj4="}`,
			kdf:     2.0,
		},
		{
			name:    "SAML 2.0",
			request: prt.PRTRequest{Grant: prt.SAMLGrant{Assertion: prt.NewSecret("<a/>"), SAML2: true}},
			payload: `{"client_id":"38aa3b87-a06d-4817-b275-7a316988d93b",` + common + `,"grant_type":"urn:ietf:params:oauth:grant-type:saml2-bearer","assertion":"PGEvPg=="}`,
			kdf:     2.0,
		},
		{
			name:    "Hello",
			request: prt.PRTRequest{Grant: prt.HelloGrant{Key: signer(t, "transport.pem"), Username: "alice@contoso.example", Now: now}},
			payload: `{"client_id":"38aa3b87-a06d-4817-b275-7a316988d93b",` + common + `,"grant_type":"urn:ietf:params:oauth:grant-type:jwt-bearer","username":"alice@contoso.example","assertion":"ASSERTION"}`,
			kdf:     2.0,
		},
		{
			name:    "user certificate by the broker client",
			request: prt.PRTRequest{ClientID: "29d9ed98-a469-4536-ade2-f981bc1d605e", Grant: prt.CertificateGrant{Key: signer(t, "transport.pem"), Certificate: []byte("DER"), Username: "alice@contoso.example", Now: now}},
			payload: `{"client_id":"29d9ed98-a469-4536-ade2-f981bc1d605e",` + common + `,"grant_type":"urn:ietf:params:oauth:grant-type:jwt-bearer","username":"alice@contoso.example","assertion":"ASSERTION"}`,
			kdf:     2.0,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.request.Nonce, tt.request.TGT, tt.request.Claims = theNonce, true, `{"access_token":{}}`
			f, err := tt.request.Sign(bg, device(t))
			require.NoError(t, err)
			require.Equal(t, "/oauth2/token", f.Path)
			j := decodeJWS(t, f.Values.Get("request"))
			verifyDevice(t, j)
			require.Equal(t, tt.kdf, j.header["kdf_ver"])
			if a, ok := j.payload["assertion"].(string); ok && tt.request.Grant != nil && len(a) > 200 {
				j.payload["assertion"] = "ASSERTION"
				j.body, err = json.Marshal(j.payload)
				require.NoError(t, err)
			}
			require.JSONEq(t, tt.payload, string(j.body))

			f.Values.Del("request")
			require.Equal(t, map[string][]string{
				"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "windows_api_version": {"2.2"},
				"client_info": {"1"}, "tgt": {"true"}, "claims": {`{"access_token":{}}`},
			}, map[string][]string(f.Values))
		})
	}
}

func TestPRTRequestProtocol3(t *testing.T) {
	r := prt.PRTRequest{Grant: prt.RefreshTokenGrant{Token: prt.NewSecret("0.r")}, Nonce: theNonce, Protocol: prt.Protocol3}
	f, err := r.Sign(bg, device(t))
	require.NoError(t, err)
	require.Equal(t, "/oauth2/v2.0/token", f.Path)
	require.Equal(t, "3.0", f.Values.Get("prt_protocol_version"))
	require.False(t, f.Values.Has("windows_api_version"))
	j := decodeJWS(t, f.Values.Get("request"))
	verifyDevice(t, j)
	require.NotContains(t, j.header, "kdf_ver")
	require.Equal(t, "openid aza offline_access", j.payload["scope"])
	require.NotContains(t, j.payload, "group_sids")
}

// The assertion of a Hello key is a standard JWS; jwx verifies it.
func TestHelloAssertion(t *testing.T) {
	key := signer(t, "transport.pem")
	r := prt.PRTRequest{Nonce: theNonce, Grant: prt.HelloGrant{Key: key, Username: "alice@contoso.example", Audience: tenantID, Now: now}}
	f, err := r.Sign(bg, device(t))
	require.NoError(t, err)
	assertion := decodeJWS(t, f.Values.Get("request")).payload["assertion"].(string)
	_, err = jwxjws.Verify([]byte(assertion), jwxjws.WithKey(jwa.RS256, key.Public()))
	require.NoError(t, err)
	j := decodeJWS(t, assertion)
	kid, err := prt.HelloKeyID(key.Public())
	require.NoError(t, err)
	require.Equal(t, map[string]any{"alg": "RS256", "typ": "JWT", "kid": kid, "use": "ngc"}, j.header)
	require.JSONEq(t, fmt.Sprintf(`{"iss":"alice@contoso.example","aud":"%s","iat":%d,"exp":%d,"scope":"openid aza ugs","request_nonce":"%s"}`,
		tenantID, now.Unix()-300, now.Unix()+300, theNonce), string(j.body))
}

func TestCertificateAssertion(t *testing.T) {
	r := prt.PRTRequest{Nonce: theNonce, Grant: prt.CertificateGrant{Key: signer(t, "transport.pem"), Certificate: []byte{1, 2, 3}, Username: "alice@contoso.example", Now: now}}
	f, err := r.Sign(bg, device(t))
	require.NoError(t, err)
	j := decodeJWS(t, decodeJWS(t, f.Values.Get("request")).payload["assertion"].(string))
	require.Equal(t, map[string]any{"alg": "RS256", "typ": "JWT", "x5c": []any{"AQID"}}, j.header)
	require.Equal(t, "common", j.payload["aud"])
	require.Equal(t, theNonce, j.payload["request_nonce"])
	require.NotContains(t, j.payload, "scope")
}

func TestRenewRequest(t *testing.T) {
	for _, version := range []int{0, prt.KDFv1, prt.KDFv2} {
		s := session(t)
		s.KDF = version
		f, err := prt.RenewRequest{PRT: prt.NewSecret(thePRT), Nonce: theNonce, TGT: true, OSVersion: "x", Now: now}.Sign(bg, s)
		require.NoError(t, err)
		require.Equal(t, "/oauth2/token", f.Path)
		require.Equal(t, "2.2", f.Values.Get("windows_api_version"))
		require.Equal(t, "true", f.Values.Get("tgt"))
		j := decodeJWS(t, f.Values.Get("request"))
		if version == 0 {
			version = prt.KDFv2
		}
		verifySession(t, j, s.Key.(*prt.SoftwareKey), version)
		require.Equal(t, fmt.Sprintf(`{"client_id":"38aa3b87-a06d-4817-b275-7a316988d93b","request_nonce":"%s","scope":"openid aza ugs","win_ver":"x","group_sids":[],`+
			`"iss":"aad:brokerplugin","aud":"login.microsoftonline.com","iat":"%d","exp":"%d","grant_type":"refresh_token","refresh_token":"%s"}`,
			theNonce, now.Unix(), now.Unix()+3600, thePRT), string(j.body))
	}
}

func TestRenewRequestProtocol3(t *testing.T) {
	s := session(t)
	s.KDF = prt.KDFv1
	f, err := prt.RenewRequest{PRT: prt.NewSecret(thePRT), Nonce: theNonce, Protocol: prt.Protocol3}.Sign(bg, s)
	require.NoError(t, err)
	require.Equal(t, "/oauth2/v2.0/token", f.Path)
	j := decodeJWS(t, f.Values.Get("request"))
	verifySession(t, j, s.Key.(*prt.SoftwareKey), prt.KDFv1)
	require.JSONEq(t, `{"client_id":"29d9ed98-a469-4536-ade2-f981bc1d605e","request_nonce":"`+theNonce+`","scope":"openid aza",
		"iss":"29d9ed98-a469-4536-ade2-f981bc1d605e","aud":"https://login.windows.net/common/oauth2/v2.0/token",
		"redirect_uri":"msauth://Microsoft.AAD.BrokerPlugin","grant_type":"refresh_token","refresh_token":"`+thePRT+`"}`, string(j.body))
}

func TestExchangeRequest(t *testing.T) {
	base := prt.ExchangeRequest{PRT: prt.NewSecret(thePRT), Nonce: theNonce, ClientID: "04b07795-8ddb-461a-bbee-02f9e1bf7b46", RedirectURI: "https://login.microsoftonline.com/common/oauth2/nativeclient"}
	with := func(f func(*prt.ExchangeRequest)) prt.ExchangeRequest { r := base; f(&r); return r }
	tests := []struct {
		name, path, scope string
		resource          any
		request           prt.ExchangeRequest
		form              map[string]string
	}{
		{
			name: "v1 resource", path: "/oauth2/token", scope: "openid", resource: "https://graph.microsoft.com",
			request: with(func(r *prt.ExchangeRequest) { r.Resource = "https://graph.microsoft.com" }),
			form:    map[string]string{"windows_api_version": "2.2", "prt_protocol_version": "", "claims": "", "req_cnf": "", "token_type": ""},
		},
		{
			name: "v2 scopes", path: "/oauth2/v2.0/token", scope: "openid profile offline_access https://graph.microsoft.com/.default",
			request: with(func(r *prt.ExchangeRequest) { r.Scopes = []string{"https://graph.microsoft.com/.default", "OpenID"} }),
			form:    map[string]string{"windows_api_version": "", "prt_protocol_version": "3.0"},
		},
		{
			name: "roll the PRT, with claims", path: "/oauth2/token", scope: "openid aza", resource: "r",
			request: with(func(r *prt.ExchangeRequest) {
				r.Resource, r.Roll, r.Claims = "r", true, `{"access_token":{"xms_cc":{"values":["cp1"]}}}`
			}),
			form: map[string]string{"claims": `{"access_token":{"xms_cc":{"values":["cp1"]}}}`},
		},
		{
			name: "bound token", path: "/oauth2/token", scope: "openid", resource: "r",
			request: with(func(r *prt.ExchangeRequest) { r.Resource, r.ReqCnf = "r", "cnf" }),
			form:    map[string]string{"req_cnf": "cnf", "token_type": "pop"},
		},
		{name: "neither", path: "/oauth2/token", scope: "openid", request: base},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := session(t)
			f, err := tt.request.Sign(bg, s)
			require.NoError(t, err)
			require.Equal(t, tt.path, f.Path)
			j := decodeJWS(t, f.Values.Get("request"))
			verifySession(t, j, s.Key.(*prt.SoftwareKey), prt.KDFv2)
			require.Equal(t, tt.scope, j.payload["scope"])
			require.Equal(t, tt.resource, j.payload["resource"])
			require.Equal(t, base.ClientID, j.payload["client_id"])
			require.Equal(t, base.RedirectURI, j.payload["redirect_uri"])
			require.Equal(t, thePRT, j.payload["refresh_token"])
			require.NotContains(t, j.payload, "claims", "claims go into the form")
			require.False(t, f.Values.Has("tgt"))
			for k, v := range tt.form {
				require.Equal(t, v, f.Values.Get(k), k)
			}
		})
	}
}

func TestDeviceTokenRequest(t *testing.T) {
	f, err := prt.DeviceTokenRequest{Nonce: theNonce, ClientID: "c", Resource: "r", RedirectURI: "u"}.Sign(bg, device(t))
	require.NoError(t, err)
	require.False(t, f.Values.Has("client_info"))
	require.False(t, f.Values.Has("tgt"))
	j := decodeJWS(t, f.Values.Get("request"))
	verifyDevice(t, j)
	require.NotContains(t, j.header, "kdf_ver")
	require.JSONEq(t, `{"client_id":"c","request_nonce":"`+theNonce+`","scope":"openid","iss":"aad:brokerplugin","grant_type":"device_token","resource":"r","redirect_uri":"u"}`, string(j.body))
}

func TestInvalidRequests(t *testing.T) {
	grant := prt.RefreshTokenGrant{Token: prt.NewSecret("r")}
	ok := prt.ExchangeRequest{PRT: prt.NewSecret("p"), Nonce: "n", ClientID: "c"}
	sign := func(r interface {
		Sign(context.Context, prt.Session) (prt.Form, error)
	}, s prt.Session) error {
		_, err := r.Sign(bg, s)
		return err
	}
	issue := func(r prt.PRTRequest, d prt.DeviceProof) error { _, err := r.Sign(bg, d); return err }
	s, d := session(t), device(t)
	token := func(r prt.DeviceTokenRequest) error { _, err := r.Sign(bg, d); return err }
	for name, err := range map[string]error{
		"no grant":                issue(prt.PRTRequest{Nonce: "n"}, d),
		"no nonce":                issue(prt.PRTRequest{Grant: grant}, d),
		"no refresh token":        issue(prt.PRTRequest{Grant: prt.RefreshTokenGrant{}, Nonce: "n"}, d),
		"no password":             issue(prt.PRTRequest{Grant: prt.PasswordGrant{Username: "u"}, Nonce: "n"}, d),
		"no user name":            issue(prt.PRTRequest{Grant: prt.PasswordGrant{Password: prt.NewSecret("p")}, Nonce: "n"}, d),
		"no assertion":            issue(prt.PRTRequest{Grant: prt.SAMLGrant{}, Nonce: "n"}, d),
		"no Hello key":            issue(prt.PRTRequest{Grant: prt.HelloGrant{Username: "u", Now: now}, Nonce: "n"}, d),
		"Hello without a time":    issue(prt.PRTRequest{Grant: prt.HelloGrant{Username: "u", Key: d.Key}, Nonce: "n"}, d),
		"no user certificate":     issue(prt.PRTRequest{Grant: prt.CertificateGrant{Username: "u", Key: d.Key, Now: now}, Nonce: "n"}, d),
		"KDF version 3":           issue(prt.PRTRequest{Grant: grant, Nonce: "n", KDF: 3}, d),
		"protocol version":        issue(prt.PRTRequest{Grant: grant, Nonce: "n", Protocol: 9}, d),
		"claims not JSON":         issue(prt.PRTRequest{Grant: grant, Nonce: "n", Claims: "{"}, d),
		"claims with duplicates":  issue(prt.PRTRequest{Grant: grant, Nonce: "n", Claims: `{"a":1,"a":2}`}, d),
		"no device key":           issue(prt.PRTRequest{Grant: grant, Nonce: "n"}, prt.DeviceProof{Certificate: d.Certificate}),
		"no device certificate":   issue(prt.PRTRequest{Grant: grant, Nonce: "n"}, prt.DeviceProof{Key: d.Key}),
		"renewal without PRT":     sign(prt.RenewRequest{Nonce: "n"}, s),
		"renewal without nonce":   sign(prt.RenewRequest{PRT: prt.NewSecret("p")}, s),
		"renewal, protocol":       sign(prt.RenewRequest{PRT: prt.NewSecret("p"), Nonce: "n", Protocol: 7}, s),
		"exchange without client": sign(prt.ExchangeRequest{PRT: prt.NewSecret("p"), Nonce: "n"}, s),
		"resource beside scopes":  sign(prt.ExchangeRequest{PRT: prt.NewSecret("p"), Nonce: "n", ClientID: "c", Resource: "r", Scopes: []string{"s"}}, s),
		"no session key":          sign(ok, prt.Session{}),
		"unknown KDF":             sign(ok, prt.Session{Key: s.Key, KDF: 3}),
		"device, no nonce":        token(prt.DeviceTokenRequest{ClientID: "c", Resource: "r"}),
		"device, no client":       token(prt.DeviceTokenRequest{Nonce: "n", Resource: "r"}),
		"device, no resource":     token(prt.DeviceTokenRequest{Nonce: "n", ClientID: "c"}),
		"Hello without a user":    issue(prt.PRTRequest{Grant: prt.HelloGrant{Key: d.Key, Now: now}, Nonce: "n"}, d),
		"no key of a certificate": issue(prt.PRTRequest{Grant: prt.CertificateGrant{Username: "u", Certificate: []byte{1}, Now: now}, Nonce: "n"}, d),
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, err, prt.ErrRequest)
			require.Regexp(t, "^prt: ", err.Error())
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
func (f failing) Derive(context.Context, []byte, []byte) ([32]byte, error) {
	return [32]byte{}, f.err
}
func (f failing) Public() crypto.PublicKey { return &rsa.PublicKey{} }
func (f failing) SignContext(context.Context, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, f.err
}

func TestFailuresOfKeysAreKept(t *testing.T) {
	cause := errors.New("the TPM went away")
	ok := prt.ExchangeRequest{PRT: prt.NewSecret(canary), Nonce: "n", ClientID: "c"}
	_, err := ok.Sign(bg, prt.Session{Key: failing{cause}})
	require.ErrorIs(t, err, cause)
	_, err = ok.Sign(bg, prt.Session{Key: softwareKey(t, sessionKeyHex), Rand: failing{cause}})
	require.ErrorIs(t, err, cause)
	require.NotContains(t, err.Error(), "canary")
	_, err = prt.PRTRequest{Grant: prt.RefreshTokenGrant{Token: prt.NewSecret("r")}, Nonce: "n"}.
		Sign(bg, prt.DeviceProof{Key: failing{cause}, Certificate: []byte{1}})
	require.ErrorIs(t, err, cause)

	ctx, cancel := context.WithCancel(bg)
	cancel()
	_, err = ok.Sign(ctx, session(t))
	require.ErrorIs(t, err, context.Canceled)
	_, err = prt.PRTRequest{Grant: prt.RefreshTokenGrant{Token: prt.NewSecret("r")}, Nonce: "n"}.Sign(ctx, device(t))
	require.ErrorIs(t, err, context.Canceled)
}

// A key that is not RSA, or that returns a signature of a wrong size, does not
// get a request out.
func TestWrongSigners(t *testing.T) {
	r := prt.PRTRequest{Grant: prt.RefreshTokenGrant{Token: prt.NewSecret("r")}, Nonce: "n"}
	_, err := r.Sign(bg, prt.DeviceProof{Key: oddKey{pub: "not a key"}, Certificate: []byte{1}})
	require.ErrorIs(t, err, prt.ErrRequest)
	_, err = r.Sign(bg, prt.DeviceProof{Key: oddKey{pub: signer(t, "device.pem").Public()}, Certificate: []byte{1}})
	require.ErrorContains(t, err, "a signature of 3 bytes from a key of 256")
}

type oddKey struct{ pub crypto.PublicKey }

func (o oddKey) Public() crypto.PublicKey { return o.pub }
func (o oddKey) SignContext(context.Context, []byte, crypto.SignerOpts) ([]byte, error) {
	return []byte{1, 2, 3}, nil
}

func TestRequestsDiffer(t *testing.T) {
	s := prt.Session{Key: softwareKey(t, sessionKeyHex)} // crypto/rand
	r := prt.ExchangeRequest{PRT: prt.NewSecret(thePRT), Nonce: theNonce, ClientID: "c"}
	a, err := r.Sign(bg, s)
	require.NoError(t, err)
	b, err := r.Sign(bg, s)
	require.NoError(t, err)
	require.NotEqual(t, decodeJWS(t, a.Values.Get("request")).header["ctx"], decodeJWS(t, b.Values.Get("request")).header["ctx"])
}

func TestNowIsOptional(t *testing.T) {
	f, err := prt.RenewRequest{PRT: prt.NewSecret(thePRT), Nonce: theNonce}.Sign(bg, session(t))
	require.NoError(t, err)
	p := decodeJWS(t, f.Values.Get("request")).payload
	require.NotContains(t, p, "iat")
	require.NotContains(t, p, "exp")
	require.NotContains(t, p, "win_ver")
}
