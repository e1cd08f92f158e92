package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims/verify"
)

const (
	tenant  = "11223344-5566-7788-99aa-bbccddeeff00"
	another = "21223344-5566-7788-99aa-bbccddeeff00"
	app     = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
)

var (
	now  = time.Date(2025, 3, 4, 10, 11, 12, 0, time.UTC)
	keyA = sync.OnceValue(newKey)
	keyB = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}

func jwks(t testing.TB, issuer string) string {
	return `{"keys":[` + entry(t, &keyA().PublicKey, map[string]any{"kid": "a", "use": "sig", "issuer": issuer}) + `,` +
		entry(t, &keyB().PublicKey, map[string]any{"kid": "b"}) + `]}`
}

func entry(t testing.TB, pub any, more map[string]any) string {
	t.Helper()
	k, err := jwk.FromRaw(pub)
	require.NoError(t, err)
	b, err := json.Marshal(k)
	require.NoError(t, err)
	m := map[string]any{}
	require.NoError(t, json.Unmarshal(b, &m))
	maps.Copy(m, more)
	for name, v := range m {
		if v == "" {
			delete(m, name)
		}
	}
	b, err = json.Marshal(m)
	require.NoError(t, err)
	return string(b)
}

func parseKeys(t testing.TB, s string) *verify.Keys {
	t.Helper()
	k, err := verify.ParseKeys([]byte(s))
	require.NoError(t, err)
	return k
}

// sign signs bytes as they are, without a library that would refuse some.
func sign(t testing.TB, key *rsa.PrivateKey, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	signer, err := jws.NewSigner(jwa.RS256)
	require.NoError(t, err)
	sig, err := signer.Sign([]byte(input), key)
	require.NoError(t, err)
	return input + "." + b64(string(sig))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

const header = `{"typ":"JWT","alg":"RS256","kid":"a"}`

func v2(change ...string) string {
	p := fmt.Sprintf(`{"aud":"%s","iss":"https://login.microsoftonline.com/%s/v2.0","iat":%d,"nbf":%[3]d,"exp":%d,"oid":"o","tid":"%[2]s","nonce":"n","ver":"2.0","amr":["pwd","mfa"]}`,
		app, tenant, now.Unix(), now.Unix()+3900)
	for i := 0; i < len(change); i += 2 {
		p = strings.Replace(p, change[i], change[i+1], 1)
	}
	return p
}

func options() verify.Options { return verify.Options{Audience: []string{app}, Now: now} }

func TestToken(t *testing.T) {
	k := parseKeys(t, jwks(t, verify.IssuerV2))
	tok, err := k.Token(sign(t, keyA(), header, v2()), options())
	require.NoError(t, err)
	require.Equal(t, "o", tok.ObjectID)
	require.True(t, tok.Methods.MFA())

	full := options()
	full.Tenants, full.Nonce, full.Required = []string{another, strings.ToUpper(tenant)}, "n", []string{"oid", "amr"}
	_, err = k.Token(sign(t, keyA(), header, v2()), full)
	require.NoError(t, err)

	// A key without an issuer signs for any; v1 tokens are signed by keys
	// whose template is v2.
	_, err = k.Token(sign(t, keyB(), strings.Replace(header, `"a"`, `"b"`, 1), v2()), options())
	require.NoError(t, err)
	_, err = k.Token(sign(t, keyA(), header, v2("https://login.microsoftonline.com/"+tenant+"/v2.0", "https://sts.windows.net/"+tenant+"/")), options())
	require.NoError(t, err)
}

// A tenant id puts nothing but a GUID into the issuer's template.
func TestTenantIDs(t *testing.T) {
	k := parseKeys(t, jwks(t, ""))
	token := func(tid string) string { return sign(t, keyA(), header, strings.ReplaceAll(v2(), tenant, tid)) }
	for _, good := range []string{tenant, "00000000-9999-aaaa-ffff-AAAAFFFF0000", "09afAF5c-5c5c-5c5c-5c5c-09afAF5c5c5c"} {
		_, err := k.Token(token(good), options())
		require.NoError(t, err, good)
	}
	bad := []string{
		"", tenant[1:], tenant + "0", strings.ReplaceAll(tenant, "-", "0"), strings.Repeat("-", 36),
		"1122334-45566-7788-99aa-bbccddeeff00", "11223344-5566-7788-99aa-bbccddeeff-0", "{tenantid}-7788-99aa-bbccddeeff00111",
	}
	for _, c := range "/:@G`g.% " { // beside each end of a range of hex digits
		bad = append(bad, string(c)+tenant[1:])
	}
	for _, tid := range bad {
		_, err := k.Token(token(tid), options())
		require.ErrorIs(t, err, verify.ErrTenant, tid)
	}
}

// A key without an id serves no token, not even one that names no key.
func TestKeyWithoutID(t *testing.T) {
	k := parseKeys(t, `{"keys":[`+entry(t, &keyA().PublicKey, map[string]any{"use": "sig"})+`]}`)
	for _, h := range []string{`{"typ":"JWT","alg":"RS256"}`, `{"typ":"JWT","alg":"RS256","kid":""}`} {
		_, err := k.Token(sign(t, keyA(), h, v2()), options())
		require.ErrorIs(t, err, verify.ErrUnknownKey, h)
	}
}

func TestRefusals(t *testing.T) {
	k := parseKeys(t, jwks(t, verify.IssuerV2))
	good := sign(t, keyA(), header, v2())
	hmacWithPublicKey := func() string {
		// The oldest trick: the public key as an HMAC secret.
		der, err := json.Marshal(keyA().PublicKey.N.Bytes())
		require.NoError(t, err)
		out, err := jws.Sign([]byte(v2()), jws.WithKey(jwa.HS256, der))
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(out), ".")
		return b64(`{"alg":"HS256","kid":"a"}`) + "." + rest
	}
	with := func(change func(*verify.Options)) verify.Options { o := options(); change(&o); return o }
	parts := strings.Split(good, ".")
	tests := []struct {
		name  string
		token string
		o     verify.Options
		want  error
	}{
		{"no audience asked", good, verify.Options{Now: now}, verify.ErrOptions},
		{"no time", good, verify.Options{Audience: []string{app}}, verify.ErrOptions},
		{"malformed", "x", options(), verify.ErrMalformed},
		{"another key", sign(t, keyB(), header, v2()), options(), verify.ErrSignature},
		{"unknown key", sign(t, keyA(), `{"alg":"RS256","kid":"zzz"}`, v2()), options(), verify.ErrUnknownKey},
		{"no kid", sign(t, keyA(), `{"alg":"RS256"}`, v2()), options(), verify.ErrUnknownKey},
		{"none", b64(`{"alg":"none"}`) + "." + b64(v2()) + ".", options(), verify.ErrUnsigned},
		{"None", b64(`{"alg":"None"}`) + "." + b64(v2()) + ".", options(), verify.ErrUnsigned},
		{"none with a signature", b64(`{"alg":"none","kid":"a"}`) + "." + b64(v2()) + "." + parts[2], options(), verify.ErrUnsigned},
		{"signature taken off", parts[0] + "." + parts[1] + ".", options(), verify.ErrUnsigned},
		{"signature taken off a PRT reply", parts[0] + "." + parts[1] + ".", with(func(o *verify.Options) { o.InsecurePRTReply = true }), verify.ErrUnsigned},
		{"None in a PRT reply", b64(`{"alg":"None"}`) + "." + b64(v2()) + ".", with(func(o *verify.Options) { o.InsecurePRTReply = true }), verify.ErrUnsigned},
		{"forged in a PRT reply", sign(t, keyB(), header, v2()), with(func(o *verify.Options) { o.InsecurePRTReply = true }), verify.ErrSignature},
		{"expired in a PRT reply", b64(`{"alg":"none"}`) + "." + b64(v2()) + ".", with(func(o *verify.Options) { o.InsecurePRTReply, o.Now = true, now.Add(2*time.Hour) }), verify.ErrExpired},
		{"HMAC", hmacWithPublicKey(), options(), verify.ErrAlgorithm},
		{"RS384", b64(`{"alg":"RS384","kid":"a"}`) + "." + parts[1] + "." + parts[2], options(), verify.ErrAlgorithm},
		{"duplicate claim", sign(t, keyA(), header, strings.Replace(v2(), `{`, `{"oid":"x",`, 1)), options(), verify.ErrMalformed},
		{"duplicate in the header", sign(t, keyA(), `{"alg":"RS256","kid":"a","kid":"b"}`, v2()), options(), verify.ErrMalformed},
		{"payload changed", parts[0] + "." + b64(v2(`"oid":"o"`, `"oid":"p"`)) + "." + parts[2], options(), verify.ErrSignature},
		{"audience", good, with(func(o *verify.Options) { o.Audience = []string{"x"} }), verify.ErrAudience},
		{"no aud", sign(t, keyA(), header, v2(`"aud":"`+app+`",`, ``)), options(), verify.ErrAudience},
		{"issuer", sign(t, keyA(), header, v2("login.microsoftonline.com", "login.example.com")), options(), verify.ErrIssuer},
		{"another tenant's issuer", sign(t, keyA(), header, v2("com/"+tenant, "com/"+another)), options(), verify.ErrIssuer},
		{"issuer with the placeholder", sign(t, keyA(), header, v2("com/"+tenant, "com/{tenantid}")), options(), verify.ErrIssuer},
		{"tid is no GUID", sign(t, keyA(), header, v2(`"tid":"`+tenant, `"tid":"evil/../x`)), options(), verify.ErrTenant},
		{"no tid", sign(t, keyA(), header, v2(`"tid"`, `"tidx"`)), options(), verify.ErrTenant},
		{"tenant", good, with(func(o *verify.Options) { o.Tenants = []string{another} }), verify.ErrTenant},
		{"no tenant at all", good, with(func(o *verify.Options) { o.Tenants = []string{} }), verify.ErrTenant},
		{"expired", good, with(func(o *verify.Options) { o.Now = now.Add(3900*time.Second + verify.DefaultSkew) }), verify.ErrExpired},
		{"no exp", sign(t, keyA(), header, v2(`"exp"`, `"expx"`)), options(), verify.ErrMissing},
		{"not yet", good, with(func(o *verify.Options) { o.Now = now.Add(-verify.DefaultSkew - 1) }), verify.ErrNotYet},
		{"issued in the future", sign(t, keyA(), header, v2(fmt.Sprintf(`"iat":%d`, now.Unix()), fmt.Sprintf(`"iat":%d`, now.Add(verify.DefaultSkew+time.Second).Unix()))), options(), verify.ErrNotYet},
		{"small skew", good, with(func(o *verify.Options) { o.Now, o.Skew = now.Add(-2*time.Second), time.Second }), verify.ErrNotYet},
		{"nonce", good, with(func(o *verify.Options) { o.Nonce = "m" }), verify.ErrNonce},
		{"required", good, with(func(o *verify.Options) { o.Required = []string{"oid", "deviceid"} }), verify.ErrMissing},
		{"required is null", sign(t, keyA(), header, v2(`"oid":"o"`, `"oid":null`)), with(func(o *verify.Options) { o.Required = []string{"oid"} }), verify.ErrMissing},
		{"own issuers replace the usual", good, with(func(o *verify.Options) { o.Issuers = []string{"https://sts.example/{tenantid}/"} }), verify.ErrIssuer},
		{"crit", sign(t, keyA(), `{"alg":"RS256","kid":"a","b64":false,"crit":["b64"]}`, v2()), options(), verify.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := k.Token(tt.token, tt.o)
			require.ErrorIs(t, err, tt.want)
			require.Regexp(t, "^verify: ", err.Error())
		})
	}
	var none *verify.Keys
	_, err := none.Token(good, options())
	require.ErrorIs(t, err, verify.ErrUnknownKey)
	edge := options()
	edge.Now = now.Add(-verify.DefaultSkew)
	_, err = k.Token(good, edge)
	require.NoError(t, err, "within the skew")
}

// No byte of a verified token can be changed.
func TestMutations(t *testing.T) {
	k := parseKeys(t, jwks(t, verify.IssuerV2))
	good := []byte(sign(t, keyA(), header, v2()))
	for i := range good {
		for _, bit := range []byte{1, 4, 32} {
			good[i] ^= bit
			_, err := k.Token(string(good), options())
			require.ErrorContains(t, err, "verify: ", "byte %d", i)
			good[i] ^= bit
		}
	}
}

func TestPRTReply(t *testing.T) {
	k := parseKeys(t, jwks(t, verify.IssuerV2))
	o := options()
	o.InsecurePRTReply = true
	tok, err := k.Token(b64(`{"typ":"JWT","alg":"none"}`)+"."+b64(v2())+".", o)
	require.NoError(t, err)
	require.Equal(t, "o", tok.ObjectID)
	_, err = k.Token(sign(t, keyA(), header, v2()), o)
	require.NoError(t, err, "a signed one is verified")
	var none *verify.Keys
	_, err = none.Token(b64(`{"alg":"none"}`)+"."+b64(v2())+".", o)
	require.NoError(t, err, "no keys are needed")
}

// Tokens for Microsoft Graph are signed over the hash of the nonce that they
// carry in their header.
func TestGraphNonce(t *testing.T) {
	k := parseKeys(t, jwks(t, verify.IssuerV2))
	const graph = "https://graph.microsoft.com"
	nonce := "QltrBofYb5am7UJ8mCmOJjlNOXqr1bAu2h_H2s3ARpk"
	sum := sha256.Sum256([]byte(nonce))
	hashed := base64.RawURLEncoding.EncodeToString(sum[:])
	head := func(n string) string { return `{"typ":"JWT","nonce":"` + n + `","alg":"RS256","x5t":"a","kid":"a"}` }
	swap := func(token, n string) string {
		_, rest, _ := strings.Cut(token, ".")
		return b64(head(n)) + "." + rest
	}
	o := options()
	for _, aud := range []string{graph, graph + "/", "00000003-0000-0000-c000-000000000000", "https://graph.microsoft.us"} {
		o.Audience = []string{aud}
		token := swap(sign(t, keyA(), head(hashed), v2(app, aud)), nonce)
		_, err := k.Token(token, o)
		require.NoError(t, err, aud)
		_, err = k.Token(swap(token, nonce+"x"), o)
		require.ErrorIs(t, err, verify.ErrSignature, "the nonce is wrong")
		_, err = k.Token(sign(t, keyA(), head(nonce), v2(app, aud)), o)
		require.ErrorIs(t, err, verify.ErrSignature, "signed over the nonce itself")
		_, err = k.Token(sign(t, keyA(), header, v2(app, aud)), o)
		require.NoError(t, err, "without a nonce there is nothing to undo")
		_, err = k.Token(sign(t, keyA(), `{"alg":"RS256","kid":"a","nonce":5}`, v2(app, aud)), o)
		require.ErrorIs(t, err, verify.ErrMalformed)
		_, err = k.Token(sign(t, keyA(), `{"alg":"RS256","kid":"a","nonce":"a"}`, v2(app, aud)), o)
		require.ErrorIs(t, err, verify.ErrMalformed, "a nonce that cannot be told from another value")
	}
	_, err := k.Token(swap(sign(t, keyA(), head(hashed), v2()), nonce), options())
	require.ErrorIs(t, err, verify.ErrSignature, "the rule is for Graph only")
}

func TestKeyIssuer(t *testing.T) {
	one := parseKeys(t, jwks(t, "https://login.microsoftonline.com/"+tenant+"/v2.0"))
	_, err := one.Token(sign(t, keyA(), header, v2()), options())
	require.NoError(t, err)
	moved := strings.ReplaceAll(v2(), tenant, another)
	_, err = one.Token(sign(t, keyA(), header, moved), options())
	require.ErrorIs(t, err, verify.ErrIssuer, "a key of one tenant signs for that tenant")
	_, err = one.Token(sign(t, keyA(), header, strings.Replace(moved, "https://login.microsoftonline.com/"+another+"/v2.0", "https://sts.windows.net/"+another+"/", 1)), options())
	require.ErrorIs(t, err, verify.ErrIssuer)
	_, err = parseKeys(t, jwks(t, verify.IssuerV2)).Token(sign(t, keyA(), header, moved), options())
	require.NoError(t, err, "a key for all tenants")
	msa := parseKeys(t, jwks(t, "https://login.live.com"))
	_, err = msa.Token(sign(t, keyA(), header, v2()), options())
	require.ErrorIs(t, err, verify.ErrIssuer)
}

func TestParseKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	t.Setenv("GODEBUG", "rsa1024min=0")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	ignored := `{"keys":[` + strings.Join([]string{
		entry(t, &ec.PublicKey, map[string]any{"kid": "a"}),
		entry(t, &keyA().PublicKey, map[string]any{"kid": "a", "use": "enc"}),
		entry(t, &keyA().PublicKey, nil),
		entry(t, &weak.PublicKey, map[string]any{"kid": "a"}),
		entry(t, keyA(), map[string]any{"kid": "a"}),
	}, ",") + `]}`
	_, err = parseKeys(t, ignored).Token(sign(t, keyA(), header, v2()), options())
	require.ErrorIs(t, err, verify.ErrUnknownKey)

	for name, bad := range map[string]string{
		"nothing": ``, "array": `[]`, "keys a string": `{"keys":"x"}`, "a key a string": `{"keys":["x"]}`,
		"duplicate members": `{"keys":[{"kty":"RSA","kty":"RSA"}]}`, "two keys, one id": `{"keys":[` + entry(t, &keyA().PublicKey, map[string]any{"kid": "a"}) + `,` + entry(t, &keyB().PublicKey, map[string]any{"kid": "a"}) + `]}`,
		"a broken key": `{"keys":[{"kty":"RSA","kid":"a","n":5,"e":"AQAB"}]}`, "too large": strings.Repeat(" ", verify.MaxKeysSize+1),
	} {
		_, err := verify.ParseKeys([]byte(bad))
		require.ErrorIs(t, err, verify.ErrKeys, name)
	}
	_, err = verify.ParseKeys([]byte(`{}`))
	require.NoError(t, err, "a set without keys verifies nothing, which is no error")
}
