package prt_test

import (
	"bytes"
	"crypto/aes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/prt"
)

// parsers are all that read bytes of a service or a file, each with input that
// it accepts.
func parsers(t testing.TB) map[string]struct {
	parse func([]byte) error
	good  []byte
} {
	s := session(t)
	tok, err := fullToken().Marshal()
	require.NoError(t, err)
	cert := base64.StdEncoding.EncodeToString(testdata(t, "device.cer"))
	type p = struct {
		parse func([]byte) error
		good  []byte
	}
	return map[string]p{
		"nonce":      {func(b []byte) error { _, err := prt.ParseNonce(b); return err }, []byte(`{"Nonce":"n"}`)},
		"tokens":     {func(b []byte) error { _, err := prt.ParseTokens(b); return err }, []byte(`{"access_token":"a"}`)},
		"reply":      {func(b []byte) error { _, err := prt.ParseReply(bg, b, s); return err }, []byte(`{"access_token":"a"}`)},
		"issuance":   {func(b []byte) error { _, err := prt.ParseIssuance(b, prt.PRTRequest{}, now); return err }, issuance(t, `["pwd"]`, "")},
		"join":       {func(b []byte) error { _, err := prt.ParseJoin(b); return err }, []byte(`{"Certificate":{"RawBody":"` + cert + `"}}`)},
		"Hello key":  {func(b []byte) error { _, err := prt.ParseHelloRegistration(b); return err }, []byte(`{"kid":"k"}`)},
		"serialised": {func(b []byte) error { _, err := prt.UnmarshalToken(b); return err }, tok},
	}
}

func TestHostileJSON(t *testing.T) {
	const canary = "canary-c0ffee"
	for name, p := range parsers(t) {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, p.parse(p.good))
			member := func(json string) []byte {
				return append(bytes.TrimSuffix(bytes.Clone(p.good), []byte("}")), `,`+json+`}`...)
			}
			require.NoError(t, p.parse(member(`"unknown":{"a":[1,2.5e3,null,true,"`+canary+`"]}`)), "unknown members are fine")
			nested := func(n int) string {
				return strings.Repeat("[", n) + strings.Repeat("]", n)
			}
			require.NoError(t, p.parse(member(`"deep":`+nested(30))))
			for what, in := range map[string][]byte{
				"empty":                {},
				"blank":                []byte("  \n"),
				"too deep":             member(`"deep":` + nested(33)),
				"absurdly deep":        member(`"deep":` + nested(200_000)),
				"too large":            member(`"x":"` + strings.Repeat("x", 1<<20) + `"`),
				"duplicate":            member(`"x":"` + canary + `","x":2`),
				"duplicate, escaped":   member(`"x":1,"\u0078":"` + canary + `"`),
				"duplicate, nested":    member(`"x":{"y":[{"z":1,"z":2}]}`),
				"invalid UTF-8":        member("\"x\":\"" + canary + "\xff\""),
				"overlong UTF-8":       member("\"x\":\"\xc0\x80\""),
				"raw NUL":              member("\"x\":\"" + canary + "\x00\""),
				"NUL after the end":    append(bytes.Clone(p.good), 0),
				"text after the end":   append(bytes.Clone(p.good), "x"...),
				"two values":           append(bytes.Clone(p.good), p.good...),
				"array":                []byte("[" + string(p.good) + "]"),
				"string":               []byte(`"` + canary + `"`),
				"number":               []byte("1e999999"),
				"null":                 []byte("null"),
				"unfinished":           p.good[:len(p.good)-1],
				"two byte-order marks": append([]byte("\xef\xbb\xbf\xef\xbb\xbf"), p.good...),
				"single quotes":        bytes.ReplaceAll(p.good, []byte(`"`), []byte(`'`)),
				"comment":              append([]byte("/**/"), p.good...),
				"NaN":                  member(`"x":NaN`),
				"control character":    member("\"x\":\"\n\""),
				"unpaired in a name":   member(`"\ud800":1,"\ufffd":2`),
				"trailing comma":       member(`"x":[1,]`),
				"leading zero number":  member(`"x":01`),
			} {
				err := p.parse(in)
				require.ErrorContains(t, err, "prt: ", what)
				require.NotContains(t, err.Error(), "canary", what)
				require.Regexp(t, "^prt: ", err.Error(), what)
			}
			for n := range p.good {
				require.ErrorContains(t, p.parse(p.good[:n]), "prt: ", "truncated to %d", n)
			}
		})
	}
}

func TestHostileValues(t *testing.T) {
	for name, in := range map[string]string{
		"token is a number":    `{"access_token":5}`,
		"token is an object":   `{"access_token":{"a":"b"}}`,
		"NUL in a token":       `{"access_token":"a\u0000b"}`,
		"line break":           `{"access_token":"a\r\nSet-Cookie: x"}`,
		"not ASCII":            `{"refresh_token":"é"}`,
		"delete":               `{"refresh_token":"a\u007f"}`,
		"expires_in an object": `{"access_token":"a","expires_in":{}}`,
		"expires_in words":     `{"access_token":"a","expires_in":"soon"}`,
		"expires_in huge":      `{"access_token":"a","expires_in":1e400}`,
		"expires_in hex":       `{"access_token":"a","expires_in":"0x1p4"}`,
		"expires_in NaN":       `{"access_token":"a","expires_in":"NaN"}`,
		"expires_in infinite":  `{"access_token":"a","expires_in":"Inf"}`,
		"control character":    `{"access_token":"a\u001f"}`,
		"JWE a number":         `{"access_token":"a","session_key_jwe":5}`,
	} {
		_, err := prt.ParseTokens([]byte(in))
		require.ErrorIs(t, err, prt.ErrReply, name)
	}
	for _, in := range []string{`{"access_token":"a","expires_in":-5}`, `{"access_token":"a","expires_in":"-5"}`} {
		r, err := prt.ParseTokens([]byte(in))
		require.NoError(t, err)
		require.Zero(t, r.ExpiresIn, "a negative life is none")
	}
	r, err := prt.ParseTokens([]byte(`{"access_token":"a","expires_in":9007199254740992,"expires_on":9007199254740992,"refresh_token_expires_in":"9223372036854775807"}`))
	require.NoError(t, err)
	require.Equal(t, 10*365*24*time.Hour, r.ExpiresIn, "bounded, not overflown")
	require.Equal(t, 10*365*24*time.Hour, r.RefreshExpiresIn)
	require.True(t, r.ExpiresOn.IsZero(), "a time beyond the year 9999 is none")
	for _, odd := range []string{`"NaN"`, `"Inf"`, `"0x1p4"`, `1e400`} {
		r, err := prt.ParseTokens([]byte(`{"access_token":"a","refresh_in":` + odd + `,"expires_on":` + odd + `}`))
		require.NoError(t, err)
		require.Zero(t, r.RefreshIn, odd)
		require.True(t, r.ExpiresOn.IsZero(), odd)
	}
	for in, want := range map[string]time.Time{
		"0": {}, "1": time.Unix(1, 0).UTC(), "253402300799": time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "253402300800": {},
	} {
		r, err := prt.ParseTokens([]byte(`{"access_token":"a","expires_on":` + in + `}`))
		require.NoError(t, err)
		require.Equal(t, want, r.ExpiresOn, in)
	}
	r, err = prt.ParseTokens([]byte(`{"access_token":" a~","token_type":["Bearer"]}`))
	require.NoError(t, err)
	require.Equal(t, " a~", r.AccessToken.Reveal(), "the first and the last of the characters of RFC 6749 A")
	require.Empty(t, r.TokenType, "only lists of names may be arrays")
	for _, n := range []string{"a\\u0000b", "a\\nb", "é"} {
		_, err := prt.ParseNonce([]byte(`{"Nonce":"` + n + `"}`))
		require.ErrorIs(t, err, prt.ErrReply)
	}
}

// A session key that is cut short anywhere is refused.
func TestTruncatedSessionKey(t *testing.T) {
	text, _, _ := sessionKeyJWE(t)
	for n := range text {
		_, err := prt.WrappedSessionKey(text[:n])
		require.ErrorIs(t, err, prt.ErrReply, "truncated to %d", n)
	}
}

func TestHostileSessionKey(t *testing.T) {
	text, _, _ := sessionKeyJWE(t)
	p := strings.Split(text, ".")
	head := func(json string) string { return b64u([]byte(json)) }
	for name, parts := range map[string][]string{
		"other algorithm":      {head(`{"enc":"A256GCM","alg":"RSA-OAEP-256"}`), p[1], p[2], p[3], p[4]},
		"RSA1_5":               {head(`{"enc":"A256GCM","alg":"RSA1_5"}`), p[1], p[2], p[3], p[4]},
		"dir":                  {head(`{"enc":"A256GCM","alg":"dir"}`), p[1], p[2], p[3], p[4]},
		"no algorithm":         {head(`{}`), p[1], p[2], p[3], p[4]},
		"two algorithms":       {head(`{"alg":"RSA-OAEP","alg":"dir"}`), p[1], p[2], p[3], p[4]},
		"header not JSON":      {head(`x`), p[1], p[2], p[3], p[4]},
		"header not an object": {head(`["RSA-OAEP"]`), p[1], p[2], p[3], p[4]},
		"header large":         {head(`{"alg":"RSA-OAEP","x":"` + strings.Repeat("x", 17<<10) + `"}`), p[1], p[2], p[3], p[4]},
		"header with padding":  {p[0] + "=", p[1], p[2], p[3], p[4]},
		"key of 255 bytes":     {p[0], b64u(make([]byte, 255)), p[2], p[3], p[4]},
		"key of 512 bytes":     {p[0], b64u(make([]byte, 512)), p[2], p[3], p[4]},
		"no key":               {p[0], "", p[2], p[3], p[4]},
		"standard alphabet":    {p[0], base64.RawStdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 256)), p[2], p[3], p[4]},
		"key and tag swapped":  {p[0], p[4], p[2], p[3], p[1]},
		"key and IV swapped":   {p[0], p[2], p[1], p[3], p[4]},
		"IV of 16 bytes":       {p[0], p[1], b64u(make([]byte, 16)), p[3], p[4]},
		"no tag":               {p[0], p[1], p[2], p[3], ""},
		"four parts":           {p[0], p[1], p[2], p[3]},
		"six parts":            {p[0], p[1], p[2], p[3], p[4], p[4]},
		"line break":           {p[0], p[1][:10] + "\n" + p[1][10:], p[2], p[3], p[4]},
		"line break in front":  {"\n" + p[0], p[1], p[2], p[3], p[4]},
		"trailing bits":        {p[0], p[1], p[2], "IC", p[4] + "A"},
	} {
		_, err := prt.WrappedSessionKey(strings.Join(parts, "."))
		require.ErrorIs(t, err, prt.ErrReply, name)
	}
}

func TestTruncatedReplies(t *testing.T) {
	s := session(t)
	key := s.Key.(*prt.SoftwareKey)
	plain := []byte(`{"access_token":"` + strings.Repeat("a", 60) + `"}`)
	for _, size := range []int{12, 16} {
		text := sealed(t, key, unhex(t, ctxHex), make([]byte, size), plain)
		_, err := prt.ParseReply(bg, []byte(text), s)
		require.NoError(t, err)
		for n := range text {
			_, err := prt.ParseReply(bg, []byte(text[:n]), s)
			require.True(t, refused(err), "IV of %d, truncated to %d: %v", size, n, err)
		}
	}
}

// Every byte of a GCM reply is authenticated, the header too.
// refused reports whether a reply was not accepted: it is malformed, or does not
// decrypt.
func refused(err error) bool { return errors.Is(err, prt.ErrReply) || errors.Is(err, prt.ErrDecrypt) }

func TestMutatedGCMReply(t *testing.T) {
	s := session(t)
	text := []byte(sealed(t, s.Key.(*prt.SoftwareKey), unhex(t, ctxHex), make([]byte, 12), []byte(`{"access_token":"a"}`)))
	for i := range text {
		for _, bit := range []byte{1, 2, 4, 8, 16, 32, 64, 128} {
			text[i] ^= bit
			_, err := prt.ParseReply(bg, text, s)
			require.True(t, refused(err), "byte %d: %v", i, err)
			text[i] ^= bit
		}
	}
}

// Whatever is wrong with what an encrypted reply holds, the error is the same,
// and the same work was done before it came.
func TestNoPaddingOracle(t *testing.T) {
	s := session(t)
	key := s.Key.(*prt.SoftwareKey)
	ctx := unhex(t, ctxHex)
	k := kdf.Derive(key[:], []byte(kdf.Label), ctx)
	block, err := aes.NewCipher(k[:])
	require.NoError(t, err)
	iv := make([]byte, 16)
	head := b64u([]byte(`{"alg":"dir","enc":"A256GCM","ctx":"` + base64.StdEncoding.EncodeToString(ctx) + `"}`))
	text := func(padded string) string {
		return head + ".." + b64u(iv) + "." + b64u(encryptCBC(block, iv, []byte(padded))) + "."
	}
	good := `{"access_token":"0123456789abcdefghijklmnopqr"}` // 47 bytes
	require.Len(t, good, 47)
	_, err = prt.ParseReply(bg, []byte(text(good+"\x01")), s)
	require.NoError(t, err)
	for name, padded := range map[string]string{
		"padding of zero":         good + "\x00",
		"padding of 17":           good + "\x11",
		"padding of 255":          good + "\xff",
		"padding that disagrees":  good[:46] + "\x01\x02",
		"padding of a full block": good + "\x01" + strings.Repeat("\x10", 15) + "\x0f",
		"not JSON":                strings.Repeat("x", 47) + "\x01",
		"not UTF-8":               strings.Repeat("\xff", 47) + "\x01",
		"JSON cut short":          good[:31] + "\x01" + strings.Repeat("\x10", 16),
		"duplicates":              `{"access_token":"a","access_token":"b"}` + "\x09\x09\x09\x09\x09\x09\x09\x09\x09",
		"an array":                `["a"]` + strings.Repeat("\x0b", 11),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := prt.ParseReply(bg, []byte(text(padded)), s)
			require.True(t, err == prt.ErrDecrypt, "%v", err) //nolint:errorlint // the very same error

			judged := 0
			_, err = prt.OpenJWE(bg, s, text(padded), func(b []byte) bool { judged++; return true })
			require.Equal(t, 1, judged, "the plaintext is judged whether the padding is good or bad")
			require.Equal(t, strings.HasPrefix(name, "padding"), err != nil)
		})
	}
	gcm := sealed(t, key, ctx, make([]byte, 12), []byte("not JSON"))
	_, err = prt.ParseReply(bg, []byte(gcm), s)
	require.True(t, err == prt.ErrDecrypt, "%v", err) //nolint:errorlint // the very same error
}

func TestReplyRefusals(t *testing.T) {
	s := session(t)
	key := s.Key.(*prt.SoftwareKey)
	ctx, plain := unhex(t, ctxHex), []byte(`{"access_token":"canary-plain"}`)
	gcm := strings.Split(sealed(t, key, ctx, make([]byte, 12), plain), ".")
	cbc := strings.Split(sealed(t, key, ctx, bytes.Repeat([]byte{7}, 16), plain), ".")
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	head := func(json string) string { return b64u([]byte(json)) }
	withCtx := func(n int) string {
		return sealed(t, key, bytes.Repeat([]byte{9}, n), make([]byte, 16), plain)
	}
	other := make([]byte, 24)
	for name, tt := range map[string]struct {
		text string
		err  error
		part string
	}{
		"another ctx, GCM":       {join(head(`{"alg":"dir","enc":"A256GCM","ctx":"`+base64.StdEncoding.EncodeToString(other)+`"}`), "", gcm[2], gcm[3], gcm[4]), prt.ErrDecrypt, ""},
		"another ctx, CBC":       {join(head(`{"alg":"dir","enc":"A256GCM","ctx":"`+base64.StdEncoding.EncodeToString(other)+`"}`), "", cbc[2], cbc[3], cbc[4]), prt.ErrDecrypt, ""},
		"ctx of 0 bytes":         {withCtx(0), prt.ErrReply, "no ctx"},
		"ctx of 4,096 bytes":     {withCtx(4096), prt.ErrReply, "ctx is longer"},
		"ctx absent":             {join(head(`{"alg":"dir","enc":"A256GCM"}`), "", gcm[2], gcm[3], gcm[4]), prt.ErrReply, "no ctx"},
		"ctx a number":           {join(head(`{"alg":"dir","ctx":5}`), "", gcm[2], gcm[3], gcm[4]), prt.ErrReply, "no ctx"},
		"line break before ctx":  {join(head(`{"alg":"dir","ctx":"\nAAAA"}`), "", gcm[2], gcm[3], gcm[4]), prt.ErrReply, "ctx is not base64"},
		"ctx not base64":         {join(head(`{"alg":"dir","ctx":"***"}`), "", gcm[2], gcm[3], gcm[4]), prt.ErrReply, "ctx is not base64"},
		"two ctx":                {join(head(`{"alg":"dir","ctx":"AAAA","ctx":"BBBB"}`), "", gcm[2], gcm[3], gcm[4]), prt.ErrReply, "JWE header"},
		"not dir":                {join(head(`{"alg":"A256KW","ctx":"AAAA"}`), "", gcm[2], gcm[3], gcm[4]), prt.ErrReply, "alg dir"},
		"an encrypted key":       {join(gcm[0], "AAAA", gcm[2], gcm[3], gcm[4]), prt.ErrReply, "encrypted key"},
		"IV and data swapped":    {join(gcm[0], "", gcm[3], gcm[2], gcm[4]), prt.ErrReply, "lengths"},
		"IV and tag swapped":     {join(gcm[0], "", gcm[4], gcm[3], gcm[2]), prt.ErrReply, "lengths"},
		"data and tag swapped":   {join(gcm[0], "", gcm[2], gcm[4], gcm[3]), prt.ErrReply, "lengths"},
		"GCM without tag":        {join(gcm[0], "", gcm[2], gcm[3], ""), prt.ErrReply, "lengths"},
		"blocks under no cipher": {join(gcm[0], "", gcm[2], b64u(make([]byte, 32)), ""), prt.ErrReply, "lengths"},
		"CBC with a tag":         {join(cbc[0], "", cbc[2], cbc[3], gcm[4]), prt.ErrReply, "lengths"},
		"CBC of half a block":    {join(cbc[0], "", cbc[2], b64u(make([]byte, 24)), ""), prt.ErrReply, "lengths"},
		"CBC of nothing":         {join(cbc[0], "", cbc[2], "", ""), prt.ErrReply, "lengths"},
		"CBC IV and data":        {join(cbc[0], "", b64u(make([]byte, 16)), cbc[2], ""), prt.ErrDecrypt, ""},
		"another reply's IV":     {join(gcm[0], "", b64u(bytes.Repeat([]byte{1}, 12)), gcm[3], gcm[4]), prt.ErrDecrypt, ""},
		"four parts":             {join(gcm[0], gcm[2], gcm[3], gcm[4]), prt.ErrReply, "five parts"},
		"six parts":              {join(gcm[0], "", gcm[2], gcm[3], gcm[4], ""), prt.ErrReply, "five parts"},
		"IV not base64url":       {join(gcm[0], "", "%%%", gcm[3], gcm[4]), prt.ErrReply, "IV is not"},
		"data not base64url":     {join(gcm[0], "", gcm[2], "+/", gcm[4]), prt.ErrReply, "ciphertext is not"},
		"tag not base64url":      {join(gcm[0], "", gcm[2], gcm[3], "A"), prt.ErrReply, "tag is not"},
		"header not base64url":   {join("%", "", gcm[2], gcm[3], gcm[4]), prt.ErrReply, "header is not"},
		"too large":              {strings.Repeat("x", prt.MaxReplySize+1), prt.ErrReply, "too large"},
		"of the largest size":    {strings.Repeat("x", prt.MaxReplySize), prt.ErrReply, "five parts"},
		"a page of HTML":         {"<html>canary-plain</html>", prt.ErrReply, "five parts"},
		"empty":                  {"", prt.ErrReply, "five parts"},
		"an error inside":        {sealed(t, key, ctx, make([]byte, 12), []byte(`{"error":"invalid_grant"}`)), nil, "invalid_grant"},
		"no token inside":        {sealed(t, key, ctx, make([]byte, 12), []byte(`{}`)), prt.ErrReply, "no token"},
		"a wrong type inside":    {sealed(t, key, ctx, make([]byte, 12), []byte(`{"access_token":["canary-plain"]}`)), prt.ErrReply, "access_token"},
		"ctx of 513 bytes":       {withCtx(513), prt.ErrReply, "ctx is longer"},
		"a NUL in front of JSON": {"\x00{\"access_token\":\"a\"}", prt.ErrReply, "five parts"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := prt.ParseReply(bg, []byte(tt.text), s)
			require.ErrorContains(t, err, "prt: ")
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
			}
			require.ErrorContains(t, err, tt.part)
			require.NotContains(t, err.Error(), "canary")
		})
	}
	for _, n := range []int{1, 16, 24, 32, 512} {
		_, err := prt.ParseReply(bg, []byte(withCtx(n)), s)
		require.NoError(t, err, "a ctx of %d bytes", n)
	}
	wrong := *key
	wrong[31] ^= 1
	for _, text := range []string{join(gcm...), join(cbc...)} {
		_, err := prt.ParseReply(bg, []byte(text), prt.Session{Key: &wrong})
		require.True(t, err == prt.ErrDecrypt, "%v", err) //nolint:errorlint // the very same error
		_, err = prt.ParseReply(bg, []byte(text), prt.Session{})
		require.ErrorIs(t, err, prt.ErrRequest, "no session key")
		cause := errors.New("TPM")
		_, err = prt.ParseReply(bg, []byte(text), prt.Session{Key: failing{cause}})
		require.ErrorIs(t, err, cause)
	}
}

// A PRT of version 2 does not come to sign by version 1: not by a zero value,
// not by a renewal, not through its serialised form.
func TestNoKDFDowngrade(t *testing.T) {
	tok := &prt.Token{PRT: prt.NewSecret(thePRT), KDF: prt.KDFv2, IssuedAt: now, RenewedAt: now, ExpiresAt: now.Add(prt.IdleLife)}
	signs := func(tok *prt.Token) any {
		s := tok.Session(softwareKey(t, sessionKeyHex))
		f, err := prt.RenewRequest{PRT: tok.PRT, Nonce: theNonce, Protocol: tok.Protocol}.Sign(bg, s)
		require.NoError(t, err)
		return decodeJWS(t, f.Values.Get("request")).header["kdf_ver"]
	}
	require.Equal(t, 2.0, signs(tok))
	require.Equal(t, 2.0, signs(&prt.Token{PRT: tok.PRT}), "the zero value is version 2")

	r, err := prt.ParseTokens([]byte(`{"refresh_token":"0.next","kdf_ver":1}`))
	require.NoError(t, err)
	next, err := tok.Renewed(r, now)
	require.NoError(t, err)
	require.Equal(t, 2.0, signs(next))

	b, err := next.Marshal()
	require.NoError(t, err)
	back, err := prt.UnmarshalToken(b)
	require.NoError(t, err)
	require.Equal(t, 2.0, signs(back))
	for _, forged := range []string{`"kdf":0`, `"kdf":null`, `"kdf":-1`, `"kdf":"1"`, `"KDF":1`} {
		_, err := prt.UnmarshalToken([]byte(strings.Replace(string(b), `"kdf":2`, forged, 1)))
		require.ErrorContains(t, err, "prt: serialised token: ", forged)
	}
}
