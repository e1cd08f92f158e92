package prt_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

func TestParseNonce(t *testing.T) {
	n, err := prt.ParseNonce([]byte(`{"Nonce":"AwABAAEAAAACAOz_BAD0"}`))
	require.NoError(t, err)
	require.Equal(t, "AwABAAEAAAACAOz_BAD0", n)
	for _, bad := range []string{``, `{}`, `{"nonce":"lower case"}`, `{"Nonce":""}`, `{"Nonce":5}`, `[]`, `{"Nonce":"a","Nonce":"b"}`} {
		_, err := prt.ParseNonce([]byte(bad))
		require.ErrorIs(t, err, prt.ErrReply, bad)
	}
}

const idClaims = `{"aud":"38aa3b87-a06d-4817-b275-7a316988d93b","iss":"https://sts.windows.net/` + tenantID + `/","iat":1741083072,"nbf":1741083072,"exp":1741086972,` +
	`"amr":%s,"oid":"` + userID + `","tid":"` + tenantID + `","upn":"alice@contoso.example","name":"Alice Example","ver":"1.0"}`

func clientInfo() string {
	return b64u([]byte(`{"uid":"` + userID + `","utid":"` + tenantID + `"}`))
}

// issuance is a reply as Entra's v1 endpoint sends it.
func issuance(t testing.TB, amr, more string) []byte {
	jwe, _, _ := sessionKeyJWE(t)
	return []byte(`{"token_type":"Bearer","expires_in":"1209599","ext_expires_in":"0","expires_on":"1742292671",
		"refresh_token":"` + thePRT + `","refresh_token_expires_in":1209599,"session_key_jwe":"` + jwe + `",
		"id_token":"` + idToken(fmt.Sprintf(idClaims, amr)) + `","client_info":"` + clientInfo() + `"` + more + `}`)
}

func TestParseIssuance(t *testing.T) {
	_, wrapped, _ := sessionKeyJWE(t)
	req := prt.PRTRequest{Grant: prt.RefreshTokenGrant{Token: prt.NewSecret("r")}, Nonce: theNonce}
	i, err := prt.ParseIssuance(issuance(t, `["pwd","rsa","mfa"]`, `,"kerberos_top_level_names":".windows.net,.azure.net","device_tenant_id":"`+tenantID+`"`), req, now)
	require.NoError(t, err)
	require.Equal(t, wrapped, i.WrappedSessionKey)
	require.Equal(t, tenantID, i.Reply.DeviceTenantID)

	tok := i.Token
	require.Equal(t, thePRT, tok.PRT.Reveal())
	require.Equal(t, prt.KDFv2, tok.KDF)
	require.Equal(t, "29d9ed98-a469-4536-ade2-f981bc1d605e", tok.ClientID)
	require.Equal(t, tenantID, tok.TenantID)
	require.Equal(t, userID, tok.UserID)
	require.Equal(t, userID+"."+tenantID, tok.HomeAccountID())
	require.Equal(t, "alice@contoso.example", tok.Username)
	require.Equal(t, "Alice Example", tok.Name)
	require.Equal(t, prt.ByRefreshToken, tok.Credential)
	require.Equal(t, now, tok.IssuedAt)
	require.Equal(t, now.Add(1209599*time.Second), tok.ExpiresAt)
	require.Equal(t, ".windows.net,.azure.net", tok.TopLevelNames)
	require.Nil(t, tok.SessionKey)
	require.Equal(t, claims.Yes, tok.Evidence.MFA)
	require.Equal(t, claims.SourceRefresh, tok.Evidence.Source)
	require.True(t, tok.Evidence.At.IsZero(), "when the refresh token was earned is not known")
}

// What a PRT knows about MFA at its birth, by credential and amr.
func TestIssuanceEvidence(t *testing.T) {
	password := prt.PasswordGrant{Username: "u", Password: prt.NewSecret("p")}
	hello := prt.HelloGrant{}
	tests := []struct {
		name   string
		grant  prt.Grant
		amr    string
		mfa    claims.Answer
		at     time.Time
		source claims.Source
		has    claims.Methods
	}{
		{"password", password, `["pwd","rsa"]`, claims.No, time.Time{}, claims.SourcePRT, claims.Password | claims.MarkRSA},
		{"password, amr absent", password, `null`, claims.No, time.Time{}, claims.SourcePRT, claims.Password},
		{"Hello", hello, `["rsa","mfa"]`, claims.Yes, now, claims.SourceHello, claims.WindowsHello | claims.MarkMFA},
		{"Hello, amr absent", hello, `null`, claims.Yes, now, claims.SourceHello, claims.WindowsHello},
		{"Hello, the service denies MFA", hello, `["rsa"]`, claims.No, time.Time{}, claims.SourcePRT, claims.MarkRSA},
		{"refresh token with MFA", prt.RefreshTokenGrant{}, `["pwd","mfa"]`, claims.Yes, time.Time{}, claims.SourceRefresh, claims.Password | claims.MarkMFA},
		{"refresh token without", prt.RefreshTokenGrant{}, `["pwd"]`, claims.No, time.Time{}, claims.SourceRefresh, claims.Password},
		{"refresh token, amr absent", prt.RefreshTokenGrant{}, `null`, claims.Unknown, time.Time{}, claims.SourceNone, 0},
		{"SAML, amr absent", prt.SAMLGrant{}, `null`, claims.Unknown, time.Time{}, claims.SourceNone, 0},
		{"certificate, two factors", prt.CertificateGrant{}, `["rsa","mfa"]`, claims.Yes, now, claims.SourceCertificate, claims.MarkMFA},
		{"certificate, one factor", prt.CertificateGrant{}, `["rsa"]`, claims.No, time.Time{}, claims.SourcePRT, claims.MarkRSA},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i, err := prt.ParseIssuance(issuance(t, tt.amr, ""), prt.PRTRequest{Grant: tt.grant}, now)
			require.NoError(t, err)
			e := i.Token.Evidence
			require.Equal(t, tt.mfa, e.MFA)
			require.Equal(t, tt.at, e.At)
			require.Equal(t, tt.source, e.Source)
			require.True(t, e.Methods.Has(tt.has), e.Methods.String())
		})
	}
}

func TestParseIssuanceVariants(t *testing.T) {
	jwe, _, _ := sessionKeyJWE(t)
	body := func(member, value string) []byte {
		m := map[string]string{"refresh_token": `"p"`, "session_key_jwe": `"` + jwe + `"`, "token_type": `"pop"`, "refresh_token_expires_in": "604800"}
		m[member] = value
		var b []string
		for k, v := range m {
			if v != "" {
				b = append(b, `"`+k+`":`+v)
			}
		}
		return []byte("{" + strings.Join(b, ",") + "}")
	}
	parse := func(b []byte, r prt.PRTRequest) (*prt.Issuance, error) { return prt.ParseIssuance(b, r, now) }
	i, err := parse(body("x", "1"), prt.PRTRequest{Grant: prt.RefreshTokenGrant{}, KDF: prt.KDFv1})
	require.NoError(t, err, "no id_token, no client_info")
	require.Equal(t, prt.KDFv1, i.Token.KDF)
	require.Equal(t, now.Add(7*24*time.Hour), i.Token.ExpiresAt)
	i, err = parse(body("refresh_token_expires_in", `"604800"`), prt.PRTRequest{})
	require.NoError(t, err, "numbers may be strings")
	require.Equal(t, now.Add(7*24*time.Hour), i.Token.ExpiresAt)
	i, err = parse(body("refresh_token_expires_in", ""), prt.PRTRequest{})
	require.NoError(t, err)
	require.Equal(t, now.Add(14*24*time.Hour), i.Token.ExpiresAt, "14 days when nothing is said")
	i, err = parse(body("x", "1"), prt.PRTRequest{Protocol: prt.Protocol3})
	require.NoError(t, err)
	require.Equal(t, prt.KDFv1, i.Token.KDF, "protocol 3 declares no KDF version")
	require.Equal(t, prt.Protocol3, i.Token.Protocol)

	for name, b := range map[string][]byte{
		"no PRT":              body("refresh_token", ""),
		"no session key":      body("session_key_jwe", ""),
		"another token type":  body("token_type", `"mac"`),
		"session key garbage": body("session_key_jwe", `"a.b.c.d.e"`),
		"id_token garbage":    body("id_token", `"nonsense"`),
		"client_info garbage": body("client_info", `"%%%"`),
		"PRT is a number":     body("refresh_token", `5`),
		"array":               []byte(`[]`),
		"nothing":             nil,
		"duplicate":           []byte(`{"refresh_token":"a","refresh_token":"b"}`),
	} {
		_, err := parse(b, prt.PRTRequest{})
		require.ErrorIs(t, err, prt.ErrReply, name)
	}
	_, err = parse([]byte(`{"error":"invalid_grant","error_codes":[50126]}`), prt.PRTRequest{})
	var e *prt.ErrorReply
	require.ErrorAs(t, err, &e)
	require.Equal(t, 50126, e.AADSTS())
}

func TestParseTokensV1AndV2(t *testing.T) {
	r, err := prt.ParseTokens([]byte(`{"token_type":"Bearer","scope":"user_impersonation openid","expires_in":"4387","ext_expires_in":"4387",
		"expires_on":"1741087459","not_before":"1741083072","resource":"https://graph.microsoft.com","access_token":"at","refresh_token":"rt",
		"foci":"1","client_info":"` + clientInfo() + `"}`))
	require.NoError(t, err)
	require.Equal(t, 4387*time.Second, r.ExpiresIn)
	require.Equal(t, time.Unix(1741087459, 0).UTC(), r.ExpiresOn)
	require.Equal(t, []string{"user_impersonation", "openid"}, r.Scopes)
	require.Equal(t, "1", r.FamilyID)
	require.Equal(t, userID+"."+tenantID, r.ClientInfo.HomeAccountID())
	require.Equal(t, now.Add(4387*time.Second), r.Expiry(now))
	require.False(t, r.Encrypted)

	r, err = prt.ParseTokens([]byte(`{"token_type":"Bearer","scope":"openid","expires_in":4200,"ext_expires_in":4200,"refresh_in":2100,"foci":1,
		"access_token":"at","refresh_token":"1.AX","id_token":"` + idToken(fmt.Sprintf(idClaims, `["pwd"]`)) + `","unknown":{"a":[1,2]}}`))
	require.NoError(t, err)
	require.Equal(t, 70*time.Minute, r.ExpiresIn)
	require.Equal(t, 35*time.Minute, r.RefreshIn)
	require.Equal(t, "1", r.FamilyID)
	require.Equal(t, userID, r.ID.ObjectID)
	require.Equal(t, []string{"pwd"}, r.ID.AMR)

	r, err = prt.ParseTokens([]byte(`{"access_token":"at","expires_on":1741087459}`))
	require.NoError(t, err)
	require.Equal(t, time.Unix(1741087459, 0).UTC(), r.Expiry(now))
	_, err = prt.ParseTokens([]byte(`{"token_type":"Bearer"}`))
	require.ErrorIs(t, err, prt.ErrReply)
}

func TestParseReplyPlain(t *testing.T) {
	s := session(t)
	r, err := prt.ParseReply(bg, []byte("\n {\"access_token\":\"at\"}\n"), s)
	require.NoError(t, err)
	require.False(t, r.Encrypted)
	_, err = prt.ParseReply(bg, []byte(`{"error":"invalid_grant"}`), s)
	var e *prt.ErrorReply
	require.ErrorAs(t, err, &e)
	require.Equal(t, "invalid_grant", e.Code)
}

func renewal(t testing.TB, s prt.Session, more string) []byte {
	plain := `{"token_type":"Bearer","expires_in":"1209599","ext_expires_in":"0","expires_on":"1742292671","refresh_token":"0.next","refresh_token_expires_in":1209599` + more + `}`
	return []byte(sealed(t, s.Key.(*prt.SoftwareKey), unhex(t, ctxHex), make([]byte, 16), []byte(plain)))
}

func TestRenewed(t *testing.T) {
	s := session(t)
	i, err := prt.ParseIssuance(issuance(t, `["rsa","mfa"]`, ""), prt.PRTRequest{Grant: prt.HelloGrant{}}, now)
	require.NoError(t, err)
	old := i.Token
	old.SessionKey, old.DeviceID = []byte("blob"), deviceID
	later := now.Add(5 * time.Hour)

	t.Run("without a new session key", func(t *testing.T) {
		r, err := prt.ParseReply(bg, renewal(t, s, `,"id_token":"`+idToken(fmt.Sprintf(idClaims, `["rsa","mfa"]`))+`"`), s)
		require.NoError(t, err)
		n, err := old.Renewed(r, later)
		require.NoError(t, err)
		require.Equal(t, "0.next", n.PRT.Reveal())
		require.Equal(t, later, n.RenewedAt)
		require.Equal(t, now, n.IssuedAt)
		require.Equal(t, later.Add(1209599*time.Second), n.ExpiresAt)
		require.Equal(t, []byte("blob"), n.SessionKey)
		require.Equal(t, now, n.SessionKeyAt)
		require.Equal(t, old.Evidence, n.Evidence, "a renewal moves no time of the evidence")
		require.Equal(t, deviceID, n.DeviceID)
		require.Equal(t, thePRT, old.PRT.Reveal(), "the old one is untouched")
	})
	t.Run("with a new session key", func(t *testing.T) {
		jwe, wrapped, _ := sessionKeyJWE(t)
		r, err := prt.ParseReply(bg, renewal(t, s, `,"session_key_jwe":"`+jwe+`"`), s)
		require.NoError(t, err)
		require.Equal(t, wrapped, r.WrappedSessionKey)
		n, err := old.Renewed(r, later)
		require.NoError(t, err)
		require.Nil(t, n.SessionKey, "the caller sets it")
		require.Equal(t, later, n.SessionKeyAt)
		require.Equal(t, []byte("blob"), old.SessionKey)
	})
	t.Run("amr says no", func(t *testing.T) {
		r, err := prt.ParseReply(bg, renewal(t, s, `,"id_token":"`+idToken(fmt.Sprintf(idClaims, `["pwd"]`))+`"`), s)
		require.NoError(t, err)
		n, err := old.Renewed(r, later)
		require.NoError(t, err)
		require.Equal(t, claims.No, n.Evidence.MFA)
	})
	t.Run("another user's", func(t *testing.T) {
		other := strings.Replace(fmt.Sprintf(idClaims, `["pwd"]`), userID, deviceID, 1)
		r, err := prt.ParseReply(bg, renewal(t, s, `,"id_token":"`+idToken(other)+`"`), s)
		require.NoError(t, err)
		_, err = old.Renewed(r, later)
		require.ErrorIs(t, err, prt.ErrReply)
	})
	t.Run("the same user's by client_info", func(t *testing.T) {
		r, err := prt.ParseReply(bg, renewal(t, s, `,"client_info":"`+clientInfo()+`"`), s)
		require.NoError(t, err)
		n, err := old.Renewed(r, later)
		require.NoError(t, err)
		require.Equal(t, old.HomeID, n.HomeID)
		unknown := *old
		unknown.HomeID = ""
		_, err = unknown.Renewed(r, later)
		require.NoError(t, err, "a token from before HomeID was kept")
	})
	t.Run("where the user was not known", func(t *testing.T) {
		r, err := prt.ParseReply(bg, renewal(t, s, `,"id_token":"`+idToken(fmt.Sprintf(idClaims, `["pwd"]`))+`"`), s)
		require.NoError(t, err)
		unknown := *old
		unknown.UserID, unknown.TenantID = "", ""
		n, err := unknown.Renewed(r, later)
		require.NoError(t, err)
		require.Equal(t, userID+" "+tenantID, n.UserID+" "+n.TenantID)
	})
	t.Run("by an id_token that does not name the user", func(t *testing.T) {
		r, err := prt.ParseReply(bg, renewal(t, s, `,"id_token":"`+idToken(`{}`)+`"`), s)
		require.NoError(t, err)
		n, err := old.Renewed(r, later)
		require.NoError(t, err)
		require.Equal(t, userID+" "+tenantID, n.UserID+" "+n.TenantID)
	})
	t.Run("another user's by client_info", func(t *testing.T) {
		r, err := prt.ParseReply(bg, renewal(t, s, `,"client_info":"`+base64.RawURLEncoding.EncodeToString([]byte(`{"uid":"`+deviceID+`","utid":"`+tenantID+`"}`))+`"`), s)
		require.NoError(t, err)
		at := *old
		at.HomeID = userID + "." + tenantID
		_, err = at.Renewed(r, later)
		require.ErrorIs(t, err, prt.ErrReply)
	})
	t.Run("another tenant's", func(t *testing.T) {
		other := strings.ReplaceAll(fmt.Sprintf(idClaims, `["pwd"]`), tenantID, deviceID)
		require.Contains(t, other, userID)
		r, err := prt.ParseReply(bg, renewal(t, s, `,"id_token":"`+idToken(other)+`"`), s)
		require.NoError(t, err)
		_, err = old.Renewed(r, later)
		require.ErrorIs(t, err, prt.ErrReply, "of the same user id")
	})
	t.Run("without a PRT", func(t *testing.T) {
		r, err := prt.ParseTokens([]byte(`{"access_token":"at"}`))
		require.NoError(t, err)
		_, err = old.Renewed(r, later)
		require.ErrorIs(t, err, prt.ErrReply)
	})
	t.Run("by an exchange that rolls", func(t *testing.T) {
		r, err := prt.ParseTokens([]byte(`{"access_token":"at","expires_in":3600,"refresh_token":"0.next"}`))
		require.NoError(t, err)
		n, err := old.Renewed(r, later)
		require.NoError(t, err)
		require.Equal(t, later.Add(14*24*time.Hour), n.ExpiresAt, "expires_in is the access token's")
	})
	t.Run("that only says expires_in", func(t *testing.T) {
		r, err := prt.ParseTokens([]byte(`{"expires_in":86400,"refresh_token":"0.next"}`))
		require.NoError(t, err)
		n, err := old.Renewed(r, later)
		require.NoError(t, err)
		require.Equal(t, later.Add(24*time.Hour), n.ExpiresAt, "without an access token it is the PRT's")
	})
	t.Run("tickets", func(t *testing.T) {
		with := *old
		with.TGTs = []prt.TGT{{Realm: "old", ClientKey: prt.NewSecret("k"), ASRep: []byte{1}}}
		for more, want := range map[string]string{
			``:                                  "old",
			`,"tgt_ad":{"error":"unreachable"}`: "old",
			`,"tgt_ad":{"realm":"new","clientKey":"k","messageBuffer":"AQ","keyType":18}`: "new",
		} {
			r, err := prt.ParseTokens([]byte(`{"refresh_token":"0.next"` + more + `}`))
			require.NoError(t, err)
			n, err := with.Renewed(r, later)
			require.NoError(t, err)
			require.Equal(t, want, n.TGTs[0].Realm)
		}
	})
	t.Run("near the rolling end", func(t *testing.T) {
		r, err := prt.ParseTokens([]byte(`{"refresh_token":"0.next"}`))
		require.NoError(t, err)
		n, err := old.Renewed(r, now.Add(80*24*time.Hour))
		require.NoError(t, err)
		require.Equal(t, now.Add(90*24*time.Hour), n.ExpiresAt)
	})
}

func TestParseErrorShapes(t *testing.T) {
	desc := "AADSTS50126: Error validating credentials due to invalid username or password.%sTrace ID: 5f0c1f2e-1111-4222-8333-944455566677%[1]sCorrelation ID: 9d3c0d10-1111-4222-8333-944455566677%[1]sTimestamp: 2025-03-04 10:11:12Z"
	tests := []struct {
		name, body string
		want       prt.ErrorReply
		text       string
	}{
		{
			name: "full",
			body: `{"error":"invalid_grant","error_description":"AADSTS50076: x","error_codes":[50076,"50079"],"timestamp":"2025-03-04 10:11:12Z","trace_id":"t-1","correlation_id":"c-1","error_uri":"https://login.microsoftonline.com/error?code=50076","suberror":"basic_action","claims":"{\"access_token\":{}}"}`,
			want: prt.ErrorReply{Status: 400, Code: "invalid_grant", Description: "AADSTS50076: x", Codes: []int{50076, 50079}, Time: now, TraceID: "t-1", CorrelationID: "c-1",
				URI: "https://login.microsoftonline.com/error?code=50076", Suberror: "basic_action", Claims: `{"access_token":{}}`},
			text: "prt: the service answered invalid_grant (basic_action) AADSTS50076 AADSTS50079, HTTP 400, trace t-1, correlation c-1",
		},
		{
			name: "code in the description, CR LF",
			body: `{"error":"invalid_grant","error_description":"` + strings.ReplaceAll(fmt.Sprintf(desc, `\r\n`), "\n", "") + `"}`,
			want: prt.ErrorReply{Status: 400, Code: "invalid_grant", Codes: []int{50126}, Description: fmt.Sprintf(desc, "\r\n")},
		},
		{
			name: "code in the description, blanks",
			body: `{"error":"invalid_grant","error_description":"` + fmt.Sprintf(desc, ` `) + `"}`,
			want: prt.ErrorReply{Status: 400, Code: "invalid_grant", Codes: []int{50126}, Description: fmt.Sprintf(desc, " ")},
		},
		{
			name: "registration service",
			body: `{"ErrorType":"DirectoryError","Message":"The device object by the given id is not found.","TraceId":"t-2","Time":"10/12/2023 3:05:30 PM"}`,
			want: prt.ErrorReply{Status: 400, Code: "DirectoryError", Description: "The device object by the given id is not found.", TraceID: "t-2", Time: time.Date(2023, 10, 12, 15, 5, 30, 0, time.UTC)},
		},
		{
			name: "AD FS registration service",
			body: `{"code":"BadRequest","message":"no kngc","response":"ERROR_FAIL","target":"key","clientrequestid":"c-3","time":"2025-03-04T10:11:12Z","innererror":{"trace":"null","context":"null"}}`,
			want: prt.ErrorReply{Status: 400, Code: "BadRequest", Description: "no kngc", CorrelationID: "c-3", Time: now, Target: "key"},
		},
		{
			name: "nested error",
			body: `{"error":{"code":"Unauthorized","message":"who?"}}`,
			want: prt.ErrorReply{Status: 400, Code: "Unauthorized", Description: "who?"},
		},
		{name: "a proxy's page", body: `<html>`, want: prt.ErrorReply{Status: 400}, text: "prt: the service answered an error, HTTP 400"},
		{name: "empty", want: prt.ErrorReply{Status: 400}},
		{name: "wrong types", body: `{"error":5,"error_codes":"x","suberror":[],"claims":{}}`, want: prt.ErrorReply{Status: 400}},
		{name: "absurd codes", body: `{"error":"e","error_codes":[-1,0,1e99,"x",null,99999999999,1000000000,999999999,7]}`, want: prt.ErrorReply{Status: 400, Code: "e", Codes: []int{999999999, 7}}},
		{
			name: "many codes", body: `{"error":"e","error_codes":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]}`,
			want: prt.ErrorReply{Status: 400, Code: "e", Codes: []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
		},
		{name: "a word that begins as a code does", body: `{"error":"e","error_description":"AADSTS50126x"}`, want: prt.ErrorReply{Status: 400, Code: "e", Description: "AADSTS50126x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := prt.ParseError(400, []byte(tt.body))
			require.Equal(t, tt.want, *e)
			if tt.text != "" {
				require.Equal(t, tt.text, e.Error())
			}
			require.NotContains(t, e.Error(), "password")
			require.Equal(t, e.AADSTS() != 0, e.Has(e.AADSTS()))
		})
	}
}

// A hostile reply puts neither line breaks nor prose into a log.
func TestErrorTextIsTame(t *testing.T) {
	e := prt.ParseError(400, []byte(`{"error":"invalid_grant\n2026-01-01 root logged in\u001b[31m","suberror":"`+strings.Repeat("x", 4096)+`","trace_id":"a b\r\nc"}`))
	require.NotContains(t, e.Error(), "\n")
	require.NotContains(t, e.Error(), "\x1b")
	require.NotContains(t, e.Error(), "root logged")
	require.Less(t, len(e.Error()), 400)
}

// What an identifier may hold is printed, and what stands beside it in ASCII is not.
func TestErrorTextCharacters(t *testing.T) {
	e := prt.ErrorReply{Code: "/09:@AZ[`az{_-. ~"}
	require.Equal(t, "prt: the service answered 09AZaz_-.", e.Error())
}

func TestTGTShapes(t *testing.T) {
	ticket := `{"clientKey":"a.b.c.d.e","keyType":18,"error":null,"messageBuffer":"AQID","realm":"KERBEROS.MICROSOFTONLINE.COM","sn":"krbtgt","cn":"alice","sessionKeyType":18,"accountType":2}`
	escaped := strings.ReplaceAll(ticket, `"`, `\"`)
	for name, more := range map[string]string{
		"object": `,"tgt_cloud":` + ticket,
		"string": `,"tgt_cloud":"` + escaped + `"`,
		"both":   `,"tgt_cloud":"` + escaped + `","tgt_ad":{"keyType":0,"error":"no TGT"}`,
	} {
		t.Run(name, func(t *testing.T) {
			i, err := prt.ParseIssuance(issuance(t, `["pwd"]`, more), prt.PRTRequest{}, now)
			require.NoError(t, err)
			tgt := i.Token.TGTs[len(i.Token.TGTs)-1]
			require.True(t, tgt.Cloud)
			require.True(t, tgt.Usable())
			require.Equal(t, "KERBEROS.MICROSOFTONLINE.COM", tgt.Realm)
			require.Equal(t, "alice", tgt.Client)
			require.Equal(t, 18, tgt.KeyType)
			require.Equal(t, []byte{1, 2, 3}, tgt.ASRep)
			require.Equal(t, "a.b.c.d.e", tgt.ClientKey.Reveal())
			if name == "both" {
				require.Equal(t, "no TGT", i.Token.TGTs[0].Error)
				require.False(t, i.Token.TGTs[0].Usable())
				require.Nil(t, i.Token.TGTs[0].ASRep)
			}
		})
	}
	i, err := prt.ParseIssuance(issuance(t, `["pwd"]`, `,"tgt_client_key":"a.b.c.d.e","tgt_key_type":18,"tgt_message_buffer":"AQID"`), prt.PRTRequest{}, now)
	require.NoError(t, err)
	require.Len(t, i.Token.TGTs, 1, "the older form")
	i, err = prt.ParseIssuance(issuance(t, `["pwd"]`, `,"tgt_cloud":`+ticket+`,"tgt_client_key":"a.b.c.d.e","tgt_key_type":18,"tgt_message_buffer":"AQID"`), prt.PRTRequest{}, now)
	require.NoError(t, err)
	require.Len(t, i.Token.TGTs, 1, "the older form is not a second ticket")
	require.True(t, i.Token.TGTs[0].Cloud)
	for _, odd := range []string{`,"tgt_cloud":5`, `,"tgt_cloud":"nonsense"`, `,"tgt_ad":[]`, `,"tgt_cloud":{"clientKey":7}`, `,"tgt_cloud":""`, `,"tgt_cloud":{}`,
		`,"tgt_cloud":{"clientKey":"k"}`, `,"tgt_cloud":{"messageBuffer":"AQID"}`, `,"tgt_cloud":{"clientKey":"k","messageBuffer":"AQID*"}`,
		`,"tgt_cloud":{"clientKey":"k","messageBuffer":"AQID","realm":5}`, `,"tgt_client_key":"k"`, `,"tgt_message_buffer":"AQID"`} {
		i, err := prt.ParseIssuance(issuance(t, `["pwd"]`, odd), prt.PRTRequest{}, now)
		require.NoError(t, err, "a ticket that cannot be read does not make the PRT worthless: %s", odd)
		require.Empty(t, i.Token.TGTs)
	}
}

// The encryption type is a byte; anything else counts as unknown.
func TestTGTKeyType(t *testing.T) {
	for value, want := range map[string]int{`18`: 18, `"18"`: 18, `0`: 0, `255`: 255, `256`: 0, `-1`: 0, `"AES"`: 0} {
		r, err := prt.ParseTokens([]byte(`{"refresh_token":"r","tgt_cloud":{"clientKey":"k","messageBuffer":"AQID","keyType":` + value + `}}`))
		require.NoError(t, err)
		require.Equal(t, want, r.TGTs[0].KeyType, value)
	}
}

func TestStandardAndURLBase64Ctx(t *testing.T) {
	s := session(t)
	ctx := []byte{0xfb, 0xff, 0xfe, 1, 2, 3, 4}
	jwe := sealed(t, s.Key.(*prt.SoftwareKey), ctx, make([]byte, 16), []byte(`{"access_token":"t"}`))
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		head := b64u([]byte(`{"alg":"dir","enc":"A256GCM","ctx":"` + enc.EncodeToString(ctx) + `"}`))
		_, rest, _ := strings.Cut(jwe, ".")
		r, err := prt.ParseReply(bg, []byte(head+"."+rest), s) // CBC does not authenticate the header
		require.NoError(t, err)
		require.Equal(t, "t", r.AccessToken.Reveal())
	}
}
