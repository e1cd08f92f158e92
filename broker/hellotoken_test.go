package broker

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

// The key service takes only a token whose MFA is recent (ngcmfa): the user is asked
// before it is tried with another.
func TestCheckFresh(t *testing.T) {
	token := func(payload string) string {
		return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
	}
	for name, tt := range map[string]struct {
		token, says string
		asks        bool
	}{
		"recent":      {token(`{"amr":["pwd","mfa","ngcmfa"]}`), "", false},
		"not recent":  {token(`{"amr":["pwd","mfa"]}`), "not recent enough", true},
		"one factor":  {token(`{"amr":["pwd"]}`), "not recent enough", true},
		"without amr": {token(`{}`), "", false},
		"opaque":      {"an-opaque-token", "", false},
		"none":        {"", "no access token", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkFresh("provision Hello key", &prt.Reply{AccessToken: prt.NewSecret(tt.token)})
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.says)
			if tt.asks {
				require.ErrorIs(t, err, ErrInteractionRequired)
			} else {
				require.NotErrorIs(t, err, ErrInteractionRequired)
			}
		})
	}
}

// The cookie follows a redirect only to the same host, with TLS.
func TestNextPage(t *testing.T) {
	const page = "https://login.microsoftonline.com/t/oauth2/authorize?x=1"
	for to, want := range map[string]string{
		"https://login.microsoftonline.com/t/y?sso_nonce=n": "https://login.microsoftonline.com/t/y?sso_nonce=n",
		"https://LOGIN.microsoftonline.com/t/y":             "https://LOGIN.microsoftonline.com/t/y",
		"/t/y?z":                                            "https://login.microsoftonline.com/t/y?z",
		"https://login.microsoftonline.com:8443/t":          "",
		"https://login.microsoftonline.com.evil.example/":   "",
		"//evil.example/t":                                  "",
		"http://login.microsoftonline.com/t":                "",
		"https://user@login.microsoftonline.com/t":          "https://user@login.microsoftonline.com/t",
		"https://[x/":                                       "",
		"javascript:alert(1)":                               "",
	} {
		next, err := nextPage(page, to)
		require.Equal(t, want, next, to)
		if want == "" {
			require.ErrorContains(t, err, "address is", to)
		}
	}
	_, err := nextPage("https://[x/", "/y")
	require.ErrorIs(t, err, errMalformedAddress)
}
