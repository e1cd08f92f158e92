package prt_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/clock/clocktest"
	"github.com/prtbroker/prtbroker/prt"
)

// fullToken has every field set.
func fullToken() *prt.Token {
	return &prt.Token{
		PRT: prt.NewSecret(thePRT), Protocol: prt.Protocol3, KDF: prt.KDFv1, ClientID: "29d9ed98-a469-4536-ade2-f981bc1d605e",
		TenantID: tenantID, UserID: userID, Username: "alice@contoso.example", Name: "Alice <Example>", DeviceID: deviceID,
		Credential: prt.ByHello,
		Evidence: claims.Evidence{MFA: claims.Yes, Methods: claims.WindowsHello | claims.MarkMFA, At: now, AuthTime: now,
			Source: claims.SourceHello, TokenID: "uti", DeviceID: deviceID},
		IssuedAt: now, RenewedAt: now.Add(time.Hour), UsedAt: now.Add(2 * time.Hour), ExpiresAt: now.Add(14 * 24 * time.Hour),
		SessionKey: []byte{1, 2, 3}, SessionKeyAt: now,
		TGTs: []prt.TGT{{Cloud: true, Realm: "R", Client: "c", Service: "s", KeyType: 18, ClientKey: prt.NewSecret("canary-client-key"), ASRep: []byte{4, 5}},
			{Error: "none"}},
		TopLevelNames: ".windows.net",
	}
}

// A PRT that was never stored has times with a monotonic reading.
func TestTokenStateAfterSuspend(t *testing.T) {
	now := time.Now()
	tok := &prt.Token{PRT: prt.NewSecret("p"), IssuedAt: now, RenewedAt: now, ExpiresAt: now.Add(prt.IdleLife)}
	for after, want := range map[time.Duration]prt.State{
		0:                    prt.Fresh,
		prt.RenewAfter - 1e9: prt.Fresh,
		prt.RenewAfter:       prt.NeedsRenewal,
		prt.IdleLife:         prt.Expired,
	} {
		require.Equal(t, want, tok.State(clocktest.Apart(t, now, int(after/time.Second))), after.String())
	}
}

func TestTokenState(t *testing.T) {
	tok := &prt.Token{PRT: prt.NewSecret("p"), IssuedAt: now, RenewedAt: now, ExpiresAt: now.Add(prt.IdleLife)}
	for _, tt := range []struct {
		after time.Duration
		want  prt.State
	}{
		{0, prt.Fresh},
		{4*time.Hour - time.Nanosecond, prt.Fresh},
		{4 * time.Hour, prt.NeedsRenewal},
		{14*24*time.Hour - time.Nanosecond, prt.NeedsRenewal},
		{14 * 24 * time.Hour, prt.Expired},
		{1000 * time.Hour, prt.Expired},
		{-4 * time.Minute, prt.Fresh},
		{-6 * time.Minute, prt.NeedsRenewal},
	} {
		require.Equal(t, tt.want, tok.State(now.Add(tt.after)), tt.after.String())
	}
	require.Equal(t, prt.Expired, (&prt.Token{}).State(now))
	require.Equal(t, prt.Expired, (&prt.Token{ExpiresAt: now.Add(time.Hour), RenewedAt: now}).State(now), "no PRT")
	require.Equal(t, []string{"fresh", "needs renewal", "expired", "invalid"},
		[]string{prt.Fresh.String(), prt.NeedsRenewal.String(), prt.Expired.String(), prt.State(0).String()})
}

func TestTokenRoundTrip(t *testing.T) {
	for name, tok := range map[string]*prt.Token{
		"full":   fullToken(),
		"little": {PRT: prt.NewSecret("p"), KDF: prt.KDFv2, IssuedAt: now, RenewedAt: now, ExpiresAt: now},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := tok.Marshal()
			require.NoError(t, err)
			require.Contains(t, string(b), tok.PRT.Reveal())
			back, err := prt.UnmarshalToken(b)
			require.NoError(t, err)
			require.Equal(t, tok, back)
			again, err := back.Marshal()
			require.NoError(t, err)
			require.Equal(t, string(b), string(again))
		})
	}
}

// A token that a program filled in without a KDF has the one that is in use.
func TestTokenWithoutKDF(t *testing.T) {
	b, err := (&prt.Token{PRT: prt.NewSecret("p"), IssuedAt: now, RenewedAt: now, ExpiresAt: now}).Marshal()
	require.NoError(t, err)
	back, err := prt.UnmarshalToken(b)
	require.NoError(t, err)
	require.Equal(t, prt.KDFv2, back.KDF)
}

func TestTokenKeepsWhatItDoesNotKnow(t *testing.T) {
	b, err := fullToken().Marshal()
	require.NoError(t, err)
	newer := append(bytes.TrimSuffix(b, []byte("}")), `,"p2p_certificate":{"x":[1,2,{"y":"canary-future"}]},"family":"1","PRT":"other case"}`...)
	tok, err := prt.UnmarshalToken(newer)
	require.NoError(t, err)
	require.Equal(t, thePRT, tok.PRT.Reveal(), "names are matched exactly")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		text := fmt.Sprintf(verb, tok) + fmt.Sprintf(verb, *tok)
		require.NotContains(t, text, "canary-future")
		require.NotContains(t, text, fmt.Sprint([]byte("canary-future"))[1:20])
	}

	r, err := prt.ParseTokens([]byte(`{"refresh_token":"0.next","refresh_token_expires_in":10}`))
	require.NoError(t, err)
	next, err := tok.Renewed(r, now)
	require.NoError(t, err)
	out, err := next.Marshal()
	require.NoError(t, err)
	var got map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(out, &got))
	require.JSONEq(t, `{"x":[1,2,{"y":"canary-future"}]}`, string(got["p2p_certificate"]))
	require.Equal(t, `"1"`, string(got["family"]))
	require.Equal(t, `"0.next"`, string(got["prt"]))
}

func TestUnmarshalTokenRefuses(t *testing.T) {
	for name, b := range map[string]string{
		"nothing":          ``,
		"array":            `[]`,
		"no version":       `{"prt":"p","kdf":2}`,
		"later version":    `{"v":2,"prt":"p","kdf":2}`,
		"version zero":     `{"v":0,"prt":"p","kdf":2}`,
		"no KDF":           `{"v":1,"prt":"p"}`,
		"KDF 3":            `{"v":1,"prt":"p","kdf":3}`,
		"protocol 9":       `{"v":1,"prt":"p","kdf":2,"protocol":9}`,
		"wrong type":       `{"v":1,"prt":["canary"],"kdf":2}`,
		"wrong time":       `{"v":1,"prt":"p","kdf":2,"issued_at":"yesterday"}`,
		"duplicate":        `{"v":1,"prt":"a","prt":"b","kdf":2}`,
		"duplicate escape": `{"v":1,"prt":"a","\u0070rt":"b","kdf":2}`,
		"invalid UTF-8":    "{\"v\":1,\"prt\":\"\xff\",\"kdf\":2}",
		"trailing":         `{"v":1,"prt":"p","kdf":2}x`,
		"too large":        `{"v":1,"kdf":2,"prt":"` + string(bytes.Repeat([]byte("x"), prt.MaxTokenSize)) + `"}`,
	} {
		_, err := prt.UnmarshalToken([]byte(b))
		require.ErrorContains(t, err, "prt: serialised token: ", name)
		require.NotContains(t, err.Error(), "canary")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	const secret = "canary-secret-4711"
	s := prt.NewSecret(secret)
	s2 := session(t)
	form, err := prt.RenewRequest{PRT: s, Nonce: theNonce}.Sign(bg, s2)
	require.NoError(t, err)
	cookie, err := prt.CookieRequest{PRT: s, URL: "https://login.microsoftonline.com/", Nonce: theNonce}.Sign(bg, s2)
	require.NoError(t, err)
	reply, err := prt.ParseTokens([]byte(`{"access_token":"` + secret + `","refresh_token":"` + secret + `"}`))
	require.NoError(t, err)
	tok := fullToken()
	tok.PRT = s
	tok.TGTs[0].ClientKey = s
	values := []any{s, tok, *tok, form, &form, cookie, reply, *reply,
		prt.PasswordGrant{Username: "u", Password: s}, prt.PRTRequest{Grant: prt.PasswordGrant{Username: "u", Password: s}},
		prt.RefreshTokenGrant{Token: s}, prt.SAMLGrant{Assertion: s}, prt.RenewRequest{PRT: s}, prt.ExchangeRequest{PRT: s},
		prt.CookieRequest{PRT: s}, prt.SignedRequest{AccessToken: s}, prt.Session{Key: softwareKey(t, sessionKeyHex)}, tok.TGTs,
	}
	var out bytes.Buffer
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
			// A Form must be readable to be posted; nested in a field that is
			// not exported, where fmt asks no method, it prints.
			switch v.(type) {
			case prt.Form, *prt.Form, prt.Session:
			default:
				fmt.Fprintf(&out, verb+"\n", struct{ v any }{v})
			}
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("m", "v", v)
		}
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
	}
	for what, text := range map[string]string{
		"the secret": secret, "the secret in hex": fmt.Sprintf("%x", secret), "a client key": "canary-client-key",
		"a request": form.Values.Get("request"), "a cookie": cookie.Value.Reveal(),
		"a session key": "[0 1 2 3 4 5 6 7 8 9 10 11", "a session key in hex": "000102030405060708090a0b0c0d0e0f",
	} {
		require.Falsef(t, strings.Contains(out.String(), text), "%s is printed", what)
	}
}
