package prt_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

const signInURL = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?client_id=x"

func TestRefreshTokenCookie(t *testing.T) {
	for _, version := range []int{prt.KDFv1, prt.KDFv2} {
		s := session(t)
		s.KDF = version
		c, err := prt.CookieRequest{PRT: prt.NewSecret(thePRT), URL: signInURL, Nonce: theNonce}.Sign(bg, s)
		require.NoError(t, err)
		require.Equal(t, "x-ms-RefreshTokenCredential", c.Name)
		j := decodeJWS(t, c.Value.Reveal())
		verifySession(t, j, s.Key.(*prt.SoftwareKey), version)
		require.Equal(t, `{"refresh_token":"`+thePRT+`","is_primary":"true","request_nonce":"`+theNonce+`"}`, string(j.body))
	}
}

func TestCookieOptions(t *testing.T) {
	s := session(t)
	c, err := prt.CookieRequest{PRT: prt.NewSecret(thePRT), URL: signInURL + "&sso_nonce=from-url", Nonce: "given",
		Client: prt.CookieClient{OSVersion: "10.0.1", APIVersion: "2.0.1", Platform: "windows", ClientID: "c", RedirectURI: "u"}}.Sign(bg, s)
	require.NoError(t, err)
	require.JSONEq(t, `{"refresh_token":"`+thePRT+`","is_primary":"true","request_nonce":"from-url","win_ver":"10.0.1","windows_api_version":"2.0.1",
		"x_client_platform":"windows","ua_client_id":"c","ua_redirect_uri":"u"}`, string(decodeJWS(t, c.Value.Reveal()).body))

	c, err = prt.CookieRequest{PRT: prt.NewSecret(thePRT), URL: signInURL, InsecureNoNonce: true, Now: now}.Sign(bg, s)
	require.NoError(t, err)
	require.JSONEq(t, `{"refresh_token":"`+thePRT+`","is_primary":"true","iat":"`+strconv.FormatInt(now.Unix(), 10)+`"}`, string(decodeJWS(t, c.Value.Reveal()).body))

	c, err = prt.CookieRequest{PRT: prt.NewSecret(thePRT), URL: signInURL, Nonce: "n", InsecureNoNonce: true}.Sign(bg, s)
	require.NoError(t, err)
	require.NotContains(t, decodeJWS(t, c.Value.Reveal()).payload, "iat", "a nonce makes iat needless")
}

func TestDeviceCookie(t *testing.T) {
	c, err := prt.DeviceCookieRequest{URL: signInURL, Nonce: theNonce, Client: prt.CookieClient{ClientID: "c"}}.Sign(bg, device(t))
	require.NoError(t, err)
	require.Equal(t, "x-ms-DeviceCredential", c.Name)
	j := decodeJWS(t, c.Value.Reveal())
	verifyDevice(t, j)
	require.JSONEq(t, `{"grant_type":"device_auth","iss":"aad:brokerplugin","request_nonce":"`+theNonce+`","ua_client_id":"c"}`, string(j.body))
}

// A cookie is a session. It goes to no host but a sign-in host.
func TestCookieRefusals(t *testing.T) {
	for name, address := range map[string]string{
		"http":               "http://login.microsoftonline.com/",
		"no scheme":          "login.microsoftonline.com",
		"empty":              "",
		"another host":       "https://login.example.com/",
		"Graph":              "https://graph.microsoft.com/",
		"suffix":             "https://login.microsoftonline.com.evil.example/",
		"prefix":             "https://evil-login.microsoftonline.com/",
		"subdomain":          "https://a.login.microsoftonline.com/",
		"user info":          "https://login.microsoftonline.com@evil.example/",
		"user info, inner":   "https://u:p@login.microsoftonline.com/",
		"another port":       "https://login.microsoftonline.com:8443/",
		"trailing dot":       "https://login.microsoftonline.com./",
		"backslash":          `https://login.microsoftonline.com\@evil.example/`,
		"encoded dot":        "https://login%2emicrosoftonline.com.evil.example/",
		"newline":            "https://login.microsoftonline.com\n.evil.example/",
		"opaque":             "https:login.microsoftonline.com",
		"relative":           "//login.microsoftonline.com/",
		"javascript":         "javascript:https://login.microsoftonline.com/",
		"two nonces":         signInURL + "&sso_nonce=a&sso_nonce=b",
		"malformed query":    signInURL + "&sso_nonce=%zz",
		"Cyrillic homograph": "https://login.micrоsoftonline.com/",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := prt.CookieRequest{PRT: prt.NewSecret(thePRT), URL: address, Nonce: theNonce}.Sign(bg, session(t))
			require.ErrorIs(t, err, prt.ErrRequest)
			_, err = prt.DeviceCookieRequest{URL: address, Nonce: theNonce}.Sign(bg, device(t))
			require.ErrorIs(t, err, prt.ErrRequest)
		})
	}
	_, err := prt.CookieRequest{PRT: prt.NewSecret(thePRT), URL: signInURL}.Sign(bg, session(t))
	require.ErrorContains(t, err, "nonce")
	_, err = prt.CookieRequest{PRT: prt.NewSecret(thePRT), URL: signInURL, InsecureNoNonce: true}.Sign(bg, session(t))
	require.ErrorContains(t, err, "needs a time")
	_, err = prt.CookieRequest{URL: signInURL, Nonce: theNonce}.Sign(bg, session(t))
	require.ErrorContains(t, err, "no PRT")
	_, err = prt.DeviceCookieRequest{URL: signInURL}.Sign(bg, device(t))
	require.ErrorContains(t, err, "nonce")
}

func TestCookieHosts(t *testing.T) {
	for _, host := range append(prt.SignInHosts(), "LOGIN.microsoftonline.com", "login.microsoftonline.com:443") {
		_, err := prt.CookieRequest{PRT: prt.NewSecret(thePRT), URL: "https://" + host + "/", Nonce: theNonce}.Sign(bg, session(t))
		require.NoError(t, err, host)
	}
	own := prt.CookieRequest{PRT: prt.NewSecret(thePRT), URL: "https://127.0.0.1:8443/", Nonce: theNonce, Hosts: []string{"127.0.0.1:8443"}}
	_, err := own.Sign(bg, session(t))
	require.NoError(t, err)
	own.URL = signInURL
	_, err = own.Sign(bg, session(t))
	require.ErrorIs(t, err, prt.ErrRequest, "Hosts replaces the list")
	own.Hosts = []string{}
	_, err = own.Sign(bg, session(t))
	require.ErrorIs(t, err, prt.ErrRequest, "an empty list allows nothing")
	prt.SignInHosts()[0] = "evil.example"
	require.False(t, strings.Contains(strings.Join(prt.SignInHosts(), " "), "evil"), "the list cannot be changed from outside")
}
