package claims_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
)

const request = `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`

func std(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestParseChallenges(t *testing.T) {
	p := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	tests := []struct {
		name    string
		headers []string
		want    []claims.Challenge
	}{
		{"nothing", nil, nil},
		{"blank", []string{"  ,, "}, nil},
		{"scheme alone", []string{"Negotiate"}, []claims.Challenge{{Scheme: "Negotiate", Params: p()}}},
		{"parameters", []string{`Bearer realm="", error="insufficient_claims", claims="abc=="`},
			[]claims.Challenge{{Scheme: "Bearer", Params: p("realm", "", "error", "insufficient_claims", "claims", "abc==")}}},
		{"two in one header", []string{`Bearer realm="a", PoP nonce="n, m"`},
			[]claims.Challenge{{Scheme: "Bearer", Params: p("realm", "a")}, {Scheme: "PoP", Params: p("nonce", "n, m")}}},
		{"two headers", []string{`Bearer realm="a"`, `PoP nonce="n"`},
			[]claims.Challenge{{Scheme: "Bearer", Params: p("realm", "a")}, {Scheme: "PoP", Params: p("nonce", "n")}}},
		{"scheme alone between", []string{`Negotiate, Bearer realm="a", NTLM`},
			[]claims.Challenge{{Scheme: "Negotiate", Params: p()}, {Scheme: "Bearer", Params: p("realm", "a")}, {Scheme: "NTLM", Params: p()}}},
		{"token68", []string{`Negotiate YWJj==, Bearer realm="a"`},
			[]claims.Challenge{{Scheme: "Negotiate", Token: "YWJj==", Params: p()}, {Scheme: "Bearer", Params: p("realm", "a")}}},
		{"every character of a token68", []string{`Negotiate azAZ09-._~+/==`}, []claims.Challenge{{Scheme: "Negotiate", Token: "azAZ09-._~+/==", Params: p()}}},
		{"every character of a name", []string{"azAZ09!#$%&'*+-.^_`|~ azAZ09!#$%&'*+-.^_`|~=1"},
			[]claims.Challenge{{Scheme: "azAZ09!#$%&'*+-.^_`|~", Params: p("azaz09!#$%&'*+-.^_`|~", "1")}}},
		{"no value at the end", []string{`Bearer a=1, b=`}, []claims.Challenge{{Scheme: "Bearer", Params: p("a", "1", "b", "")}}},
		{"the largest", []string{`Bearer realm="` + strings.Repeat("x", 64<<10-15) + `"`},
			[]claims.Challenge{{Scheme: "Bearer", Params: p("realm", strings.Repeat("x", 64<<10-15))}}},
		{"no quotes", []string{`Bearer error=insufficient_claims, claims=eyJhIjoxfQ==`},
			[]claims.Challenge{{Scheme: "Bearer", Params: p("error", "insufficient_claims", "claims", "eyJhIjoxfQ==")}}},
		{"escapes", []string{`Bearer realm="a\"b\\c", claims="{\"a\":1}"`},
			[]claims.Challenge{{Scheme: "Bearer", Params: p("realm", `a"b\c`, "claims", `{"a":1}`)}}},
		{"blanks around =", []string{`Bearer realm = "a" , error = e`},
			[]claims.Challenge{{Scheme: "Bearer", Params: p("realm", "a", "error", "e")}}},
		{"names in any case, the first counts", []string{`Bearer Claims="1", claims="2"`},
			[]claims.Challenge{{Scheme: "Bearer", Params: p("claims", "1")}}},
		{"a comma at the end", []string{`Bearer realm="a",`}, []claims.Challenge{{Scheme: "Bearer", Params: p("realm", "a")}}},
		{"Entra's", []string{`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims", claims="` + std(request) + `"`},
			[]claims.Challenge{{Scheme: "Bearer", Params: p("realm", "", "authorization_uri", "https://login.microsoftonline.com/common/oauth2/authorize",
				"client_id", "00000003-0000-0000-c000-000000000000", "error", "insufficient_claims", "claims", std(request))}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := claims.ParseChallenges(tt.headers...)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
	for name, bad := range map[string]string{
		"unterminated":         `Bearer realm="a`,
		"escape at the end":    `Bearer realm="a\`,
		"no scheme":            `="x"`,
		"quotes for a scheme":  `"Bearer" realm="a"`,
		"no name":              `Bearer ="x"`,
		"a parenthesis":        `Bearer (realm)`,
		"too large":            `Bearer realm="` + strings.Repeat("x", 64<<10-14) + `"`,
		"too many challenges":  strings.Repeat("A,", 40),
		"too many parameters":  "Bearer " + func() (s string) { return strings.Repeat("a=1,", 1) + many(70) }(),
		"invalid after quotes": `Bearer realm="a"; x`,
		"after a token68":      `Negotiate YII=, realm="x"`,
	} {
		_, err := claims.ParseChallenges(bad)
		require.ErrorIs(t, err, claims.ErrChallenge, name)
		if strings.Contains(name, "scheme") {
			require.ErrorContains(t, err, "expected a scheme", name)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("p" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + "=1,")
	}
	return b.String()
}

func TestFindClaims(t *testing.T) {
	raw := std(request)
	for name, value := range map[string]string{
		"base64": raw, "base64 without padding": strings.TrimRight(raw, "="),
		"base64url":  base64.RawURLEncoding.EncodeToString([]byte(request)),
		"the JSON":   strings.ReplaceAll(request, `"`, `\"`),
		"with blank": " " + strings.ReplaceAll(request, `"`, `\"`),
	} {
		r, err := claims.FindClaims(`Negotiate`, `Bearer error="insufficient_claims", claims="`+value+`"`)
		require.NoError(t, err, name)
		require.JSONEq(t, request, r.String(), name)
	}
	for name, headers := range map[string][]string{
		"none":           {`Bearer realm=""`},
		"another scheme": {`Basic claims="` + raw + `"`},
		"no header":      nil,
	} {
		r, err := claims.FindClaims(headers...)
		require.NoError(t, err, name)
		require.Nil(t, r, name)
	}
	for name, value := range map[string]string{"not base64": "***", "not JSON": std("x"), "duplicates": std(`{"access_token":{},"access_token":{}}`), "an array": std(`[]`)} {
		_, err := claims.FindClaims(`Bearer claims="` + value + `"`)
		require.True(t, errors.Is(err, claims.ErrChallenge) || errors.Is(err, claims.ErrRequest), "%s: %v", name, err)
	}
	_, err := claims.FindClaims(`Bearer claims="`)
	require.ErrorIs(t, err, claims.ErrChallenge)
	cs, err := claims.ParseChallenges(`PoP error="insufficient_claims"`)
	require.NoError(t, err)
	require.True(t, cs[0].Insufficient())
	require.False(t, claims.Challenge{}.Insufficient())
}

func TestRequest(t *testing.T) {
	var none *claims.Request
	require.True(t, none.IsZero())
	require.Empty(t, none.String())
	require.False(t, none.Beyond())
	require.Nil(t, none.Contexts())

	r := none.WithCapabilities("cp1")
	require.Equal(t, `{"access_token":{"xms_cc":{"values":["cp1"]}}}`, r.String())
	require.False(t, r.Beyond(), "capabilities alone may be answered from a cache")
	r = r.WithContext("c1").WithNotBefore(now).WithMFA(true)
	require.Equal(t, `{"access_token":{"acrs":{"essential":true,"value":"c1"},"amr":{"essential":true,"values":["ngcmfa"]},"nbf":{"essential":true,"value":"1741083072"},"xms_cc":{"values":["cp1"]}}}`, r.String())
	require.True(t, r.Beyond())
	require.Equal(t, []string{"c1"}, r.Contexts())
	require.Equal(t, []string{"cp1"}, r.Capabilities())
	require.Equal(t, []string{"ngcmfa"}, r.AMR())
	require.Equal(t, now, r.NotBefore())
	require.Equal(t, `{"access_token":{"amr":{"essential":true,"values":["mfa"]}}}`, none.WithMFA(false).String())
	require.True(t, none.WithCapabilities().IsZero())
	back, err := claims.ParseRequest(r.String())
	require.NoError(t, err)
	require.Equal(t, r, back)
}

func TestRequestMerge(t *testing.T) {
	parse := func(s string) *claims.Request {
		r, err := claims.ParseRequest(s)
		require.NoError(t, err)
		return r
	}
	for _, tt := range []struct{ name, a, b, want string }{
		{"empty", ``, ``, ``},
		{"one side", `{"access_token":{"a":null}}`, ``, `{"access_token":{"a":null}}`},
		{"different claims", `{"access_token":{"a":{"essential":true}}}`, `{"access_token":{"b":null},"id_token":{"c":{"value":"1"}}}`,
			`{"access_token":{"a":{"essential":true},"b":null},"id_token":{"c":{"value":"1"}}}`},
		{"capabilities unite", `{"access_token":{"xms_cc":{"values":["CP1"]}}}`, `{"access_token":{"xms_cc":{"values":["cp1","cp2"]}}}`, `{"access_token":{"xms_cc":{"values":["CP1","cp2"]}}}`},
		{"the newer value wins", `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`, `{"access_token":{"nbf":{"essential":true,"value":"2"}}}`, `{"access_token":{"nbf":{"essential":true,"value":"2"}}}`},
		{"value beside values", `{"access_token":{"acrs":{"value":"c1"}}}`, `{"access_token":{"acrs":{"values":["c2"]}}}`, `{"access_token":{"acrs":{"values":["c2"]}}}`},
		{"unknown members are kept", `{"access_token":{"x":{"values":["1"],"future":true}}}`, `{"access_token":{"y":{"future":1}}}`, `{"access_token":{"x":{"values":["1"],"future":true},"y":{"future":1}}}`},
		{"unknown members of what is essential", `{"access_token":{"x":{"essential":true,"values":["1"],"future":true}}}`, `{"access_token":{"x":{"values":["2"]}}}`, `{"access_token":{"x":{"values":["2"]}}}`},
		{"essential spreads", `{"access_token":{"amr":{"essential":true,"values":["mfa"]}}}`, `{"access_token":{"amr":{"values":["mfa"]}}}`, `{"access_token":{"amr":{"essential":true,"values":["mfa"]}}}`},
		{"names are exact", `{"access_token":{"x":{"vAlues":["a"]}}}`, `{"access_token":{"x":{"vAlues":["b"]}}}`, `{"access_token":{"x":{"vAlues":["b"]}}}`},
		{"no values", `{"access_token":{"x":{"values":["a"]}}}`, `{"access_token":{"x":{"values":[]}}}`, `{"access_token":{"x":{"values":[]}}}`},
		{"values that are one text", `{"access_token":{"x":{"values":"a"}}}`, `{"access_token":{"x":{"values":["b"]}}}`, `{"access_token":{"x":{"values":["b"]}}}`},
		{"values of another type", `{"access_token":{"x":{"values":["a"]}}}`, `{"access_token":{"x":{"values":[1]}}}`, `{"access_token":{"x":{"values":[1]}}}`},
		{"not essential", `{"access_token":{"x":{"essential":false,"values":["a"]}}}`, `{"access_token":{"x":{"essential":true,"values":["A","b"]}}}`, `{"access_token":{"x":{"essential":true,"values":["a","b"]}}}`},
		{"not essential, twice", `{"access_token":{"x":{"essential":false,"values":["a"]}}}`, `{"access_token":{"x":{"essential":false,"values":["a"]}}}`, `{"access_token":{"x":{"essential":false,"values":["a"]}}}`},
		{"null beside values", `{"access_token":{"x":null}}`, `{"access_token":{"x":{"values":["a"]}}}`, `{"access_token":{"x":{"values":["a"]}}}`},
		{"policy ids", `{"access_token":{"capolids":{"essential":true,"values":["p1"]}}}`, `{"access_token":{"xms_cc":{"values":["cp1"]}}}`, `{"access_token":{"capolids":{"essential":true,"values":["p1"]},"xms_cc":{"values":["cp1"]}}}`},
	} {
		a, b := parse(tt.a), parse(tt.b)
		before := a.String()
		got := a.Merge(b)
		if tt.want == "" {
			require.True(t, got.IsZero())
			continue
		}
		require.JSONEq(t, tt.want, got.String(), tt.name)
		require.Equal(t, before, a.String(), "a request does not change")
		require.Equal(t, got.String(), got.Merge(b).String(), "%s: merging twice is merging once", tt.name)
	}
	require.NotContains(t, parse(`{"access_token":{"a":{"value":"<&>"}}}`).String(), `\u003c`)
}

func TestParseRequestRefuses(t *testing.T) {
	for _, bad := range []string{`x`, `[]`, `{"access_token":5}`, `{"access_token":[1]}`, `{"a":{},"a":{}}`, `{"a":{"b":1,"b":2}}`, "{\"a\":{\"\xff\":1}}", `{"x":"` + strings.Repeat("x", claims.MaxRequestSize) + `"}`} {
		_, err := claims.ParseRequest(bad)
		require.ErrorIs(t, err, claims.ErrRequest)
	}
	r, err := claims.ParseRequest(`{"userinfo":null,"access_token":{"nbf":{"value":1741083072},"acrs":"odd"}}`)
	require.NoError(t, err)
	require.Equal(t, now, r.NotBefore(), "a number may stand for a string")
	require.Empty(t, r.Contexts())
	r, err = claims.ParseRequest(`{"access_token":{"nbf":{"value":"soon"}}}`)
	require.NoError(t, err)
	require.True(t, r.NotBefore().IsZero())
	r, err = claims.ParseRequest(`{"access_token":{}}`)
	require.NoError(t, err)
	require.True(t, r.IsZero(), "a section without claims asks for nothing")
	require.True(t, (&claims.Request{}).NotBefore().Equal(time.Time{}))
}
