package verify_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
)

// A signed request may have 64 KiB, and either thumbprint of a certificate.
func TestParseJWSAccepts(t *testing.T) {
	_, err := verify.ParseJWS("e30.e30." + strings.Repeat("A", verify.MaxJWS-len("e30.e30.")))
	require.NoError(t, err)

	parse := func(header string) (*verify.JWS, error) {
		return verify.ParseJWS(base64.RawURLEncoding.EncodeToString([]byte(header)) + ".e30.AA")
	}
	j, err := parse(`{"x5t":"AQID","x5t#S256":"BAUG","x5c":null,"kdf_ver":null}`)
	require.NoError(t, err)
	require.Equal(t, verify.Header{X5T: []byte{1, 2, 3}, X5T256: []byte{4, 5, 6}}, j.Header)
	j, err = parse(`{"x5c":"AQID","kdf_ver":1}`)
	require.NoError(t, err)
	require.Equal(t, verify.Header{X5C: [][]byte{{1, 2, 3}}, X5CString: true, KDFVer: 1}, j.Header)
	j, err = parse(`{"x5c":["AQID","BAUG"]}`)
	require.NoError(t, err)
	require.Equal(t, verify.Header{X5C: [][]byte{{1, 2, 3}, {4, 5, 6}}}, j.Header)
	for _, header := range []string{`{"x5t":"!"}`, `{"x5t#S256":"!"}`, `{"alg":1}`} {
		_, err := parse(header)
		require.ErrorIs(t, err, verify.ErrMalformed, header)
	}
}

// Both the header and the claims are one JSON object, and the error says which is not.
func TestParseJWSObjects(t *testing.T) {
	for _, text := range []string{``, `1`, `null`, `[]`, `{}{}`, `{} 1`, `{1:2}`, `{"a":}`, `{"a":1`, `{"a":1]`, `{"a":1,"a":2}`} {
		part := base64.RawURLEncoding.EncodeToString([]byte(text))
		_, err := verify.ParseJWS(part + ".e30.AA")
		require.ErrorIs(t, err, verify.ErrMalformed, text)
		require.ErrorContains(t, err, "header: ", text)
		_, err = verify.ParseJWS("e30." + part + ".AA")
		require.ErrorIs(t, err, verify.ErrMalformed, text)
		require.ErrorContains(t, err, "claims: ", text)
	}
	_, err := verify.ParseJWS("e30.e30.A")
	require.ErrorContains(t, err, "part 3 is not base64url")
}

// A time is a number of seconds that a float64 holds exactly.
func TestTimes(t *testing.T) {
	for text, want := range map[string]int64{"0.0": 0, "1.9": 1, `"1e3"`: 1000, "9007199254740992.0": 1 << 53} {
		j, err := verify.ParseJWS("e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iat":`+text+`}`)) + ".AA")
		require.NoError(t, err, text)
		c, err := j.Claims()
		require.NoError(t, err, text)
		require.Equal(t, want, c.IssuedAt, text)
	}
	for _, text := range []string{"-0.5", "9007199254740994.0", "1e300", `"NaN"`, `"Inf"`, `""`, "true"} {
		j, err := verify.ParseJWS("e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iat":`+text+`}`)) + ".AA")
		require.NoError(t, err, text)
		_, err = j.Claims()
		require.ErrorIs(t, err, verify.ErrMalformed, text)
	}
}

func TestSessionSignatureRefused(t *testing.T) {
	for name, c := range map[string]struct{ header, why string }{
		"another algorithm": {`{"alg":"RS256","ctx":"AAAA"}`, "instead of HS256"},
		"no context":        {`{"alg":"HS256"}`, "ctx is missing"},
	} {
		j, err := verify.ParseJWS(base64.RawURLEncoding.EncodeToString([]byte(c.header)) + ".e30.AA")
		require.NoError(t, err, name)
		err = j.VerifySession(bytes.Repeat([]byte{1}, 32), 1)
		require.ErrorIs(t, err, verify.ErrMalformed, name)
		require.ErrorContains(t, err, c.why, name)
	}
}
