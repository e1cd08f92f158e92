package claims_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
)

// A token that is read has one text only and says nothing that it does not
// hold.
func FuzzIDToken(f *testing.F) {
	f.Add(jwt(`{"typ":"JWT","alg":"RS256","kid":"k1"}`, v1))
	f.Add(jwt(`{"alg":"none"}`, v2))
	f.Add(b64u(`{"alg":"none"}`) + "." + b64u(`{"amr":"pwd","cnf":{"kid":"k"}}`) + ".")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := claims.Parse(text)
		if err != nil {
			require.ErrorIs(t, err, claims.ErrMalformed)
			return
		}
		parts := strings.Split(text, ".")
		require.Len(t, parts, 3)
		for _, p := range parts {
			b, err := base64.RawURLEncoding.DecodeString(p)
			require.NoError(t, err)
			require.Equal(t, p, b64u(string(b)))
		}
		e := tok.Evidence(claims.SourceIDToken)
		require.Equal(t, tok.HasAMR, e.MFA != claims.Unknown)
		require.Equal(t, tok.Methods.MFA(), e.MFA == claims.Yes)
		require.Equal(t, e.Merge(e), e)
		if e.MFA != claims.Yes {
			require.True(t, e.At.IsZero())
		}

		// The same payload with a member twice is refused.
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		require.NoError(t, err)
		open := strings.IndexByte(string(payload), '{')
		twice := string(payload[:open+1]) + `"zz":1,"zz":2`
		if rest := strings.TrimSpace(string(payload[open+1:])); rest != "}" {
			twice += ","
		}
		_, err = claims.Parse(parts[0] + "." + b64u(twice+string(payload[open+1:])) + "." + parts[2])
		require.ErrorIs(t, err, claims.ErrMalformed)
	})
}

// render writes challenges as RFC 9110 does.
func render(cs []claims.Challenge) string {
	var b strings.Builder
	for i, c := range cs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(c.Scheme)
		if c.Token != "" {
			b.WriteString(" " + c.Token)
		}
		sep := " "
		for k, v := range c.Params {
			b.WriteString(sep + k + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`)
			sep = ", "
		}
	}
	return b.String()
}

// Challenges that are read and written again read the same.
func FuzzWWWAuthenticate(f *testing.F) {
	f.Add(`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="` + std(request) + `"`)
	f.Add(`Negotiate YWJj==, Bearer error=insufficient_claims, claims=eyJhIjoxfQ==, PoP nonce="n, m"`)
	f.Add(`Bearer realm="a\"b\\c", claims="{\"access_token\":{}}"`)
	f.Add(`Basic,,, ,NTLM`)
	f.Fuzz(func(t *testing.T, header string) {
		cs, err := claims.ParseChallenges(header)
		if err != nil {
			require.ErrorIs(t, err, claims.ErrChallenge)
			_, err := claims.FindClaims(header)
			require.ErrorIs(t, err, claims.ErrChallenge)
			return
		}
		text := render(cs)
		again, err := claims.ParseChallenges(text)
		if len(text) > 64<<10 {
			return
		}
		require.NoError(t, err, text)
		require.Equal(t, cs, again, text)
		for _, c := range cs {
			r, err := c.Claims()
			if err != nil || r == nil {
				continue
			}
			back, err := claims.ParseRequest(r.String())
			require.NoError(t, err)
			require.Equal(t, r.String(), back.String())
		}
	})
}

// A claims request that is read and written again asks for the same, and
// merging it twice is merging it once.
func FuzzClaimsRequest(f *testing.F) {
	f.Add(request, `{"access_token":{"xms_cc":{"values":["cp1"]},"nbf":{"essential":true,"value":"1741083072"}}}`)
	f.Add(`{"access_token":{"capolids":{"essential":true,"values":["p"]}}}`, `{"id_token":{"amr":{"values":["mfa"]}},"userinfo":null}`)
	f.Add(``, `{}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		ra, errA := claims.ParseRequest(a)
		rb, errB := claims.ParseRequest(b)
		if errA != nil || errB != nil {
			return
		}
		back, err := claims.ParseRequest(ra.String())
		require.NoError(t, err)
		require.Equal(t, ra.String(), back.String())
		m := ra.Merge(rb)
		require.Equal(t, m.String(), m.Merge(rb).String())
		require.Equal(t, ra.IsZero() && rb.IsZero(), m.IsZero())
		require.Equal(t, ra.Beyond() || rb.Beyond(), m.Beyond())
		with := m.WithCapabilities("cp1")
		require.NotEmpty(t, with.Capabilities())
	})
}
