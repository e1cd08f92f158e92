package broker_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/wire"
)

type entratestOptions = entratest.Options

// one returns the only policy of a collection.
func one(collection string) string {
	var c struct {
		Value []json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal([]byte(collection), &c); err != nil || len(c.Value) != 1 {
		panic("not a collection of one policy")
	}
	return string(c.Value[0])
}

// prtOf returns the PRT that a signed request carries.
func prtOf(r *http.Request) string {
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	raw, _ := io.ReadAll(body)
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return ""
	}
	parts := strings.Split(form.Get("request"), ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var p struct {
		GrantType    string `json:"grant_type"`
		RefreshToken string `json:"refresh_token"`
		Issuer       string `json:"iss"`
	}
	if json.Unmarshal(payload, &p) != nil || p.Issuer != "aad:brokerplugin" {
		return ""
	}
	return p.RefreshToken
}

func reply(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

// brokerRefreshToken gets a refresh token as another program would have it.
func (w *world) brokerRefreshToken(t testing.TB) string {
	t.Helper()
	res, err := w.person.client.PostForm("https://login.microsoftonline.com/contoso.example/oauth2/token", url.Values{
		"grant_type": {wire.GrantPassword},
		"client_id":  {wire.ClientBroker},
		"username":   {alice},
		"password":   {password},
		"resource":   {wire.ResourceRegistration},
	})
	require.NoError(t, err)
	defer res.Body.Close()
	var body struct {
		RefreshToken string `json:"refresh_token"`
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
	require.NotEmpty(t, body.RefreshToken)
	return body.RefreshToken
}

// nonceOf reads the reply of the nonce service.
func nonceOf(t *testing.T, res *http.Response) string {
	t.Helper()
	var body struct{ Nonce string }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
	return body.Nonce
}
