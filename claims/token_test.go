package claims_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
)

func b64u(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func jwt(header, payload string) string { return b64u(header) + "." + b64u(payload) + ".c2ln" }

const v1 = `{"aud":"https://graph.microsoft.com","iss":"https://sts.windows.net/t/","iat":1741083072,"nbf":1741083072,"exp":1741087459,
	"acr":"1","amr":["pwd","rsa","mfa"],"appid":"app","appidacr":"0","deviceid":"D03994C9-24F8-41BA-A156-1805998D6DC7","name":"Alice","oid":"o","onprem_sid":"S-1-5-21-1",
	"scp":"User.Read openid","sub":"s","tid":"t","unique_name":"alice@u","upn":"alice@contoso.example","uti":"u","ver":"1.0","wids":["w1","w2"],"signin_state":["dvc_mngd","kmsi"],"xms_cc":["CP1"],"primary_sid":"S-1-12-1-1-2-3-4","idp":"i","sid":"session"}`

const v2 = `{"aud":"app","iss":"https://login.microsoftonline.com/t/v2.0","iat":1741083072,"exp":"1741087459","auth_time":1741080000,"azp":"a","azpacr":"1",
	"preferred_username":"alice@contoso.example","acrs":["c1","c2"],"roles":"One","nonce":"n","ver":"2.0","cnf":{"kid":"k"},"pwd_exp":"3600","oid":"o","tid":"t"}`

func TestParse(t *testing.T) {
	tok, err := claims.Parse(jwt(`{"typ":"JWT","alg":"RS256","kid":"k1","x5t":"k1"}`, v1))
	require.NoError(t, err)
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	require.Equal(t, &claims.Token{
		Algorithm: "RS256", KeyID: "k1", Type: "JWT", Version: "1.0", Issuer: "https://sts.windows.net/t/", Audience: []string{"https://graph.microsoft.com"},
		Subject: "s", ID: "u", SessionID: "session", TenantID: "t", ObjectID: "o", Username: "alice@contoso.example", Name: "Alice", SID: "S-1-12-1-1-2-3-4", OnPremSID: "S-1-5-21-1",
		ClientID: "app", ClientAuth: "0", IdentityProvider: "i", DeviceID: "d03994c9-24f8-41ba-a156-1805998d6dc7", Scopes: []string{"User.Read", "openid"}, RoleIDs: []string{"w1", "w2"},
		Capabilities: []string{"CP1"}, SignInState: []string{"dvc_mngd", "kmsi"}, IssuedAt: at(1741083072), NotBefore: at(1741083072), Expires: at(1741087459),
		AMR: []string{"pwd", "rsa", "mfa"}, HasAMR: true, Methods: claims.Password | claims.MarkRSA | claims.MarkMFA,
	}, tok)

	tok, err = claims.Parse(jwt(`{"alg":"none"}`, v2))
	require.NoError(t, err)
	require.Equal(t, "none", tok.Algorithm)
	require.Equal(t, "alice@contoso.example", tok.Username)
	require.Equal(t, "a", tok.ClientID)
	require.Equal(t, []string{"One"}, tok.Roles, "a single value may stand for a list")
	require.Equal(t, []string{"c1", "c2"}, tok.Contexts)
	require.Equal(t, at(1741080000), tok.AuthTime)
	require.Equal(t, at(1741087459), tok.Expires, "a string may stand for a number")
	require.Equal(t, tok.IssuedAt.Add(time.Hour), tok.PwdExpires)
	require.Equal(t, "k", tok.ConfirmationKeyID)
	require.False(t, tok.HasAMR)
}

func TestTokenEvidence(t *testing.T) {
	for _, tt := range []struct {
		payload string
		want    claims.Evidence
	}{
		{`{}`, claims.Evidence{}},
		{`{"amr":null,"auth_time":1741080000}`, claims.Evidence{AuthTime: time.Unix(1741080000, 0).UTC()}},
		{`{"amr":[]}`, claims.Evidence{MFA: claims.No, Source: claims.SourceIDToken}},
		{`{"amr":["pwd"],"uti":"u","deviceid":"D"}`, claims.Evidence{MFA: claims.No, Methods: claims.Password, Source: claims.SourceIDToken, TokenID: "u", DeviceID: "d"}},
		{`{"amr":["pwd","mfa"],"iat":1741083072}`, claims.Evidence{MFA: claims.Yes, Methods: claims.Password | claims.MarkMFA, Source: claims.SourceIDToken}},
		{`{"amr":["ngcmfa"],"auth_time":1741080000}`, claims.Evidence{MFA: claims.Yes, Methods: claims.MarkFreshMFA, Source: claims.SourceIDToken,
			At: time.Unix(1741080000, 0).UTC(), AuthTime: time.Unix(1741080000, 0).UTC()}},
	} {
		tok, err := claims.Parse(jwt(`{"alg":"none"}`, tt.payload))
		require.NoError(t, err)
		require.Equal(t, tt.want, tok.Evidence(claims.SourceIDToken), tt.payload)
	}
}

func TestParseRefuses(t *testing.T) {
	good := jwt(`{"alg":"none"}`, v2)
	for name, in := range map[string]string{
		"empty":              "",
		"one part":           b64u(`{}`),
		"two parts":          b64u(`{}`) + "." + b64u(`{}`),
		"four parts":         good + ".",
		"padding":            b64u(`{"alg":"none"}`) + "=." + b64u(`{}`) + ".",
		"standard base64":    "e30+." + b64u(`{}`) + ".",
		"line break":         strings.Replace(good, ".", "\n.", 1),
		"signature":          b64u(`{}`) + "." + b64u(`{}`) + ".***",
		"header not JSON":    jwt(`x`, `{}`),
		"payload not JSON":   jwt(`{}`, `x`),
		"payload an array":   jwt(`{}`, `[]`),
		"duplicate":          jwt(`{}`, `{"oid":"canary","oid":"b"}`),
		"duplicate escaped":  jwt(`{}`, `{"oid":"canary","\u006fid":"b"}`),
		"duplicate, nested":  jwt(`{}`, `{"cnf":{"kid":"a","kid":"b"}}`),
		"duplicate alg":      jwt(`{"alg":"none","alg":"RS256"}`, `{}`),
		"alg a number":       jwt(`{"alg":5}`, `{}`),
		"invalid UTF-8":      jwt(`{}`, "{\"oid\":\"canary\xff\"}"),
		"raw NUL":            jwt(`{}`, "{\"oid\":\"canary\x00\"}"),
		"oid a number":       jwt(`{}`, `{"oid":5}`),
		"oid an object":      jwt(`{}`, `{"oid":{"canary":1}}`),
		"amr an object":      jwt(`{}`, `{"amr":{"mfa":true}}`),
		"amr of numbers":     jwt(`{}`, `{"amr":[1,2]}`),
		"exp words":          jwt(`{}`, `{"exp":"canary"}`),
		"exp huge":           jwt(`{}`, `{"exp":1e999}`),
		"too deep":           jwt(`{}`, `{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`),
		"too large":          jwt(`{}`, `{"x":"`+strings.Repeat("x", claims.MaxTokenSize)+`"}`),
		"trailing data":      jwt(`{}`, `{}{}`),
		"encrypted, 5 parts": "a.b.c.d.e",
	} {
		_, err := claims.Parse(in)
		require.ErrorIs(t, err, claims.ErrMalformed, name)
		require.NotContains(t, err.Error(), "canary", name)
		require.Regexp(t, "^claims: ", err.Error(), name)
	}
	for n := range good {
		if tok, err := claims.Parse(good[:n]); err == nil {
			require.Greater(t, n, strings.LastIndex(good, "."), "only the signature may be cut")
			require.NotNil(t, tok)
		}
	}
	tok, err := claims.Parse(jwt(`{}`, `{"exp":99999999999999,"iat":-5,"pwd_exp":99999999999,"upn":null,"OID":"other case"}`))
	require.NoError(t, err)
	require.True(t, tok.Expires.IsZero() && tok.IssuedAt.IsZero() && tok.PwdExpires.IsZero())
	require.Empty(t, tok.ObjectID)
}

// Times that a time.Time cannot hold, or that are none, are zero.
func TestParseTimes(t *testing.T) {
	for _, tt := range []struct {
		payload string
		want    time.Time
	}{
		{`{"exp":0}`, time.Time{}},
		{`{"exp":1}`, time.Unix(1, 0).UTC()},
		{`{"exp":253402300799}`, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		{`{"exp":253402300800}`, time.Time{}},
	} {
		tok, err := claims.Parse(jwt(`{}`, tt.payload))
		require.NoError(t, err)
		require.Equal(t, tt.want, tok.Expires, tt.payload)
	}
	for _, tt := range []struct {
		payload string
		want    time.Time
	}{
		{`{"iat":1741083072,"pwd_exp":0}`, time.Time{}},
		{`{"iat":1741083072,"pwd_exp":2147483647}`, time.Unix(1741083072+1<<31-1, 0).UTC()},
		{`{"iat":1741083072,"pwd_exp":2147483648}`, time.Time{}},
		{`{"pwd_exp":3600}`, time.Time{}},
	} {
		tok, err := claims.Parse(jwt(`{}`, tt.payload))
		require.NoError(t, err)
		require.Equal(t, tt.want, tok.PwdExpires, tt.payload)
	}
}

func TestParseLargest(t *testing.T) {
	text := func(size int) string { return strings.Repeat("A", size-2) + ".." }
	_, err := claims.Parse(text(claims.MaxTokenSize))
	require.EqualError(t, err, "claims: malformed token: header: not valid JSON")
	_, err = claims.Parse(text(claims.MaxTokenSize + 1))
	require.EqualError(t, err, "claims: malformed token: too large")
	_, err = claims.ParseClientInfo(strings.Repeat("A", claims.MaxTokenSize))
	require.EqualError(t, err, "claims: malformed token: client_info: not valid JSON")
	_, err = claims.ParseClientInfo(strings.Repeat("A", claims.MaxTokenSize+1))
	require.EqualError(t, err, "claims: malformed token: client_info too large")
}

func TestClientInfo(t *testing.T) {
	c, err := claims.ParseClientInfo(b64u(`{"uid":"o","utid":"t"}`))
	require.NoError(t, err)
	require.Equal(t, "o.t", c.HomeAccountID())
	_, err = claims.ParseClientInfo(base64.URLEncoding.EncodeToString([]byte(`{"uid":"o"}`)))
	require.NoError(t, err, "padding is accepted")
	require.Empty(t, claims.ClientInfo{UID: "o"}.HomeAccountID())
	for _, bad := range []string{"", "%", b64u(`[]`), b64u(`{"uid":5}`), b64u(`{"uid":"a","uid":"b"}`), strings.Repeat("A", claims.MaxTokenSize+1)} {
		_, err := claims.ParseClientInfo(bad)
		require.ErrorIs(t, err, claims.ErrMalformed)
	}
}
