package prt_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/prt"
)

// accepts reports whether a service that knows the session key accepts a JWS:
// what the emulator does, in a few lines and apart from the code under test.
func accepts(key *prt.SoftwareKey, text string) bool {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return false
	}
	enc := base64.RawURLEncoding.Strict()
	head, err1 := enc.DecodeString(parts[0])
	body, err2 := enc.DecodeString(parts[1])
	sig, err3 := enc.DecodeString(parts[2])
	if err1 != nil || err2 != nil || err3 != nil || strings.ContainsAny(text, "\r\n") {
		return false
	}
	var h struct {
		Alg string `json:"alg"`
		Ctx []byte `json:"ctx"`
		KDF int    `json:"kdf_ver"`
	}
	if json.Unmarshal(head, &h) != nil || h.Alg != "HS256" || len(h.Ctx) == 0 {
		return false
	}
	context := h.Ctx
	if h.KDF == 2 {
		sum := kdf.ContextV2(h.Ctx, body)
		context = sum[:]
	}
	k := kdf.Derive(key[:], []byte(kdf.Label), context)
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte(parts[0] + "." + parts[1]))
	return hmac.Equal(mac.Sum(nil), sig)
}

// mutate flips one bit of text; it returns false when nothing changed.
func mutate(text string, at uint, bit uint8) (string, bool) {
	b := []byte(text)
	if len(b) == 0 {
		return "", false
	}
	b[at%uint(len(b))] ^= 1 << (bit % 8)
	return string(b), true
}

// A request says what it was asked to say, and no bit of it can be changed.
func FuzzRequestJWT(f *testing.F) {
	f.Add("0.prt", "nonce", "client", "https://login.microsoftonline.com/common/oauth2/nativeclient", "https://graph.microsoft.com", "", "os", true, uint(3), uint8(0))
	f.Add("p<&>\u2028", "n\"\\", "c", "", "", "User.Read openid", "Ubuntu \u2013", false, uint(300), uint8(7))
	f.Fuzz(func(t *testing.T, token, nonce, client, redirect, resource, scopes, osVersion string, v2 bool, at uint, bit uint8) {
		for _, s := range []string{token, nonce, client, redirect, resource, scopes, osVersion} {
			if !utf8.ValidString(s) {
				t.Skip()
			}
		}
		s := session(t)
		if s.KDF = prt.KDFv1; v2 {
			s.KDF = prt.KDFv2
		}
		form, err := prt.ExchangeRequest{PRT: prt.NewSecret(token), Nonce: nonce, ClientID: client, RedirectURI: redirect,
			Resource: resource, Scopes: strings.Fields(scopes), OSVersion: osVersion}.Sign(bg, s)
		if token == "" || nonce == "" || client == "" || resource != "" && strings.TrimSpace(scopes) != "" {
			require.ErrorIs(t, err, prt.ErrRequest)
			return
		}
		require.NoError(t, err)
		text := form.Values.Get("request")
		require.True(t, accepts(s.Key.(*prt.SoftwareKey), text))
		j := decodeJWS(t, text)
		for name, want := range map[string]string{"refresh_token": token, "request_nonce": nonce, "client_id": client, "redirect_uri": redirect, "resource": resource, "win_ver": osVersion} {
			got, _ := j.payload[name].(string)
			require.Equal(t, want, got, name)
		}
		for _, scope := range strings.Fields(scopes) {
			require.Contains(t, strings.ToLower(j.payload["scope"].(string)), strings.ToLower(scope))
		}
		if changed, ok := mutate(text, at, bit); ok {
			require.False(t, accepts(s.Key.(*prt.SoftwareKey), changed), "a changed request is accepted")
		}
		encoded, err := url.ParseQuery(form.Values.Encode())
		require.NoError(t, err)
		require.Equal(t, form.Values, encoded)
	})
}

// A cookie is made for a sign-in host over https with a nonce, or not at all.
func FuzzCookie(f *testing.F) {
	f.Add(signInURL, "nonce", uint(0), uint8(0))
	f.Add(signInURL+"&sso_nonce=x", "", uint(9), uint8(1))
	f.Add("https://login.microsoftonline.com@evil.example/", "n", uint(0), uint8(0))
	f.Add("https://login.microsoftonline.us:443/?sso_nonce=%41", "n", uint(0), uint8(0))
	f.Add("HTTPS://LOGIN.WINDOWS.NET", "n", uint(0), uint8(0))
	f.Fuzz(func(t *testing.T, address, nonce string, at uint, bit uint8) {
		s := session(t)
		c, err := prt.CookieRequest{PRT: prt.NewSecret(thePRT), URL: address, Nonce: nonce}.Sign(bg, s)
		if err != nil {
			require.ErrorIs(t, err, prt.ErrRequest)
			return
		}
		// Judged by hand: https://, a listed host, then the end, :443, / ? or #.
		rest := strings.ToLower(address)
		require.True(t, strings.HasPrefix(rest, "https://"), address)
		rest = rest[len("https://"):]
		ok := false
		for _, h := range prt.SignInHosts() {
			if after, found := strings.CutPrefix(rest, h); found {
				after = strings.TrimPrefix(after, ":443")
				ok = ok || after == "" || strings.ContainsAny(after[:1], "/?#")
			}
		}
		require.True(t, ok, "a cookie for %q", address)
		text := c.Value.Reveal()
		require.True(t, accepts(s.Key.(*prt.SoftwareKey), text))
		require.NotEmpty(t, decodeJWS(t, text).payload["request_nonce"])
		if changed, ok := mutate(text, at, bit); ok {
			require.False(t, accepts(s.Key.(*prt.SoftwareKey), changed), "a changed cookie is accepted")
		}
	})
}

// A session key is 256 bytes, and its text has one form only.
func FuzzSessionKeyJWE(f *testing.F) {
	text, _, _ := sessionKeyJWE(f)
	f.Add(text)
	f.Add(text[:len(text)-1])
	f.Add("....")
	f.Add(strings.Replace(text, ".", "..", 1))
	f.Fuzz(func(t *testing.T, text string) {
		wrapped, err := prt.WrappedSessionKey(text)
		if err != nil {
			require.ErrorIs(t, err, prt.ErrReply)
			return
		}
		require.Len(t, wrapped, prt.WrappedKeySize)
		parts := strings.Split(text, ".")
		require.Len(t, parts, 5)
		require.Equal(t, b64u(wrapped), parts[1])
		for i, p := range parts {
			b, err := base64.RawURLEncoding.DecodeString(p)
			require.NoError(t, err)
			require.Equal(t, b64u(b), p, "part %d has another form", i)
		}
		for n := range text {
			_, err := prt.WrappedSessionKey(text[:n])
			require.ErrorIs(t, err, prt.ErrReply, "truncated to %d", n)
		}
	})
}

// An encrypted reply reads as its plaintext does; a changed GCM reply is
// refused, and so is any under another session key.
func FuzzReplyJWE(f *testing.F) {
	ctx := unhex(f, ctxHex)
	for _, plain := range []string{`{"access_token":"t"}`, `{"error":"invalid_grant"}`, `{"refresh_token":"0.next","expires_in":"5"}`, `x`, ``, `{"access_token":"t"}   `} {
		f.Add([]byte(plain), ctx, true, uint(2), uint8(3))
		f.Add([]byte(plain), ctx, false, uint(200), uint8(0))
	}
	f.Fuzz(func(t *testing.T, plain, ctx []byte, gcm bool, at uint, bit uint8) {
		s := session(t)
		iv := make([]byte, 16)
		if gcm {
			iv = iv[:12]
		}
		text := sealed(t, s.Key.(*prt.SoftwareKey), ctx, iv, plain)
		got, err := prt.ParseReply(bg, []byte(text), s)
		want, wantErr := prt.ParseTokens(plain)
		switch {
		case len(ctx) == 0 || len(ctx) > 512 || len(text) > prt.MaxReplySize:
			require.ErrorIs(t, err, prt.ErrReply)
			return
		case wantErr != nil:
			require.ErrorContains(t, err, "prt: ")
		default:
			require.NoError(t, err)
			require.True(t, got.Encrypted)
			require.True(t, want.AccessToken.Equal(got.AccessToken) && want.RefreshToken.Equal(got.RefreshToken))
			require.Equal(t, want.ExpiresIn, got.ExpiresIn)
		}
		if changed, ok := mutate(text, at, bit); ok && gcm {
			_, err := prt.ParseReply(bg, []byte(changed), s)
			require.True(t, refused(err), "a changed reply: %v", err)
		}
		other := *s.Key.(*prt.SoftwareKey)
		other[at%32] ^= 1 << (bit % 8)
		_, err = prt.ParseReply(bg, []byte(text), prt.Session{Key: &other})
		require.True(t, refused(err), "another session key: %v", err)
	})
}

// Arbitrary bodies: what is read was plain, or its text has one form only.
func FuzzReplyText(f *testing.F) {
	key := softwareKey(f, sessionKeyHex)
	f.Add([]byte(sealed(f, key, unhex(f, ctxHex), make([]byte, 12), []byte(`{"access_token":"t"}`))))
	f.Add([]byte(sealed(f, key, unhex(f, ctxHex), make([]byte, 16), []byte(`{"access_token":"t"}`))))
	f.Add(issuance(f, `["pwd"]`, `,"tgt_cloud":{"keyType":18,"clientKey":"a.b.c.d.e","messageBuffer":"AQID"}`))
	f.Add([]byte(`{"token_type":"Bearer","scope":"a b","expires_in":"1","access_token":"t","client_info":"e30","foci":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := prt.ParseReply(bg, body, prt.Session{Key: key})
		if err != nil {
			require.Nil(t, r)
			return
		}
		require.False(t, r.AccessToken.IsZero() && r.RefreshToken.IsZero() && r.IDToken.IsZero())
		require.GreaterOrEqual(t, r.ExpiresIn, time.Duration(0))
		if r.WrappedSessionKey != nil {
			require.Len(t, r.WrappedSessionKey, prt.WrappedKeySize)
		}
		if !r.Encrypted {
			require.True(t, json.Valid(body))
			return
		}
		for _, p := range strings.Split(string(bytes.TrimSpace(body)), ".") {
			b, err := base64.RawURLEncoding.DecodeString(p)
			require.NoError(t, err)
			require.Equal(t, b64u(b), p)
		}
	})
}

// Whatever a service says, its error is one tame line.
func FuzzErrorBody(f *testing.F) {
	f.Add(400, []byte(`{"error":"invalid_grant","error_description":"AADSTS50076: x\r\nTrace ID: y","error_codes":[50076],"suberror":"basic_action","claims":"{}","timestamp":"2025-03-04 10:11:12Z","trace_id":"t","correlation_id":"c"}`))
	f.Add(400, []byte(`{"ErrorType":"DirectoryError","Message":"m","TraceId":"t","Time":"10/12/2023 3:05:30 PM"}`))
	f.Add(401, []byte(`{"code":"BadRequest","message":"m","response":"ERROR_FAIL","target":"key","clientrequestid":"c","time":"2025-03-04T10:11:12Z","innererror":{"trace":"null"}}`))
	f.Add(403, []byte(`{"error":{"code":"c","message":"m"}}`))
	f.Add(502, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := prt.ParseError(status, body)
		require.NotNil(t, e)
		require.Equal(t, status, e.Status)
		require.Equal(t, e, prt.ParseError(status, body))
		text := e.Error()
		require.True(t, strings.HasPrefix(text, "prt: the service answered "))
		require.Less(t, len(text), 700)
		for _, r := range text {
			require.True(t, r >= 0x20 && r < 0x7f, "%q", text)
		}
		require.LessOrEqual(t, len(e.Codes), 16)
		for _, c := range e.Codes {
			require.True(t, c >= 0 && c <= 999_999_999)
			require.True(t, e.Has(c))
		}
	})
}

// A public key has one encoding.
func FuzzPublicKeyBlob(f *testing.F) {
	blob, err := prt.MarshalPublicKey(signer(f, "device.pem").Public())
	require.NoError(f, err)
	f.Add(blob)
	f.Add(blob[:len(blob)-1])
	f.Add([]byte("RSA1"))
	f.Fuzz(func(t *testing.T, blob []byte) {
		key, err := prt.ParsePublicKey(blob)
		if err != nil {
			require.ErrorIs(t, err, prt.ErrReply)
			return
		}
		again, err := prt.MarshalPublicKey(key)
		require.NoError(t, err)
		require.Equal(t, blob, again)
	})
}

// An extension of a device certificate reads as what was written into it, in
// each of the three encodings, and a longer or shorter one is refused.
func FuzzCertificateExtensions(f *testing.F) {
	id := unhex(f, "c99439d0f824ba41a1561805998d6dc7")
	for i := range oids {
		f.Add(uint8(i), append([]byte{4, 0x81, 16}, id...))
		f.Add(uint8(i), append([]byte{4, 16}, id...))
		f.Add(uint8(i), id)
		f.Add(uint8(i), []byte{4, 0x81, 2, 'E', 'U'})
		f.Add(uint8(i), []byte{4, 0x81, 1, '1'})
	}
	f.Add(uint8(0), testdata(f, "device.cer"))
	f.Fuzz(func(t *testing.T, which uint8, value []byte) {
		oid := oids[int(which)%len(oids)]
		var device prt.GUID
		if n := len(value); n >= 16 {
			device = prt.GUID(value[n-16:])
		}
		c, err := prt.ReadExtension(oid.id, value, device)
		if err == nil {
			require.Contains(t, []int{oid.size, oid.size + 2, oid.size + 3}, len(value))
			body := value[len(value)-oid.size:]
			for _, head := range [][]byte{{}, {4, byte(oid.size)}, {4, 0x81, byte(oid.size)}} {
				again, err := prt.ReadExtension(oid.id, append(head, body...), device)
				require.NoError(t, err)
				require.Equal(t, c, again)
			}
		} else {
			require.ErrorIs(t, err, prt.ErrReply)
		}
		if parsed, err := prt.ParseDeviceCertificate(value); err == nil {
			_, err := prt.ParseGUID(parsed.DeviceID)
			require.NoError(t, err)
			require.Len(t, parsed.Thumbprint, 40)
		}
	})
}

var oids = []struct {
	id   string
	size int
}{
	{"1.2.840.113556.1.5.284.2", 16}, {"1.2.840.113556.1.5.284.3", 16}, {"1.2.840.113556.1.5.284.5", 16},
	{"1.2.840.113556.1.5.284.8", 2}, {"1.2.840.113556.1.5.284.7", 1},
}

// A serialised token that is read writes the same bytes for ever after.
func FuzzToken(f *testing.F) {
	b, err := fullToken().Marshal()
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"v":1,"kdf":2,"prt":"p","future":{"a":[1]},"evidence":{"mfa":"perhaps","methods":"sms,later"}}`))
	f.Add([]byte(`{"v":1,"kdf":1,"issued_at":"2025-03-04T10:11:12+01:00"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tok, err := prt.UnmarshalToken(b)
		if err != nil {
			return
		}
		once, err := tok.Marshal()
		require.NoError(t, err)
		back, err := prt.UnmarshalToken(once)
		require.NoError(t, err)
		require.Equal(t, tok.KDF, back.KDF)
		require.True(t, tok.PRT.Equal(back.PRT))
		twice, err := back.Marshal()
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice))

		var before, after map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(b, &before))
		require.NoError(t, json.Unmarshal(once, &after))
		for name := range before {
			if _, kept := after[name]; !kept {
				// Only known members that are empty go.
				require.Contains(t, []string{"protocol", "client_id", "tenant_id", "user_id", "username", "name", "device_id", "credential",
					"used_at", "session_key", "session_key_at", "tgts", "kerberos_top_level_names"}, name)
			}
		}
	})
}
