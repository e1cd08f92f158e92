package authd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/webflow"
)

// What is read is what was signed, and nothing else is taken.
func FuzzParseAssertion(f *testing.F) {
	r := &webflow.KeyRequest{RelyingParty: "login.microsoft.com", ClientDataJSON: []byte(`{"type":"webauthn.get"}`)}
	client := base64.RawURLEncoding.EncodeToString(r.ClientDataJSON)
	f.Add(`{"id":"AQ","clientDataJSON":"` + client + `","authenticatorData":"Ag","signature":"Aw","userHandle":""}`)
	f.Add(`{"id":"AQ==","clientDataJSON":"` + client + `"}`)
	f.Add(`{"id":"AQ","clientDataJSON":"e30"}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAssertion(text, r)
		if err != nil {
			require.Nil(t, a)
			require.ErrorContains(t, err, "authd: ")
			return
		}
		b64 := base64.RawURLEncoding.EncodeToString
		again, err := json.Marshal(assertion{b64(a.ID), client, b64(a.AuthenticatorData), b64(a.Signature), b64(a.UserHandle)})
		require.NoError(t, err)
		same, err := parseAssertion(string(again), r)
		require.NoError(t, err)
		require.Equal(t, a, same)
		require.True(t, bytes.Equal(a.ID, same.ID))
	})
}

func TestFidoChallenge(t *testing.T) {
	t.Parallel()
	text, allowed := fidoChallenge(&webflow.KeyRequest{
		ClientDataJSON: []byte(`{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString([]byte("O.ey/+=")) + `"}`),
		Credentials:    [][]byte{{0xfb, 0xff}, {1}},
	})
	require.Equal(t, "O.ey/+=", text, "as it stands on the page")
	require.Equal(t, []string{"+/8=", "AQ=="}, allowed)
}
